//! What the GoWA knows: its devices, what they sent, the files under `statics/`, and what the phones at the far end show.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::receiver::{GowaChatwoot, Memory};
use crate::SimulatorConfig;
use crate::hub::Moment;
use crate::journal::Journal;
use crate::wa::media::MediaStore;

/// Messages kept per phone; the oldest fall out.
const MESSAGES_PER_PHONE: usize = 20_000;

/// What may be changed while running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GowaSettings {
    /// `APP_BASIC_AUTH`: `user:pass,user2:pass2`; empty: everybody may call.
    pub basic_auth: String,
    /// `WHATSAPP_WEBHOOK`: where events of devices go that have no webhook of their own; empty: nowhere.
    pub webhook_url: String,
    /// `WHATSAPP_WEBHOOK_SECRET`.
    pub webhook_secret: String,
    /// Devices pair by themselves soon after a login was begun.
    pub auto_login: bool,
    /// Phones confirm delivery and reading by themselves.
    pub auto_receipts: bool,
    /// Files of messages are downloaded as they come. Otherwise only an address of WhatsApp's is told.
    pub auto_download: bool,
    /// Pauses between the attempts to deliver a webhook.
    pub retry_pauses_ms: Vec<u64>,
    /// `CHATWOOT_ENABLED`: there is a receiver for Chatwoot's webhooks.
    pub chatwoot_enabled: bool,
    /// `CHATWOOT_WEBHOOK_SECRET`; empty: open.
    pub chatwoot_webhook_secret: String,
    /// `CHATWOOT_DEVICE_ID`: who sends when nothing else says so.
    pub chatwoot_device_id: String,
    /// `CHATWOOT_MESSAGE_DELETE`: what an agent deletes is taken back.
    pub chatwoot_message_delete: bool,
    /// `CHATWOOT_SIGN_MSG`: the agent's name stands above the words.
    pub chatwoot_sign_msg: bool,
    /// `CHATWOOT_SIGN_DELIMITER`.
    pub chatwoot_sign_delimiter: String,
    /// A device named by the path takes nothing without an inbox of its own, as the real one. Off: it takes everything, for
    /// tests that are not about that.
    pub chatwoot_needs_config: bool,
    /// The answer to Chatwoot's webhook is held back so long: the real one waits for WhatsApp.
    pub chatwoot_answer_delay_ms: u64,
}

/// Where a device's events go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GowaWebhook {
    /// The address.
    pub webhook_url: String,
    /// What they are signed with.
    pub webhook_secret: String,
    /// Names separated by commas; empty: all.
    pub webhook_events: String,
    /// Certificates are not looked at.
    pub webhook_insecure_skip_verify: bool,
}

/// One device as read back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GowaDevice {
    /// Its id, chosen by whoever made it.
    pub id: String,
    /// Its own address with the device's number, empty until paired.
    pub jid: String,
    /// The socket to WhatsApp is up.
    pub connected: bool,
    /// Paired and usable.
    pub logged_in: bool,
    /// Its own webhook, if it has one.
    pub webhook: Option<GowaWebhook>,
    /// Its own Chatwoot inbox, if it has one.
    #[serde(default)]
    pub chatwoot: Option<GowaChatwoot>,
    /// The code that waits to be scanned, as a path under `statics/`.
    pub qr_path: Option<String>,
    /// The code that waits to be typed.
    pub pair_code: Option<String>,
    /// When it was made.
    pub created_at: String,
}

/// A file that came with a send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GowaFile {
    /// Type of the part.
    pub content_type: String,
    /// Name of the part.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// One accepted call under `/send` or `/message`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GowaSend {
    /// Number in this journal.
    pub seq: u64,
    /// When it was accepted.
    #[serde(flatten)]
    pub moment: Moment,
    /// The device it was sent from.
    pub device: String,
    /// Path below the mount, e.g. `/send/message`.
    pub path: String,
    /// The id answered; empty where there is none.
    pub message_id: String,
    /// Receiver as given.
    pub phone: String,
    /// Text or caption.
    pub message: String,
    /// The fields as sent, files aside.
    pub body: Value,
    /// The file.
    pub file: Option<GowaFile>,
}

/// A message as a phone at the far end shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GowaMessage {
    /// WhatsApp's id.
    pub id: String,
    /// The sending device.
    pub device: String,
    /// `message`, `image`, `file`, `video`, `audio`, `sticker`, `contact`, `location`, `link` or `poll`.
    pub kind: String,
    /// Text or caption, as it is now.
    pub text: String,
    /// The fields it was sent with.
    pub body: Value,
    /// The file.
    pub file: Option<GowaFile>,
    /// The message it answers.
    pub quoted_id: Option<String>,
    /// It was edited after it arrived.
    pub edited: bool,
    /// It was deleted for everyone.
    pub deleted: bool,
    /// The device's reaction to it.
    pub reaction: Option<String>,
}

/// One attempt to deliver one event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GowaDelivery {
    /// Number in this journal.
    pub seq: u64,
    /// When the attempt ended.
    #[serde(flatten)]
    pub moment: Moment,
    /// Number of the event.
    pub event_id: u64,
    /// Whose.
    pub device: String,
    /// Its kind.
    pub event: String,
    /// The payload's id.
    pub message_id: Option<String>,
    /// First, second …
    pub attempt: u32,
    /// 0, or which duplicate.
    pub copy: u32,
    /// Status answered.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response: String,
}

impl GowaDelivery {
    /// It was taken.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// A file that came in with a message and can be downloaded again.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) kind: String,
    pub(super) extension: String,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct GowaState {
    pub(crate) settings: GowaSettings,
    pub(super) devices: BTreeMap<String, GowaDevice>,
    pub(crate) sends: Journal<GowaSend>,
    pub(crate) deliveries: Journal<GowaDelivery>,
    pub(super) statics: MediaStore,
    pub(super) received: HashMap<String, Received>,
    pub(super) phones: HashMap<String, Vec<GowaMessage>>,
    /// Messages that devices have marked as read, by id.
    pub(super) read: Vec<String>,
    /// Pictures by address: their ids, and where they are said to lie.
    pub(super) pictures: HashMap<String, (String, String)>,
    pub(super) numbers: u64,
    pub(super) events: u64,
    pub(super) memory: Memory,
}

impl GowaState {
    pub(crate) fn new(config: &SimulatorConfig) -> Self {
        let tests = config
            .retry_delays
            .first()
            .is_some_and(|first| *first < Duration::from_secs(1));
        Self {
            settings: GowaSettings {
                basic_auth: String::new(),
                webhook_url: String::new(),
                webhook_secret: "secret".to_owned(),
                auto_login: config.auto_login,
                auto_receipts: config.auto_receipts,
                auto_download: true,
                retry_pauses_ms: if tests {
                    vec![50, 100, 200, 200]
                } else {
                    vec![1_000, 2_000, 4_000, 8_000]
                },
                chatwoot_enabled: true,
                chatwoot_webhook_secret: "secret".to_owned(),
                chatwoot_device_id: String::new(),
                chatwoot_message_delete: false,
                chatwoot_sign_msg: false,
                chatwoot_sign_delimiter: "\n\n".to_owned(),
                chatwoot_needs_config: false,
                chatwoot_answer_delay_ms: 0,
            },
            devices: BTreeMap::new(),
            sends: Journal::default(),
            deliveries: Journal::default(),
            statics: MediaStore::default(),
            received: HashMap::new(),
            phones: HashMap::new(),
            read: Vec::new(),
            pictures: HashMap::new(),
            numbers: 0,
            events: 0,
            memory: Memory::default(),
        }
    }

    /// The device with this id or address.
    pub(super) fn find(&self, name: &str) -> Option<&GowaDevice> {
        let bare = |jid: &str| bare(jid).to_owned();
        self.devices.get(name).or_else(|| {
            self.devices
                .values()
                .find(|device| !device.jid.is_empty() && bare(&device.jid) == bare(name))
        })
    }

    pub(super) fn show(&mut self, address: &str, message: GowaMessage) {
        let messages = self.phones.entry(address.to_owned()).or_default();
        messages.push(message);
        if messages.len() > MESSAGES_PER_PHONE {
            messages.remove(0);
        }
    }

    pub(super) fn message(&mut self, address: &str, id: &str) -> Option<&mut GowaMessage> {
        self.phones
            .get_mut(address)?
            .iter_mut()
            .find(|message| message.id == id)
    }
}

/// An address without the device's number.
pub(super) fn bare(jid: &str) -> String {
    match jid.split_once('@') {
        Some((user, server)) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{user}@{server}")
        }
        None => jid.to_owned(),
    }
}

/// An address as the server reads it: digits up to fifteen are a person, longer ones a group.
pub(super) fn address(phone: &str) -> String {
    if phone.contains('@') {
        bare(phone)
    } else if phone.len() <= 15 {
        format!("{phone}@s.whatsapp.net")
    } else {
        format!("{phone}@g.us")
    }
}
