//! Events that were put aside, for the people who look after them. Nobody is shown what is in them.

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use crate::store::audit_log::Actor;
pub use crate::store::forward_counts::ForwardCounts;
pub use crate::store::forward_events::ParkedEvent;
use crate::store::{forward_counts, forward_events};

/// Events that are taken up in one transaction.
const BATCH: usize = 100;

/// Events that are put aside, oldest first, of one route or of all the tenant's; and how all events fared.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked(
    db: &Database,
    scope: &TenantScope,
    route: Option<Uuid>,
    most: i64,
) -> Result<(Vec<ParkedEvent>, Vec<ForwardCounts>), DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list parked events").await?;
    let events = forward_events::parked(&mut tx, route, most).await?;
    let counts = forward_counts::counts(&mut tx, route).await?;
    tx.commit().await?;
    Ok((events, counts))
}

/// Events of whatever tenants that are put aside, oldest first, for whoever runs the service.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked_anywhere(db: &Database, most: i64) -> Result<Vec<ParkedEvent>, DatabaseError> {
    let platform = PlatformScope::for_purpose("list parked events");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    let events = forward_events::parked_anywhere(&mut tx, most).await?;
    tx.commit().await?;
    Ok(events)
}

/// One of the tenant's events that is not delivered yet.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show(
    db: &Database,
    scope: &TenantScope,
    event: Uuid,
) -> Result<Option<ParkedEvent>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "show event").await?;
    let found = forward_events::show(&mut tx, event).await?;
    tx.commit().await?;
    Ok(found)
}

/// Takes an event up again, in its old place before all later ones of its conversation. False when it is not put aside, or
/// not this tenant's.
///
/// # Errors
/// [`DatabaseError`]; nothing is changed then.
pub async fn replay(db: &Database, scope: &TenantScope, event: Uuid) -> Result<bool, DatabaseError> {
    let replayed = replay_these(db, scope, &[event], &Actor::operator()).await?;
    Ok(replayed == 1)
}

/// The same with several of the tenant's events, for whoever it is. Returns how many were put aside until then.
///
/// # Errors
/// [`DatabaseError`]; nothing is changed then.
pub async fn replay_these(
    db: &Database,
    scope: &TenantScope,
    events: &[Uuid],
    actor: &Actor,
) -> Result<usize, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "replay events").await?;
    let replayed = forward_events::replay(&mut tx, events, &actor.name).await?;
    tx.commit().await?;
    Ok(replayed)
}

/// Takes up all that is put aside now, of one route or of all the tenant's; what nobody knows the outcome of is left to be
/// replayed one by one. Returns how many; what is put aside anew meanwhile stays aside.
///
/// # Errors
/// [`DatabaseError`]; what was taken up before stays taken up.
pub async fn replay_all(
    db: &Database,
    scope: &TenantScope,
    route: Option<Uuid>,
) -> Result<usize, DatabaseError> {
    replay_all_by(db, scope, route, &Actor::operator()).await
}

/// The same, for whoever it is.
///
/// # Errors
/// [`DatabaseError`]; what was taken up before stays taken up.
pub async fn replay_all_by(
    db: &Database,
    scope: &TenantScope,
    route: Option<Uuid>,
    actor: &Actor,
) -> Result<usize, DatabaseError> {
    let (events, _) = parked(db, scope, route, i64::MAX).await?;
    let certain: Vec<Uuid> = events
        .iter()
        .filter(|event| !event.unknown)
        .map(|event| event.event_id)
        .collect();
    let mut replayed = 0;
    for batch in certain.chunks(BATCH) {
        replayed += replay_these(db, scope, batch, actor).await?;
    }
    Ok(replayed)
}
