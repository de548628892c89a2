//! Bodies that came as webhooks and are none: for people to look at.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Binary, Double, Text, Timestamptz, Uuid as SqlUuid};
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

/// A body that is kept, without what is in it.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct Kept {
    /// Ours.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The installation that the path named.
    #[diesel(sql_type = Text)]
    pub installation: String,
    /// Why it is no webhook.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// All of its bytes, of which the first are kept.
    #[diesel(sql_type = BigInt)]
    pub body_size: i64,
    /// When it came.
    #[diesel(sql_type = Timestamptz)]
    pub received_at: DateTime<Utc>,
}

/// The newest bodies, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn newest(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<Kept>, DatabaseError> {
    let rows = database::sql(
        "SELECT id, installation, reason, body_size, received_at FROM quarantine ORDER BY received_at DESC LIMIT $1",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// What is kept of a body.
///
/// # Errors
/// [`DatabaseError`].
pub async fn body(tx: &mut PlatformTransaction, id: Uuid) -> Result<Option<Vec<u8>>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Body {
        #[diesel(sql_type = Binary)]
        body: Vec<u8>,
    }
    let rows: Vec<Body> = database::sql("SELECT body FROM quarantine WHERE id = $1")
        .bind::<SqlUuid, _>(id)
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().next().map(|row| row.body))
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
