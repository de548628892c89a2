//! An order that can never be taken: whoever asked learns of it, as of any other message that failed.

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::delivery::DeliveryStatus;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use messaging::Envelope;
use messaging::events::message_status_changed::MessageStatusChanged;
use messaging::events::send_requested::SendRequested;
use messaging::outbox::{NewRow, Signal, enqueue};
use tenant_isolation::{TenantScope, TenantTransaction};

/// Announces that the order failed for this reason. There is no message and no chat; the order's own id stands for both,
/// so that a repetition can be recognised, and `reference` tells the asker which it was.
///
/// # Errors
/// [`DatabaseError`]; nobody knows of it then.
pub async fn refuse(
    db: &Database,
    relay: &Signal,
    scope: &TenantScope,
    order: &SendRequested,
    reason: &'static str,
) -> Result<(), DatabaseError> {
    metrics::counter!("kanal_orders_refused_total", "reason" => reason).increment(1);
    tracing::warn!(order = %order.request_id, reason, "an order was refused");
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| DatabaseError::Refused(error);
    let id = order.request_id;
    let event = MessageStatusChanged {
        account_id: order.account_id,
        chat_id: ChatId::from_uuid(id),
        message_id: MessageId::from_uuid(id),
        provider_message_id: ProviderMessageId::parse(id.simple().to_string())
            .map_err(|error| refused(error.into()))?,
        status: DeliveryStatus::Failed,
        reason: Some(reason.to_owned()),
        detail: None,
        put_aside: false,
        // One that cannot be kept cannot be known to anybody either.
        reference: order.reference.clone().filter(|text| !text.contains('\0')),
        at: Utc::now(),
    };
    let envelope = Envelope::new(scope, &event).map_err(|error| refused(error.into()))?;
    let row = NewRow {
        lane: id.to_string(),
        envelope,
    };
    let mut tx = TenantTransaction::begin(db, scope, "refuse order").await?;
    enqueue(&mut tx, vec![row]).await?;
    tx.commit().await?;
    relay.ring();
    Ok(())
}
