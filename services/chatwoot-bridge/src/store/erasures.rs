//! Who was erased and when: what happened before that, and is told only now, is not taken in again.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Binary, Double, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};

/// Stands for the whole tenant.
pub const WHOLE_TENANT: &[u8] = b"";

/// Notes that these were erased now.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note(tx: &mut TenantTransaction, who: &[Vec<u8>]) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    // The transaction's own time is its beginning; what came in since is erased as well.
    database::sql(
        "INSERT INTO erasures (tenant_id, who, erased_at) SELECT $1, w, clock_timestamp() FROM unnest($2) AS w \
         ON CONFLICT (tenant_id, who) DO UPDATE SET erased_at = excluded.erased_at",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<Binary>, _>(who)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Who was erased at `moment` or later.
///
/// # Errors
/// [`DatabaseError`].
pub async fn since(tx: &mut TenantTransaction, moment: DateTime<Utc>) -> Result<Vec<Vec<u8>>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Binary)]
        who: Vec<u8>,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> = database::sql("SELECT who FROM erasures WHERE tenant_id = $1 AND erased_at >= $2")
        .bind::<Text, _>(tenant)
        .bind::<Timestamptz, _>(moment)
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| row.who).collect())
}

/// Forgets up to `most` erasures, of whatever tenants, that are older than `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM erasures e USING (SELECT tenant_id, who FROM erasures \
              WHERE erased_at < now() - $1 * interval '1 day' ORDER BY erased_at LIMIT $2) old \
         WHERE e.tenant_id = old.tenant_id AND e.who = old.who",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
