//! The tables: how tasks come into lanes, are taken up again and are taken away.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::TenantId;
use tenant_isolation::{GroupTransaction, PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use crate::ledger::{Book, Step, note};

/// A task to be done when all earlier ones of its lane are.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The order it belongs to, e.g. a chat's id.
    pub lane: String,
    /// Chosen by the caller; the same id is enqueued once.
    pub id: Uuid,
    /// What to do; the handler knows the names.
    pub kind: &'static str,
    /// What the handler needs, as JSON.
    pub payload: String,
}

/// The head of a lane.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct Task {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What to do.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// With what, as JSON.
    #[diesel(sql_type = Text)]
    pub payload: String,
    /// Failures that counted.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// Times it was begun, this one not included: more than the failures when a worker died in the middle. A wait that
    /// does not count takes its beginning back.
    #[diesel(sql_type = Integer)]
    pub begun: i32,
    /// This beginning is written down.
    #[diesel(sql_type = Bool)]
    pub is_begun: bool,
    /// When it was enqueued.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// Adds a task inside the caller's transaction. False when a task with this id is there already.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn enqueue(tx: &mut TenantTransaction, task: &NewTask) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    // The lane's row first: its lock makes the order of `seq` within the lane the order of commits. `seq` is drawn for the
    // row that comes of it, so not before.
    let added = database::sql(
        "WITH held AS (INSERT INTO lanes AS l (tenant_id, lane, ready_at) VALUES ($1, $2, now()) \
             ON CONFLICT (tenant_id, lane) DO UPDATE SET ready_at = coalesce(l.ready_at, now()) RETURNING l.tenant_id, l.lane) \
         INSERT INTO lane_tasks (tenant_id, lane, id, kind, payload) \
         SELECT held.tenant_id, held.lane, $3, $4, $5 FROM held ON CONFLICT (tenant_id, id) DO NOTHING",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(&task.lane)
    .bind::<SqlUuid, _>(task.id)
    .bind::<Text, _>(task.kind)
    .bind::<Text, _>(&task.payload)
    .execute(tx.connection())
    .await?;
    note(tx, Book::Tasks, Step::Accepted, added);
    Ok(added == 1)
}

/// Adds tasks of the several tenants of a group, each on a lane that nobody else adds to: then no order of commits
/// has to be kept.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn enqueue_group(
    tx: &mut GroupTransaction,
    tasks: &[(TenantId, NewTask)],
) -> Result<(), DatabaseError> {
    let tenants: Vec<&str> = tasks.iter().map(|(tenant, _)| tenant.as_str()).collect();
    let lanes: Vec<&str> = tasks.iter().map(|(_, task)| task.lane.as_str()).collect();
    database::sql(
        "INSERT INTO lanes AS l (tenant_id, lane, ready_at) \
         SELECT DISTINCT tenant_id, lane, now() FROM unnest($1, $2) AS t (tenant_id, lane) ORDER BY 1, 2 \
         ON CONFLICT (tenant_id, lane) DO UPDATE SET ready_at = coalesce(l.ready_at, now())",
    )
    .bind::<Array<Text>, _>(&tenants)
    .bind::<Array<Text>, _>(&lanes)
    .execute(tx.connection())
    .await?;
    let added = database::sql(
        "INSERT INTO lane_tasks (tenant_id, lane, id, kind, payload) SELECT * FROM unnest($1, $2, $3, $4, $5) \
         ON CONFLICT (tenant_id, id) DO NOTHING",
    )
    .bind::<Array<Text>, _>(&tenants)
    .bind::<Array<Text>, _>(&lanes)
    .bind::<Array<SqlUuid>, _>(tasks.iter().map(|(_, task)| task.id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(tasks.iter().map(|(_, task)| task.kind).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(
        tasks
            .iter()
            .map(|(_, task)| task.payload.as_str())
            .collect::<Vec<_>>(),
    )
    .execute(tx.connection())
    .await?;
    note(tx, Book::Tasks, Step::Accepted, added);
    Ok(())
}

/// Deletes lanes whose names begin with `prefix` and that have no task any more, at most `most`. For lanes that are
/// used once; a lane that is used again keeps its row.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_idle(
    tx: &mut PlatformTransaction,
    prefix: &str,
    most: i64,
) -> Result<usize, DatabaseError> {
    let deleted = database::sql(
        "DELETE FROM lanes d USING (SELECT tenant_id, lane FROM lanes l \
                WHERE starts_with(lane, $1) AND ready_at IS NULL AND leased_until IS NULL \
                  AND NOT EXISTS (SELECT 1 FROM lane_tasks t WHERE t.tenant_id = l.tenant_id AND t.lane = l.lane) \
                LIMIT $2 FOR UPDATE SKIP LOCKED) idle \
         WHERE d.tenant_id = idle.tenant_id AND d.lane = idle.lane",
    )
    .bind::<Text, _>(prefix)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}

/// Takes a task up again that was put aside: it goes back to its old place in its lane, with all attempts before it.
/// False when there is no such task, or it is not put aside.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn replay(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    // The lane's row first, as everywhere; then a worker that lets go of the lane sees the task.
    let found = database::sql(
        "UPDATE lanes SET ready_at = coalesce(ready_at, now()) WHERE tenant_id = $1 AND lane = \
             (SELECT lane FROM lane_tasks WHERE tenant_id = $1 AND id = $2 AND parked)",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(id)
    .execute(tx.connection())
    .await?;
    if found == 0 {
        return Ok(false);
    }
    let taken = database::sql(
        "UPDATE lane_tasks SET parked = false, failures = 0, begun = 0, last_error = NULL \
         WHERE tenant_id = $1 AND id = $2 AND parked",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(id)
    .execute(tx.connection())
    .await?;
    Ok(taken == 1)
}

/// Does away with a task that was put aside: nobody can take it up again. False when there is no such task, or it is not put
/// aside.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn discard_parked(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let discarded = database::sql("DELETE FROM lane_tasks WHERE tenant_id = $1 AND id = $2 AND parked")
        .bind::<Text, _>(&tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    note(tx, Book::Tasks, Step::Expired, discarded);
    Ok(discarded == 1)
}

/// Takes a whole lane away: what it was about is deleted. A worker that has it in hand finds its fence gone and
/// writes nothing more. Returns how many tasks it held, those put aside included.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn discard(tx: &mut TenantTransaction, lane: &str) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    // The lane's row first, as everywhere.
    database::sql("DELETE FROM lanes WHERE tenant_id = $1 AND lane = $2")
        .bind::<Text, _>(&tenant)
        .bind::<Text, _>(lane)
        .execute(tx.connection())
        .await?;
    let tasks = database::sql("DELETE FROM lane_tasks WHERE tenant_id = $1 AND lane = $2")
        .bind::<Text, _>(&tenant)
        .bind::<Text, _>(lane)
        .execute(tx.connection())
        .await?;
    note(tx, Book::Tasks, Step::Expired, tasks);
    Ok(tasks)
}
