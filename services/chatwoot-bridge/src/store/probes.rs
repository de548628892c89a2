//! `set_up_probes`: test messages whose webhook is waited for.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Notes that a test message is about to be made.
///
/// # Errors
/// [`DatabaseError`].
pub async fn expect(tx: &mut TenantTransaction, nonce: &str, route: Uuid) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("INSERT INTO set_up_probes (tenant_id, nonce, route_id) VALUES ($1, $2, $3)")
        .bind::<Text, _>(tenant)
        .bind::<Text, _>(nonce)
        .bind::<SqlUuid, _>(route)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Notes that its webhook came. Of a nonce that nobody waits for nothing is kept.
///
/// # Errors
/// [`DatabaseError`].
pub async fn arrived(tx: &mut TenantTransaction, nonce: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE set_up_probes SET arrived_at = now() \
         WHERE tenant_id = $1 AND nonce = $2 AND arrived_at IS NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(nonce)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Did it come?
///
/// # Errors
/// [`DatabaseError`].
pub async fn has_arrived(tx: &mut TenantTransaction, nonce: &str) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        #[expect(dead_code, reason = "that there is a row is the answer")]
        route_id: Uuid,
    }
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Found> = database::sql(
        "SELECT route_id FROM set_up_probes WHERE tenant_id = $1 AND nonce = $2 AND arrived_at IS NOT NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(nonce)
    .load(tx.connection())
    .await?;
    Ok(!rows.is_empty())
}

/// Forgets those that are older. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM set_up_probes WHERE (tenant_id, nonce) IN (SELECT tenant_id, nonce FROM set_up_probes \
         WHERE created_at < now() - $1 * interval '1 day' ORDER BY created_at LIMIT $2)",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
