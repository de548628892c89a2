//! Meta's envelope around one update, in the shape of 2026 (Cloud API contract 2.4 to 2.9).

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use domain::ids::ChatId;
use serde_json::{Map, Value, json};

use super::content::Said;
use super::{ids, send};
use crate::store::gate::NumberRow;

/// The person at the other end, or the group.
pub(super) struct Person {
    pub(super) chat: ChatId,
    pub(super) address: ChatAddress,
    pub(super) name: Option<String>,
    /// In a group: who wrote.
    pub(super) writer: Option<ChatAddress>,
}

impl Person {
    /// Their number, where it is known.
    fn wa_id(&self) -> Option<&str> {
        let who = self.writer.as_ref().unwrap_or(&self.address);
        who.phone().map(domain::address::PhoneNumber::as_str)
    }

    /// Meta's id of them, else one that stands for their chat.
    fn user_id(&self) -> String {
        match self.writer.as_ref().unwrap_or(&self.address) {
            ChatAddress::User(user) => user.as_str().to_owned(),
            // The chat is several people's.
            writer if self.writer.is_some() => ids::writer_id(writer),
            _ => ids::user_id(self.chat),
        }
    }

    fn group_id(&self) -> Option<&str> {
        match &self.address {
            ChatAddress::Group(_) => self.address.as_str().split('@').next(),
            _ => None,
        }
    }

    fn contact(&self) -> Value {
        let mut contact = Map::new();
        if let Some(name) = &self.name {
            contact.insert("profile".to_owned(), json!({ "name": name }));
        }
        set(&mut contact, "wa_id", self.wa_id());
        contact.insert("user_id".to_owned(), self.user_id().into());
        Value::Object(contact)
    }
}

/// A message that is told.
pub(super) struct Message {
    pub(super) wamid: String,
    pub(super) at: DateTime<Utc>,
    pub(super) said: Said,
    /// The message it answers, and who wrote that.
    pub(super) context: Option<(String, Option<String>)>,
}

/// A move of a message that is told.
pub(super) struct Status<'a> {
    pub(super) wamid: String,
    pub(super) status: &'static str,
    pub(super) at: DateTime<Utc>,
    pub(super) reference: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
}

/// What a move is called. `None`: there is no word for it.
pub(super) const fn status_word(status: DeliveryStatus) -> Option<&'static str> {
    match status {
        DeliveryStatus::Sent => Some("sent"),
        DeliveryStatus::Delivered => Some("delivered"),
        DeliveryStatus::Read => Some("read"),
        DeliveryStatus::Failed | DeliveryStatus::Parked => Some("failed"),
        // It may be out: whoever was told of a failure would send it again.
        DeliveryStatus::Unknown | DeliveryStatus::Queued => None,
    }
}

/// A message that a person wrote.
pub(super) fn received(number: &NumberRow, person: &Person, message: Message) -> Value {
    let mut body = Map::new();
    set(&mut body, "from", person.wa_id());
    body.insert("from_user_id".to_owned(), person.user_id().into());
    set(&mut body, "group_id", person.group_id());
    write(&mut body, message);
    let value = value(number, person, "messages", body);
    envelope(number, "messages", value)
}

/// A message that the tenant wrote on the phone itself.
pub(super) fn echoed(number: &NumberRow, person: &Person, message: Message) -> Value {
    let mut body = Map::new();
    set(&mut body, "from", number.display.as_deref());
    set(&mut body, "to", person.group_id().or_else(|| person.wa_id()));
    body.insert("to_user_id".to_owned(), person.user_id().into());
    write(&mut body, message);
    let value = value(number, person, "message_echoes", body);
    envelope(number, "smb_message_echoes", value)
}

/// A message of ours moved.
pub(super) fn moved(number: &NumberRow, person: &Person, status: &Status<'_>) -> Value {
    let mut body = Map::new();
    body.insert("id".to_owned(), status.wamid.as_str().into());
    body.insert("status".to_owned(), status.status.into());
    body.insert("timestamp".to_owned(), status.at.timestamp().to_string().into());
    if let Some(group) = person.group_id() {
        body.insert("recipient_type".to_owned(), "group".into());
        body.insert("recipient_id".to_owned(), group.into());
        // Nobody told which of them it is.
        body.insert(
            "recipient_participant_user_id".to_owned(),
            person.user_id().into(),
        );
    } else {
        set(&mut body, "recipient_id", person.wa_id());
        body.insert("recipient_user_id".to_owned(), person.user_id().into());
    }
    let data = status
        .reference
        .and_then(|reference| reference.strip_prefix(send::REFERENCE));
    set(
        &mut body,
        "biz_opaque_callback_data",
        data.filter(|data| !data.is_empty()),
    );
    if status.status == "failed" {
        let (code, title) = failure(status.reason.unwrap_or_default());
        let details = status.detail.or(status.reason).unwrap_or(title);
        body.insert(
            "errors".to_owned(),
            json!([{"code": code, "title": title, "message": title, "error_data": {"details": details},
                "href": "/documentation/business-messaging/whatsapp/support/error-codes"}]),
        );
    }
    let value = value(number, person, "statuses", body);
    envelope(number, "messages", value)
}

fn write(body: &mut Map<String, Value>, message: Message) {
    body.insert("id".to_owned(), message.wamid.into());
    body.insert("timestamp".to_owned(), message.at.timestamp().to_string().into());
    if let Some((id, from)) = message.context {
        let mut context = Map::new();
        context.insert("id".to_owned(), id.into());
        set(&mut context, "from", from.as_deref());
        body.insert("context".to_owned(), Value::Object(context));
    }
    message.said.write(body);
}

fn value(number: &NumberRow, person: &Person, list: &str, item: Map<String, Value>) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": number.display.as_deref().unwrap_or_default(),
            "phone_number_id": number.number_id},
        "contacts": [person.contact()],
        list: [item],
    })
}

fn envelope(number: &NumberRow, field: &str, value: Value) -> Value {
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": number.waba_id, "changes": [{"field": field, "value": value}]}]})
}

fn set(object: &mut Map<String, Value>, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        object.insert(name.to_owned(), text.into());
    }
}

/// Meta's code of a failure. What Meta reported itself keeps its own.
fn failure(reason: &str) -> (u32, &'static str) {
    let code = match reason {
        "window_closed" => 131_047,
        "spam_limited" => 131_048,
        "invalid_recipient" | "not_found" => 131_026,
        "invalid_request" | "unprocessable" | "target_not_sent" | "unreadable_message" => 131_009,
        "too_large" | "file_missing" => 131_053,
        "policy" => 368,
        "no_session" | "unauthorized" | "token_does_not_open" => 133_010,
        other => other
            .strip_prefix("meta_")
            .and_then(|code| code.parse().ok())
            .unwrap_or(131_000),
    };
    let title = match code {
        131_047 => "Re-engagement message",
        131_048 => "Spam rate limit hit",
        131_026 => "Message undeliverable",
        131_009 => "Parameter value is not valid",
        131_053 => "Media upload error",
        368 => "Temporarily blocked for policies violations",
        133_010 => "Phone number not registered",
        131_000 => "Something went wrong",
        _ => "Message failed",
    };
    (code, title)
}

/// The bytes that are signed and sent: everything beyond ASCII as `\uXXXX`, as Meta writes it.
pub(super) fn bytes(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            escaped.push(c);
        } else {
            // Beyond ASCII there are only texts in it.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_ascii_and_mean_the_same() {
        let value = json!({"body": "äöå 😀 \"\\ \n /", "ключ": "é"});
        let bytes = bytes(&value);
        assert!(bytes.is_ascii());
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("\\u00e4\\u00f6\\u00e5 \\ud83d\\ude00"), "{text}");
    }

    #[test]
    fn failures_have_metas_codes() {
        for (reason, code) in [
            ("meta_131049", 131_049),
            ("meta_failed", 131_000),
            ("window_closed", 131_047),
            ("timeout", 131_000),
        ] {
            assert_eq!(failure(reason).0, code, "{reason}");
        }
    }
}
