//! GoWA under test.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use domain::message::MediaKind;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use simulator::{
    FaultTarget, GowaConfigChange, GowaInbound, GowaMedia, GowaMessage, GowaReceipt, GowaWebhook,
    NewGowaDevice, Simulator,
};
use url::Url;
use whatsapp::courtesy::ShowCourtesy;
use whatsapp::credentials::{BasicAuth, SessionToken, WebhookKey};
use whatsapp::download::DownloadMedia;
use whatsapp::event::{Keep, ReceiptKind};
use whatsapp::gowa::{
    DeviceWebhook, GowaCourtesy, GowaDevices, GowaDownloads, GowaEndpoint, GowaSender, GowaSessions,
    NewDevice, SIGNATURE_HEADER, Unverified,
};
use whatsapp::port::SendMessage;
use whatsapp::probe::{HttpProbe, ProbeEndpoint};
use whatsapp::session::{ManageSession, Upkeep};

use crate::breaking::{self, Field};
use crate::deviations;
use crate::provider::{
    Broken, By, Calls, Clients, Deviation, FILE, GROUP, Happening, KEY, OWN, PARTNER, PARTNER_LID, Place,
    Posted, ProviderUnderTest, Refusal, Settings, Shown, Stage, Taken, What, late,
};
use crate::words;

/// The server.
pub(crate) struct Gowa;

const USER: &str = "kanal:sangat-rahasia";
const DEVICE: &str = "toko/1";

impl Gowa {
    fn endpoint(origin: &str, settings: Settings) -> (GowaEndpoint, BasicAuth) {
        let auth = BasicAuth::parse(if settings.right_key { USER } else { "kanal:salah" }).unwrap();
        let endpoint = GowaEndpoint::new(format!("{origin}/gowa").parse().unwrap(), Some(&auth)).unwrap();
        (endpoint.with_total_timeout(settings.patience), auth)
    }
}

impl ProviderUnderTest for Gowa {
    fn name(&self) -> &'static str {
        "gowa"
    }

    fn deviations(&self) -> &'static [Deviation] {
        deviations::GOWA
    }

    fn clients(&self, origin: &str, settings: Settings) -> Clients {
        let (endpoint, auth) = Self::endpoint(origin, settings);
        let base: Url = format!("{origin}/gowa").parse().unwrap();
        let probe = move || HttpProbe::gowa(&base, Some(&auth)).unwrap();
        let (one, two, three, four, all) = (
            endpoint.clone(),
            endpoint.clone(),
            endpoint.clone(),
            endpoint.clone(),
            endpoint,
        );
        let probe_again = probe.clone();
        Clients {
            sender: late(move || -> Box<dyn SendMessage> { Box::new(GowaSender::new(&one).unwrap()) }),
            sessions: late(move || -> Box<dyn ManageSession> { Box::new(GowaSessions::new(&two).unwrap()) }),
            courtesy: late(move || -> Box<dyn ShowCourtesy> { Box::new(GowaCourtesy::new(&three).unwrap()) }),
            downloads: late(move || -> Box<dyn DownloadMedia> {
                Box::new(GowaDownloads::new(&four).unwrap())
            }),
            probe: late(move || -> Box<dyn ProbeEndpoint> { Box::new(probe()) }),
            printed: late(move || {
                let (sender, sessions) = (GowaSender::new(&all), GowaSessions::new(&all));
                let (courtesy, downloads) = (GowaCourtesy::new(&all), GowaDownloads::new(&all));
                let probe = probe_again();
                format!("{all:?} {sender:?} {sessions:?} {courtesy:?} {downloads:?} {probe:?}")
            }),
        }
    }

    fn set_up(&self, simulator: &Simulator) {
        simulator.configure_gowa(GowaConfigChange {
            basic_auth: Some(format!("other:user,{USER}")),
            auto_login: Some(false),
            ..GowaConfigChange::default()
        });
    }

    fn session<'a>(
        &'a self,
        simulator: &'a Simulator,
        stage: Stage,
        hooks: &'a str,
    ) -> BoxFuture<'a, SessionToken> {
        async move {
            let (endpoint, _) = Self::endpoint(&simulator.base_url(), Settings::default());
            let sessions = || GowaSessions::new(&endpoint).unwrap();
            let id = SessionToken::new(DEVICE).unwrap();
            match stage {
                Stage::Unknown => return SessionToken::new("toko/9").unwrap(),
                Stage::Made | Stage::Waiting => {
                    let device = NewDevice {
                        id: id.clone(),
                        webhook: Some(DeviceWebhook {
                            url: hooks.to_owned(),
                            key: WebhookKey::new(KEY).unwrap(),
                        }),
                    };
                    GowaDevices::new(&endpoint)
                        .unwrap()
                        .ensure(&device)
                        .await
                        .unwrap();
                }
                Stage::Paired | Stage::Lost | Stage::LoggedOut => {
                    simulator.create_gowa_device(NewGowaDevice {
                        id: DEVICE.to_owned(),
                        phone: Some(OWN.to_owned()),
                        webhook: Some(GowaWebhook {
                            webhook_url: hooks.to_owned(),
                            webhook_secret: KEY.to_owned(),
                            ..GowaWebhook::default()
                        }),
                    });
                }
            }
            match stage {
                Stage::Waiting => drop(sessions().connect(&id, &Upkeep::default()).await.unwrap()),
                Stage::Lost => self.lose(simulator, &id).await,
                Stage::LoggedOut => drop(sessions().logout(&id).await.unwrap()),
                Stage::Made | Stage::Paired | Stage::Unknown => {}
            }
            id
        }
        .boxed()
    }

    fn lose<'a>(&'a self, simulator: &'a Simulator, token: &'a SessionToken) -> BoxFuture<'a, ()> {
        async move { simulator.cut_gowa(token.expose()) }.boxed()
    }

    fn scan(&self, simulator: &Simulator, token: &SessionToken) {
        let jid = Some(format!("{OWN}:12@s.whatsapp.net"));
        simulator.scan_gowa(token.expose(), jid).unwrap();
    }

    fn paths(&self, calls: Calls) -> &'static str {
        match calls {
            Calls::All => "/gowa",
            Calls::Sends => "/gowa/send",
        }
    }

    fn refusal(&self, refusal: Refusal) -> (u16, Value) {
        let (status, code) = match refusal {
            Refusal::BadRecipient => (400, "INVALID_JID"),
            Refusal::UploadFailed => (500, "UPLOAD_MEDIA_ERROR"),
            Refusal::InnerError => (500, "INTERNAL_SERVER_ERROR"),
        };
        (status, json!({"code": code, "message": "it did not work"}))
    }

    fn webhooks(&self) -> FaultTarget {
        FaultTarget::GowaWebhook
    }

    fn name_of(&self, _simulator: &Simulator, token: &SessionToken) -> String {
        token.expose().to_owned()
    }

    fn shown(&self, simulator: &Simulator, phone: &str) -> Vec<Shown> {
        let shown = simulator.gowa_phone(phone).into_iter().map(|message| Shown {
            what: says(&message),
            id: message.id,
            quoted: message.quoted_id,
            edited: message.edited,
            deleted: message.deleted,
            reaction: message.reaction,
        });
        shown.collect()
    }

    fn last_reaction(&self, simulator: &Simulator) -> Option<(String, Option<String>)> {
        let sends = simulator.gowa_sends();
        let send = sends.into_iter().rfind(|send| send.path.ends_with("/reaction"))?;
        let emoji = send.body["emoji"].as_str().filter(|emoji| !emoji.is_empty());
        Some((send.message_id, emoji.map(str::to_owned)))
    }

    fn marked_read(&self, simulator: &Simulator) -> Vec<String> {
        let mut ids = simulator.gowa_read();
        ids.sort();
        ids
    }

    fn typed(&self, simulator: &Simulator) -> usize {
        let sends = simulator.gowa_sends();
        sends
            .iter()
            .filter(|send| send.path == "/send/chat-presence")
            .count()
    }

    fn happen(&self, simulator: &Simulator, token: &SessionToken, happening: &Happening) -> bool {
        if let Some(receipt) = receipt(token, happening) {
            simulator.gowa_receipt(&receipt).unwrap();
            return true;
        }
        match inbound(token, happening) {
            Some(inbound) => simulator.gowa_inbound(&inbound).is_ok(),
            None => false,
        }
    }

    fn take(&self, webhook: &Posted, keys: &[WebhookKey], now: DateTime<Utc>, keep: Keep) -> Taken {
        let unverified = match Unverified::read(webhook.content_type.as_deref(), webhook.body.clone()) {
            Ok(unverified) => unverified,
            Err(why) => return Taken::Malformed(why),
        };
        match unverified.verify(webhook.signature.as_deref(), keys) {
            Ok(verified) => Taken::Event {
                session: verified.session_id().map(str::to_owned),
                signed: verified.is_signed(),
                event: verified.parse_with(now, keep),
            },
            Err(why) => Taken::Refused(why),
        }
    }

    fn signature_header(&self) -> &'static str {
        SIGNATURE_HEADER
    }

    fn sign(&self, key: &WebhookKey, body: &[u8]) -> String {
        whatsapp::gowa::sign(key, body)
    }

    fn broken(&self, webhook: &Posted, how: Broken) -> Posted {
        if let Some(broken) = breaking::anybodys(webhook, how) {
            return broken;
        }
        let text = String::from_utf8_lossy(&webhook.body).into_owned();
        let body = match how {
            Broken::Cut => text.get(..text.len() / 2).unwrap_or_default().to_owned(),
            Broken::List => format!("[{text}]"),
            Broken::Twice => text.replacen('{', "{\"session_id\":\"another\",", 1),
            _ => {
                let mut event: Value = serde_json::from_str(&text).unwrap();
                breaking::change(&mut event, how, |field| match field {
                    Field::Kind => &["event"],
                    Field::Session => &["session_id"],
                    Field::MessageId => &["payload", "id"],
                    Field::Chat => &["payload", "chat_id"],
                    Field::Event => &["payload"],
                });
                event.to_string()
            }
        };
        breaking::with_body(webhook, body)
    }

    fn secrets(&self, _token: &SessionToken) -> Vec<String> {
        let header = BasicAuth::parse(USER).unwrap().header();
        let (_, password) = USER.split_once(':').unwrap();
        vec![
            header.expose_secret().to_owned(),
            USER.to_owned(),
            password.to_owned(),
        ]
    }
}

fn says(message: &GowaMessage) -> String {
    let field = |name: &str| message.body[name].as_str().unwrap_or_default();
    match message.kind.as_str() {
        "message" => words::text(&message.text),
        "location" => words::place(&message.body["latitude"], &message.body["longitude"], ""),
        "contact" => format!("card {} {}", field("contact_name"), field("contact_phone")),
        kind => {
            let spoken = matches!(&message.body["ptt"], Value::Bool(true)) || field("ptt") == "true";
            let sort = match kind {
                "file" => "document",
                "audio" if spoken => "voice",
                kind => kind,
            };
            let (mime, bytes, name) = match &message.file {
                Some(file) => (
                    file.content_type.as_str(),
                    words::whole(&file.sha256),
                    file.name.as_str(),
                ),
                None => ("", "by link", ""),
            };
            let name = if sort == "document" { name } else { "" };
            words::file(sort, mime, &message.text, name, bytes)
        }
    }
}

fn receipt(token: &SessionToken, happening: &Happening) -> Option<GowaReceipt> {
    let (ids, kind): (&[&str], &str) = match &happening.what {
        What::Receipt {
            ids,
            kind,
            own_device: false,
        } if !matches!(happening.by, By::In(_)) => {
            let kind = match kind {
                ReceiptKind::Delivered => "delivered",
                ReceiptKind::Read => "read",
                ReceiptKind::ReadSelf => "read-self",
                ReceiptKind::Played => "played",
            };
            (ids, kind)
        }
        What::OddReceipt => (&["3EB0A"], "retry"),
        _ => return None,
    };
    let lid_alone = happening.by == By::LidAlone;
    Some(GowaReceipt {
        device: token.expose().to_owned(),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        from: if lid_alone {
            format!("{PARTNER_LID}@lid")
        } else {
            PARTNER.to_owned()
        },
        lid: (happening.by == By::PartnerWithLid).then(|| PARTNER_LID.to_owned()),
        receipt_type: kind.to_owned(),
    })
}

/// None: GoWA tells nothing about sessions and repeats no send.
fn inbound(token: &SessionToken, happening: &Happening) -> Option<GowaInbound> {
    let mut inbound = GowaInbound {
        device: token.expose().to_owned(),
        from: PARTNER.to_owned(),
        id: Some(happening.id.to_owned()),
        own: happening.by == By::Own,
        lid: (happening.by == By::PartnerWithLid).then(|| PARTNER_LID.to_owned()),
        ..GowaInbound::default()
    };
    let mut more = Map::new();
    match happening.by {
        By::LidAlone => {
            more.insert("chat_id".to_owned(), json!(format!("{PARTNER_LID}@lid")));
            more.insert("from".to_owned(), json!(format!("{PARTNER_LID}@lid")));
        }
        By::In(place) => drop(more.insert("chat_id".to_owned(), json!(chat(place)))),
        By::Partner | By::PartnerWithLid | By::Own => {}
    }
    if let Some((id, words)) = happening.quoted {
        more.insert("replied_to_id".to_owned(), json!(id));
        more.insert("quoted_body".to_owned(), json!(words));
    }
    let mut about = |event: &str, fields: Value| {
        inbound.event = Some(event.to_owned());
        if let Value::Object(fields) = fields {
            more.extend(fields);
        }
    };
    let place = json!({"degreesLatitude": -5.1477, "degreesLongitude": 119.4327, "name": "Balai Desa"});
    match &happening.what {
        What::Text(text) => inbound.text = Some(text.clone()),
        What::Media { gone: true, .. } => about("message", json!({"image": "statics/media/none.jpg"})),
        What::Media { kind, caption, .. } => {
            let (kind, extension) = sort(*kind);
            inbound.text = caption.map(str::to_owned);
            inbound.media = Some(GowaMedia {
                kind: kind.to_owned(),
                data: BASE64.encode(FILE),
                extension: extension.to_owned(),
                lost: false,
            });
        }
        What::VideoNote => about("message", json!({"video_note": "statics/media/n.mp4"})),
        What::Location { live: false } => about("message", json!({"location": place})),
        What::Location { live: true } => about("message", json!({"live_location": place})),
        What::Contacts(1) => about("message", json!({"contact": card(1)})),
        What::Contacts(count) => {
            let cards: Vec<Value> = (1..=*count).map(card).collect();
            about("message", json!({"contacts_array": cards}));
        }
        What::Reaction { target, emoji } => {
            about(
                "message.reaction",
                json!({"reacted_message_id": target, "reaction": emoji}),
            );
        }
        What::Edit { target, text } => {
            about(
                "message.edited",
                json!({"original_message_id": target, "body": text}),
            );
        }
        What::Revoke { target } => {
            about(
                "message.revoked",
                json!({"revoked_message_id": target, "revoked_from_me": false}),
            );
        }
        What::Poll => {}
        What::Choice => about("message", json!({"interactive": {"body": "Ya"}})),
        What::StrangeMessage => about("message", json!({"hologram": {"depth": 3}})),
        What::Receipt { ids, .. } => {
            let by = format!("{OWN}:7@s.whatsapp.net");
            about(
                "message.ack",
                json!({"ids": ids, "receipt_type": "read-self", "from": by}),
            );
        }
        What::Noise => about("chat_presence", json!({"state": "composing"})),
        What::StrangeEvent => about("hologram.received", json!({"a": 1})),
        What::Session(_) | What::Echo | What::OddReceipt => return None,
    }
    inbound.payload = more;
    Some(inbound)
}

fn card(number: u8) -> Value {
    json!({"displayName": format!("Kontak {number}"), "vcard": "BEGIN:VCARD\nEND:VCARD", "phone_number": "+62 812"})
}

const fn sort(kind: MediaKind) -> (&'static str, &'static str) {
    match kind {
        MediaKind::Image => ("image", "jpg"),
        MediaKind::Video => ("video", "mp4"),
        MediaKind::Audio => ("audio", "mp3"),
        MediaKind::Voice => ("audio", "ogg"),
        MediaKind::Document => ("document", "pdf"),
        MediaKind::Sticker => ("sticker", "webp"),
    }
}

const fn chat(place: Place) -> &'static str {
    match place {
        Place::Group => GROUP,
        Place::Status => "status@broadcast",
        Place::Broadcast => "1700000000@broadcast",
        Place::Newsletter => "120363040000000002@newsletter",
    }
}
