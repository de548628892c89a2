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

/// `data` of `GET /session/status` as it passes by: what of it has to be there for it to be one.
#[derive(Deserialize)]
pub(in crate::genfity) struct SeenStatus {
    pub(in crate::genfity) connected: bool,
    #[serde(rename = "loggedIn")]
    pub(in crate::genfity) logged_in: bool,
    #[serde(default)]
    pub(in crate::genfity) jid: Option<String>,
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
pub(in crate::genfity) fn connect(events: &[&str]) -> Value {
    json!({"Subscribe": events, "Immediate": true})
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
pub(in crate::genfity) fn webhook(url: Option<&str>, events: &[&str]) -> Value {
    json!({"webhook": url.unwrap_or_default(), "active": url.is_some(), "events": events})
}

/// An element of `GET /admin/users`.
#[derive(Deserialize)]
pub(in crate::genfity) struct ListedUser {
    pub(in crate::genfity) id: String,
    #[serde(default)]
    pub(in crate::genfity) token: String,
    #[serde(default)]
    pub(in crate::genfity) name: String,
    #[serde(default)]
    pub(in crate::genfity) webhook: String,
    #[serde(default)]
    pub(in crate::genfity) events: String,
    #[serde(default)]
    pub(in crate::genfity) connected: bool,
}

/// `data` of `POST /admin/users`.
#[derive(Deserialize)]
pub(in crate::genfity) struct CreatedUser {
    pub(in crate::genfity) id: String,
}

/// Body of `POST /admin/users`.
pub(in crate::genfity) fn new_user(
    name: &str,
    token: &str,
    webhook: &str,
    events: &str,
    hmac_key: &str,
) -> Value {
    json!({"name": name, "token": token, "webhook": webhook, "events": events, "hmacKey": hmac_key})
}

/// Body of `PUT /admin/users/…`.
pub(in crate::genfity) fn edit_user(name: Option<&str>, expiration: i64, history: i64) -> Value {
    let mut body = json!({});
    if let Some(name) = name {
        body["name"] = json!(name);
    }
    add_numbers(&mut body, expiration, history);
    body
}

/// The server takes 0 for "not given".
pub(in crate::genfity) fn add_numbers(body: &mut Value, expiration: i64, history: i64) {
    for (name, number) in [("expiration", expiration), ("history", history)] {
        if number != 0 {
            body[name] = json!(number);
        }
    }
}

/// `data` of `GET /webhook`.
#[derive(Deserialize)]
pub(in crate::genfity) struct Webhook {
    #[serde(default)]
    pub(in crate::genfity) webhook: Option<String>,
    #[serde(default)]
    pub(in crate::genfity) subscribe: Option<Vec<String>>,
}

/// Body of `POST /session/history`.
pub(in crate::genfity) fn history(messages: i64) -> Value {
    json!({"history": messages})
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
