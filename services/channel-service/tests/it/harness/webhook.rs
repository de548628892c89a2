//! Webhooks, and the events in them that the WhatsApp server tells of.

use serde_json::{Value, json};
use simulator::hmac_sha256_hex;

/// A webhook as bytes, ready to be posted or tampered with.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) signature: Option<String>,
}

impl Webhook {
    pub(crate) fn json(body: &Value) -> Self {
        Self::raw("application/json", body.to_string())
    }

    pub(crate) fn form(fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        Self::raw("application/x-www-form-urlencoded", body)
    }

    pub(crate) fn raw(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            content_type,
            body: body.into(),
            signature: None,
        }
    }

    pub(crate) fn signed(mut self, key: Option<&str>) -> Self {
        self.signature = key.map(|key| hmac_sha256_hex(key, &[&self.body]));
        self
    }
}

/// A text from a person.
pub(crate) fn text(from: &str, id: &str, words: &str) -> Value {
    message(from, id, &json!({"conversation": words}))
}

/// Any message from a person.
pub(crate) fn message(from: &str, id: &str, content: &Value) -> Value {
    json!({"type": "Message", "event": {
        "Info": {
            "Chat": format!("{from}@s.whatsapp.net"), "Sender": format!("{from}:7@s.whatsapp.net"),
            "SenderAlt": "", "RecipientAlt": "", "IsFromMe": false, "IsGroup": false, "ID": id, "Type": "text",
            "PushName": "Rara", "Timestamp": chrono::Utc::now().to_rfc3339(),
        },
        "Message": content,
    }})
}

/// A receipt from a person's phone, as the server posts it.
pub(crate) fn receipt(from: &str, ids: &[&str], state: &str) -> Value {
    let kind = if state == "Delivered" { "" } else { "read" };
    json!({"type": "ReadReceipt", "state": state, "event": {
        "Chat": format!("{from}@s.whatsapp.net"), "Sender": format!("{from}@s.whatsapp.net"),
        "IsFromMe": false, "IsGroup": false, "MessageIDs": ids, "Type": kind,
        "Timestamp": chrono::Utc::now().to_rfc3339(),
    }})
}
