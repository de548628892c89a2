//! Looking at lanes from outside: what waits in one, what was put aside, and what nobody needs any more.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::lease::{LaneError, Lease};
use super::table::Task;
use crate::ledger::{Book, Step, note};

/// A task that stands in a lane, and for how long.
#[derive(Debug, QueryableByName)]
pub struct Waiting {
    /// The task.
    #[diesel(embed)]
    pub task: Task,
    /// Seconds since it was enqueued, by the database's clock.
    #[diesel(sql_type = Double)]
    pub seconds: f64,
}

/// The tasks of one kind in the lane, the head among them, oldest first and at most `most`: for work that is done
/// for many tasks at once. The caller's transaction holds the lane from here on.
///
/// # Errors
/// [`LaneError::LeaseLost`]: drop the transaction.
pub async fn waiting(
    tx: &mut TenantTransaction,
    lease: &Lease,
    kind: &str,
    most: i64,
) -> Result<Vec<Waiting>, LaneError> {
    lease.guard(tx).await?;
    let rows = database::sql(
        "SELECT id, kind, payload, failures, begun, begun > failures AS is_begun, created_at, \
             extract(epoch FROM clock_timestamp() - created_at)::double precision AS seconds \
         FROM lane_tasks WHERE tenant_id = $1 AND lane = $2 AND NOT parked AND kind = $3 ORDER BY seq LIMIT $4",
    )
    .bind::<Text, _>(lease.scope().tenant().as_str())
    .bind::<Text, _>(lease.lane())
    .bind::<Text, _>(kind)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// A task that was put aside. What it is about stays in the table: payloads hold people's words.
#[derive(Debug, Clone, Serialize, QueryableByName)]
pub struct ParkedTask {
    /// What [`replay`](super::replay) asks for.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What was to be done.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The order it belongs to.
    #[diesel(sql_type = Text)]
    pub lane: String,
    /// Failures that counted.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it was enqueued.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// The tenant's tasks that were put aside, oldest first, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked(tx: &mut TenantTransaction, most: i64) -> Result<Vec<ParkedTask>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows = database::sql(
        "SELECT id, kind, lane, failures, last_error AS reason, created_at FROM lane_tasks \
         WHERE tenant_id = $1 AND parked ORDER BY created_at, seq LIMIT $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Deletes tasks that were put aside and enqueued more than `days` ago, those of one kind if `kind` is given, of whatever
/// tenants, at most `most`. One that was taken up again is live and stays. Returns how many; fewer than `most` means that no more are.
///
/// Needs an index of what is put aside.
///
/// # Errors
/// [`DatabaseError`].
pub async fn expire_parked(
    tx: &mut PlatformTransaction,
    kind: Option<&str>,
    days: f64,
    most: i64,
) -> Result<usize, DatabaseError> {
    let expired = database::sql(
        "WITH old AS (SELECT tenant_id, id FROM lane_tasks \
                WHERE parked AND created_at < now() - $1 * interval '1 day' AND ($3 IS NULL OR kind = $3) \
                ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED) \
         DELETE FROM lane_tasks t USING old WHERE t.tenant_id = old.tenant_id AND t.id = old.id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .bind::<Nullable<Text>, _>(kind)
    .execute(tx.connection())
    .await?;
    note(tx, Book::Tasks, Step::Expired, expired);
    Ok(expired)
}

/// Deletes lanes that have nothing to do and were first used more than `days` ago, of whatever tenants, at most
/// `most`; one that is used again is made again. Returns how many.
///
/// Needs a schema in which a new lane's fence begins at the clock's microseconds: then a fence tells the age of its
/// lane, and a worker that slept through the deletion finds its number outdated all the same.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_idle(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM lanes d USING (SELECT tenant_id, lane FROM lanes l \
                WHERE ready_at IS NULL AND (leased_until IS NULL OR leased_until < now()) \
                  AND fence < (extract(epoch FROM now()) - $1 * 86400) * 1000000 \
                  AND NOT EXISTS (SELECT 1 FROM lane_tasks t WHERE t.tenant_id = l.tenant_id AND t.lane = l.lane) \
                LIMIT $2 FOR UPDATE SKIP LOCKED) idle \
         WHERE d.tenant_id = idle.tenant_id AND d.lane = idle.lane",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
