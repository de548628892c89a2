//! Two lanes turn out to be one.

use database::DatabaseError;
use diesel::sql_types::{Array, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::ids::TenantId;
use tenant_isolation::{GroupTransaction, TenantTransaction};

/// Moves all work of a lane, and what waits in the outbox under its name, into another lane of the same tenant, and
/// does away with it. Work stays in the order in which it was enqueued, across both lanes.
///
/// Whoever is at work on the old lane loses it: the outcome of what is in hand cannot be written any more, and the
/// task, which counts as begun, is taken up in the new lane like one of a worker that died.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn merge(
    tx: &mut GroupTransaction,
    tenant: &TenantId,
    from: &str,
    into: &str,
) -> Result<(), DatabaseError> {
    merge_lanes(tx.connection(), tenant, from, into).await
}

/// As [`merge`], for lanes of the transaction's tenant.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn merge_one(tx: &mut TenantTransaction, from: &str, into: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().clone();
    merge_lanes(tx.connection(), &tenant, from, into).await
}

async fn merge_lanes(
    connection: &mut AsyncPgConnection,
    tenant: &TenantId,
    from: &str,
    into: &str,
) -> Result<(), DatabaseError> {
    // Both rows, in one order, before anything else: a worker that begins a task holds one of them.
    database::sql("SELECT lane FROM lanes WHERE tenant_id = $1 AND lane = ANY ($2) ORDER BY lane FOR UPDATE")
        .bind::<Text, _>(tenant.as_str())
        .bind::<Array<Text>, _>(vec![from, into])
        .execute(&mut *connection)
        .await?;
    // A lane without work is not ready. Where both have work, the surviving one is ready when it would have been.
    database::sql(
        "INSERT INTO lanes AS l (tenant_id, lane, ready_at) \
         SELECT tenant_id, $3, ready_at FROM lanes WHERE tenant_id = $1 AND lane = $2 \
         ON CONFLICT (tenant_id, lane) DO UPDATE SET ready_at = coalesce(l.ready_at, excluded.ready_at)",
    )
    .bind::<Text, _>(tenant.as_str())
    .bind::<Text, _>(from)
    .bind::<Text, _>(into)
    .execute(&mut *connection)
    .await?;
    for statement in [
        "UPDATE lane_tasks SET lane = $3 WHERE tenant_id = $1 AND lane = $2",
        "UPDATE outbox SET lane = $3 WHERE tenant_id = $1 AND lane = $2",
    ] {
        database::sql(statement)
            .bind::<Text, _>(tenant.as_str())
            .bind::<Text, _>(from)
            .bind::<Text, _>(into)
            .execute(&mut *connection)
            .await?;
    }
    database::sql("DELETE FROM lanes WHERE tenant_id = $1 AND lane = $2")
        .bind::<Text, _>(tenant.as_str())
        .bind::<Text, _>(from)
        .execute(&mut *connection)
        .await?;
    Ok(())
}
