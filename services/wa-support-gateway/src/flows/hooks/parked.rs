//! Events that were put aside, for the people who look after them. Nobody is shown what is in them.

use database::{Database, DatabaseError};
use messaging::lanes;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use crate::store::hook_events;
pub use crate::store::hook_events::{HookCounts, ParkedEvent};

/// Events that are taken up in one transaction.
const BATCH: usize = 100;

/// Events that are put aside, oldest first, of one session or of all the customer's; and how all its events fared.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked(
    db: &Database,
    scope: &TenantScope,
    session: Option<Uuid>,
    most: i64,
) -> Result<(Vec<ParkedEvent>, Vec<HookCounts>), DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list parked webhooks").await?;
    let events = hook_events::parked(&mut tx, session, most).await?;
    let counts = hook_events::counts(&mut tx).await?;
    tx.commit().await?;
    Ok((events, counts))
}

/// One of the customer's events that is not delivered yet.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show(
    db: &Database,
    scope: &TenantScope,
    event: Uuid,
) -> Result<Option<ParkedEvent>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "show webhook").await?;
    let found = hook_events::show(&mut tx, event).await?;
    tx.commit().await?;
    Ok(found)
}

/// Takes an event up again, in its old place before all later ones. False when it is not put aside, or not this
/// customer's.
///
/// # Errors
/// [`DatabaseError`]; nothing is changed then.
pub async fn replay(db: &Database, scope: &TenantScope, event: Uuid) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "replay webhook").await?;
    let replayed = lanes::replay(&mut tx, event).await?;
    tx.commit().await?;
    Ok(replayed)
}

/// Takes up all that is put aside now, of one session or of all. Returns how many; what is put aside anew meanwhile stays
/// aside.
///
/// # Errors
/// [`DatabaseError`]; what was taken up before stays taken up.
pub async fn replay_all(
    db: &Database,
    scope: &TenantScope,
    session: Option<Uuid>,
) -> Result<usize, DatabaseError> {
    let (events, _) = parked(db, scope, session, i64::MAX).await?;
    let mut replayed = 0;
    for batch in events.chunks(BATCH) {
        let mut tx = TenantTransaction::begin(db, scope, "replay webhooks").await?;
        for event in batch {
            replayed += usize::from(lanes::replay(&mut tx, event.event_id).await?);
        }
        tx.commit().await?;
    }
    Ok(replayed)
}
