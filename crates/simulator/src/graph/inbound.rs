//! Messages that people send, of every kind (contract 2.6), in both generations (2.9).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::errors::webhook_error;
use super::media::NewFile;
use super::send::new_wamid;
use super::state::{GraphShape, GraphState};
use super::webhook::{Part, PartValue};
use crate::signature::sha256_hex;
use crate::wa::control::ControlError;

/// A message from a person, as `POST /_sim/graph/inbound` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphInbound {
    /// The receiving `phone_number_id`.
    pub number: String,
    /// The writer's digits.
    pub from: String,
    /// `text` if empty, or any type of contract 2.6; also `voice`, `button_reply`, `list_reply`, `flow_reply`,
    /// `call_permission_reply`, `reaction_removed`, `user_changed_number`, `user_changed_user_id`,
    /// `customer_identity_changed`, which are told apart by what is inside. A kind without `body` gets a usual one.
    pub kind: String,
    /// Words, or the caption.
    pub text: Option<String>,
    /// An attached file.
    pub media: Option<GraphInboundMedia>,
    /// The object under the type, if the usual one will not do.
    pub body: Option<Value>,
    /// More members of the message, e.g. `context`, `referral`, `errors`.
    pub extra: Map<String, Value>,
    /// Message id; made up if absent.
    pub id: Option<String>,
    /// The name the writer goes by; `Sari Wulandari` if absent.
    pub name: Option<String>,
    /// The writer's user id; made from the digits if absent.
    pub user_id: Option<String>,
    /// The writer's name at WhatsApp.
    pub username: Option<String>,
    /// The writer's phone is left out: only the user id is told.
    pub without_phone: bool,
    /// `contacts[]` is left out.
    pub without_contact: bool,
    /// The group it was written in.
    pub group: Option<String>,
    /// The message it answers.
    pub reply_to: Option<String>,
    /// The time it claims, in unix seconds; now if absent.
    pub timestamp: Option<i64>,
}

/// A file that comes with a message.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphInboundMedia {
    /// Its type.
    pub mime_type: String,
    /// The bytes in base64.
    pub data: String,
    /// The name of a document.
    pub filename: Option<String>,
    /// The type that is claimed instead, in the webhook, the metadata and the download.
    pub told_mime_type: Option<String>,
    /// The SHA-256 in hex that is claimed instead.
    pub told_sha256: Option<String>,
    /// The size that is claimed instead.
    pub told_size: Option<u64>,
    /// The id is dead from the start.
    pub expired: bool,
}

/// The user id the imitation gives to a phone.
#[must_use]
pub fn graph_user_id(phone: &str) -> String {
    let hash = Sha256::digest(phone.as_bytes());
    let number = hash
        .iter()
        .take(8)
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    format!("ID.{number:020}")
}

/// The message as an update; its id is the second.
pub(super) fn part(state: &mut GraphState, inbound: &GraphInbound) -> Result<(Part, String), ControlError> {
    if !state.numbers.contains_key(&inbound.number) && !state.open_to_all() {
        return Err(ControlError::NotInGraph {
            what: "number",
            id: inbound.number.clone(),
        });
    }
    let new = state.shape_of(&inbound.number) == GraphShape::New;
    let user_id = inbound
        .user_id
        .clone()
        .unwrap_or_else(|| graph_user_id(&inbound.from));
    let tells_user = new || inbound.without_phone || inbound.user_id.is_some();
    let id = inbound.id.clone().unwrap_or_else(new_wamid);
    let at = inbound.timestamp.unwrap_or_else(|| Utc::now().timestamp());
    let (kind, member, body) = content(state, inbound, &user_id)?;
    let mut message = json!({"id": id, "timestamp": at.to_string(), "type": kind});
    if !inbound.without_phone {
        message["from"] = json!(inbound.from);
    }
    if tells_user && kind != "system" {
        message["from_user_id"] = json!(user_id);
    }
    if let Some(group) = &inbound.group {
        message["group_id"] = json!(group);
    }
    if let Some(body) = body {
        message[member] = body;
    }
    if kind == "unsupported" && !inbound.extra.contains_key("errors") {
        message["errors"] = json!([webhook_error(131_051, None)]);
    }
    if let Some(target) = &inbound.reply_to {
        message["context"] = json!({"from": state.display_of(&inbound.number), "id": target});
    }
    for (key, value) in &inbound.extra {
        message[key.as_str()] = value.clone();
    }
    if !inbound.without_phone && kind != "system" {
        let now = Utc::now().timestamp_millis();
        state.set_window(&inbound.number, &inbound.from, Some(now));
    }
    // What comes in counts towards the number's throughput, but nobody is refused.
    if let Some(number) = state.numbers.get(&inbound.number) {
        let per_second = number.per_second.unwrap_or(state.settings.number_per_second);
        state.limits.number(&inbound.number, per_second);
    }
    let contact =
        (kind != "system" && !inbound.without_contact).then(|| contact(inbound, tells_user, &user_id));
    let part = Part {
        waba: state.waba_of(&inbound.number),
        number: Some(inbound.number.clone()),
        field: "messages".to_owned(),
        time: None,
        value: PartValue::Message(contact, message),
        item: id.clone(),
    };
    Ok((part, id))
}

fn contact(inbound: &GraphInbound, tells_user: bool, user_id: &str) -> Value {
    let mut contact = json!({"profile": {"name": inbound.name.as_deref().unwrap_or("Sari Wulandari")}});
    if let Some(username) = &inbound.username {
        contact["profile"]["username"] = json!(username);
    }
    if !inbound.without_phone {
        contact["wa_id"] = json!(inbound.from);
    }
    if tells_user {
        contact["user_id"] = json!(user_id);
    }
    contact
}

/// Type, the member that holds the object, and the object.
fn content<'a>(
    state: &mut GraphState,
    inbound: &'a GraphInbound,
    user_id: &str,
) -> Result<(&'a str, &'a str, Option<Value>), ControlError> {
    let asked = match inbound.kind.as_str() {
        "" => "text",
        kind => kind,
    };
    let kind = match asked {
        "voice" => "audio",
        "button_reply" | "list_reply" | "flow_reply" | "call_permission_reply" => "interactive",
        "reaction_removed" => "reaction",
        "user_changed_number" | "user_changed_user_id" | "customer_identity_changed" => "system",
        kind => kind,
    };
    if let Some(body) = &inbound.body {
        return Ok((kind, kind, Some(body.clone())));
    }
    let text = |usual: &str| inbound.text.clone().unwrap_or_else(|| usual.to_owned());
    let target = inbound
        .reply_to
        .clone()
        .unwrap_or_else(|| "wamid.HBgM99ourMessage==".to_owned());
    let body = match asked {
        "text" => json!({"body": text("Selamat pagi \u{e9}\u{1f642}")}),
        "image" | "video" | "audio" | "voice" | "document" | "sticker" => file(state, inbound, asked)?,
        "location" => json!({"latitude": -6.175_392_4, "longitude": 106.827_152_8, "name": "Monas",
                             "address": "Gambir, Jakarta"}),
        "contacts" => json!([{"name": {"formatted_name": "Budi Santoso", "first_name": "Budi"},
                              "phones": [{"phone": "+62 811-0000-002", "wa_id": "628110000002", "type": "WORK"}]}]),
        "button_reply" => json!({"type": asked, asked: {"id": "confirm:4711", "title": text("Konfirmasi")}}),
        "list_reply" => json!({"type": asked, asked: {"id": "slot:1", "title": text("Sabtu 10.00"),
                                                      "description": "Online"}}),
        "flow_reply" => json!({"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent",
            "response_json": json!({"flow_token": "ft-4711", "agree": true}).to_string()}}),
        "call_permission_reply" => json!({"type": asked, asked: {"response": "accept", "is_permanent": false,
            "expiration_timestamp": Utc::now().timestamp() + 604_800, "response_source": "user_action"}}),
        "button" => json!({"payload": text("STOP_PROMO"), "text": text("Berhenti")}),
        "order" => {
            json!({"catalog_id": "330000000000001", "text": text("Tolong dipercepat"), "product_items":
            [{"product_retailer_id": "SKU-014", "quantity": 2, "item_price": 7.99, "currency": "USD"}]})
        }
        "reaction" => json!({"message_id": target, "emoji": text("\u{1f44d}")}),
        "reaction_removed" => json!({"message_id": target}),
        "system" | "user_changed_number" => json!({"type": "user_changed_number",
            "body": "User changed number", "wa_id": "628110000009"}),
        "user_changed_user_id" => json!({"type": asked, "body": "User changed id",
            "user_id": graph_user_id(user_id), "previous_user_id": user_id}),
        "customer_identity_changed" => json!({"type": asked, "body": "User identity changed"}),
        "unsupported" => json!({"type": text("poll_creation")}),
        "edit" => json!({"original_message_id": target,
                         "message": {"type": "text", "text": {"body": text("Ya, besok jam 11")}}}),
        "revoke" => json!({"original_message_id": target}),
        "request_welcome" | "unknown" | "hsm" | "ephemeral" => return Ok((kind, kind, None)),
        other => return Err(ControlError::GraphKind(other.to_owned())),
    };
    Ok((kind, kind, Some(body)))
}

/// The object of a file, which can then be downloaded.
fn file(state: &mut GraphState, inbound: &GraphInbound, asked: &str) -> Result<Value, ControlError> {
    let given = inbound.media.clone().unwrap_or_else(|| usual_file(asked));
    let bytes = STANDARD
        .decode(&given.data)
        .map_err(|_| ControlError::MediaData)?;
    let sha256 = given.told_sha256.clone().unwrap_or_else(|| sha256_hex(&bytes));
    let mime_type = given
        .told_mime_type
        .clone()
        .unwrap_or_else(|| given.mime_type.clone());
    let new = state.shape_of(&inbound.number) == GraphShape::New;
    let id = state.next_id("19000000");
    state.files.put(
        NewFile {
            id: id.clone(),
            number: inbound.number.clone(),
            mime_type: mime_type.clone(),
            sha256: sha256.clone(),
            told_size: given.told_size,
            expired: given.expired,
            bytes,
        },
        state.settings.inbound_media_life_ms,
    );
    let digest = hex::decode(&sha256).map_or_else(|_| sha256.clone(), |bytes| STANDARD.encode(bytes));
    let mut file = json!({"id": id, "mime_type": mime_type, "sha256": digest});
    if let Some(caption) = &inbound.text
        && !matches!(asked, "audio" | "voice" | "sticker")
    {
        file["caption"] = json!(caption);
    }
    match asked {
        "document" => file["filename"] = json!(given.filename.as_deref().unwrap_or("surat.pdf")),
        "voice" => file["voice"] = json!(true),
        "sticker" => file["animated"] = json!(false),
        _ => {}
    }
    if new {
        let base = state.base_url.clone();
        file["url"] = json!(state.files.address(&base, &id, state.settings.media_url_life_ms));
    }
    Ok(file)
}

/// A small file of the kind, with the signature of its type.
fn usual_file(kind: &str) -> GraphInboundMedia {
    let (mime_type, bytes): (&str, &[u8]) = match kind {
        "image" => ("image/jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\xff\xd9"),
        "video" => ("video/mp4", b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42"),
        "audio" => ("audio/mpeg", b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x00"),
        "voice" => (
            "audio/ogg; codecs=opus",
            b"OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x13OpusHead\x01\x01",
        ),
        "sticker" => ("image/webp", b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00/\x00\x00\x00\x10\x07\x10\x11\x11"),
        _ => ("application/pdf", b"%PDF-1.4\n%%EOF\n"),
    };
    GraphInboundMedia {
        mime_type: mime_type.to_owned(),
        data: STANDARD.encode(bytes),
        ..GraphInboundMedia::default()
    }
}
