//! Imports of what accounts' chats held before their inboxes were connected.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A row of `history_jobs`.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct HistoryJob {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Our inbox row.
    #[diesel(sql_type = SqlUuid)]
    pub inbox_id: Uuid,
    /// Nothing older is imported.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub since: Option<DateTime<Utc>>,
    /// Where the next page begins.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub cursor: Option<Uuid>,
    /// Tasks of the page in hand.
    #[diesel(sql_type = Array<SqlUuid>)]
    pub page: Vec<Uuid>,
    /// There are no more pages.
    #[diesel(sql_type = Bool)]
    pub is_read: bool,
    /// `running`, `stopped`, `done` or `failed`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Messages that were read.
    #[diesel(sql_type = BigInt)]
    pub seen: i64,
    /// Messages that Chatwoot got from it.
    #[diesel(sql_type = BigInt)]
    pub imported: i64,
    /// Messages that were in Chatwoot already.
    #[diesel(sql_type = BigInt)]
    pub known: i64,
    /// Messages that Chatwoot did not take; they are among the tasks that were put aside.
    #[diesel(sql_type = BigInt)]
    pub put_aside: i64,
    /// Why it waits or has failed, as a stable word.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it was begun.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When something last happened.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub finished_at: Option<DateTime<Utc>>,
}

/// A job that may go on, and whose it is.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct ReadyJob {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
}

const COLUMNS: &str = "id, inbox_id, since, cursor, page, is_read, state, seen, imported, known, put_aside, reason, \
                       created_at, updated_at, finished_at";

/// Begins an import. False when the inbox has one that runs or is stopped.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add(
    tx: &mut TenantTransaction,
    id: Uuid,
    inbox: Uuid,
    since: Option<DateTime<Utc>>,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let added = database::sql(
        "INSERT INTO history_jobs (tenant_id, id, inbox_id, since) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant_id, inbox_id) WHERE state IN ('running', 'stopped') DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Nullable<Timestamptz>, _>(since)
    .execute(tx.connection())
    .await?;
    Ok(added == 1)
}

/// The inbox's newest import.
///
/// # Errors
/// [`DatabaseError`].
pub async fn newest(tx: &mut TenantTransaction, inbox: Uuid) -> Result<Option<HistoryJob>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<HistoryJob> = database::sql(format!(
        "SELECT {COLUMNS} FROM history_jobs WHERE tenant_id = $1 AND inbox_id = $2 \
         ORDER BY created_at DESC, id DESC LIMIT 1"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// One import, locked until the commit.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<HistoryJob>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<HistoryJob> = database::sql(format!(
        "SELECT {COLUMNS} FROM history_jobs WHERE tenant_id = $1 AND id = $2 FOR UPDATE"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// Writes what moved, and when to go on.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(tx: &mut TenantTransaction, job: &HistoryJob, wait: f64) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "UPDATE history_jobs SET cursor = $3, page = $4, is_read = $5, state = $6, seen = $7, imported = $8, \
             known = $9, put_aside = $10, reason = $11, next_at = now() + $12 * interval '1 second', \
             updated_at = now(), \
             finished_at = CASE WHEN $6 IN ('done', 'failed') THEN coalesce(finished_at, now()) END \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(job.id)
    .bind::<Nullable<SqlUuid>, _>(job.cursor)
    .bind::<Array<SqlUuid>, _>(&job.page)
    .bind::<Bool, _>(job.is_read)
    .bind::<Text, _>(&job.state)
    .bind::<BigInt, _>(job.seen)
    .bind::<BigInt, _>(job.imported)
    .bind::<BigInt, _>(job.known)
    .bind::<BigInt, _>(job.put_aside)
    .bind::<Nullable<Text>, _>(job.reason.as_deref())
    .bind::<Double, _>(wait)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// How many of these tasks still wait, and how many were put aside.
///
/// # Errors
/// [`DatabaseError`].
pub async fn unfinished(tx: &mut TenantTransaction, tasks: &[Uuid]) -> Result<(i64, i64), DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        waiting: i64,
        #[diesel(sql_type = BigInt)]
        put_aside: i64,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    let row: Row = database::sql(
        "SELECT count(*) FILTER (WHERE NOT parked) AS waiting, count(*) FILTER (WHERE parked) AS put_aside \
         FROM lane_tasks WHERE tenant_id = $1 AND id = ANY ($2)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(tasks)
    .get_result(tx.connection())
    .await?;
    Ok((row.waiting, row.put_aside))
}

/// Imports that may go on now, of whatever tenants: those that have waited longest.
///
/// # Errors
/// [`DatabaseError`].
pub async fn ready(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<ReadyJob>, DatabaseError> {
    let rows = database::sql(
        "SELECT tenant_id, id FROM history_jobs WHERE state = 'running' AND next_at <= now() \
         ORDER BY next_at LIMIT $1",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Forgets up to `most` imports, of whatever tenants, that ended more than `days` ago. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM history_jobs j USING (SELECT tenant_id, id FROM history_jobs \
              WHERE finished_at < now() - $1 * interval '1 day' ORDER BY finished_at LIMIT $2) old \
         WHERE j.tenant_id = old.tenant_id AND j.id = old.id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
