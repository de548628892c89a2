//! Bodies that came as webhooks and are none: for people to look at.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Binary, Double, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

/// Most bytes kept of one body: enough to see what it is.
pub const KEPT_BYTES: usize = 64 * 1024;
/// Most bodies: anybody can send them.
const MOST: i64 = 10_000;

/// Keeps a body, or its beginning, unless there are too many. False when it was not kept.
///
/// # Errors
/// [`DatabaseError`].
pub async fn keep(
    tx: &mut PlatformTransaction,
    installation: &str,
    reason: &str,
    body: &[u8],
) -> Result<bool, DatabaseError> {
    let kept = database::sql(
        "INSERT INTO quarantine (id, installation, reason, body, body_size) SELECT $1, $2, $3, $4, $5 \
         WHERE (SELECT count(*) FROM (SELECT 1 FROM quarantine LIMIT $6) AS kept) < $6",
    )
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(installation)
    .bind::<Text, _>(reason)
    .bind::<Binary, _>(body.get(..KEPT_BYTES).unwrap_or(body))
    .bind::<BigInt, _>(i64::try_from(body.len()).unwrap_or(i64::MAX))
    .bind::<BigInt, _>(MOST)
    .execute(tx.connection())
    .await?;
    Ok(kept == 1)
}

/// Forgets up to `most` bodies that are older than `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM quarantine q USING (SELECT id FROM quarantine \
              WHERE received_at < now() - $1 * interval '1 day' ORDER BY received_at LIMIT $2) old \
         WHERE q.id = old.id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
