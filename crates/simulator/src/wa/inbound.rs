//! Messages that people send to a session from their phones.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::control::ControlError;
use super::events::{blank_info, classify, local_time, message_event};
use super::media::{decode, encode};
use super::state::WaState;
use super::webhook::{self, Outgoing};
use crate::http::object;

/// A message to a session, as `POST /_sim/wa/inbound` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inbound {
    /// User id or name of the receiving session.
    pub session: String,
    /// The writer's number, digits only.
    pub from: String,
    /// Plain text; becomes `conversation`, or the caption if there is media.
    pub text: Option<String>,
    /// A whole `Message` object instead, e.g. a reaction or a location (WA contract §14).
    pub message: Option<Value>,
    /// An attached file instead.
    pub media: Option<InboundMedia>,
    /// Message id; made up if absent.
    pub id: Option<String>,
    /// The name the writer goes by; `Budi` if absent.
    pub push_name: Option<String>,
    /// When it was written; now if absent.
    pub timestamp: Option<InboundTime>,
    /// The writer's hidden id, digits only. The event then names the chat by it and the number only in `SenderAlt` (S2).
    pub lid: Option<String>,
    /// Where it was written.
    pub kind: InboundKind,
    /// Members of `Info` to overwrite at the end, for shapes not thought of here.
    pub info: Map<String, Value>,
}

/// A file that comes with an inbound message. Its bytes can be fetched with `/chat/download*` afterwards.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InboundMedia {
    /// `image`, `video`, `audio`, `document` or `sticker`.
    pub kind: String,
    /// Declared type.
    pub mimetype: String,
    /// The bytes in base64.
    pub data: String,
    /// File name of documents.
    pub file_name: Option<String>,
    /// A voice note rather than an audio file.
    pub ptt: bool,
}

/// Where an inbound message was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundKind {
    /// By the other person in a direct chat.
    #[default]
    Direct,
    /// By the session's owner on the owner's own phone, to `from` (S11).
    Own,
    /// By `from` in a group.
    Group,
    /// By `from` as a status post, which goes to everybody.
    Status,
}

/// A time in either of the usual spellings.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
pub enum InboundTime {
    /// Unix seconds.
    Unix(i64),
    /// RFC 3339.
    Rfc3339(DateTime<Utc>),
}

impl InboundTime {
    fn utc(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Unix(seconds) => DateTime::from_timestamp(seconds, 0),
            Self::Rfc3339(at) => Some(at),
        }
    }
}

/// The event of an inbound message, ready to be posted; and its message id.
pub(super) fn receive(
    state: &mut WaState,
    inbound: &Inbound,
) -> Result<(String, Option<Outgoing>), ControlError> {
    let session = state
        .find(&inbound.session)
        .ok_or_else(|| ControlError::UnknownSession(inbound.session.clone()))?;
    let (session, own_jid) = (session.id.clone(), session.jid.clone());
    let id = inbound.id.clone().unwrap_or_else(super::chat::message_id);
    let push_name = inbound.push_name.as_deref().unwrap_or("Budi");
    state
        .phones
        .learn(&inbound.from, inbound.lid.as_deref(), push_name);
    let mut extra = Map::new();
    let (message, raw) = message(state, inbound, &session, &id, &mut extra)?;
    let info = info(inbound, &id, push_name, &own_jid, &message)?;
    let event = message_event(info, Value::Object(message), raw);
    let outgoing = webhook::prepare(state, &session, "Message", event, extra);
    Ok((id, outgoing))
}

fn info(
    inbound: &Inbound,
    id: &str,
    push_name: &str,
    own_jid: &str,
    message: &Map<String, Value>,
) -> Result<Value, ControlError> {
    let number = &inbound.from;
    let at = match inbound.timestamp {
        Some(time) => time.utc().ok_or(ControlError::Timestamp)?,
        None => Utc::now(),
    };
    let (kind, media_type) = classify(message);
    let mut info = blank_info();
    info["ID"] = json!(id);
    info["Type"] = json!(kind);
    info["MediaType"] = json!(media_type);
    info["PushName"] = json!(push_name);
    info["Timestamp"] = json!(local_time(at));
    let (chat, sender, alternative) = match &inbound.lid {
        Some(lid) => {
            info["AddressingMode"] = json!("lid");
            let number = format!("{number}:24@s.whatsapp.net");
            (format!("{lid}@lid"), format!("{lid}:24@lid"), number)
        }
        None => {
            let number_jid = format!("{number}@s.whatsapp.net");
            (number_jid, format!("{number}:3@s.whatsapp.net"), String::new())
        }
    };
    info["Chat"] = json!(chat);
    info["Sender"] = json!(sender);
    info["SenderAlt"] = json!(alternative);
    match inbound.kind {
        InboundKind::Direct => {}
        InboundKind::Own => {
            let own = own_jid.split_once(':').map_or(own_jid, |(user, _)| user);
            let own = own.trim_end_matches("@s.whatsapp.net");
            info["Sender"] = json!(format!("{own}@s.whatsapp.net"));
            info["SenderAlt"] = json!("");
            info["RecipientAlt"] = json!(alternative.replace(":24@", "@"));
            info["IsFromMe"] = json!(true);
            info["DeviceSentMeta"] = json!({"DestinationJID": chat, "Phash": ""});
        }
        InboundKind::Group => {
            info["Chat"] = json!("120363040000000001@g.us");
            info["IsGroup"] = json!(true);
        }
        InboundKind::Status => info["Chat"] = json!("status@broadcast"),
    }
    for (key, value) in &inbound.info {
        info[key.as_str()] = value.clone();
    }
    Ok(info)
}

/// `Message` and `RawMessage`. Inline media goes to `extra` if the cache entry says so (§13).
fn message(
    state: &mut WaState,
    inbound: &Inbound,
    session: &str,
    id: &str,
    extra: &mut Map<String, Value>,
) -> Result<(Map<String, Value>, Value), ControlError> {
    let message = match (&inbound.message, &inbound.media) {
        (Some(message), _) => object(message.clone()),
        (None, Some(media)) => media_message(state, inbound, media, session, id, extra)?,
        (None, None) => {
            let text = inbound.text.as_deref().ok_or(ControlError::NoContent)?;
            if inbound.kind == InboundKind::Own {
                object(json!({"extendedTextMessage": {"text": text}}))
            } else {
                object(json!({"conversation": text}))
            }
        }
    };
    let plain = Value::Object(message.clone());
    let captioned = message
        .get("documentMessage")
        .is_some_and(|document| document.get("caption").is_some());
    let raw = if inbound.kind == InboundKind::Own {
        json!({"deviceSentMessage": {"destinationJID": format!("{}@s.whatsapp.net", inbound.from), "message": plain}})
    } else if captioned {
        json!({"documentWithCaptionMessage": {"message": plain}})
    } else {
        plain
    };
    Ok((message, raw))
}

fn media_message(
    state: &mut WaState,
    inbound: &Inbound,
    media: &InboundMedia,
    session: &str,
    id: &str,
    extra: &mut Map<String, Value>,
) -> Result<Map<String, Value>, ControlError> {
    const KINDS: [&str; 5] = ["image", "video", "audio", "document", "sticker"];
    if !KINDS.contains(&media.kind.as_str()) {
        return Err(ControlError::MediaKind);
    }
    let bytes = decode(&media.data).ok_or(ControlError::MediaData)?;
    let path = format!("/v/t62.7118-24/{id}?ccb=11-4&oh=01_Q5Aa&oe=69B3");
    let mut inner = json!({
        "URL": format!("https://mmg.whatsapp.net{path}&mms3=true"), "mimetype": media.mimetype,
        "fileSHA256": encode(&[0xde; 32]), "fileLength": bytes.len(), "mediaKey": encode(&[0x07; 32]),
        "fileEncSHA256": encode(&[0xfe; 32]), "directPath": path, "mediaKeyTimestamp": Utc::now().timestamp(),
    });
    if let Some(text) = &inbound.text {
        inner["caption"] = json!(text);
    }
    if let Some(name) = &media.file_name {
        inner["fileName"] = json!(name);
        inner["title"] = json!(name);
    }
    if media.kind == "audio" {
        inner["PTT"] = json!(media.ptt);
    }
    let delivery = state
        .entry_of(session)
        .map(|entry| entry.media_delivery.clone())
        .unwrap_or_default();
    if delivery == "base64" || delivery == "both" {
        extra.insert("base64".to_owned(), json!(media.data));
        extra.insert("mimeType".to_owned(), json!(media.mimetype));
        extra.insert("fileName".to_owned(), json!(format!("{id}.bin")));
    }
    if media.kind == "sticker" {
        extra.insert("isSticker".to_owned(), json!(true));
        extra.insert("stickerAnimated".to_owned(), json!(false));
    }
    state.media.put(&path, bytes);
    let mut message = Map::new();
    message.insert(format!("{}Message", media.kind), inner);
    Ok(message)
}
