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

use crate::store::message::Moved;

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
    let put_aside = status == DeliveryStatus::Parked;
    tell(tx, moved, status, put_aside, reason, at).await
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
    tell(tx, moved, status, true, reason, at).await
}

async fn tell(
    tx: &mut TenantTransaction,
    moved: Vec<Moved>,
    status: DeliveryStatus,
    put_aside: bool,
    reason: Option<&str>,
    at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let told = moved.len();
    let mut rows = Vec::with_capacity(moved.len());
    for message in moved {
        let refused = |error: Box<dyn std::error::Error + Send + Sync>| DatabaseError::Refused(error);
        let event = MessageStatusChanged {
            account_id: AccountId::from_uuid(message.account_id),
            chat_id: ChatId::from_uuid(message.chat_id),
            message_id: MessageId::from_uuid(message.id),
            provider_message_id: ProviderMessageId::parse(message.provider_message_id)
                .map_err(|error| refused(error.into()))?,
            status,
            reason: reason.map(str::to_owned),
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
    }
    metrics::counter!("kanal_message_status_total", "status" => status.as_str()).increment(told as u64);
    enqueue(tx, rows).await
}
