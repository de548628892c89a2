//! `session_leases`: who makes or removes a tenant's session at the moment.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{Double, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Takes the tenant's lease, or keeps it. False while somebody else has it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn take(tx: &mut TenantTransaction, holder: Uuid, time: Duration) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let taken = database::sql(
        "INSERT INTO session_leases AS l (tenant_id, holder, until) \
         VALUES ($1, $2, now() + make_interval(secs => $3)) \
         ON CONFLICT (tenant_id) DO UPDATE SET holder = excluded.holder, until = excluded.until \
             WHERE l.holder = excluded.holder OR l.until < now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(holder)
    .bind::<Double, _>(time.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(taken == 1)
}

/// Is the lease still this holder's? If so, it stays so until the transaction ends.
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_held(tx: &mut TenantTransaction, holder: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let held = database::sql(
        "UPDATE session_leases SET holder = holder WHERE tenant_id = $1 AND holder = $2 AND until >= now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(holder)
    .execute(tx.connection())
    .await?;
    Ok(held == 1)
}

/// Gives the lease back.
///
/// # Errors
/// [`DatabaseError`].
pub async fn release(tx: &mut TenantTransaction, holder: Uuid) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("DELETE FROM session_leases WHERE tenant_id = $1 AND holder = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(holder)
        .execute(tx.connection())
        .await?;
    Ok(())
}
