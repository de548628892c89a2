//! What tests and people may do to the WA server and its phones from outside, and what they may see.

use std::sync::Arc;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::events::receipt_event;
use super::inbound::{self, Inbound};
use super::media::decode;
use super::phones::{Jid, Picture};
use super::state::{
    ApiCall, CacheEntry, Client, DeliveryAttempt, PhoneMessage, UserRow, WaSettings, WaState, WaUser,
    WebhookFormat,
};
use super::stream::{self, InboundStream, StreamProgress};
use super::{session, webhook};
use crate::hub::{Hub, lock};

/// Why a control call was refused.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The body does not have the shape of this call.
    #[error("cannot read the body: {0}")]
    Body(#[from] serde_json::Error),
    /// No user of the WA server has this id or name.
    #[error("no session has the id or name {0:?}")]
    UnknownSession(String),
    /// The session has no running client.
    #[error("the session is not connected")]
    NotConnected,
    /// The session has no webhook, is not subscribed, or has no cache entry (no API call was made with its token).
    #[error(
        "nobody would get this: the session has no webhook, is not subscribed to it, or has made no call yet"
    )]
    NobodyListens,
    /// An inbound message without anything in it.
    #[error("give one of text, message and media")]
    NoContent,
    /// A time out of range.
    #[error("timestamp is out of range")]
    Timestamp,
    /// A media kind that does not exist.
    #[error("media kind must be image, video, audio, document or sticker")]
    MediaKind,
    /// Media that is not base64.
    #[error("media data must be base64")]
    MediaData,
    /// Not a number and not an address.
    #[error("{0:?} is neither a number nor an address")]
    Phone(String),
    /// Another session has this token.
    #[error("another session has this token")]
    TokenTaken,
    /// No such thing in Chatwoot.
    #[error("Chatwoot has no {what} {id}")]
    NotInChatwoot {
        /// `account`, `inbox`, `conversation` or `message`.
        what: &'static str,
        /// Its number.
        id: u64,
    },
    /// The Graph API knows no such thing.
    #[error("the Graph API has no {what} {id:?}")]
    NotInGraph {
        /// `waba`, `number`, `app`, `message`, `media`, `delivery` or `setting`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A kind of message that the Graph API does not deliver.
    #[error("{0:?} is no kind of message; give its object in body")]
    GraphKind(String),
    /// More than fits into one webhook.
    #[error("one webhook of the Graph API carries at most 1,000 updates")]
    TooManyUpdates,
    /// As many scripted troubles as there may be are switched on already.
    #[error("too many scripted troubles are switched on; remove some")]
    TooManyTroubles,
    /// A fault was refused.
    #[error(transparent)]
    Fault(#[from] crate::faults::FaultError),
}

impl ControlError {
    /// The HTTP status of this refusal on the control plane.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownSession(_) | Self::NotInChatwoot { .. } | Self::NotInGraph { .. } => 404,
            Self::NotConnected | Self::NobodyListens | Self::TokenTaken => 409,
            _ => 400,
        }
    }
}

/// A ready session in one step, for tests that are not about pairing: created, connected, paired, signing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewSession {
    /// `instanceName` of its webhooks.
    pub name: String,
    /// Made up if absent.
    pub token: Option<String>,
    /// Where its events go.
    pub webhook: String,
    /// Subscription; `All` if absent.
    pub events: Option<String>,
    /// Key its webhooks are signed with; unsigned if absent.
    pub hmac_key: Option<String>,
    /// Own number; made up if absent.
    pub phone: Option<String>,
}

/// Any event, as `POST /_sim/wa/event` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawEvent {
    /// User id or name.
    pub session: String,
    /// Event type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The `event` object.
    pub event: Value,
    /// More members at top level, e.g. `state`.
    pub extra: Map<String, Value>,
}

/// Somebody shows a picture of themselves, as `POST /_sim/wa/picture` and `POST /_sim/gowa/picture` take it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShownPicture {
    /// Who: digits only.
    pub phone: String,
    /// The file in base64; absent: there is none any more.
    pub data: Option<String>,
    /// WhatsApp's id of it; made up if absent.
    pub id: Option<String>,
    /// Where it is said to lie, if not on the simulator.
    pub elsewhere: Option<String>,
}

impl ShownPicture {
    pub(crate) fn decoded(&self) -> Result<Option<Vec<u8>>, ControlError> {
        let decode = |data: &String| decode(data).ok_or(ControlError::MediaData);
        self.data.as_ref().map(decode).transpose()
    }

    pub(crate) fn id(&self) -> String {
        self.id
            .clone()
            .unwrap_or_else(|| Uuid::now_v7().simple().to_string())
    }
}

/// A phone confirms messages, as `POST /_sim/wa/receipt` takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// User id or name of the session that sent the messages.
    pub session: String,
    /// Message ids.
    pub ids: Vec<String>,
    /// The confirming phone: digits or an address.
    pub chat: String,
    /// What is confirmed.
    pub state: ReceiptState,
}

/// What a phone confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReceiptState {
    /// It is on the phone.
    #[serde(alias = "delivered")]
    Delivered,
    /// A human has seen it.
    #[serde(alias = "read")]
    Read,
    /// The session's owner has seen it on another device.
    #[serde(alias = "read_self")]
    ReadSelf,
}

/// Something happens to a session, as `POST /_sim/wa/trouble` takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// User id or name.
    pub session: String,
    /// What happens.
    pub kind: TroubleKind,
}

/// What can happen to a session that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The socket to WhatsApp breaks and stays broken; the server says so.
    Dropped,
    /// The same, and the server says nothing.
    DroppedSilently,
    /// A person takes the session off the list of linked devices on the phone.
    Unlinked,
    /// It stays connected, sends, and posts no more events until it is taken off the network and connected again.
    Deaf,
}

/// Settings to change; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WaConfigChange {
    /// See [`WaSettings`].
    pub webhook_format: Option<WebhookFormat>,
    /// See [`WaSettings`].
    pub auto_receipts: Option<bool>,
    /// See [`WaSettings`].
    pub auto_login: Option<bool>,
    /// See [`WaSettings`].
    pub retry_delays_ms: Option<Vec<u64>>,
    /// See [`WaSettings`].
    pub not_on_whatsapp: Option<Vec<String>>,
}

pub(crate) fn create_session(hub: &Arc<Hub>, new: NewSession) -> Result<WaUser, ControlError> {
    let mut state = lock(&hub.wa);
    let token = new
        .token
        .unwrap_or_else(|| format!("wat_{}", Uuid::now_v7().simple()));
    if state.users.iter().any(|row| row.token == token) {
        return Err(ControlError::TokenTaken);
    }
    state.paired += 1;
    let phone = new.phone.unwrap_or_else(|| format!("62811{:08}", state.paired));
    let row = UserRow {
        id: Uuid::now_v7().simple().to_string(),
        name: new.name,
        token: token.clone(),
        webhook: new.webhook,
        events: new.events.unwrap_or_else(|| "All".to_owned()),
        jid: format!("{phone}:12@s.whatsapp.net"),
        hmac_key: new.hmac_key.clone(),
        ..UserRow::default()
    };
    let entry = CacheEntry {
        hmac_key: new.hmac_key,
        ..CacheEntry::from_row(&row)
    };
    state.cache.insert(token.clone(), entry);
    let client = Client {
        token,
        connected: true,
        logged_in: true,
        deaf: false,
        code_until: None,
    };
    state.clients.insert(row.id.clone(), client);
    state.users.push(row.clone());
    Ok(state.user_view(&row))
}

/// A phone scans the QR code of a session that waits for it.
pub(crate) fn scan(hub: &Arc<Hub>, session: &str, jid: Option<String>) -> Result<(), ControlError> {
    let mut state = lock(&hub.wa);
    let id = user_id(&state, session)?;
    if session::log_in(hub, &mut state, &id, jid) {
        Ok(())
    } else {
        Err(ControlError::NotConnected)
    }
}

/// The code of a session that waits to be scanned runs out, and another one is shown.
pub(crate) fn renew_code(hub: &Hub, session: &str) -> Result<(), ControlError> {
    let mut state = lock(&hub.wa);
    let id = user_id(&state, session)?;
    if session::renew_code(&mut state, &id) {
        Ok(())
    } else {
        Err(ControlError::NotConnected)
    }
}

/// Something happens to a session.
pub(crate) fn trouble(hub: &Arc<Hub>, trouble: &Trouble) -> Result<(), ControlError> {
    let mut state = lock(&hub.wa);
    let id = user_id(&state, &trouble.session)?;
    let Some(client) = state.clients.get_mut(&id) else {
        return Err(ControlError::NotConnected);
    };
    match trouble.kind {
        TroubleKind::Deaf => client.deaf = true,
        TroubleKind::DroppedSilently => drop_socket(client),
        TroubleKind::Dropped => {
            drop_socket(client);
            webhook::emit(hub, &mut state, &id, "Disconnected", json!({}), Map::new());
        }
        TroubleKind::Unlinked => {
            let token = client.token.clone();
            let event = json!({"OnConnect": false, "Reason": 401});
            webhook::emit(hub, &mut state, &id, "LoggedOut", event, Map::new());
            state.clients.remove(&id);
            if let Some(row) = state.row_mut(&id) {
                row.jid.clear();
            }
            if let Some(entry) = state.cache.get_mut(&token) {
                entry.jid.clear();
            }
        }
    }
    Ok(())
}

fn drop_socket(client: &mut Client) {
    client.connected = false;
    client.logged_in = false;
}

/// Somebody shows another picture of themselves, or none any more.
pub(crate) fn show_picture(hub: &Hub, picture: &ShownPicture) -> Result<(), ControlError> {
    let shown = picture.decoded()?.map(|bytes| Picture {
        id: picture.id(),
        elsewhere: picture.elsewhere.clone(),
        bytes,
    });
    lock(&hub.wa).phones.set_picture(&picture.phone, shown);
    Ok(())
}

pub(crate) fn receive(hub: &Arc<Hub>, message: &Inbound) -> Result<String, ControlError> {
    let mut state = lock(&hub.wa);
    let (id, outgoing) = inbound::receive(&mut state, message)?;
    let Some(outgoing) = outgoing else {
        return Err(ControlError::NobodyListens);
    };
    drop(state);
    webhook::send(hub, outgoing);
    Ok(id)
}

pub(crate) fn start_stream(hub: &Arc<Hub>, new: InboundStream) -> Result<u64, ControlError> {
    stream::start(hub, new)
}

pub(crate) fn stream_progress(hub: &Hub, id: u64) -> Option<StreamProgress> {
    lock(&hub.wa).streams.get(&id).cloned()
}

pub(crate) fn emit(hub: &Arc<Hub>, event: RawEvent) -> Result<u64, ControlError> {
    let mut state = lock(&hub.wa);
    let id = user_id(&state, &event.session)?;
    webhook::emit(hub, &mut state, &id, &event.kind, event.event, event.extra)
        .ok_or(ControlError::NobodyListens)
}

pub(crate) fn receipt(hub: &Arc<Hub>, receipt: &Receipt) -> Result<Option<u64>, ControlError> {
    let mut state = lock(&hub.wa);
    let id = user_id(&state, &receipt.session)?;
    let jid = Jid::parse(&receipt.chat).ok_or_else(|| ControlError::Phone(receipt.chat.clone()))?;
    Ok(confirm(hub, &mut state, &id, &jid, &receipt.ids, receipt.state))
}

/// Notes the receipt on the phone and tells the session, which hears of it only if subscribed to `All` (§12).
pub(super) fn confirm(
    hub: &Arc<Hub>,
    state: &mut WaState,
    session: &str,
    jid: &Jid,
    ids: &[String],
    receipt: ReceiptState,
) -> Option<u64> {
    let key = state.phones.key(jid);
    let (name, noted) = match receipt {
        ReceiptState::Delivered => ("Delivered", Some("delivered")),
        ReceiptState::Read => ("Read", Some("read")),
        ReceiptState::ReadSelf => ("ReadSelf", None),
    };
    for id in ids {
        if let (Some(noted), Some(message)) = (noted, state.phones.message(&key, session, id)) {
            message.receipts.push(noted.to_owned());
        }
    }
    let read = receipt != ReceiptState::Delivered;
    let mut event = receipt_event(&jid.to_string(), ids, read, Utc::now());
    if receipt == ReceiptState::ReadSelf {
        event["Type"] = json!("read-self");
        event["IsFromMe"] = json!(true);
    }
    let mut extra = Map::new();
    extra.insert("state".to_owned(), json!(name));
    webhook::emit(hub, state, session, "ReadReceipt", event, extra)
}

pub(crate) fn settings(hub: &Hub) -> WaSettings {
    lock(&hub.wa).settings.clone()
}

pub(crate) fn configure(hub: &Hub, change: WaConfigChange) -> WaSettings {
    let mut state = lock(&hub.wa);
    let settings = &mut state.settings;
    if let Some(format) = change.webhook_format {
        settings.webhook_format = format;
    }
    if let Some(receipts) = change.auto_receipts {
        settings.auto_receipts = receipts;
    }
    if let Some(login) = change.auto_login {
        settings.auto_login = login;
    }
    if let Some(delays) = change.retry_delays_ms {
        settings.retry_delays_ms = delays;
    }
    if let Some(numbers) = change.not_on_whatsapp {
        settings.not_on_whatsapp = numbers;
    }
    settings.clone()
}

pub(crate) fn restart(hub: &Hub) {
    lock(&hub.wa).restart();
}

pub(crate) fn users(hub: &Hub) -> Vec<WaUser> {
    let state = lock(&hub.wa);
    state.users.iter().map(|row| state.user_view(row)).collect()
}

/// Accepted `/chat/*` calls; `session` is an id or a name.
pub(crate) fn calls(
    hub: &Hub,
    session: Option<&str>,
    after: Option<u64>,
    limit: Option<usize>,
) -> Vec<ApiCall> {
    lock(&hub.wa).calls.page(after, limit, |call| {
        session.is_none_or(|wanted| call.session == wanted || call.session_name == wanted)
    })
}

pub(crate) fn deliveries(
    hub: &Hub,
    session: Option<&str>,
    after: Option<u64>,
    limit: Option<usize>,
) -> Vec<DeliveryAttempt> {
    lock(&hub.wa).deliveries.page(after, limit, |attempt| {
        session.is_none_or(|wanted| attempt.session == wanted || attempt.session_name == wanted)
    })
}

/// What the phone shows, and which of its own messages the session has marked as read.
pub(crate) fn phone(hub: &Hub, phone: &str) -> Result<(Vec<PhoneMessage>, Vec<String>), ControlError> {
    let state = lock(&hub.wa);
    let jid = Jid::parse(phone).ok_or_else(|| ControlError::Phone(phone.to_owned()))?;
    let key = state.phones.key(&jid);
    Ok((state.phones.messages(&key), state.phones.read_by_session(&key)))
}

pub(crate) fn count_on_phones<'a>(hub: &Hub, phones: impl IntoIterator<Item = &'a str>) -> u64 {
    let state = lock(&hub.wa);
    let keys = phones.into_iter().filter_map(Jid::parse);
    keys.map(|jid| state.phones.count(&state.phones.key(&jid)) as u64)
        .sum()
}

fn user_id(state: &WaState, session: &str) -> Result<String, ControlError> {
    state
        .find(session)
        .map(|row| row.id.clone())
        .ok_or_else(|| ControlError::UnknownSession(session.to_owned()))
}
