//! Telling a tenant's receiver in Meta's words: on a lane for each chat, in order, until it is taken or given up.
//!
//! What is to be told comes off the broker as an event, and is a task from then on. A task is done when the receiver
//! answered 200; it is dropped when nobody subscribes any more; it is put aside after the last attempt, or when it failed and
//! is too old, where `channel-service gate parked` and `gate replay` find it.

use std::time::Duration;

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::chat::{Channel, Place};
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId};
use domain::message::{MediaState, MessageContent};
use domain::retry::RetrySchedule;
use messaging::cause::{Cause, left_by};
use messaging::events::message_received::{ChatMessage, MessageReceived, MessageSentElsewhere};
use messaging::events::message_status_changed::MessageStatusChanged;
use messaging::lanes::{self, LaneError, Lease, NewTask, Next, Task, Waits};
use messaging::{Envelope, InvalidEnvelope};
use runtime::encryption::KeyRing;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;
use whatsapp::credentials::WebhookKey;

use super::content::{FileState, Parts, say};
use super::envelope::{self, Message, Person, Status};
use super::ids;
use super::receivers::{Answer, Receivers};
use super::subscribers::Subscribers;
use crate::flows::tenant::Actor;
use crate::store::gate::{self, MeantRow, NumberRow, ParkedRow};
use crate::store::gate_subscriptions::{self, SubscriptionRow};
use crate::store::{audit, media, message_chat};

/// Lanes of deliveries begin like this; see [`messaging::lanes::LaneChoice`].
pub const LANES: &str = "gate:";
/// The lane on which a chat's deliveries stand.
pub fn lane(chat: ChatId) -> String {
    format!("{LANES}{chat}")
}

/// Task kind of a delivery.
pub const TELL: &str = "gate_webhook";
/// A file that has not come by then is told as one that could not be had.
const FILE_PATIENCE: TimeDelta = TimeDelta::seconds(120);
/// How often it is looked for.
const FILE_PAUSE: Duration = Duration::from_millis(500);

/// What is to be told.
#[derive(Serialize, Deserialize)]
#[serde(tag = "about", content = "event", rename_all = "snake_case")]
enum Told {
    Received(ChatMessage),
    Echoed(ChatMessage),
    Moved(MessageStatusChanged),
}

/// A task's payload: [`Told`] and [`Cause`] are read from it each for itself.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    told: &'a Told,
    #[serde(flatten)]
    cause: Cause,
}

impl Told {
    fn of(envelope: &Envelope) -> Result<Option<Self>, InvalidEnvelope> {
        if let Some(MessageReceived(message)) = envelope.event()? {
            return Ok(Some(Self::Received(message)));
        }
        if let Some(MessageSentElsewhere(message)) = envelope.event()? {
            return Ok(Some(Self::Echoed(message)));
        }
        Ok(envelope.event()?.map(Self::Moved))
    }

    const fn account(&self) -> AccountId {
        match self {
            Self::Received(message) | Self::Echoed(message) => message.account_id,
            Self::Moved(moved) => moved.account_id,
        }
    }

    const fn message(&self) -> MessageId {
        match self {
            Self::Received(message) | Self::Echoed(message) => message.message_id,
            Self::Moved(moved) => moved.message_id,
        }
    }

    /// Is there a word for it on Meta's wire? Visitors of web pages and status posts are nobody's chat there.
    fn is_told(&self) -> bool {
        match self {
            Self::Received(message) | Self::Echoed(message) => ChatAddress::parse(&message.partner.address)
                .is_ok_and(|address| {
                    Channel::of(&address) == Channel::WhatsApp
                        && matches!(Place::of(&address), None | Some(Place::Group))
                }),
            Self::Moved(moved) => envelope::status_word(moved.status).is_some(),
        }
    }
}

/// Puts an event onto its chat's lane, if somebody wants to be told of it. True when it did.
///
/// The lane is that of the chat in which the message is now, which two chats of one person may have become since the
/// event was published.
///
/// # Errors
/// [`TellError`].
pub async fn tell(db: &Database, subscribers: &Subscribers, envelope: &Envelope) -> Result<bool, TellError> {
    if !subscribers.have(db, &envelope.tenant_id).await? {
        return Ok(false);
    }
    let Some(told) = Told::of(envelope)?.filter(Told::is_told) else {
        return Ok(false);
    };
    let cause = Cause::here();
    let payload = Written { told: &told, cause };
    let payload = serde_json::to_string(&payload).map_err(|error| DatabaseError::Refused(error.into()))?;
    let mut tx = TenantTransaction::begin(db, &envelope.scope(), "tell at gate").await?;
    if gate_subscriptions::subscription_for(&mut tx, told.account())
        .await?
        .is_none()
    {
        return Ok(false);
    }
    // Deleted meanwhile: there is nothing left to tell.
    let Some(chat) = message_chat::lock(&mut tx, told.message()).await? else {
        return Ok(false);
    };
    let task = NewTask {
        lane: lane(chat),
        // An event that comes twice while it waits is one task.
        id: envelope.id.as_uuid(),
        kind: TELL,
        payload,
    };
    lanes::enqueue(&mut tx, &task).await?;
    tx.commit().await?;
    Ok(true)
}

/// Why an event is not put onto its lane.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// It is none of ours.
    #[error(transparent)]
    Event(#[from] InvalidEnvelope),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Delivers what stands at the head of a lane.
pub struct Deliveries {
    /// The tables.
    pub db: Database,
    /// Opens the secrets of subscriptions.
    pub keys: KeyRing,
    /// The way to receivers.
    pub receivers: Receivers,
    /// When a failure is repeated.
    pub retries: RetrySchedule,
    /// What is older when it fails is put aside: behind a receiver that is gone for good nothing piles up.
    pub patience: Duration,
}

/// What is at hand for a delivery.
enum Head {
    /// This is to be posted.
    Post(Box<SubscriptionRow>, Vec<u8>),
    /// Nobody is to be told any more.
    Nobody,
    /// Its file has not come yet.
    FileComes,
    /// It can be told to nobody.
    Impossible(&'static str),
}

impl lanes::HandleTask for Deliveries {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let Cause {
            request_id,
            traceparent,
        } = Cause::of_payload(&task.payload);
        let work = self.work(lease, task);
        left_by("tell subscriber", request_id, traceparent, lease.scope(), work).await
    }
}

impl Deliveries {
    async fn work(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        match self.head(lease.scope(), task).await? {
            Head::Nobody => self.done(lease, task, "dropped").await,
            Head::FileComes => {
                self.wait(lease, task, FILE_PAUSE, Waits::NotBegun, "file_comes")
                    .await
            }
            Head::Impossible(reason) => self.park(lease, task, reason).await,
            Head::Post(subscription, body) => self.post(lease, task, &subscription, body).await,
        }
    }

    async fn post(
        &self,
        lease: &Lease,
        task: &Task,
        subscription: &SubscriptionRow,
        body: Vec<u8>,
    ) -> Result<Next, LaneError> {
        let binding = gate_subscriptions::secret_binding(lease.scope(), subscription.id);
        let key = self
            .keys
            .open(&subscription.app_secret_sealed, &binding)
            .ok()
            .and_then(|secret| WebhookKey::new(secret.expose_secret()).ok());
        let Some(key) = key else {
            return self.park(lease, task, "unusable_secret").await;
        };
        let age = (Utc::now() - task.created_at).to_std().unwrap_or_default();
        match self
            .receivers
            .post(&subscription.callback_url, &key, Bytes::from(body))
            .await
        {
            Answer::Taken => self.done(lease, task, "delivered").await,
            Answer::Resting(_) if age >= self.patience => self.park(lease, task, "host_resting").await,
            Answer::Resting(wait) => {
                let wait = wait + wait.mul_f64(0.2 * rand::random::<f64>());
                self.wait(lease, task, wait, Waits::NotBegun, "host_resting")
                    .await
            }
            Answer::Failed { reason, wait } => {
                let failures = u32::try_from(task.failures).unwrap_or_default().saturating_add(1);
                let scheduled = self.retries.wait_after(failures, rand::random());
                match scheduled.filter(|_| age < self.patience) {
                    Some(scheduled) => {
                        let wait = wait.map_or(scheduled, |asked| asked.max(scheduled));
                        self.wait(lease, task, wait, Waits::Failed, &reason).await
                    }
                    None => self.park(lease, task, &reason).await,
                }
            }
        }
    }

    async fn head(&self, scope: &TenantScope, task: &Task) -> Result<Head, DatabaseError> {
        let Ok(told) = serde_json::from_str::<Told>(&task.payload) else {
            return Ok(Head::Impossible("unreadable_event"));
        };
        let account = told.account();
        let mut tx = TenantTransaction::begin(&self.db, scope, "read gate delivery").await?;
        let subscription = gate_subscriptions::subscription_for(&mut tx, account).await?;
        let number = gate::number_of(&mut tx, account).await?;
        let (Some(subscription), Some(number)) = (subscription, number) else {
            return Ok(Head::Nobody);
        };
        let is_echo = matches!(told, Told::Echoed(_));
        let body = match &told {
            Told::Received(message) | Told::Echoed(message) => {
                // Deleted meanwhile, and its words with it.
                let Some(row) = gate::meant(&mut tx, account, Some(message.message_id), "").await? else {
                    return Ok(Head::Nobody);
                };
                let patient = Utc::now() - task.created_at < FILE_PATIENCE;
                let told = match message_of(&mut tx, &number, &row, message, patient).await? {
                    Some(told) => told,
                    None => return Ok(Head::FileComes),
                };
                let Some((person, message)) = told else {
                    return Ok(Head::Impossible("unreadable_message"));
                };
                if is_echo {
                    envelope::echoed(&number, &person, message)
                } else {
                    envelope::received(&number, &person, message)
                }
            }
            Told::Moved(moved) => match status_of(&mut tx, &number, account, moved).await? {
                Some(body) => body,
                // The message was deleted meanwhile.
                None => return Ok(Head::Nobody),
            },
        };
        tx.commit().await?;
        Ok(Head::Post(Box::new(subscription), envelope::bytes(&body)))
    }

    async fn done(&self, lease: &Lease, task: &Task, outcome: &'static str) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "finish gate delivery").await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        metrics::counter!("kanal_gate_deliveries_total", "outcome" => outcome).increment(1);
        Ok(Next::Continue)
    }

    async fn wait(
        &self,
        lease: &Lease,
        task: &Task,
        wait: Duration,
        waits: Waits,
        reason: &str,
    ) -> Result<Next, LaneError> {
        if waits == Waits::Failed {
            tracing::info!(
                reason,
                wait_ms = wait.as_millis(),
                "a webhook of the gate has to wait"
            );
            metrics::counter!("kanal_gate_deliveries_retried_total").increment(1);
        }
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "retry gate delivery").await?;
        lease.retry(&mut tx, task, wait, waits, reason).await?;
        tx.commit().await?;
        Ok(Next::Wait)
    }

    async fn park(&self, lease: &Lease, task: &Task, reason: &str) -> Result<Next, LaneError> {
        tracing::error!(
            tenant = %lease.scope().tenant(),
            reason,
            "a webhook of the gate is put aside; channel-service gate parked lists it, gate replay tries it again"
        );
        metrics::counter!("kanal_gate_deliveries_total", "outcome" => "parked").increment(1);
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "park gate delivery").await?;
        lease.park(&mut tx, task, reason).await?;
        tx.commit().await?;
        Ok(Next::Continue)
    }
}

/// Webhooks of the tenant that were put aside, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked(db: &Database, scope: &TenantScope, most: i64) -> Result<Vec<ParkedRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list gate deliveries").await?;
    let rows = gate::parked(&mut tx, TELL, most).await?;
    tx.commit().await?;
    Ok(rows)
}

/// Tries a webhook again that was put aside. False: the tenant has none of this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn replay(
    db: &Database,
    scope: &TenantScope,
    id: Uuid,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "replay gate delivery").await?;
    if !gate::is_parked(&mut tx, TELL, id).await? || !lanes::replay(&mut tx, id).await? {
        return Ok(false);
    }
    audit::note(&mut tx, &actor.act("gate.replay", Some(id.to_string()))).await?;
    tx.commit().await?;
    Ok(true)
}

/// A message as it is told. `None`: its file comes still. Inner `None`: it cannot be read.
async fn message_of(
    tx: &mut TenantTransaction,
    number: &NumberRow,
    row: &MeantRow,
    message: &ChatMessage,
    patient: bool,
) -> Result<Option<Option<(Person, Message)>>, DatabaseError> {
    // The chat in which it is now: two chats of one person may have become one since.
    let (account, chat) = (message.account_id, ChatId::from_uuid(row.chat_id));
    let address = ChatAddress::parse(&row.address);
    let content = serde_json::from_str::<MessageContent>(message.content.get());
    let (Ok(address), Ok(content)) = (address, content) else {
        return Ok(Some(None));
    };
    let file = match &content {
        MessageContent::Media(_) => match file_of(tx, message.message_id, patient).await? {
            Some(file) => Some(file),
            None => return Ok(None),
        },
        _ => None,
    };
    let target = match content.target() {
        Some(target) => Some(called(tx, account, target).await?.0),
        None => None,
    };
    let context = match &message.quoted {
        Some(quoted) => {
            let (id, author) = called(tx, account, quoted).await?;
            let from = match author {
                Some(Author::Ours) => number.display.clone(),
                Some(Author::Theirs(phone)) => phone,
                None => None,
            };
            Some((id, from))
        }
        None => None,
    };
    let sender = message.sender.as_ref();
    let writer = sender.and_then(|sender| ChatAddress::parse(&sender.address).ok());
    let name = match sender {
        Some(sender) => sender.name.clone(),
        None => message.partner.name.clone(),
    };
    let name = match name {
        Some(name) => Some(name),
        None => gate::person(tx, account, chat)
            .await?
            .filter(|_| sender.is_none())
            .and_then(|person| person.name),
    };
    let person = Person {
        chat,
        // The number counts also where the chat goes by a hidden id.
        address: match &message.partner.phone {
            Some(phone) if address.is_direct() => {
                domain::address::PhoneNumber::parse(phone).map_or(address, ChatAddress::Phone)
            }
            _ => address,
        },
        name,
        writer,
    };
    let said = say(Parts {
        message: message.message_id,
        content: &content,
        file: file.as_ref(),
        target,
    });
    let told = Message {
        wamid: ids::wamid(message.message_id),
        at: message.sent_at,
        said,
        context,
    };
    Ok(Some(Some((person, told))))
}

/// What became of a message's file. `None`: it comes still.
async fn file_of(
    tx: &mut TenantTransaction,
    message: MessageId,
    patient: bool,
) -> Result<Option<FileState>, DatabaseError> {
    let Some(row) = media::find(tx, message).await? else {
        return Ok(Some(FileState::Missing));
    };
    Ok(match row.state.parse() {
        Ok(MediaState::Stored) => match (row.mime_type, row.sha256) {
            (Some(mime_type), Some(sha256)) => Some(FileState::There {
                mime_type,
                sha256,
                name: row.file_name,
            }),
            _ => Some(FileState::Missing),
        },
        Ok(MediaState::Pending) if patient => None,
        _ => Some(FileState::Missing),
    })
}

/// Who wrote a message.
enum Author {
    Ours,
    Theirs(Option<String>),
}

/// What another message is called, and who wrote it, where we have it.
async fn called(
    tx: &mut TenantTransaction,
    account: AccountId,
    id: &ProviderMessageId,
) -> Result<(String, Option<Author>), DatabaseError> {
    let Some(row) = gate::meant(tx, account, None, id.as_str()).await? else {
        return Ok((ids::foreign_wamid(id.as_str()), None));
    };
    let author = if row.inbound {
        let writer = row.sender.as_deref().unwrap_or(&row.address);
        let address = ChatAddress::parse(writer).ok();
        Author::Theirs(address.and_then(|address| Some(address.phone()?.as_str().to_owned())))
    } else {
        Author::Ours
    };
    Ok((ids::wamid(MessageId::from_uuid(row.id)), Some(author)))
}

async fn status_of(
    tx: &mut TenantTransaction,
    number: &NumberRow,
    account: AccountId,
    moved: &MessageStatusChanged,
) -> Result<Option<serde_json::Value>, DatabaseError> {
    let row = gate::meant(tx, account, Some(moved.message_id), "").await?;
    let Some((row, status)) = row.zip(envelope::status_word(moved.status)) else {
        return Ok(None);
    };
    let Ok(address) = ChatAddress::parse(&row.address) else {
        return Ok(None);
    };
    if Channel::of(&address) != Channel::WhatsApp {
        return Ok(None);
    }
    let person = Person {
        chat: ChatId::from_uuid(row.chat_id),
        address,
        name: None,
        writer: None,
    };
    let status = Status {
        wamid: ids::wamid(moved.message_id),
        status,
        at: moved.at,
        reference: moved.reference.as_deref(),
        reason: moved.reason.as_deref(),
        detail: moved.detail.as_deref(),
    };
    Ok(Some(envelope::moved(number, &person, &status)))
}
