//! Telling everybody that a message of ours moved.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId};
use messaging::Envelope;
use messaging::events::message_parked::MessageParked;
use messaging::events::message_status_changed::MessageStatusChanged;
use messaging::outbox::{NewRow, enqueue};
use tenant_isolation::TenantTransaction;

use super::ai_progress::follow_answer;
use crate::store::message::Moved;

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
    announce_each(tx, all_alike(moved, status, reason, at)).await
}

/// As [`announce`], for messages that moved each in its own way.
///
/// # Errors
/// [`DatabaseError`].
pub async fn announce_each(tx: &mut TenantTransaction, told: Vec<Told<'_>>) -> Result<(), DatabaseError> {
    tell(tx, told, |told| told.status == DeliveryStatus::Parked).await
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
    tell(tx, all_alike(moved, status, reason, at), |_| true).await
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

async fn tell(
    tx: &mut TenantTransaction,
    told: Vec<Told<'_>>,
    is_put_aside: impl Fn(&Told<'_>) -> bool,
) -> Result<(), DatabaseError> {
    let mut rows = Vec::with_capacity(told.len());
    for told in told {
        let put_aside = is_put_aside(&told);
        let Told {
            moved: message,
            status,
            reason,
            detail,
            at,
        } = told;
        follow_answer(tx, &message, status, reason).await?;
        let refused = |error: Box<dyn std::error::Error + Send + Sync>| DatabaseError::Refused(error);
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
        let envelope = Envelope::new(tx.scope(), &event).map_err(|error| refused(error.into()))?;
        if put_aside {
            let parked = MessageParked {
                account_id: event.account_id,
                chat_id: event.chat_id,
                message_id: event.message_id,
                reason: reason.unwrap_or_default().to_owned(),
                at,
            };
            let envelope = Envelope::new(tx.scope(), &parked).map_err(|error| refused(error.into()))?;
            rows.push(NewRow {
                lane: event.chat_id.to_string(),
                envelope,
            });
        }
        rows.push(NewRow {
            lane: event.chat_id.to_string(),
            envelope,
        });
        metrics::counter!("kanal_message_status_total", "status" => status.as_str()).increment(1);
    }
    enqueue(tx, rows).await
}
