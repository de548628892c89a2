//! What a message says, in the words of Meta's webhooks (Cloud API contract 2.6).

use domain::ids::MessageId;
use domain::message::{Media, MediaKind, MessageContent};
use domain::text::Text;
use serde_json::{Map, Value, json};
use whatsapp::cloud::contact;

use super::ids;

/// What is said of a message's file.
pub(super) enum FileState {
    /// It is there.
    There {
        /// What it is, by its content.
        mime_type: String,
        /// SHA-256 in hexadecimal.
        sha256: String,
        /// What its sender calls it.
        name: Option<String>,
    },
    /// It could not be had, or is not handed out.
    Missing,
}

/// What a message says.
pub(super) struct Said {
    /// The type, under whose name the body stands.
    pub(super) kind: &'static str,
    /// The body, where the type has one.
    pub(super) body: Option<Value>,
    /// Why there is no more of it.
    pub(super) errors: Option<Value>,
}

/// A message, and what its parts are called.
pub(super) struct Parts<'a> {
    pub(super) message: MessageId,
    pub(super) content: &'a MessageContent,
    pub(super) file: Option<&'a FileState>,
    /// The id of the message it is about: reacted to, edited or deleted.
    pub(super) target: Option<String>,
}

impl Said {
    fn of(kind: &'static str, body: Value) -> Self {
        Self {
            kind,
            body: Some(body),
            errors: None,
        }
    }

    fn unsupported(what: &str) -> Self {
        Self {
            errors: Some(errors(
                131_051,
                "Message type unknown",
                "This kind of message is not told through the API",
            )),
            ..Self::of("unsupported", json!({ "type": what }))
        }
    }

    /// Writes it into a message.
    pub(super) fn write(self, message: &mut Map<String, Value>) {
        message.insert("type".to_owned(), self.kind.into());
        if let Some(body) = self.body {
            message.insert(self.kind.to_owned(), body);
        }
        if let Some(errors) = self.errors {
            message.insert("errors".to_owned(), errors);
        }
    }
}

fn errors(code: u32, title: &str, details: &str) -> Value {
    json!([{"code": code, "title": title, "message": title, "error_data": {"details": details}}])
}

/// What a message says.
pub(super) fn say(parts: Parts<'_>) -> Said {
    let about = parts.target.unwrap_or_default();
    match parts.content {
        MessageContent::Text { text } => Said::of("text", json!({"body": text.as_str()})),
        MessageContent::Media(media) => file(parts.message, media, parts.file),
        MessageContent::Location {
            latitude,
            longitude,
            name,
            address,
            live: false,
        } => {
            let mut place = Map::new();
            place.insert("latitude".to_owned(), json!(latitude));
            place.insert("longitude".to_owned(), json!(longitude));
            put(&mut place, "name", name.as_ref());
            put(&mut place, "address", address.as_ref());
            Said::of("location", Value::Object(place))
        }
        MessageContent::Contacts { contacts } => {
            let cards: Vec<Value> = contacts.iter().map(contact).collect();
            Said::of("contacts", Value::Array(cards))
        }
        MessageContent::Reaction { target: _, emoji } => {
            let mut reaction = Map::new();
            reaction.insert("message_id".to_owned(), about.into());
            put(&mut reaction, "emoji", emoji.as_ref());
            Said::of("reaction", Value::Object(reaction))
        }
        MessageContent::Edit { target: _, content } => match &**content {
            MessageContent::Text { text } => Said::of(
                "edit",
                json!({"original_message_id": about, "message": {"type": "text", "text": {"body": text.as_str()}}}),
            ),
            _ => Said::unsupported("edit"),
        },
        MessageContent::Revoke { target: _ } => Said::of("revoke", json!({"original_message_id": about})),
        MessageContent::InteractiveReply { id, title, data } => reply(
            id.as_ref(),
            title,
            data.as_ref().map(domain::text::RawJson::as_value),
        ),
        MessageContent::Poll { .. } => Said::unsupported("poll_creation"),
        MessageContent::PollVote { .. } => Said::unsupported("poll_update"),
        MessageContent::Location { live: true, .. } => Said::unsupported("location"),
        MessageContent::Template { .. } => Said::unsupported("hsm"),
        MessageContent::Interactive { .. } => Said::unsupported("interactive"),
        MessageContent::Unsupported { .. } => Said::unsupported("errors"),
    }
}

fn put(object: &mut Map<String, Value>, name: &str, text: Option<&Text>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        object.insert(name.to_owned(), text.as_str().into());
    }
}

fn file(message: MessageId, media: &Media, state: Option<&FileState>) -> Said {
    let (kind, voice) = match media.media_kind {
        MediaKind::Image => ("image", None),
        MediaKind::Video => ("video", None),
        MediaKind::Audio => ("audio", Some(false)),
        MediaKind::Voice => ("audio", Some(true)),
        MediaKind::Document => ("document", None),
        MediaKind::Sticker => ("sticker", None),
    };
    let Some(FileState::There {
        mime_type,
        sha256,
        name,
    }) = state
    else {
        return Said {
            errors: Some(errors(
                131_052,
                "Media download error",
                "The file could not be had, or is not handed out",
            )),
            ..Said::of("unsupported", json!({"type": "media_placeholder"}))
        };
    };
    let hash = domain::message::Sha256::parse(sha256).map(domain::message::Sha256::to_base64);
    let mut body = Map::new();
    body.insert("id".to_owned(), ids::media_id(message.as_uuid()).into());
    body.insert("mime_type".to_owned(), mime_type.as_str().into());
    body.insert("sha256".to_owned(), hash.unwrap_or_default().into());
    put(&mut body, "caption", media.caption.as_ref());
    if kind == "document" {
        let name = name.as_deref().unwrap_or("file");
        body.insert("filename".to_owned(), name.into());
    }
    if let Some(voice) = voice {
        body.insert("voice".to_owned(), voice.into());
    }
    Said::of(kind, Value::Object(body))
}

/// What was answered is told by its shape, for that is what is kept of it.
fn reply(id: Option<&Text>, title: &Text, data: Option<&Value>) -> Said {
    let Some(id) = id else {
        return match data {
            Some(order) if order.get("product_items").is_some() => Said::of("order", order.clone()),
            Some(form) => Said::of(
                "interactive",
                json!({"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent",
                    "response_json": form.to_string()}}),
            ),
            None => Said::of(
                "button",
                json!({"payload": title.as_str(), "text": title.as_str()}),
            ),
        };
    };
    let chosen = json!({"id": id.as_str(), "title": title.as_str()});
    match data {
        Some(permission) if permission.get("response").is_some() => Said::of(
            "interactive",
            json!({"type": "call_permission_reply", "call_permission_reply": permission}),
        ),
        Some(row) if row.get("description").is_some() => {
            let mut chosen = chosen;
            chosen["description"] = row["description"].clone();
            Said::of("interactive", json!({"type": "list_reply", "list_reply": chosen}))
        }
        _ => Said::of(
            "interactive",
            json!({"type": "button_reply", "button_reply": chosen}),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(content: &str, file: Option<&FileState>) -> Value {
        let content: MessageContent = serde_json::from_str(content).unwrap();
        let mut message = Map::new();
        say(Parts {
            message: MessageId::from_uuid(uuid::Uuid::from_u128(42)),
            content: &content,
            file,
            target: Some("wamid.X".to_owned()),
        })
        .write(&mut message);
        Value::Object(message)
    }

    #[test]
    fn each_kind_has_its_words() {
        let there = FileState::There {
            mime_type: "image/jpeg".to_owned(),
            sha256: "00".repeat(32),
            name: None,
        };
        let image = r#"{"kind":"media","media_kind":"image","caption":"KTP","sources":[]}"#;
        assert_eq!(
            said(image, Some(&there)),
            json!({"type": "image", "image": {"id": "42", "mime_type": "image/jpeg",
                "sha256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "caption": "KTP"}})
        );
        assert_eq!(
            said(image, Some(&FileState::Missing))["errors"][0]["code"],
            131_052
        );
        let reaction = r#"{"kind":"reaction","target":"3EB0","emoji":"👍"}"#;
        assert_eq!(
            said(reaction, None),
            json!({"type": "reaction", "reaction": {"message_id": "wamid.X", "emoji": "👍"}})
        );
        let button = r#"{"kind":"interactive_reply","id":"b1","title":"Ya"}"#;
        assert_eq!(
            said(button, None)["interactive"],
            json!({"type": "button_reply", "button_reply": {"id": "b1", "title": "Ya"}})
        );
        let form = r#"{"kind":"interactive_reply","id":null,"title":"Sent","data":{"flow_token":"t"}}"#;
        assert_eq!(
            said(form, None)["interactive"]["nfm_reply"]["response_json"],
            r#"{"flow_token":"t"}"#
        );
        let poll = r#"{"kind":"poll","question":"?","options":["a"],"selectable":1}"#;
        assert_eq!(said(poll, None)["unsupported"], json!({"type": "poll_creation"}));
        let revoke = r#"{"kind":"revoke","target":"3EB0"}"#;
        assert_eq!(
            said(revoke, None)["revoke"],
            json!({"original_message_id": "wamid.X"})
        );
    }
}
