//! The genfity WA server under test, in either of its webhooks' formats.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use domain::message::MediaKind;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use simulator::{
    ApiCall, FaultTarget, Inbound, InboundKind, InboundMedia, NewSession, PhoneMessage, RawEvent, Simulator,
    WaConfigChange, WebhookFormat,
};
use url::Url;
use whatsapp::courtesy::ShowCourtesy;
use whatsapp::credentials::{SessionToken, WebhookKey};
use whatsapp::download::DownloadMedia;
use whatsapp::event::{Keep, ReceiptKind};
use whatsapp::genfity::{
    Endpoint, EventList, GenfityCourtesy, GenfityDownloads, GenfitySender, GenfitySessions, NewWaUser,
    SIGNATURE_HEADER, Unverified, WaAdmin,
};
use whatsapp::port::SendMessage;
use whatsapp::probe::{HttpProbe, ProbeEndpoint};
use whatsapp::session::{ManageSession, Upkeep};

use crate::breaking::{self, Field};
use crate::deviations;
use crate::provider::{
    Broken, By, Calls, Clients, Deviation, FILE, GROUP, Happening, KEY, OWN, PARTNER, PARTNER_LID, Place,
    Posted, ProviderUnderTest, Refusal, SessionChange, Settings, Shown, Stage, Taken, What, late,
};
use crate::words;

/// The server, writing its webhooks so.
pub(crate) struct Genfity(pub(crate) WebhookFormat);

const ADMIN: &str = "simulator-admin-token";
const TOKEN: &str = "wat_verysecret";
const NAME: &str = "desa-contoh";

impl Genfity {
    fn endpoint(origin: &str, settings: Settings) -> Endpoint {
        Endpoint::new(format!("{origin}/wa").parse().unwrap())
            .unwrap()
            .with_total_timeout(settings.patience)
    }

    fn is_form(&self) -> bool {
        self.0 == WebhookFormat::Form
    }

    /// The event in a webhook.
    fn json(&self, webhook: &Posted) -> Value {
        if self.is_form() {
            let text = form(webhook, "jsonData");
            serde_json::from_str(&text).unwrap()
        } else {
            serde_json::from_slice(&webhook.body).unwrap()
        }
    }

    /// The webhook with another event in it.
    fn with_json(&self, webhook: &Posted, json: &str) -> Posted {
        let body = if self.is_form() {
            form_urlencoded::Serializer::new(String::new())
                .append_pair("instanceName", &form(webhook, "instanceName"))
                .append_pair("jsonData", json)
                .append_pair("userID", &form(webhook, "userID"))
                .finish()
        } else {
            json.to_owned()
        };
        breaking::with_body(webhook, body)
    }
}

fn form(webhook: &Posted, name: &str) -> String {
    form_urlencoded::parse(&webhook.body)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

impl ProviderUnderTest for Genfity {
    fn name(&self) -> &'static str {
        if self.is_form() {
            "genfity (form)"
        } else {
            "genfity (json)"
        }
    }

    fn deviations(&self) -> &'static [Deviation] {
        deviations::GENFITY
    }

    fn clients(&self, origin: &str, settings: Settings) -> Clients {
        let endpoint = Self::endpoint(origin, settings);
        let base: Url = format!("{origin}/wa").parse().unwrap();
        let probe = move || {
            let admin = SecretString::from(if settings.right_key { ADMIN } else { "wrong" });
            HttpProbe::wa_server(&base, Some(&admin)).unwrap()
        };
        let (one, two, three, four, all) = (
            endpoint.clone(),
            endpoint.clone(),
            endpoint.clone(),
            endpoint.clone(),
            endpoint,
        );
        let probe_again = probe.clone();
        Clients {
            sender: late(move || -> Box<dyn SendMessage> { Box::new(GenfitySender::new(&one).unwrap()) }),
            sessions: late(move || -> Box<dyn ManageSession> {
                Box::new(GenfitySessions::new(&two).unwrap())
            }),
            courtesy: late(move || -> Box<dyn ShowCourtesy> {
                Box::new(GenfityCourtesy::new(&three).unwrap())
            }),
            downloads: late(move || -> Box<dyn DownloadMedia> {
                Box::new(GenfityDownloads::new(&four).unwrap())
            }),
            probe: late(move || -> Box<dyn ProbeEndpoint> { Box::new(probe()) }),
            printed: late(move || {
                let (sender, sessions) = (GenfitySender::new(&all), GenfitySessions::new(&all));
                let (courtesy, downloads) = (GenfityCourtesy::new(&all), GenfityDownloads::new(&all));
                let probe = probe_again();
                format!("{all:?} {sender:?} {sessions:?} {courtesy:?} {downloads:?} {probe:?}")
            }),
        }
    }

    fn set_up(&self, simulator: &Simulator) {
        simulator.configure_wa(WaConfigChange {
            webhook_format: Some(self.0),
            auto_login: Some(false),
            ..WaConfigChange::default()
        });
    }

    fn session<'a>(
        &'a self,
        simulator: &'a Simulator,
        stage: Stage,
        hooks: &'a str,
    ) -> BoxFuture<'a, SessionToken> {
        async move {
            let endpoint = Self::endpoint(&simulator.base_url(), Settings::default());
            let sessions = || GenfitySessions::new(&endpoint).unwrap();
            let token = SessionToken::new(TOKEN).unwrap();
            match stage {
                Stage::Unknown => return SessionToken::new("wat_unknown").unwrap(),
                Stage::Made | Stage::Waiting => {
                    let admin = WaAdmin::new(&endpoint, SecretString::from(ADMIN)).unwrap();
                    let user = NewWaUser {
                        name: NAME,
                        token: &SecretString::from(TOKEN),
                        webhook: Some(hooks),
                        events: &EventList::all(),
                        hmac_key: &SecretString::from(KEY),
                        expiration: 0,
                        history: 0,
                    };
                    admin.create_user(&user).await.unwrap();
                }
                Stage::Paired | Stage::Lost | Stage::LoggedOut => {
                    simulator
                        .create_wa_session(NewSession {
                            name: NAME.to_owned(),
                            token: Some(TOKEN.to_owned()),
                            webhook: hooks.to_owned(),
                            hmac_key: Some(KEY.to_owned()),
                            phone: Some(OWN.to_owned()),
                            ..NewSession::default()
                        })
                        .unwrap();
                }
            }
            match stage {
                Stage::Waiting => drop(sessions().connect(&token, &Upkeep::default()).await.unwrap()),
                Stage::Lost => self.lose(simulator, &token).await,
                Stage::LoggedOut => drop(sessions().logout(&token).await.unwrap()),
                Stage::Made | Stage::Paired | Stage::Unknown => {}
            }
            token
        }
        .boxed()
    }

    fn lose<'a>(&'a self, simulator: &'a Simulator, token: &'a SessionToken) -> BoxFuture<'a, ()> {
        async move {
            let endpoint = Self::endpoint(&simulator.base_url(), Settings::default());
            let sessions = GenfitySessions::new(&endpoint).unwrap();
            sessions.disconnect(token).await.unwrap();
        }
        .boxed()
    }

    fn scan(&self, simulator: &Simulator, _token: &SessionToken) {
        simulator
            .scan_qr(NAME, Some(format!("{OWN}:12@s.whatsapp.net")))
            .unwrap();
    }

    fn paths(&self, calls: Calls) -> &'static str {
        match calls {
            Calls::All => "/wa",
            Calls::Sends => "/wa/chat/send",
        }
    }

    fn refusal(&self, refusal: Refusal) -> (u16, Value) {
        let (status, text) = match refusal {
            Refusal::BadRecipient => (400, "could not parse Phone"),
            Refusal::UploadFailed => (500, "failed to upload file: timed out"),
            Refusal::InnerError => (500, "error sending message: timed out"),
        };
        (status, json!({"code": status, "error": text, "success": false}))
    }

    fn webhooks(&self) -> FaultTarget {
        FaultTarget::WaWebhook
    }

    fn name_of(&self, simulator: &Simulator, token: &SessionToken) -> String {
        let users = simulator.wa_users();
        let user = users.into_iter().find(|user| user.token == token.expose());
        user.unwrap().id
    }

    fn shown(&self, simulator: &Simulator, phone: &str) -> Vec<Shown> {
        let calls = simulator.wa_sends(None);
        let shown = simulator.phone(phone).into_iter().map(|message| {
            let call = calls.iter().find(|call| call.id == message.id).unwrap();
            Shown {
                what: says(&message, call),
                id: message.id,
                quoted: message.quoted_id,
                edited: message.edited,
                deleted: message.deleted,
                reaction: message.reaction,
            }
        });
        shown.collect()
    }

    fn last_reaction(&self, simulator: &Simulator) -> Option<(String, Option<String>)> {
        let calls = simulator.wa_sends(None);
        let call = calls.into_iter().rfind(|call| call.path == "/chat/react")?;
        let emoji = call.text.filter(|text| text != "remove");
        Some((call.id, emoji))
    }

    fn marked_read(&self, simulator: &Simulator) -> Vec<String> {
        let calls = simulator.wa_sends(None);
        let marks = calls.iter().filter(|call| call.path == "/chat/markread");
        let mut ids: Vec<String> = marks
            .flat_map(|call| call.id.split(',').map(str::to_owned))
            .collect();
        ids.sort();
        ids
    }

    fn typed(&self, simulator: &Simulator) -> usize {
        let calls = simulator.wa_sends(None);
        calls.iter().filter(|call| call.path == "/chat/presence").count()
    }

    fn happen(&self, simulator: &Simulator, _token: &SessionToken, happening: &Happening) -> bool {
        if let Some((kind, event, extra)) = event(happening) {
            let Value::Object(extra) = extra else { return false };
            let event = RawEvent {
                session: NAME.to_owned(),
                kind: kind.to_owned(),
                event,
                extra,
            };
            simulator.emit_wa_event(event).unwrap();
        } else {
            simulator.inbound(&inbound(happening)).unwrap();
        }
        true
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
        whatsapp::genfity::sign(key, body)
    }

    fn broken(&self, webhook: &Posted, how: Broken) -> Posted {
        if let Some(broken) = breaking::anybodys(webhook, how) {
            return broken;
        }
        let mut json = self.json(webhook);
        match how {
            Broken::Cut => return self.with_json(webhook, "{\"type\":\"Message\",\"event\":{"),
            Broken::List => return self.with_json(webhook, "[\"Message\"]"),
            Broken::Twice if self.is_form() => {
                let body = String::from_utf8_lossy(&webhook.body).into_owned();
                return breaking::with_body(webhook, format!("userID=another&{body}"));
            }
            Broken::Twice => {
                let body = String::from_utf8_lossy(&webhook.body).into_owned();
                return breaking::with_body(webhook, body.replacen('{', "{\"userID\":\"another\",", 1));
            }
            Broken::LongSession | Broken::ControlInSession if self.is_form() => {
                let name = breaking::name(how);
                let body = form_urlencoded::Serializer::new(String::new())
                    .append_pair("instanceName", &name)
                    .append_pair("jsonData", &json.to_string())
                    .finish();
                return breaking::with_body(webhook, body);
            }
            _ => breaking::change(&mut json, how, |field| match field {
                Field::Kind => &["type"],
                Field::Session => &["userID"],
                Field::MessageId => &["event", "Info", "ID"],
                Field::Chat => &["event", "Info", "Chat"],
                Field::Event => &["event"],
            }),
        }
        self.with_json(webhook, &json.to_string())
    }

    fn secrets(&self, token: &SessionToken) -> Vec<String> {
        vec![token.expose().to_owned(), ADMIN.to_owned()]
    }
}

/// What a message on the phone says. How a sound was sent, where a place is and what is on a card stand in the call.
fn says(message: &PhoneMessage, call: &ApiCall) -> String {
    let text = message.text.clone().unwrap_or_default();
    match message.kind.as_str() {
        "text" => words::text(&text),
        "location" => words::place(&call.body["Latitude"], &call.body["Longitude"], &text),
        "contact" => {
            let vcard = call.body["Vcard"].as_str().unwrap_or_default();
            let number = vcard
                .split("waid=")
                .nth(1)
                .and_then(|rest| rest.split(':').next());
            format!("card {text} {}", number.unwrap_or_default())
        }
        kind => {
            let kind = if kind == "audio" && call.body["ptt"] == true {
                "voice"
            } else {
                kind
            };
            let media = message.media.as_ref().unwrap();
            let (mime, bytes) = match &media.url {
                Some(_) => ("", "by link"),
                None => (media.mimetype.as_str(), words::whole(&media.sha256)),
            };
            words::file(
                kind,
                mime,
                &text,
                media.file_name.as_deref().unwrap_or_default(),
                bytes,
            )
        }
    }
}

/// Everything that is no message: the kind, the event, what stands beside it.
fn event(happening: &Happening) -> Option<(&'static str, Value, Value)> {
    let none = || json!({});
    let change = |change: SessionChange| match change {
        SessionChange::Connected => ("Connected", json!({}), none()),
        SessionChange::Disconnected => ("Disconnected", json!({}), none()),
        SessionChange::LoggedOut => ("LoggedOut", json!({"OnConnect": false, "Reason": 401}), none()),
        SessionChange::Qr => (
            "QR",
            json!("code"),
            json!({"qrCodeBase64": "data:image/png;base64,AAAA"}),
        ),
        SessionChange::QrTimeout => ("QRTimeout", json!("timeout"), none()),
        SessionChange::Paired => (
            "PairSuccess",
            json!({"ID": format!("{OWN}:12@s.whatsapp.net")}),
            none(),
        ),
        SessionChange::Failed => (
            "ConnectFailure",
            json!("ConnectFailure"),
            json!({"error": "i/o timeout"}),
        ),
    };
    Some(match &happening.what {
        What::Receipt {
            ids,
            kind,
            own_device,
        } => {
            let (kind, state) = match kind {
                ReceiptKind::Delivered => ("", "Delivered"),
                ReceiptKind::Read => ("read", "Read"),
                ReceiptKind::ReadSelf => ("read-self", "ReadSelf"),
                ReceiptKind::Played => ("played", ""),
            };
            let (chat, alternative) = address(happening.by);
            let event = json!({
                "Chat": chat, "Sender": chat, "SenderAlt": alternative, "IsFromMe": own_device, "IsGroup": false,
                "MessageIDs": ids, "Timestamp": "2026-02-17T09:17:02-03:00", "Type": kind,
            });
            ("ReadReceipt", event, json!({"state": state}))
        }
        What::OddReceipt => {
            let event = json!({
                "Chat": address(By::Partner).0, "MessageIDs": ["3EB0A"], "Type": "retry",
                "Timestamp": "2026-02-17T09:17:02-03:00",
            });
            ("ReadReceipt", event, json!({"state": ""}))
        }
        What::Session(to) => change(*to),
        What::Echo => {
            let info = json!({"Chat": address(By::Partner).0, "ID": happening.id, "IsFromMe": true});
            ("MessageSent", json!({"Info": info, "Message": {}}), none())
        }
        What::Noise => ("ChatPresence", json!({"Chat": address(By::Partner).0}), none()),
        What::StrangeEvent => ("HologramReceived", json!({"a": 1}), none()),
        _ => return None,
    })
}

/// The chat, and the partner's other address where the event tells it.
fn address(by: By) -> (String, String) {
    let number = format!("{PARTNER}@s.whatsapp.net");
    let lid = format!("{PARTNER_LID}@lid");
    match by {
        By::Partner | By::Own => (number, String::new()),
        By::PartnerWithLid => (lid, number),
        By::LidAlone => (lid, String::new()),
        By::In(place) => (chat(place).to_owned(), String::new()),
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

fn inbound(happening: &Happening) -> Inbound {
    let mut inbound = Inbound {
        session: NAME.to_owned(),
        from: PARTNER.to_owned(),
        id: Some(happening.id.to_owned()),
        kind: match happening.by {
            By::Own => InboundKind::Own,
            By::In(Place::Group) => InboundKind::Group,
            _ => InboundKind::Direct,
        },
        lid: matches!(happening.by, By::PartnerWithLid | By::LidAlone).then(|| PARTNER_LID.to_owned()),
        ..Inbound::default()
    };
    match happening.by {
        By::LidAlone => drop(inbound.info.insert("SenderAlt".to_owned(), json!(""))),
        By::In(place) => drop(inbound.info.insert("Chat".to_owned(), json!(chat(place)))),
        By::Partner | By::PartnerWithLid | By::Own => {}
    }
    let context = happening.quoted.map(|(id, words)| {
        json!({"stanzaID": id, "participant": format!("{OWN}@s.whatsapp.net"), "quotedMessage": {"conversation": words}})
    });
    match &happening.what {
        What::Text(text) => match context {
            Some(context) => {
                inbound.message =
                    Some(json!({"extendedTextMessage": {"text": text, "contextInfo": context}}));
            }
            None => inbound.text = Some(text.clone()),
        },
        What::Media {
            kind,
            caption,
            file_name,
            gone: false,
        } => {
            inbound.text = caption.map(str::to_owned);
            inbound.media = Some(InboundMedia {
                kind: sort(*kind).to_owned(),
                mimetype: "application/x-sample".to_owned(),
                data: BASE64.encode(FILE),
                file_name: file_name.map(str::to_owned),
                ptt: *kind == MediaKind::Voice,
            });
        }
        other => inbound.message = Some(message(other)),
    }
    inbound
}

const fn sort(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio | MediaKind::Voice => "audio",
        MediaKind::Document => "document",
        MediaKind::Sticker => "sticker",
    }
}

fn message(what: &What) -> Value {
    let file = json!({
        "URL": "https://mmg.whatsapp.net/v/none", "directPath": "/v/none", "mediaKey": "AAEC", "mimetype": "image/jpeg",
    });
    let card =
        |number: &u8| json!({"displayName": format!("Kontak {number}"), "vcard": "BEGIN:VCARD\nEND:VCARD"});
    let about = |kind: u8, target: &str, more: Value| {
        let mut protocol = json!({"key": {"ID": target, "fromMe": false}, "type": kind});
        if let (Some(protocol), Value::Object(more)) = (protocol.as_object_mut(), more) {
            protocol.extend(more);
        }
        json!({"protocolMessage": protocol})
    };
    let place = json!({"degreesLatitude": -5.1477, "degreesLongitude": 119.4327, "name": "Balai Desa"});
    match what {
        What::Media { kind, .. } => {
            let mut message = Map::new();
            message.insert(format!("{}Message", sort(*kind)), file);
            Value::Object(message)
        }
        What::VideoNote => json!({"ptvMessage": file}),
        What::Location { live: false } => json!({"locationMessage": place}),
        What::Location { live: true } => json!({"liveLocationMessage": place}),
        What::Contacts(1) => json!({"contactMessage": card(&1)}),
        What::Contacts(count) => {
            let cards: Vec<Value> = (1..=*count).map(|number| card(&number)).collect();
            json!({"contactsArrayMessage": {"displayName": "cards", "contacts": cards}})
        }
        What::Reaction { target, emoji } => {
            json!({"reactionMessage": {"key": {"ID": target, "fromMe": true}, "text": emoji}})
        }
        What::Edit { target, text } => about(14, target, json!({"editedMessage": {"conversation": text}})),
        What::Revoke { target } => about(0, target, json!({})),
        What::Poll => json!({"pollCreationMessageV3": {
            "name": "Kapan?", "options": [{"optionName": "Sabtu"}, {"optionName": "Minggu"}], "selectableOptionsCount": 1,
        }}),
        What::Choice => {
            json!({"buttonsResponseMessage": {"selectedButtonID": "b1", "selectedDisplayText": "Ya"}})
        }
        _ => json!({"hologramMessage": {"depth": 3}}),
    }
}
