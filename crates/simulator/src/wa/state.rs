//! What the WA server knows: its database rows, the per-token cache that decides what webhooks contain, and the running clients.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::media::MediaStore;
use super::phones::Phones;
use super::stream::StreamProgress;
use crate::SimulatorConfig;
use crate::hub::Moment;
use crate::journal::Journal;

/// How webhooks are written (WA contract §10, `WEBHOOK_FORMAT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookFormat {
    /// Url-encoded `instanceName`, `jsonData`, `userID`.
    Form,
    /// The event object with `instanceName` and `userID` merged in.
    Json,
}

/// What may be changed while running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaSettings {
    /// One setting for the whole server, as in the original.
    pub webhook_format: WebhookFormat,
    /// Sessions pair by themselves soon after `connect`.
    pub auto_login: bool,
    /// Phones confirm delivery and reading by themselves.
    pub auto_receipts: bool,
    /// Waits between delivery attempts.
    pub retry_delays_ms: Vec<u64>,
    /// Numbers for which `/user/check` answers that they are not on WhatsApp.
    pub not_on_whatsapp: Vec<String>,
}

/// One user of the WA server as read back: its row, and whether its client runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WaUser {
    /// 32 hex characters, the `userID` of webhooks.
    pub id: String,
    /// Free text, the `instanceName` of webhooks.
    pub name: String,
    /// What user routes expect in the header `token`.
    pub token: String,
    /// Where events go.
    pub webhook: String,
    /// Subscribed event names, separated by commas.
    pub events: String,
    /// Own address with device suffix, empty until paired.
    pub jid: String,
    /// The socket to WhatsApp is up.
    pub connected: bool,
    /// Paired and usable.
    pub logged_in: bool,
    /// A signing key is in the cache entry, so webhooks are signed now (§9).
    pub signs_webhooks: bool,
}

/// One accepted call of a `/chat/*` route.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiCall {
    /// Number in this journal.
    pub seq: u64,
    /// When it was accepted.
    #[serde(flatten)]
    pub moment: Moment,
    /// User id of the session.
    pub session: String,
    /// User name of the session.
    pub session_name: String,
    /// Path below `/wa`, e.g. `/chat/send/text`.
    pub path: String,
    /// Message id, own or server-made; empty for calls without one.
    pub id: String,
    /// Whom it went to, as the phones are named in the readback.
    pub phone: String,
    /// The text or caption, if any.
    pub text: Option<String>,
    /// The body as sent, long strings shortened.
    pub body: Value,
}

/// A message on somebody's phone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PhoneMessage {
    /// When it arrived.
    #[serde(flatten)]
    pub moment: Moment,
    /// User id of the sending session.
    pub session: String,
    /// User name of the sending session.
    pub session_name: String,
    /// Message id; a second send with the same id shows nothing new.
    pub id: String,
    /// The last path element of the send, e.g. `text` or `image`.
    pub kind: String,
    /// The text or caption, as last edited.
    pub text: Option<String>,
    /// What media came with it.
    pub media: Option<SentMedia>,
    /// The message it answers.
    pub quoted_id: Option<String>,
    /// How often a send with this id arrived; above 1 the duplicates were invisible to the human.
    pub arrivals: u32,
    /// It was edited after it arrived.
    pub edited: bool,
    /// It was deleted for everyone.
    pub deleted: bool,
    /// Emoji of the session's reaction to it, if any.
    pub reaction: Option<String>,
    /// Receipts the phone has sent, in order: `delivered`, `read`.
    pub receipts: Vec<String>,
}

/// What is kept of media: enough to compare, not the bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SentMedia {
    /// Declared type.
    pub mimetype: String,
    /// Size after decoding; 0 for media given by URL.
    pub bytes: u64,
    /// SHA-256 of the decoded bytes, hex; empty for media given by URL.
    pub sha256: String,
    /// File name of documents.
    pub file_name: Option<String>,
    /// The URL it was given by.
    pub url: Option<String>,
}

/// One attempt to deliver one event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    /// Number in this journal.
    pub seq: u64,
    /// When the answer came or the attempt failed.
    #[serde(flatten)]
    pub moment: Moment,
    /// Number of the event; duplicates made by a fault share it.
    pub event_id: u64,
    /// User id of the session.
    pub session: String,
    /// User name of the session.
    pub session_name: String,
    /// Event type, e.g. `Message`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `Info.ID` or the first of `MessageIDs`.
    pub message_id: Option<String>,
    /// `state` of receipts and presences.
    pub state: Option<String>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// 0 for the event itself, 1 and up for duplicates made by a fault.
    pub copy: u32,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// Start of the answer's body.
    pub response: String,
}

impl DeliveryAttempt {
    /// The receiver answered 2xx and the answer arrived.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// A row of the WA server's table `users`.
#[derive(Debug, Clone, Default)]
pub(super) struct UserRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) token: String,
    pub(super) webhook: String,
    pub(super) events: String,
    pub(super) jid: String,
    pub(super) qrcode: String,
    pub(super) expiration: i64,
    pub(super) history: i64,
    pub(super) hmac_key: Option<String>,
    pub(super) proxy: Proxy,
    pub(super) s3: S3,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Proxy {
    pub(super) enabled: bool,
    pub(super) url: String,
}

impl Proxy {
    pub(super) fn view(&self) -> Value {
        json!({"enabled": self.enabled, "proxy_url": self.url})
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct S3 {
    pub(super) enabled: bool,
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) bucket: String,
    pub(super) path_style: bool,
    pub(super) public_url: String,
    pub(super) media_delivery: String,
    pub(super) retention_days: i64,
}

impl S3 {
    pub(super) fn view(&self) -> Value {
        json!({
            "enabled": self.enabled, "endpoint": self.endpoint, "region": self.region, "bucket": self.bucket,
            "access_key": "***", "path_style": self.path_style, "public_url": self.public_url,
            "media_delivery": self.media_delivery, "retention_days": self.retention_days,
        })
    }
}

/// An entry of the per-token cache (§9). Webhook delivery reads only this, never the row.
#[derive(Debug, Clone, Default)]
pub(super) struct CacheEntry {
    pub(super) user_id: String,
    pub(super) name: String,
    pub(super) webhook: String,
    pub(super) events: String,
    pub(super) jid: String,
    pub(super) qrcode: String,
    pub(super) hmac_key: Option<String>,
    pub(super) media_delivery: String,
}

/// A client in memory. It remembers the token it was started with, because delivery looks the cache up by it.
#[derive(Debug, Clone, Default)]
pub(super) struct Client {
    pub(super) token: String,
    pub(super) connected: bool,
    pub(super) logged_in: bool,
    /// Connected, and telling nobody of anything: what happens to a real one whose stream hangs.
    pub(super) deaf: bool,
    /// When the code that waits to be scanned runs out.
    pub(super) code_until: Option<Instant>,
}

/// Who is calling a user route.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) id: String,
    pub(super) token: String,
    pub(super) name: String,
}

#[derive(Debug)]
pub(crate) struct WaState {
    pub(super) settings: WaSettings,
    pub(super) login_delay: Duration,
    pub(super) receipt_delay: Duration,
    pub(super) users: Vec<UserRow>,
    pub(super) cache: HashMap<String, CacheEntry>,
    pub(super) clients: HashMap<String, Client>,
    pub(super) phones: Phones,
    pub(super) media: MediaStore,
    pub(super) calls: Journal<ApiCall>,
    pub(super) deliveries: Journal<DeliveryAttempt>,
    pub(super) streams: BTreeMap<u64, StreamProgress>,
    pub(super) events_emitted: u64,
    pub(super) paired: u32,
}

impl WaState {
    pub(crate) fn new(config: &SimulatorConfig) -> Self {
        Self {
            settings: WaSettings {
                webhook_format: config.webhook_format,
                auto_login: config.auto_login,
                auto_receipts: config.auto_receipts,
                retry_delays_ms: config
                    .retry_delays
                    .iter()
                    .map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
                    .collect(),
                not_on_whatsapp: Vec::new(),
            },
            login_delay: config.login_delay,
            receipt_delay: config.receipt_delay,
            users: Vec::new(),
            cache: HashMap::new(),
            clients: HashMap::new(),
            phones: Phones::default(),
            media: MediaStore::default(),
            calls: Journal::default(),
            deliveries: Journal::default(),
            streams: BTreeMap::new(),
            events_emitted: 0,
            paired: 0,
        }
    }

    /// Looks in the cache, then in the rows; a hit in the rows makes an entry without HMAC key and media delivery (§9).
    pub(super) fn authenticate(&mut self, token: &str) -> Option<Caller> {
        if let Some(entry) = self.cache.get(token) {
            return Some(Caller {
                id: entry.user_id.clone(),
                token: token.to_owned(),
                name: entry.name.clone(),
            });
        }
        let row = self.users.iter().find(|row| row.token == token)?;
        let caller = Caller {
            id: row.id.clone(),
            token: token.to_owned(),
            name: row.name.clone(),
        };
        self.cache.insert(token.to_owned(), CacheEntry::from_row(row));
        Some(caller)
    }

    pub(super) fn row(&self, id: &str) -> Option<&UserRow> {
        self.users.iter().find(|row| row.id == id)
    }

    pub(super) fn row_mut(&mut self, id: &str) -> Option<&mut UserRow> {
        self.users.iter_mut().find(|row| row.id == id)
    }

    /// The user meant by the control plane, which names sessions by id or by name.
    pub(super) fn find(&self, id_or_name: &str) -> Option<&UserRow> {
        self.row(id_or_name)
            .or_else(|| self.users.iter().find(|row| row.name == id_or_name))
    }

    /// The cache entry events of this user are delivered with.
    pub(super) fn entry_of(&self, id: &str) -> Option<&CacheEntry> {
        let token = match self.clients.get(id) {
            Some(client) => &client.token,
            None => &self.row(id)?.token,
        };
        self.cache.get(token)
    }

    pub(super) fn user_view(&self, row: &UserRow) -> WaUser {
        let client = self.clients.get(&row.id);
        WaUser {
            id: row.id.clone(),
            name: row.name.clone(),
            token: row.token.clone(),
            webhook: row.webhook.clone(),
            events: row.events.clone(),
            jid: row.jid.clone(),
            connected: client.is_some_and(|client| client.connected),
            logged_in: client.is_some_and(|client| client.logged_in),
            signs_webhooks: self
                .entry_of(&row.id)
                .is_some_and(|entry| entry.hmac_key.is_some()),
        }
    }

    /// What a restart of the server does: the cache is rebuilt, completely, from the rows of connected users only.
    pub(super) fn restart(&mut self) {
        self.cache.clear();
        for row in &self.users {
            if self.clients.contains_key(&row.id) {
                let entry = CacheEntry {
                    hmac_key: row.hmac_key.clone(),
                    media_delivery: row.s3.media_delivery.clone(),
                    ..CacheEntry::from_row(row)
                };
                self.cache.insert(row.token.clone(), entry);
            }
        }
        let users = &self.users;
        self.clients.retain(|id, _| users.iter().any(|row| &row.id == id));
        for client in self.clients.values_mut() {
            client.deaf = false;
            if let Some(row) = users.iter().find(|row| row.token == client.token) {
                client.logged_in = !row.jid.is_empty();
            }
        }
    }
}

impl CacheEntry {
    pub(super) fn from_row(row: &UserRow) -> Self {
        Self {
            user_id: row.id.clone(),
            name: row.name.clone(),
            webhook: row.webhook.clone(),
            events: row.events.clone(),
            jid: row.jid.clone(),
            qrcode: row.qrcode.clone(),
            hmac_key: None,
            media_delivery: String::new(),
        }
    }
}
