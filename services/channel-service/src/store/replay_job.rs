//! `replay_jobs` and `replay_items`: orders to take many messages up again that were put aside, worked off one message after
//! the other by whichever process has the lease.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::delivery::{DeliveryFilter, DeliveryState};

/// Most messages of one order.
pub const MOST_MESSAGES: i64 = 10_000;
/// What the audit log calls it.
const ACT: &str = "dead_letter.replay_many";
/// Most tasks that are looked at for an order: those that have lain longest.
const MOST_LOOKED_AT: i64 = 100_000;

/// Which of the messages that were put aside are meant.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// These.
    These(Vec<Uuid>),
    /// Those that fit.
    Fitting {
        /// Only those that did not go out, or only those of which nobody knows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<bool>,
        /// And all of this.
        #[serde(flatten)]
        filter: DeliveryFilter,
    },
}

impl Chosen {
    fn ids(&self) -> Option<&[Uuid]> {
        match self {
            Self::These(ids) => Some(ids),
            Self::Fitting { .. } => None,
        }
    }

    fn statuses(&self) -> Vec<&'static str> {
        match self {
            Self::These(_) | Self::Fitting { unknown: None, .. } => vec!["parked", "failed", "unknown"],
            Self::Fitting {
                unknown: Some(true), ..
            } => vec!["unknown"],
            Self::Fitting {
                unknown: Some(false), ..
            } => vec!["parked", "failed"],
        }
    }

    fn filter(&self) -> DeliveryFilter {
        match self {
            Self::These(_) => DeliveryFilter::default(),
            Self::Fitting { filter, .. } => filter.clone(),
        }
    }
}

/// How many messages of one sort, and why they were put aside.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, diesel::QueryableByName)]
pub struct ChosenRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// `parked`, `failed` or `unknown`.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// What sort of message.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub messages: i64,
}

/// The messages that are meant: `$1` the tenant or null, `$2` to `$8` the choice.
fn chosen(is_tenants: bool) -> String {
    let tasks = DeliveryState::Parked.tasks();
    let whose = if is_tenants {
        "t.tenant_id = $1"
    } else {
        "$1 IS NULL"
    };
    format!(
        "SELECT m.tenant_id, m.id, m.status, coalesce(m.reason, t.last_error) AS reason, m.kind \
         FROM (SELECT t.tenant_id, t.id, t.last_error FROM lane_tasks t \
               WHERE {whose} AND {tasks} AND t.id < $3 AND ($2 IS NULL OR t.id = ANY ($2)) \
               ORDER BY t.id LIMIT {MOST_LOOKED_AT}) t \
         JOIN messages m ON m.tenant_id = t.tenant_id AND m.id = t.id \
         WHERE m.status = ANY ($4) AND ($5 IS NULL OR m.account_id = $5) AND ($6 IS NULL OR m.kind = $6) \
           AND ($7 IS NULL OR coalesce(m.reason, t.last_error) = $7) ORDER BY m.id LIMIT $8"
    )
}

/// Counts what is meant of the tenant's, up to one more than [`MOST_MESSAGES`].
///
/// # Errors
/// [`DatabaseError`].
pub async fn count(tx: &mut TenantTransaction, which: &Chosen) -> Result<Vec<ChosenRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    count_in(tx.connection(), Some(tenant), which).await
}

/// Counts what is meant of everybody's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn count_of_all(
    tx: &mut PlatformTransaction,
    which: &Chosen,
) -> Result<Vec<ChosenRow>, DatabaseError> {
    count_in(tx.connection(), None, which).await
}

async fn count_in(
    connection: &mut AsyncPgConnection,
    tenant: Option<String>,
    which: &Chosen,
) -> Result<Vec<ChosenRow>, DatabaseError> {
    let filter = which.filter();
    let rows = database::sql(format!(
        "SELECT tenant_id, status, reason, kind, count(*) AS messages FROM ({}) c \
         GROUP BY tenant_id, status, reason, kind ORDER BY messages DESC, tenant_id, status, reason, kind",
        chosen(tenant.is_some())
    ))
    .bind::<Nullable<Text>, _>(tenant)
    .bind::<Nullable<Array<SqlUuid>>, _>(which.ids())
    .bind::<SqlUuid, _>(filter.end())
    .bind::<Array<Text>, _>(which.statuses())
    .bind::<Nullable<SqlUuid>, _>(filter.account)
    .bind::<Nullable<Text>, _>(filter.kind)
    .bind::<Nullable<Text>, _>(filter.reason)
    .bind::<BigInt, _>(MOST_MESSAGES + 1)
    .load(connection)
    .await?;
    Ok(rows)
}

/// An order.
#[derive(Debug)]
pub struct NewJob<'a> {
    /// Its id, and where it is one of several that were given together, theirs: chosen by whoever asks, so that asking
    /// twice begins it once.
    pub batch: Uuid,
    /// What is meant.
    pub which: &'a Chosen,
    /// Who asks.
    pub asked_by: &'a str,
    /// From which address.
    pub asked_from: Option<&'a str>,
}

/// Takes an order for the tenant, with an act in its audit log: what is meant at this moment is noted. False when it was taken
/// before, or nothing is meant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn begin(tx: &mut TenantTransaction, new: &NewJob<'_>) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let begun = begin_in(tx.connection(), Some(tenant), new).await?;
    Ok(begun > 0)
}

/// Takes an order over all tenants: one for each that has something that is meant, with an act in its audit log. Returns how
/// many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn begin_for_all(tx: &mut PlatformTransaction, new: &NewJob<'_>) -> Result<i64, DatabaseError> {
    begin_in(tx.connection(), None, new).await
}

/// The items first, then the orders they belong to; the key between them is checked at the end of the statement. The acts
/// are written by the same statement: their ids begin with the time, like those of all acts.
async fn begin_in(
    connection: &mut AsyncPgConnection,
    tenant: Option<String>,
    new: &NewJob<'_>,
) -> Result<i64, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        begun: i64,
    }
    let filter = new.which.filter();
    let described =
        serde_json::to_string(new.which).map_err(|error| DatabaseError::Refused(Box::new(error)))?;
    let row: Row = database::sql(format!(
        "WITH meant AS MATERIALIZED ({}), \
              job AS (INSERT INTO replay_jobs (tenant_id, id, batch_id, asked_by, asked_from, filter, total) \
                      SELECT tenant_id, $9, $9, $10, $11, $12, count(*) FROM meant GROUP BY tenant_id \
                      ON CONFLICT DO NOTHING RETURNING tenant_id, total), \
              item AS (INSERT INTO replay_items (tenant_id, job_id, message_id) \
                       SELECT m.tenant_id, $9, m.id FROM meant m JOIN job USING (tenant_id)), \
              act AS (INSERT INTO audit_log (tenant_id, id, actor, action, subject, detail, source) \
                      SELECT tenant_id, (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '7' || \
                                 substr(md5(random()::text), 1, 3) || '8' || substr(md5(tenant_id || $9::text), 1, 15))::uuid, \
                             $10, '{ACT}', $9::text, total || ' messages', $11 FROM job ORDER BY tenant_id) \
         SELECT count(*) AS begun FROM job",
        chosen(tenant.is_some())
    ))
    .bind::<Nullable<Text>, _>(tenant)
    .bind::<Nullable<Array<SqlUuid>>, _>(new.which.ids())
    .bind::<SqlUuid, _>(filter.end())
    .bind::<Array<Text>, _>(new.which.statuses())
    .bind::<Nullable<SqlUuid>, _>(filter.account)
    .bind::<Nullable<Text>, _>(filter.kind)
    .bind::<Nullable<Text>, _>(filter.reason)
    .bind::<BigInt, _>(MOST_MESSAGES)
    .bind::<SqlUuid, _>(new.batch)
    .bind::<Text, _>(new.asked_by)
    .bind::<Nullable<Text>, _>(new.asked_from)
    .bind::<Text, _>(described)
    .get_result(connection)
    .await?;
    Ok(row.begun)
}

/// How far an order is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, diesel::QueryableByName)]
pub struct JobRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// `running`, `done` or `cancelled`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Who asked for it.
    #[diesel(sql_type = Text)]
    pub asked_by: String,
    /// How many messages.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// Queued again.
    #[diesel(sql_type = BigInt)]
    pub replayed: i64,
    /// Left as they are, for a reason.
    #[diesel(sql_type = BigInt)]
    pub skipped: i64,
    /// That could not be queued again.
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
    /// When it was asked for.
    #[diesel(sql_type = Timestamptz)]
    pub received_at: DateTime<Utc>,
    /// When it ended.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str =
    "tenant_id, id, state, asked_by, total, replayed, skipped, failed, received_at, ended_at";

/// An order of the tenant's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<JobRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<JobRow> = database::sql(format!(
        "SELECT {COLUMNS} FROM replay_jobs WHERE tenant_id = $1 AND id = $2"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// The tenants' parts of an order over all of them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_batch(tx: &mut PlatformTransaction, batch: Uuid) -> Result<Vec<JobRow>, DatabaseError> {
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM replay_jobs WHERE batch_id = $1 ORDER BY tenant_id LIMIT $2"
    ))
    .bind::<SqlUuid, _>(batch)
    .bind::<BigInt, _>(MOST_MESSAGES)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The tenant's newest orders, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn newest(tx: &mut TenantTransaction, most: i64) -> Result<Vec<JobRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM replay_jobs WHERE tenant_id = $1 ORDER BY received_at DESC LIMIT $2"
    ))
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// What came of messages of an order that were not simply queued again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, diesel::QueryableByName)]
pub struct LeftRow {
    /// Which message.
    #[diesel(sql_type = SqlUuid)]
    pub message_id: Uuid,
    /// `skipped` or `failed`.
    #[diesel(sql_type = Text)]
    pub outcome: String,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
}

/// Those messages, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn left(tx: &mut TenantTransaction, id: Uuid, most: i64) -> Result<Vec<LeftRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT message_id, outcome, reason FROM replay_items \
         WHERE tenant_id = $1 AND job_id = $2 AND outcome IN ('skipped', 'failed') ORDER BY message_id LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Where messages stand that an order queued again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, diesel::QueryableByName)]
pub struct FateRow {
    /// A `DeliveryStatus`.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub messages: i64,
}

/// What became since of what the order queued again.
///
/// # Errors
/// [`DatabaseError`].
pub async fn fates(tx: &mut TenantTransaction, id: Uuid) -> Result<Vec<FateRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT m.status, count(*) AS messages FROM replay_items i \
         JOIN messages m ON m.tenant_id = i.tenant_id AND m.id = i.message_id \
         WHERE i.tenant_id = $1 AND i.job_id = $2 AND i.outcome = 'replayed' GROUP BY m.status ORDER BY m.status",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Ends an order before it is worked off. False when it is over, or not the tenant's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn cancel(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let cancelled = database::sql(
        "UPDATE replay_jobs SET state = 'cancelled', ended_at = now(), leased_until = NULL, fence = fence + 1 \
         WHERE tenant_id = $1 AND id = $2 AND state = 'running'",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .execute(tx.connection())
    .await?;
    Ok(cancelled == 1)
}

/// The right to work an order off.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct TakenRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Which one.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Who asked for it.
    #[diesel(sql_type = Text)]
    pub asked_by: String,
    /// From where.
    #[diesel(sql_type = Nullable<Text>)]
    pub asked_from: Option<String>,
    /// Whoever takes it later has a higher one.
    #[diesel(sql_type = BigInt)]
    pub fence: i64,
}

/// Takes the order that nobody has and that has waited longest since it was begun or let go. `None`: there is none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn take(tx: &mut PlatformTransaction, length: Duration) -> Result<Option<TakenRow>, DatabaseError> {
    let mut rows: Vec<TakenRow> = database::sql(
        "WITH free AS MATERIALIZED (SELECT tenant_id, id FROM replay_jobs \
                WHERE state = 'running' AND (leased_until IS NULL OR leased_until <= now()) \
                ORDER BY coalesce(leased_until, received_at) LIMIT 1 FOR UPDATE SKIP LOCKED) \
         UPDATE replay_jobs j SET leased_until = now() + $1 * interval '1 second', fence = j.fence + 1 FROM free \
         WHERE j.tenant_id = free.tenant_id AND j.id = free.id \
         RETURNING j.tenant_id, j.id, j.asked_by, j.asked_from, j.fence",
    )
    .bind::<Double, _>(length.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// The next messages of an order, in the order in which they lie, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn waiting(tx: &mut TenantTransaction, id: Uuid, most: i64) -> Result<Vec<Uuid>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        message_id: Uuid,
    }
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Row> = database::sql(
        "SELECT message_id FROM replay_items WHERE tenant_id = $1 AND job_id = $2 AND outcome IS NULL \
         ORDER BY message_id LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.message_id).collect())
}

/// What came of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemOutcome {
    /// `replayed`, `skipped` or `failed`.
    pub outcome: &'static str,
    /// Why, as a stable code.
    pub reason: Option<&'static str>,
}

/// Writes down what came of a message, in the transaction that does it, and keeps the order in hand. False when somebody else
/// has it or it is over: drop the transaction.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note(
    tx: &mut TenantTransaction,
    taken: &TakenRow,
    message: Uuid,
    came: ItemOutcome,
    length: Duration,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let noted = database::sql(
        "WITH mine AS (UPDATE replay_jobs SET leased_until = now() + $6 * interval '1 second', \
                              replayed = replayed + ($4 = 'replayed')::int, skipped = skipped + ($4 = 'skipped')::int, \
                              failed = failed + ($4 = 'failed')::int \
                       WHERE tenant_id = $1 AND id = $2 AND fence = $7 AND state = 'running' RETURNING id) \
         UPDATE replay_items SET outcome = $4, reason = $5, at = now() FROM mine \
         WHERE tenant_id = $1 AND job_id = mine.id AND message_id = $3 AND outcome IS NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(taken.id)
    .bind::<SqlUuid, _>(message)
    .bind::<Text, _>(came.outcome)
    .bind::<Nullable<Text>, _>(came.reason)
    .bind::<Double, _>(length.as_secs_f64())
    .bind::<BigInt, _>(taken.fence)
    .execute(tx.connection())
    .await?;
    Ok(noted == 1)
}

/// The order is worked off. False when somebody else has it or it is over.
///
/// # Errors
/// [`DatabaseError`].
pub async fn end(tx: &mut TenantTransaction, taken: &TakenRow) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let ended = database::sql(
        "UPDATE replay_jobs SET state = 'done', ended_at = now(), leased_until = NULL \
         WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running'",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(taken.id)
    .bind::<BigInt, _>(taken.fence)
    .execute(tx.connection())
    .await?;
    Ok(ended == 1)
}

/// Lets somebody else go on with it at once, behind those that wait longer.
///
/// # Errors
/// [`DatabaseError`].
pub async fn let_go(tx: &mut TenantTransaction, taken: &TakenRow) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE replay_jobs SET leased_until = now() WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running'",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(taken.id)
    .bind::<BigInt, _>(taken.fence)
    .execute(tx.connection())
    .await?;
    Ok(())
}
