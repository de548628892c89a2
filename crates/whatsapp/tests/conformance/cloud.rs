//! The Cloud API under test: what goes out. What comes in from Meta is many updates in one webhook, which the table's rows
//! about single events do not fit; it is held against the contract's samples elsewhere.

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::{FaultTarget, NewGraphNumber, Simulator};
use whatsapp::cloud::{
    GraphCourtesy, GraphEndpoint, GraphMedia, GraphSender, GraphSessions, SIGNATURE_HEADER,
};
use whatsapp::courtesy::ShowCourtesy;
use whatsapp::credentials::{SessionToken, WebhookKey};
use whatsapp::download::DownloadMedia;
use whatsapp::error::MalformedWebhook;
use whatsapp::event::Keep;
use whatsapp::port::SendMessage;
use whatsapp::probe::{HttpProbe, ProbeEndpoint};
use whatsapp::session::ManageSession;

use crate::deviations;
use crate::provider::{
    Broken, Calls, Clients, Deviation, Happening, OWN, Posted, ProviderUnderTest, Refusal, Settings, Shown,
    Stage, Taken, late,
};
use crate::words;

/// Meta.
pub(crate) struct Cloud;

const TOKEN: &str = "EAAGsangatrahasia";
const NUMBER: &str = "110987650000222";

impl ProviderUnderTest for Cloud {
    fn name(&self) -> &'static str {
        "cloud"
    }

    fn deviations(&self) -> &'static [Deviation] {
        deviations::CLOUD
    }

    fn clients(&self, origin: &str, settings: Settings) -> Clients {
        let token = if settings.right_key { TOKEN } else { "EAAGsalah" };
        let base = format!("{origin}/graph").parse().unwrap();
        let endpoint = GraphEndpoint::new(base, SecretString::from(token)).unwrap();
        let endpoint = endpoint.with_total_timeout(settings.patience);
        let (one, two, three, four, five, all) = (
            endpoint.clone(),
            endpoint.clone(),
            endpoint.clone(),
            endpoint.clone(),
            endpoint.clone(),
            endpoint,
        );
        Clients {
            sender: late(move || -> Box<dyn SendMessage> { Box::new(GraphSender::new(&one).unwrap()) }),
            sessions: late(move || -> Box<dyn ManageSession> { Box::new(GraphSessions::new(&two).unwrap()) }),
            courtesy: late(move || -> Box<dyn ShowCourtesy> {
                Box::new(GraphCourtesy::new(&three).unwrap())
            }),
            downloads: late(move || -> Box<dyn DownloadMedia> { Box::new(GraphMedia::new(&four).unwrap()) }),
            probe: late(move || -> Box<dyn ProbeEndpoint> {
                Box::new(HttpProbe::graph(&five, Some(NUMBER)).unwrap())
            }),
            printed: late(move || {
                let (sender, sessions) = (GraphSender::new(&all), GraphSessions::new(&all));
                let (courtesy, media) = (GraphCourtesy::new(&all), GraphMedia::new(&all));
                format!("{all:?} {sender:?} {sessions:?} {courtesy:?} {media:?}")
            }),
        }
    }

    fn set_up(&self, _simulator: &Simulator) {}

    /// A number is registered or not; there is no code and no socket.
    fn session<'a>(
        &'a self,
        simulator: &'a Simulator,
        stage: Stage,
        _hooks: &'a str,
    ) -> BoxFuture<'a, SessionToken> {
        simulator.create_graph_number(NewGraphNumber {
            id: NUMBER.to_owned(),
            phone: OWN.to_owned(),
            token: TOKEN.to_owned(),
            unregistered: !matches!(stage, Stage::Paired | Stage::Unknown),
            ..NewGraphNumber::default()
        });
        let number = if stage == Stage::Unknown { "999" } else { NUMBER };
        ready(SessionToken::new(number).unwrap()).boxed()
    }

    fn lose<'a>(&'a self, _simulator: &'a Simulator, _token: &'a SessionToken) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    fn scan(&self, _simulator: &Simulator, _token: &SessionToken) {}

    fn paths(&self, calls: Calls) -> &'static str {
        match calls {
            Calls::All => "/graph",
            // Messages and the files that are put up for them.
            Calls::Sends => "/graph/v22.0/110987650000222/",
        }
    }

    fn refusal(&self, refusal: Refusal) -> (u16, Value) {
        let (status, code) = match refusal {
            Refusal::BadRecipient => (400, 131_026),
            Refusal::UploadFailed | Refusal::InnerError => (500, 131_000),
        };
        (
            status,
            json!({"error": {"message": "it did not work", "code": code}}),
        )
    }

    fn webhooks(&self) -> FaultTarget {
        FaultTarget::WaWebhook
    }

    fn name_of(&self, _simulator: &Simulator, token: &SessionToken) -> String {
        token.expose().to_owned()
    }

    fn shown(&self, simulator: &Simulator, phone: &str) -> Vec<Shown> {
        let mut shown: Vec<Shown> = Vec::new();
        for send in simulator.graph_sends() {
            if send.to != phone || send.id.is_empty() {
                continue;
            }
            let body = &send.body;
            if body["type"] == "reaction" {
                let target = &body["reaction"]["message_id"];
                let emoji = body["reaction"]["emoji"]
                    .as_str()
                    .filter(|emoji| !emoji.is_empty());
                for message in shown.iter_mut().filter(|message| *target == message.id.as_str()) {
                    message.reaction = emoji.map(str::to_owned);
                }
                continue;
            }
            shown.push(Shown {
                what: says(simulator, body),
                id: send.id,
                quoted: body["context"]["message_id"].as_str().map(str::to_owned),
                edited: false,
                deleted: false,
                reaction: None,
            });
        }
        shown
    }

    fn last_reaction(&self, simulator: &Simulator) -> Option<(String, Option<String>)> {
        let sends = simulator.graph_sends();
        let send = sends.into_iter().rfind(|send| send.body["type"] == "reaction")?;
        let reaction = &send.body["reaction"];
        let emoji = reaction["emoji"].as_str().filter(|emoji| !emoji.is_empty());
        Some((
            reaction["message_id"].as_str()?.to_owned(),
            emoji.map(str::to_owned),
        ))
    }

    fn marked_read(&self, simulator: &Simulator) -> Vec<String> {
        let sends = simulator.graph_sends().into_iter();
        let mut ids: Vec<String> = sends
            .filter(|send| send.body["status"] == "read")
            .filter_map(|send| send.body["message_id"].as_str().map(str::to_owned))
            .collect();
        ids.sort();
        ids
    }

    fn typed(&self, simulator: &Simulator) -> usize {
        let sends = simulator.graph_sends();
        let typing = |body: &Value| body["typing_indicator"].is_object();
        sends.iter().filter(|send| typing(&send.body)).count()
    }

    fn happen(&self, _simulator: &Simulator, _token: &SessionToken, _happening: &Happening) -> bool {
        false
    }

    fn take(&self, _webhook: &Posted, _keys: &[WebhookKey], _now: DateTime<Utc>, _keep: Keep) -> Taken {
        Taken::Malformed(MalformedWebhook::CloudPayload)
    }

    fn signature_header(&self) -> &'static str {
        SIGNATURE_HEADER
    }

    fn sign(&self, key: &WebhookKey, body: &[u8]) -> String {
        whatsapp::cloud::sign(key, body)
    }

    fn broken(&self, webhook: &Posted, _how: Broken) -> Posted {
        webhook.clone()
    }

    fn secrets(&self, _token: &SessionToken) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }
}

fn says(simulator: &Simulator, body: &Value) -> String {
    let kind = body["type"].as_str().unwrap_or_default();
    let said = &body[kind];
    let field = |name: &str| said[name].as_str().unwrap_or_default();
    match kind {
        "text" => words::text(field("body")),
        "location" => words::place(&said["latitude"], &said["longitude"], field("name")),
        "contacts" => {
            let cards = said.as_array().into_iter().flatten().map(|card| {
                let name = card["name"]["formatted_name"].as_str().unwrap_or_default();
                let number = card["phones"][0]["wa_id"].as_str().unwrap_or_default();
                format!("card {name} {number}").trim_end().to_owned()
            });
            cards.collect::<Vec<_>>().join("; ")
        }
        kind => {
            let sort = if said["voice"] == true { "voice" } else { kind };
            let up = simulator
                .graph_media()
                .into_iter()
                .find(|file| file.id == field("id"));
            let (mime, bytes) = match &up {
                Some(file) => (file.mime_type.as_str(), words::whole(&file.sha256)),
                None => ("", "by link"),
            };
            words::file(sort, mime, field("caption"), field("filename"), bytes)
        }
    }
}
