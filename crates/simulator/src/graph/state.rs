//! What the Graph API knows: apps, business accounts, numbers, tokens, templates and files, and what was sent.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::faults::Troubles;
use super::limits::Limits;
use super::media::Files;
use super::webhook::Outgoing;
use crate::SimulatorConfig;
use crate::hub::Moment;
use crate::journal::Journal;

/// The app that everything belongs to which names no other.
pub(crate) const DEFAULT_APP: &str = "900000000000001";
/// The secret of that app until it is changed.
pub(crate) const DEFAULT_SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Messages whose senders and receivers are remembered for statuses.
const REMEMBERED_MESSAGES: usize = 200_000;
/// Webhooks that can be sent again.
const KEPT_WEBHOOKS: usize = 500;
/// And their bytes.
const KEPT_WEBHOOK_BYTES: usize = 64 * 1024 * 1024;

/// Which generation of webhook bodies a number's app gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphShape {
    /// Phones everywhere, statuses with `conversation` and without `contacts`.
    #[default]
    Old,
    /// Since 2026: user ids beside or instead of phones, `contacts` with statuses, no `conversation`.
    New,
}

/// What the 24 hours after a person's last message mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphWindow {
    /// Open towards everybody unless closed by hand.
    #[default]
    Open,
    /// Open only towards whoever wrote within `window_ms`.
    Kept,
}

/// What may be changed while running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphSettings {
    /// Pauses between the attempts to deliver a webhook.
    pub retry_pauses_ms: Vec<u64>,
    /// How long a callback may take to answer.
    pub webhook_timeout_ms: u64,
    /// Statuses every accepted message runs through by itself.
    pub auto_statuses: Vec<String>,
    /// The distance between them.
    pub status_delay_ms: u64,
    /// Life of a download address.
    pub media_url_life_ms: u64,
    /// Life of the id of an uploaded file.
    pub uploaded_media_life_ms: u64,
    /// Life of the id of a file that came with a message.
    pub inbound_media_life_ms: u64,
    /// Messages per second and number, where the number says nothing else.
    pub number_per_second: f64,
    /// Messages to one person that may follow each other at once.
    pub pair_burst: f64,
    /// The time after which one more is allowed.
    pub pair_refill_ms: u64,
    /// Calls of one app per window; no limit if absent.
    pub app_calls: Option<u64>,
    /// Calls on one business account, messages aside, per window; no limit if absent.
    pub waba_calls: Option<u64>,
    /// That window.
    pub call_window_ms: u64,
    /// HTTP status of throttling; Meta's 400 if absent.
    pub throttle_status: Option<u16>,
    /// `Retry-After` of throttling.
    pub throttle_retry_after: Option<String>,
    /// See [`GraphWindow`].
    pub window: GraphWindow,
    /// How long after a person's message the window is open.
    pub window_ms: u64,
    /// A closed window refuses at once with 131047, rather than with a later status.
    pub window_refuses_at_once: bool,
    /// What WhatsApp makes of some numbers, e.g. the ninth digit of Brazil: `to` without its plus, `wa_id`.
    pub wa_ids: BTreeMap<String, String>,
}

impl GraphSettings {
    fn new(config: &SimulatorConfig) -> Self {
        let tests = config
            .retry_delays
            .first()
            .is_some_and(|first| *first < Duration::from_secs(1));
        let statuses: &[&str] = if config.auto_receipts {
            &["sent", "delivered", "read"]
        } else {
            &["sent"]
        };
        Self {
            retry_pauses_ms: if tests {
                vec![50, 100, 200, 200]
            } else {
                vec![1_000, 5_000, 30_000, 60_000]
            },
            webhook_timeout_ms: 10_000,
            auto_statuses: statuses.iter().map(|&status| status.to_owned()).collect(),
            status_delay_ms: u64::try_from(config.receipt_delay.as_millis()).unwrap_or(20),
            media_url_life_ms: 5 * 60 * 1_000,
            uploaded_media_life_ms: 30 * 24 * 3_600 * 1_000,
            inbound_media_life_ms: 7 * 24 * 3_600 * 1_000,
            number_per_second: 80.0,
            pair_burst: 45.0,
            pair_refill_ms: 6_000,
            app_calls: None,
            waba_calls: None,
            call_window_ms: 3_600 * 1_000,
            throttle_status: None,
            throttle_retry_after: None,
            window: GraphWindow::Open,
            window_ms: 24 * 3_600 * 1_000,
            window_refuses_at_once: false,
            wa_ids: BTreeMap::new(),
        }
    }
}

/// Where webhooks go, and what the address is verified with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphCallback {
    /// The address; empty: nowhere.
    pub url: String,
    /// What `hub.verify_token` is to be.
    pub verify_token: String,
}

/// A Meta app.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GraphApp {
    /// Its id.
    pub id: String,
    /// The secret webhooks are signed with.
    pub secret: String,
    /// Where its webhooks go.
    pub callback: GraphCallback,
}

/// A business account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GraphWaba {
    /// Its id.
    pub id: String,
    /// The app it is shared with.
    pub app: String,
    /// That app gets its webhooks.
    pub subscribed: bool,
    /// Replaces the app's callback for messages.
    pub callback_override: Option<GraphCallback>,
    /// Its templates, in the order they came.
    pub templates: Vec<GraphTemplate>,
}

/// A template.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GraphTemplate {
    /// Its id; made up if empty.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its language; `id` if empty.
    pub language: String,
    /// `APPROVED` if empty; also `PENDING`, `REJECTED`, `PAUSED`, `DISABLED`.
    pub status: String,
    /// `UTILITY` if empty; also `MARKETING`, `AUTHENTICATION`.
    pub category: String,
    /// `POSITIONAL` or `NAMED`.
    pub parameter_format: String,
    /// Header, body, footer and buttons as Meta lists them.
    pub components: Vec<Value>,
}

/// A number of a business account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GraphNumber {
    /// `phone_number_id`.
    pub id: String,
    /// Its business account.
    pub waba: String,
    /// Its digits.
    pub display_phone_number: String,
    /// The name people see.
    pub verified_name: String,
    /// `GREEN`, `YELLOW` or `RED`.
    pub quality_rating: String,
    /// May send.
    pub registered: bool,
    /// The PIN it was registered with.
    pub pin: Option<String>,
    /// Messages per second, if not those of the settings.
    pub per_second: Option<f64>,
    /// The generation of its webhooks.
    pub shape: GraphShape,
    /// Replaces the callbacks of account and app for messages.
    pub callback_override: Option<GraphCallback>,
}

/// An access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GraphToken {
    /// The token.
    pub token: String,
    /// The app it was made for.
    pub app: String,
    /// Business accounts it may use.
    pub wabas: Vec<String>,
    /// 463 expired, 460 password changed, 467 invalidated; calls are then refused with 190.
    pub broken: Option<i64>,
}

/// One accepted `POST /{version}/{phone_number_id}/messages`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GraphSend {
    /// Number in this journal.
    pub seq: u64,
    /// When it was accepted.
    #[serde(flatten)]
    pub moment: Moment,
    /// API version in the path.
    pub version: String,
    /// Sender in the path.
    pub phone_number_id: String,
    /// The id answered; empty for read marks, which have none.
    pub id: String,
    /// Whom WhatsApp takes it to be for: digits, a group or a user id; empty for read marks.
    pub to: String,
    /// The body as sent.
    pub body: Value,
}

/// One attempt to deliver one webhook.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GraphDelivery {
    /// Number in this journal.
    pub seq: u64,
    /// When the attempt ended.
    #[serde(flatten)]
    pub moment: Moment,
    /// Number of the webhook.
    pub event_id: u64,
    /// Where it went.
    pub url: String,
    /// How many updates it carries.
    pub updates: usize,
    /// The ids of messages in it, and `id:status` for statuses; the names of other fields.
    pub items: Vec<String>,
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

impl GraphDelivery {
    /// It was taken: nothing but 200 counts.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.status == Some(200)
    }
}

/// How a callback answered when it was asked whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphVerification {
    /// Status answered.
    pub status: Option<u16>,
    /// The answer was 200 and the challenge, byte for byte.
    pub verified: bool,
    /// The answer's type.
    pub content_type: String,
    /// What was asked for.
    pub challenge: String,
    /// The beginning of the answer, or why there was none.
    pub answer: String,
}

/// What statuses need to know about a message.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) number: String,
    pub(super) to: String,
    pub(super) group: bool,
    pub(super) callback_data: Option<String>,
    pub(super) category: String,
}

#[derive(Debug)]
pub(crate) struct GraphState {
    pub(crate) settings: GraphSettings,
    /// `http://host:port/graph`, for addresses in webhooks.
    pub(crate) base_url: String,
    pub(crate) sends: Journal<GraphSend>,
    pub(crate) deliveries: Journal<GraphDelivery>,
    pub(crate) apps: BTreeMap<String, GraphApp>,
    pub(crate) wabas: BTreeMap<String, GraphWaba>,
    pub(crate) numbers: BTreeMap<String, GraphNumber>,
    pub(crate) tokens: HashMap<String, GraphToken>,
    pub(crate) troubles: Troubles,
    pub(super) limits: Limits,
    pub(super) files: Files,
    /// Last message of a person to a number, in unix milliseconds; nothing: closed by hand.
    windows: HashMap<(String, String), Option<i64>>,
    pub(super) kept: VecDeque<Arc<Outgoing>>,
    pub(super) events: u64,
    sent: HashMap<String, Sent>,
    order: VecDeque<String>,
    ids: u64,
}

impl GraphState {
    pub(crate) fn new(config: &SimulatorConfig) -> Self {
        let app = GraphApp {
            id: DEFAULT_APP.to_owned(),
            secret: DEFAULT_SECRET.to_owned(),
            callback: GraphCallback::default(),
        };
        Self {
            settings: GraphSettings::new(config),
            base_url: String::new(),
            sends: Journal::default(),
            deliveries: Journal::default(),
            apps: BTreeMap::from([(app.id.clone(), app)]),
            wabas: BTreeMap::new(),
            numbers: BTreeMap::new(),
            tokens: HashMap::new(),
            troubles: Troubles::default(),
            limits: Limits::default(),
            files: Files::default(),
            windows: HashMap::new(),
            kept: VecDeque::new(),
            events: 0,
            sent: HashMap::new(),
            order: VecDeque::new(),
            ids: 0,
        }
    }

    /// Nothing was set up: every token and every number will do, and nothing is limited.
    pub(super) fn open_to_all(&self) -> bool {
        self.numbers.is_empty() && self.tokens.is_empty()
    }

    /// A new id of the given beginning, never the same twice.
    pub(super) fn next_id(&mut self, beginning: &str) -> String {
        self.ids += 1;
        format!("{beginning}{:09}", self.ids)
    }

    pub(super) fn waba_of(&self, number: &str) -> String {
        self.numbers
            .get(number)
            .map_or_else(|| "210000000000000".to_owned(), |number| number.waba.clone())
    }

    pub(super) fn display_of(&self, number: &str) -> String {
        self.numbers.get(number).map_or_else(
            || "6221550000000".to_owned(),
            |number| number.display_phone_number.clone(),
        )
    }

    pub(super) fn shape_of(&self, number: &str) -> GraphShape {
        self.numbers
            .get(number)
            .map_or(GraphShape::Old, |number| number.shape)
    }

    pub(super) fn remember(&mut self, id: &str, sent: Sent) {
        if self.sent.insert(id.to_owned(), sent).is_none() {
            self.order.push_back(id.to_owned());
        }
        if self.order.len() > REMEMBERED_MESSAGES
            && let Some(oldest) = self.order.pop_front()
        {
            self.sent.remove(&oldest);
        }
    }

    pub(super) fn sent(&self, id: &str) -> Option<&Sent> {
        self.sent.get(id)
    }

    /// The window between a number and a person opens at this time, or is closed by hand.
    pub(super) fn set_window(&mut self, number: &str, person: &str, at: Option<i64>) {
        if self.windows.len() >= REMEMBERED_MESSAGES {
            self.windows.clear();
        }
        self.windows.insert((number.to_owned(), person.to_owned()), at);
    }

    /// A closed window lets only templates through.
    pub(super) fn window_closed(&self, number: &str, person: &str) -> bool {
        let key = (number.to_owned(), person.to_owned());
        match (self.windows.get(&key), self.settings.window) {
            (Some(None), _) | (None, GraphWindow::Kept) => true,
            (None, GraphWindow::Open) => false,
            (Some(Some(at)), _) => {
                let age = Utc::now().timestamp_millis() - at;
                u64::try_from(age).is_ok_and(|age| age > self.settings.window_ms)
            }
        }
    }

    pub(super) fn keep(&mut self, outgoing: Arc<Outgoing>) {
        self.kept.push_back(outgoing);
        let bytes = |kept: &VecDeque<Arc<Outgoing>>| kept.iter().map(|one| one.body.len()).sum::<usize>();
        while self.kept.len() > KEPT_WEBHOOKS
            || (self.kept.len() > 1 && bytes(&self.kept) > KEPT_WEBHOOK_BYTES)
        {
            self.kept.pop_front();
        }
    }
}
