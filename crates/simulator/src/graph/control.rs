//! What tests and people may do to the Graph API from outside, and what they may see.

use std::sync::Arc;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::faults::GraphStatusStep;
use super::inbound::{self, GraphInbound};
use super::media::{GraphMedia, NewFile};
use super::state::{
    DEFAULT_APP, DEFAULT_SECRET, GraphApp, GraphCallback, GraphDelivery, GraphNumber, GraphSettings,
    GraphShape, GraphState, GraphTemplate, GraphToken, GraphVerification, GraphWaba, Sent,
};
use super::status;
use super::webhook::{self, MOST_UPDATES, Part, PartValue};
use crate::hub::{Hub, lock};
use crate::signature::sha256_hex;
use crate::wa::control::ControlError;

/// A number that is registered, reached by a token and posting, in one step. With the first one the Graph API becomes
/// strict.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewGraphNumber {
    /// `phone_number_id`; made up if empty.
    pub id: String,
    /// Its business account, made if it is new; `210987650000111` if empty.
    pub waba: String,
    /// Its digits; made up if empty.
    pub phone: String,
    /// A token that reaches its account; `graph-token` if empty.
    pub token: String,
    /// The account's app, made if it is new; the first one if empty.
    pub app: String,
    /// The app's secret; `0123456789abcdef0123456789abcdef`, or what it was, if absent.
    pub app_secret: Option<String>,
    /// The app's callback; what it was if absent.
    pub webhook: Option<GraphCallback>,
    /// Messages per second; those of the settings if absent.
    pub per_second: Option<f64>,
    /// The generation of its webhooks.
    pub shape: GraphShape,
    /// It must be registered before it may send.
    pub unregistered: bool,
}

/// What happened to a message, as `POST /_sim/graph/status` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphStatusChange {
    /// The message.
    pub id: String,
    /// `sent`, `delivered`, `read`, `played`, `failed` or any other.
    pub status: String,
    /// Code of a `failed`.
    pub code: Option<i64>,
    /// Its `error_data.details`.
    pub details: Option<String>,
    /// The time it claims, in unix seconds; now if absent.
    pub timestamp: Option<i64>,
    /// Participants of a group: one status for each.
    pub participants: Vec<String>,
    /// The sender of a message the Graph API did not take itself.
    pub number: Option<String>,
    /// Whom another one than the message's is told to be the receiver.
    pub to: Option<String>,
    /// Another `biz_opaque_callback_data` than the message's.
    pub callback_data: Option<String>,
}

/// Any change of any field, as `POST /_sim/graph/change` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphChange {
    /// The business account; that of the number if empty.
    pub waba: String,
    /// The number it is about; then `value` gets `messaging_product` and `metadata`.
    pub number: Option<String>,
    /// E.g. `message_template_status_update`; `messages` if empty.
    pub field: String,
    /// Its contents.
    pub value: Map<String, Value>,
    /// `entry[].time`; now if absent and there is no number.
    pub time: Option<i64>,
}

/// One update of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum GraphUpdate {
    /// A message.
    Inbound(Box<GraphInbound>),
    /// A status.
    Status(GraphStatusChange),
    /// Anything else.
    Change(GraphChange),
}

/// A body as it stands, signed like any other, as `POST /_sim/graph/raw` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphRaw {
    /// The app whose callback gets it; the first one if empty.
    pub app: String,
    /// The body.
    pub body: String,
}

/// A webhook once more, as `POST /_sim/graph/redeliver` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphRedelivery {
    /// Number of the webhook.
    pub event_id: u64,
    /// How many times; once if 0.
    pub copies: u32,
    /// All at the same time rather than one after another.
    pub concurrent: bool,
}

/// Opens or closes the window between a number and a person, as `POST /_sim/graph/window` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphWindowChange {
    /// `phone_number_id`.
    pub number: String,
    /// The person's digits.
    pub phone: String,
    /// Open from now on, rather than closed.
    pub open: bool,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphEmitted {
    /// Ids of its messages, in order.
    pub ids: Vec<String>,
    /// Numbers of the webhooks it went out with; none if nobody listens.
    pub event_ids: Vec<u64>,
}

fn or(text: &str, usual: &str) -> String {
    if text.is_empty() { usual } else { text }.to_owned()
}

pub(crate) fn create_number(hub: &Hub, new: NewGraphNumber) -> GraphNumber {
    let state = &mut *lock(&hub.graph);
    let id = match new.id.as_str() {
        "" => state.next_id("110987"),
        id => id.to_owned(),
    };
    let phone = match new.phone.as_str() {
        "" => state.next_id("6221"),
        phone => phone.to_owned(),
    };
    let app_id = or(&new.app, DEFAULT_APP);
    let app = state.apps.entry(app_id.clone()).or_insert_with(|| GraphApp {
        id: app_id.clone(),
        secret: DEFAULT_SECRET.to_owned(),
        callback: GraphCallback::default(),
    });
    if let Some(secret) = new.app_secret {
        app.secret = secret;
    }
    if let Some(callback) = new.webhook {
        app.callback = callback;
    }
    let waba_id = or(&new.waba, "210987650000111");
    let waba = state.wabas.entry(waba_id.clone()).or_insert_with(|| GraphWaba {
        id: waba_id.clone(),
        app: app_id.clone(),
        subscribed: true,
        callback_override: None,
        templates: Vec::new(),
    });
    if !new.app.is_empty() {
        waba.app.clone_from(&app_id);
    }
    let token = or(&new.token, "graph-token");
    let known = state.tokens.entry(token.clone()).or_insert_with(|| GraphToken {
        token,
        app: app_id,
        wabas: Vec::new(),
        broken: None,
    });
    if !known.wabas.contains(&waba_id) {
        known.wabas.push(waba_id.clone());
    }
    let number = GraphNumber {
        id: id.clone(),
        waba: waba_id,
        display_phone_number: phone,
        verified_name: "Kantor Hukum Contoh".to_owned(),
        quality_rating: "GREEN".to_owned(),
        registered: !new.unregistered,
        pin: None,
        per_second: new.per_second,
        shape: new.shape,
        callback_override: None,
    };
    state.numbers.insert(id, number.clone());
    number
}

pub(crate) fn put_app(hub: &Hub, app: GraphApp) {
    lock(&hub.graph).apps.insert(app.id.clone(), app);
}

pub(crate) fn put_token(hub: &Hub, token: GraphToken) {
    lock(&hub.graph).tokens.insert(token.token.clone(), token);
}

/// Adds a template, or replaces the one of its name and language.
pub(crate) fn put_template(
    hub: &Hub,
    waba: &str,
    template: GraphTemplate,
) -> Result<GraphTemplate, ControlError> {
    let mut state = lock(&hub.graph);
    let id = state.next_id("1689000000");
    let template = template.completed(id);
    let known = state.wabas.get_mut(waba).ok_or_else(|| missing("waba", waba))?;
    known
        .templates
        .retain(|one| one.name != template.name || one.language != template.language);
    known.templates.push(template.clone());
    Ok(template)
}

pub(crate) fn settings(hub: &Hub) -> GraphSettings {
    lock(&hub.graph).settings.clone()
}

/// Changes the settings that are named.
pub(crate) fn configure(hub: &Hub, change: Map<String, Value>) -> Result<GraphSettings, ControlError> {
    let settings = &mut lock(&hub.graph).settings;
    let mut all = serde_json::to_value(&*settings)?;
    for (key, value) in change {
        match all.get_mut(&key) {
            Some(place) => *place = value,
            None => {
                return Err(ControlError::NotInGraph {
                    what: "setting",
                    id: key,
                });
            }
        }
    }
    *settings = serde_json::from_value(all)?;
    Ok(settings.clone())
}

/// Sends the updates in one webhook per callback.
pub(crate) fn emit(hub: &Arc<Hub>, updates: &[GraphUpdate]) -> Result<GraphEmitted, ControlError> {
    let mut state = lock(&hub.graph);
    let (mut parts, mut ids) = (Vec::new(), Vec::new());
    for update in updates {
        match update {
            GraphUpdate::Inbound(inbound) => {
                let (part, id) = inbound::part(&mut state, inbound)?;
                parts.push(part);
                ids.push(id);
            }
            GraphUpdate::Status(change) => parts.extend(statuses(&state, change)?),
            GraphUpdate::Change(change) => parts.push(changed(&state, change)),
        }
        if parts.len() > MOST_UPDATES {
            return Err(ControlError::TooManyUpdates);
        }
    }
    let event_ids = webhook::emit(hub, &mut state, parts);
    Ok(GraphEmitted { ids, event_ids })
}

pub(crate) fn receive(hub: &Arc<Hub>, inbound: &GraphInbound) -> Result<String, ControlError> {
    let emitted = emit(hub, &[GraphUpdate::Inbound(Box::new(inbound.clone()))])?;
    Ok(emitted.ids.into_iter().next().unwrap_or_default())
}

pub(crate) fn raw(hub: &Arc<Hub>, raw: &GraphRaw) -> Result<u64, ControlError> {
    let app = or(&raw.app, DEFAULT_APP);
    let mut state = lock(&hub.graph);
    webhook::emit_raw(hub, &mut state, &app, raw.body.clone()).ok_or(ControlError::NobodyListens)
}

fn statuses(state: &GraphState, change: &GraphStatusChange) -> Result<Vec<Part>, ControlError> {
    let known = state.sent(&change.id).cloned();
    let mut sent = match (known, &change.number) {
        (Some(sent), _) => sent,
        (None, Some(number)) => Sent {
            number: number.clone(),
            to: String::new(),
            group: false,
            callback_data: None,
            category: "service".to_owned(),
        },
        (None, None) => return Err(missing("message", &change.id)),
    };
    if let Some(to) = &change.to {
        sent.to.clone_from(to);
    }
    if change.callback_data.is_some() {
        sent.callback_data.clone_from(&change.callback_data);
    }
    sent.group |= !change.participants.is_empty();
    let step = GraphStatusStep {
        status: change.status.clone(),
        code: change.code,
        timestamp: change.timestamp,
        ..GraphStatusStep::default()
    };
    let details = change.details.as_deref();
    let one = |participant: Option<&str>| status::part(state, &change.id, &sent, &step, details, participant);
    if change.participants.is_empty() {
        return Ok(vec![one(None)]);
    }
    Ok(change
        .participants
        .iter()
        .map(|participant| one(Some(participant)))
        .collect())
}

fn changed(state: &GraphState, change: &GraphChange) -> Part {
    let mut value = Value::Object(change.value.clone());
    if let Some(number) = &change.number {
        value["messaging_product"] = json!("whatsapp");
        value["metadata"] = webhook::metadata(state, number);
    }
    let number = change.number.clone();
    let field = or(&change.field, "messages");
    Part {
        waba: match (&number, change.waba.as_str()) {
            (Some(number), "") => state.waba_of(number),
            (_, waba) => waba.to_owned(),
        },
        time: change
            .time
            .or_else(|| number.is_none().then(|| Utc::now().timestamp())),
        number,
        item: field.clone(),
        field,
        value: PartValue::Whole(value),
    }
}

pub(crate) fn redeliver(hub: &Arc<Hub>, redelivery: &GraphRedelivery) -> Result<(), ControlError> {
    let kept = lock(&hub.graph)
        .kept
        .iter()
        .find(|outgoing| outgoing.event_id == redelivery.event_id)
        .cloned()
        .ok_or_else(|| missing("delivery", &redelivery.event_id.to_string()))?;
    webhook::again(hub, &kept, redelivery.copies.max(1), redelivery.concurrent);
    Ok(())
}

/// Asks an app's callback whose it is.
pub(crate) async fn verify(hub: &Hub, app: &str) -> Result<GraphVerification, ControlError> {
    let app = or(app, DEFAULT_APP);
    let callback = lock(&hub.graph)
        .apps
        .get(&app)
        .map(|app| app.callback.clone())
        .ok_or_else(|| missing("app", &app))?;
    if callback.url.is_empty() {
        return Err(ControlError::NobodyListens);
    }
    Ok(webhook::verify(hub, &callback).await)
}

pub(crate) fn set_window(hub: &Hub, change: &GraphWindowChange) {
    let at = change.open.then(|| Utc::now().timestamp_millis());
    lock(&hub.graph).set_window(&change.number, &change.phone, at);
}

/// The file's id, or every download address, is dead from now on.
pub(crate) fn expire(hub: &Hub, media: Option<&str>) -> Result<(), ControlError> {
    let mut state = lock(&hub.graph);
    match media {
        None => state.files.expire_addresses(),
        Some(id) if state.files.expire(id) => {}
        Some(id) => return Err(missing("media", id)),
    }
    Ok(())
}

pub(crate) fn media(hub: &Hub) -> Vec<GraphMedia> {
    lock(&hub.graph).files.list()
}

pub(crate) fn media_content(hub: &Hub, id: &str) -> Option<Vec<u8>> {
    lock(&hub.graph).files.content(id)
}

/// A file that is there as if it had come with a message. Returns its id.
pub(crate) fn put_media(hub: &Hub, number: &str, mime_type: &str, bytes: Vec<u8>) -> String {
    let mut state = lock(&hub.graph);
    let id = state.next_id("19000000");
    let life = state.settings.inbound_media_life_ms;
    state.files.put(
        NewFile {
            id: id.clone(),
            number: number.to_owned(),
            mime_type: mime_type.to_owned(),
            sha256: sha256_hex(&bytes),
            told_size: None,
            expired: false,
            bytes,
        },
        life,
    );
    id
}

/// Buckets are full and allowances whole again.
pub(crate) fn reset_limits(hub: &Hub) {
    lock(&hub.graph).limits.reset();
}

pub(crate) fn deliveries(hub: &Hub, after: Option<u64>, limit: Option<usize>) -> Vec<GraphDelivery> {
    lock(&hub.graph).deliveries.page(after, limit, |_| true)
}

fn missing(what: &'static str, id: &str) -> ControlError {
    ControlError::NotInGraph {
        what,
        id: id.to_owned(),
    }
}
