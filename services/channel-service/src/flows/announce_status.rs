//! Telling everybody that a message of ours moved.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId};
use futures_util::FutureExt as _;
use messaging::Envelope;
use messaging::events::message_parked::MessageParked;
use messaging::events::message_status_changed::MessageStatusChanged;
use messaging::outbox::{NewRow, enqueue, enqueue_group};
use tenant_isolation::{GroupTransaction, TenantScope, TenantTransaction};

use super::ai_progress::{answer_of, follow_answer};
use crate::store::message_status::Moved;

/// A message that moved, and what is to be told of it.
#[derive(Debug)]
pub struct Told<'a> {
    /// The message.
    pub moved: Moved,
    /// Where it stands now.
    pub status: DeliveryStatus,
    /// Why, as a stable code.
    pub reason: Option<&'a str>,
    /// Why, in the provider's words.
    pub detail: Option<String>,
    /// When it got there.
    pub at: DateTime<Utc>,
}

/// Puts the events into the outbox, in the transaction that moved the messages. A message that is parked also goes
/// to the queue where operators look.
///
/// # Errors
/// [`DatabaseError`].
pub async fn announce(
    tx: &mut TenantTransaction,
    moved: Vec<Moved>,
    status: DeliveryStatus,
    reason: Option<&str>,
    at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let told = all_alike(moved, status, reason, at);
    tell(tx, told, status == DeliveryStatus::Parked).await
}

/// As [`announce`], for one message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn announce_one(tx: &mut TenantTransaction, told: Told<'_>) -> Result<(), DatabaseError> {
    let put_aside = told.status == DeliveryStatus::Parked;
    tell(tx, vec![told], put_aside).await
}

/// As [`announce`], for messages of several tenants that moved each in its own way. Returns the transaction.
///
/// # Errors
/// [`DatabaseError`].
pub async fn announce_group(
    mut tx: GroupTransaction,
    told: Vec<(&TenantScope, Told<'_>)>,
) -> Result<GroupTransaction, DatabaseError> {
    let mut rows = Vec::with_capacity(told.len());
    for (scope, told) in told {
        if answer_of(&told.moved).is_some() {
            let (moved, status) = (told.moved.clone(), told.status);
            let reason = told.reason.map(str::to_owned);
            let following = tx.for_member(scope, move |tx| {
                async move { follow_answer(tx, &moved, status, reason.as_deref()).await }.boxed()
            });
            tx = following.await?;
        }
        let put_aside = told.status == DeliveryStatus::Parked;
        rows.extend(rows_of(scope, told, put_aside)?);
    }
    enqueue_group(&mut tx, rows).await?;
    Ok(tx)
}

/// As [`announce`], for messages that are not tried again by themselves, whatever their status: also one of which nobody
/// knows whether it went out goes to the queue where operators look.
///
/// # Errors
/// [`DatabaseError`].
pub async fn announce_put_aside(
    tx: &mut TenantTransaction,
    moved: Vec<Moved>,
    status: DeliveryStatus,
    reason: Option<&str>,
    at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    tell(tx, all_alike(moved, status, reason, at), true).await
}

fn all_alike<'a>(
    moved: Vec<Moved>,
    status: DeliveryStatus,
    reason: Option<&'a str>,
    at: DateTime<Utc>,
) -> Vec<Told<'a>> {
    let told = moved.into_iter().map(|moved| Told {
        moved,
        status,
        reason,
        detail: None,
        at,
    });
    told.collect()
}

async fn tell(tx: &mut TenantTransaction, told: Vec<Told<'_>>, put_aside: bool) -> Result<(), DatabaseError> {
    let mut rows = Vec::with_capacity(told.len());
    for told in told {
        follow_answer(tx, &told.moved, told.status, told.reason).await?;
        rows.extend(rows_of(tx.scope(), told, put_aside)?);
    }
    enqueue(tx, rows).await
}

/// What the outbox is given about one message, in the order in which it is told.
fn rows_of(scope: &TenantScope, told: Told<'_>, put_aside: bool) -> Result<Vec<NewRow>, DatabaseError> {
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| DatabaseError::Refused(error);
    let Told {
        moved: message,
        status,
        reason,
        detail,
        at,
    } = told;
    let event = MessageStatusChanged {
        account_id: AccountId::from_uuid(message.account_id),
        chat_id: ChatId::from_uuid(message.chat_id),
        message_id: MessageId::from_uuid(message.id),
        provider_message_id: ProviderMessageId::parse(message.provider_message_id)
            .map_err(|error| refused(error.into()))?,
        status,
        reason: reason.map(str::to_owned),
        detail,
        put_aside,
        reference: message.reference,
        at,
    };
    let mut envelopes = Vec::with_capacity(2);
    if put_aside {
        let parked = MessageParked {
            account_id: event.account_id,
            chat_id: event.chat_id,
            message_id: event.message_id,
            reason: reason.unwrap_or_default().to_owned(),
            at,
        };
        envelopes.push(Envelope::new(scope, &parked).map_err(|error| refused(error.into()))?);
    }
    envelopes.push(Envelope::new(scope, &event).map_err(|error| refused(error.into()))?);
    metrics::counter!("kanal_message_status_total", "status" => status.as_str()).increment(1);
    let rows = envelopes.into_iter().map(|envelope| NewRow {
        lane: event.chat_id.to_string(),
        envelope,
    });
    Ok(rows.collect())
}
