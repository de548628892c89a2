//! Events that were taken off the broker.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::EventId;
use tenant_isolation::{PlatformTransaction, TenantTransaction};

/// Notes an event. False when it was noted before.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add(tx: &mut TenantTransaction, event: EventId) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let added = database::sql(
        "INSERT INTO handled_events (tenant_id, event_id) VALUES ($1, $2) ON CONFLICT (tenant_id, event_id) DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(event.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(added == 1)
}

/// Forgets up to `most` events, of whatever tenants, that are older than `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM handled_events h USING (SELECT tenant_id, event_id FROM handled_events \
              WHERE received_at < now() - $1 * interval '1 day' ORDER BY received_at LIMIT $2) old \
         WHERE h.tenant_id = old.tenant_id AND h.event_id = old.event_id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
