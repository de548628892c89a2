//! GoWA's JSON, field by field, and nothing else. Its field names live here only.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(super) use crate::loose::Loose;

/// What every answer has around it.
#[derive(Default, Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow, default)]
    pub(super) code: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) message: Loose<'a>,
    #[serde(borrow)]
    pub(super) results: Option<&'a RawValue>,
}

/// The `code` of success.
pub(super) const SUCCESS: &str = "SUCCESS";

/// What an answer is about.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub(super) struct Results<T> {
    pub(super) results: Option<T>,
}

/// `results` of a send.
#[derive(Default, Deserialize)]
pub(super) struct Sent<'a> {
    #[serde(borrow, default)]
    pub(super) message_id: Loose<'a>,
}

/// `results` of `GET /devices/:id/status`.
#[derive(Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) is_connected: bool,
    #[serde(default)]
    pub(super) is_logged_in: bool,
}

/// One device.
#[derive(Deserialize)]
pub(super) struct Device {
    #[serde(default, deserialize_with = "text")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) phone_number: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) jid: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) state: String,
}

/// Where a device's events go.
#[derive(Default, Deserialize)]
pub(super) struct Webhook {
    #[serde(default, deserialize_with = "text")]
    pub(super) webhook_url: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) webhook_secret: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) webhook_events: String,
    #[serde(default)]
    pub(super) webhook_insecure_skip_verify: Option<bool>,
}

/// `results` of a login.
#[derive(Deserialize)]
pub(super) struct Login {
    #[serde(default, deserialize_with = "text")]
    pub(super) qr_link: String,
}

/// `results` of a login with a code.
#[derive(Deserialize)]
pub(super) struct PairCode {
    #[serde(default, deserialize_with = "text")]
    pub(super) pair_code: String,
}

/// `results` of `GET /message/:id/download`.
#[derive(Deserialize)]
pub(super) struct Download {
    #[serde(default, deserialize_with = "text")]
    pub(super) file_path: String,
}

/// `null` counts as nothing said.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

/// The events that are read; the server keeps the others to itself.
pub(super) const EVENTS: &str = "message,message.reaction,message.revoked,message.edited,message.ack";

/// Body of `POST /devices`, or of `PATCH /devices/:id/webhook` without an id.
pub(super) fn webhook(device: Option<&str>, url: &str, secret: &str, insecure: bool) -> Value {
    let mut body = json!({
        "webhook_url": url, "webhook_secret": secret, "webhook_events": EVENTS,
        "webhook_insecure_skip_verify": insecure,
    });
    if let Some(device) = device {
        body["device_id"] = json!(device);
    }
    body
}

/// Body of `POST /devices` for a device whose events go nowhere.
pub(super) fn device(device: &str) -> Value {
    json!({"device_id": device})
}

/// Bodies of the routes under `/send` and `/message`.
#[derive(Default, Serialize)]
pub(super) struct Send<'a> {
    pub(super) phone: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latitude: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) longitude: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) contact_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) contact_phone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) emoji: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<&'static str>,
}

/// A webhook.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) event: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) device_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) session_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) timestamp: Loose<'a>,
    #[serde(borrow)]
    pub(super) payload: Option<&'a RawValue>,
}

/// What the payloads of messages and of what is about messages have in common, and what each has besides.
#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub(super) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) chat_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) chat_lid: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) from: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) from_lid: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) sender_display_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) from_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) timestamp: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) is_from_me: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) body: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) replied_to_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) quoted_body: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) reaction: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) reacted_message_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) revoked_message_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) original_message_id: Loose<'a>,
    #[serde(borrow)]
    pub(super) image: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) video: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) video_note: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) document: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) audio: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) sticker: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) interactive_media: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) contact: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) contacts_array: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) location: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) live_location: Option<&'a RawValue>,
}

/// Keys of a message's payload that tell nothing about its kind.
pub(super) const TELL_NOTHING: &[&str] = &[
    "id",
    "chat_id",
    "chat_lid",
    "from",
    "from_lid",
    "sender_display_name",
    "from_name",
    "timestamp",
    "is_from_me",
    "body",
    "replied_to_id",
    "quoted_body",
    "view_once",
    "forwarded",
    "referral",
    "revoked_from_me",
    "revoked_chat",
    "quoted_message",
    "is_group",
];

/// A file, where it is more than a path.
#[derive(Default, Deserialize)]
pub(super) struct File<'a> {
    #[serde(borrow, default)]
    pub(super) path: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) caption: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) filename: Loose<'a>,
}

/// A contact card.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Contact<'a> {
    #[serde(borrow, default)]
    pub(super) display_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) vcard: Loose<'a>,
    #[serde(borrow, default, rename = "phone_number")]
    pub(super) phone_number: Loose<'a>,
}

/// A place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Location<'a> {
    #[serde(borrow, default)]
    pub(super) degrees_latitude: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) degrees_longitude: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) name: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) address: Loose<'a>,
}

/// Messages went further on their way.
#[derive(Deserialize)]
pub(super) struct Ack<'a> {
    #[serde(borrow)]
    pub(super) ids: Option<Vec<Loose<'a>>>,
    #[serde(borrow, default)]
    pub(super) chat_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) from: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) from_lid: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) receipt_type: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) timestamp: Loose<'a>,
}
