//! A message that was put aside is tried again: it goes back to its place in its chat's lane.

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::delivery::DeliveryStatus;
use domain::ids::MessageId;
use messaging::lanes;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::announce_status::announce;
use crate::store::message;

/// Queues the message again. False when it is not put aside, or not this tenant's.
///
/// A message whose outcome is unknown may be repeated too: whoever asks has looked at the phone. Where the provider
/// takes our id, the person sees it once in any case.
///
/// # Errors
/// [`DatabaseError`]; nothing is changed then.
pub async fn replay(db: &Database, scope: &TenantScope, id: MessageId) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "replay message").await?;
    if !lanes::replay(&mut tx, id.as_uuid()).await? {
        return Ok(false);
    }
    let moved = message::advance(&mut tx, id, DeliveryStatus::Queued, None).await?;
    announce(
        &mut tx,
        moved.into_iter().collect(),
        DeliveryStatus::Queued,
        None,
        Utc::now(),
    )
    .await?;
    tx.commit().await?;
    Ok(true)
}
