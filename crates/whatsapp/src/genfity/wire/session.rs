//! The server's `/session/*` and `/webhook` and its administration, field by field.

use serde::Deserialize;
use serde_json::{Value, json};

/// Every event: which of them matter, the reader decides. Any narrower list loses receipts or the session's own events
/// (wa-server contract 12).
pub(in crate::genfity) const ALL_EVENTS: &str = "All";

/// `{"data": …}`, whatever else comes with it.
#[derive(Deserialize)]
pub(in crate::genfity) struct Enveloped<T> {
    pub(in crate::genfity) data: Option<T>,
}

/// `data` of `GET /session/status`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::genfity) struct Status {
    pub(in crate::genfity) connected: bool,
    #[serde(rename = "loggedIn")]
    pub(in crate::genfity) logged_in: bool,
    pub(in crate::genfity) jid: Option<String>,
    pub(in crate::genfity) qrcode: Option<String>,
    pub(in crate::genfity) name: Option<String>,
    pub(in crate::genfity) events: Option<String>,
    pub(in crate::genfity) webhook: Option<String>,
}

/// `data` of what was done: the server writes `Details`, and `details` after a connect.
#[derive(Default, Deserialize)]
pub(in crate::genfity) struct Done {
    #[serde(default, alias = "Details")]
    pub(in crate::genfity) details: Option<String>,
}

/// `data` of `GET /session/qr`.
#[derive(Deserialize)]
pub(in crate::genfity) struct Qr {
    #[serde(rename = "QRCode")]
    pub(in crate::genfity) code: String,
}

/// `data` of `POST /session/pairphone`.
#[derive(Deserialize)]
pub(in crate::genfity) struct Linking {
    #[serde(rename = "LinkingCode")]
    pub(in crate::genfity) code: String,
}

/// Body of `POST /session/connect`. Without `Immediate` the server holds the call for ten seconds.
pub(in crate::genfity) fn connect() -> Value {
    json!({"Subscribe": [ALL_EVENTS], "Immediate": true})
}

/// Body of `POST /session/pairphone`.
pub(in crate::genfity) fn pair_phone(digits: &str) -> Value {
    json!({"Phone": digits})
}

/// Body of `POST /session/hmac/config`.
pub(in crate::genfity) fn hmac(key: &str) -> Value {
    json!({"hmac_key": key})
}

/// Body of `POST /session/s3/config`: media comes inside the event.
pub(in crate::genfity) fn inline_media() -> Value {
    json!({"enabled": false, "media_delivery": "base64"})
}

/// Body of `PUT /webhook`. Always all three: without `active` the server clears the URL, without `events` it goes silent.
pub(in crate::genfity) fn webhook(url: &str) -> Value {
    json!({"webhook": url, "active": true, "events": [ALL_EVENTS]})
}

/// An element of `GET /admin/users`.
#[derive(Deserialize)]
pub(in crate::genfity) struct ListedUser {
    pub(in crate::genfity) id: String,
    #[serde(default)]
    pub(in crate::genfity) token: String,
}

/// `data` of `POST /admin/users`.
#[derive(Deserialize)]
pub(in crate::genfity) struct CreatedUser {
    pub(in crate::genfity) id: String,
}

/// Body of `POST /admin/users`.
pub(in crate::genfity) fn new_user(name: &str, token: &str, webhook: &str, hmac_key: &str) -> Value {
    json!({"name": name, "token": token, "webhook": webhook, "events": ALL_EVENTS, "hmacKey": hmac_key})
}

/// Every event name the server takes; subscribing to some of them has no effect (wa-server contract 12).
pub(in crate::genfity) const EVENT_NAMES: [&str; 49] = [
    ALL_EVENTS,
    "Message",
    "MessageSent",
    "Receipt",
    "Connected",
    "Disconnected",
    "ConnectFailure",
    "LoggedOut",
    "StreamReplaced",
    "PairSuccess",
    "QR",
    "PushNameSetting",
    "AppState",
    "AppStateSyncComplete",
    "HistorySync",
    "CallOffer",
    "CallAccept",
    "CallTerminate",
    "CallOfferNotice",
    "CallRelayLatency",
    "Presence",
    "ChatPresence",
    "UndecryptableMessage",
    "MediaRetry",
    "ReadReceipt",
    "GroupInfo",
    "JoinedGroup",
    "Picture",
    "BlocklistChange",
    "Blocklist",
    "KeepAliveRestored",
    "KeepAliveTimeout",
    "QRTimeout",
    "ClientOutdated",
    "TemporaryBan",
    "StreamError",
    "PairError",
    "QRScannedWithoutMultidevice",
    "PrivacySettings",
    "UserAbout",
    "OfflineSyncCompleted",
    "OfflineSyncPreview",
    "IdentityChange",
    "CATRefreshError",
    "NewsletterJoin",
    "NewsletterLeave",
    "NewsletterMuteChange",
    "NewsletterLiveUpdate",
    "FBMessage",
];
