//! The server's JSON, field by field, and nothing else. Its field names live here only.
//!
//! Everything borrows from the body. Subtrees that are rarely needed stay raw and are read when asked for, so the
//! copy of each message in `RawMessage` costs a scan and no memory.

mod message;
pub(super) mod outbound;
mod session;
mod support;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(super) use crate::loose::Loose;
pub(super) use message::*;
pub(super) use session::*;
pub(super) use support::*;

/// The event object, with the names of the instance merged in (JSON mode) or without (form mode).
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) type_name: Loose<'a>,
    #[serde(borrow)]
    pub(super) event: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "jsonData")]
    pub(super) json_data: Loose<'a>,
    #[serde(borrow, default, rename = "instanceName")]
    pub(super) instance_name: Loose<'a>,
    #[serde(borrow, default, rename = "userID")]
    pub(super) user_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) state: Loose<'a>,
    #[serde(borrow)]
    pub(super) base64: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "mimeType")]
    pub(super) mime_type: Loose<'a>,
    #[serde(borrow)]
    pub(super) s3: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) reason: Loose<'a>,
    #[serde(borrow)]
    pub(super) entry: Option<&'a RawValue>,
}

/// Only the inlined file of an envelope, for whoever stores it.
#[derive(Deserialize)]
pub(super) struct InlineFile<'a> {
    #[serde(borrow, default)]
    pub(super) base64: Loose<'a>,
}

/// Media that the server put into a bucket.
#[derive(Deserialize)]
pub(super) struct S3<'a> {
    #[serde(borrow, default)]
    pub(super) url: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) key: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) bucket: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) size: Loose<'a>,
    #[serde(borrow, default, rename = "mimeType")]
    pub(super) mime_type: Loose<'a>,
}

/// `event` of a `Message` and of a `MessageSent` (which has five of the keys of `Info` only).
#[derive(Deserialize)]
pub(super) struct MessageEvent<'a> {
    #[serde(borrow, rename = "Info")]
    pub(super) info: Info<'a>,
    #[serde(borrow, rename = "Message")]
    pub(super) message: Option<&'a RawValue>,
}

/// Who, when, where.
#[derive(Deserialize)]
pub(super) struct Info<'a> {
    #[serde(borrow, default, rename = "Chat")]
    pub(super) chat: Loose<'a>,
    #[serde(borrow, default, rename = "Sender")]
    pub(super) sender: Loose<'a>,
    #[serde(borrow, default, rename = "SenderAlt")]
    pub(super) sender_alt: Loose<'a>,
    #[serde(borrow, default, rename = "RecipientAlt")]
    pub(super) recipient_alt: Loose<'a>,
    #[serde(borrow, default, rename = "IsFromMe")]
    pub(super) is_from_me: Loose<'a>,
    #[serde(borrow, default, rename = "IsGroup")]
    pub(super) is_group: Loose<'a>,
    #[serde(borrow, default, rename = "ID")]
    pub(super) id: Loose<'a>,
    #[serde(borrow, default, rename = "PushName")]
    pub(super) push_name: Loose<'a>,
    #[serde(borrow, default, rename = "Timestamp")]
    pub(super) timestamp: Loose<'a>,
}

/// `event` of a `ReadReceipt`.
#[derive(Deserialize)]
pub(super) struct ReceiptEvent<'a> {
    #[serde(borrow, default, rename = "Chat")]
    pub(super) chat: Loose<'a>,
    #[serde(borrow, default, rename = "SenderAlt")]
    pub(super) sender_alt: Loose<'a>,
    #[serde(borrow, default, rename = "RecipientAlt")]
    pub(super) recipient_alt: Loose<'a>,
    #[serde(borrow, default, rename = "IsFromMe")]
    pub(super) is_from_me: Loose<'a>,
    #[serde(borrow, default, rename = "IsGroup")]
    pub(super) is_group: Loose<'a>,
    #[serde(borrow, rename = "MessageIDs")]
    pub(super) message_ids: Option<Vec<Loose<'a>>>,
    #[serde(borrow, default, rename = "Timestamp")]
    pub(super) timestamp: Loose<'a>,
    #[serde(borrow, default, rename = "Type")]
    pub(super) kind: Loose<'a>,
}

/// `event` of the session's own events: `LoggedOut`, `PairSuccess` and WhatsApp's `ConnectFailure`.
#[derive(Default, Deserialize)]
pub(super) struct SessionDetails<'a> {
    #[serde(borrow, default, rename = "OnConnect")]
    pub(super) on_connect: Loose<'a>,
    #[serde(borrow, default, rename = "Reason")]
    pub(super) reason: Loose<'a>,
    #[serde(borrow, default, rename = "Message")]
    pub(super) message: Loose<'a>,
    #[serde(borrow, default, rename = "ID")]
    pub(super) id: Loose<'a>,
}

/// Body of `POST /chat/download…`: the event's own fields, byte fields in base64 as they came.
#[derive(Serialize)]
pub(super) struct Download<'a> {
    #[serde(rename = "Url", skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<&'a str>,
    #[serde(rename = "DirectPath", skip_serializing_if = "Option::is_none")]
    pub(super) direct_path: Option<&'a str>,
    #[serde(rename = "MediaKey")]
    pub(super) media_key: &'a str,
    #[serde(rename = "Mimetype")]
    pub(super) mimetype: &'a str,
    #[serde(rename = "FileEncSHA256", skip_serializing_if = "Option::is_none")]
    pub(super) file_enc_sha256: Option<&'a str>,
    #[serde(rename = "FileSHA256", skip_serializing_if = "Option::is_none")]
    pub(super) file_sha256: Option<&'a str>,
    #[serde(rename = "FileLength", skip_serializing_if = "Option::is_none")]
    pub(super) file_length: Option<u64>,
}

/// Any answer, of the WhatsApp server (`code`, `data`, `success`, `error`) or of the gateway (`message`, `code`).
#[derive(Default, Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow, default)]
    pub(super) code: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) success: Loose<'a>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) message: Loose<'a>,
}

/// `data` of a successful send.
#[derive(Default, Deserialize)]
pub(super) struct SentData<'a> {
    #[serde(borrow, default, rename = "Details")]
    pub(super) details: Loose<'a>,
    #[serde(borrow, default, rename = "Timestamp")]
    pub(super) timestamp: Loose<'a>,
    #[serde(borrow, default, rename = "Id")]
    pub(super) id: Loose<'a>,
}
