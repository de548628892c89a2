//! The tables: enqueueing, claiming, and what became of a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::TenantId;
use tenant_isolation::{
    GroupTransaction, PlatformScope, PlatformTransaction, TenantScope, TenantTransaction,
};
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

/// Why a task's outcome could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Somebody else has the lane: forget everything about it.
    #[error("the lease was lost")]
    LeaseLost,
    /// The database failed; the lease ends by itself and the task is taken again.
    #[error("the lane's tables cannot be used")]
    Database(#[from] DatabaseError),
}

impl From<diesel::result::Error> for LaneError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What came before a task had to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// A failure, which counts.
    Failed,
    /// It was put off by whoever was asked: no failure, and begun all the same.
    PutOff,
    /// Nothing was done: it is as if the task had not been begun.
    NotBegun,
}

/// The right to work on one lane.
#[derive(Debug, Clone)]
pub struct Lease {
    scope: TenantScope,
    lane: String,
    fence: i64,
    length: Duration,
    /// The lane was let go of with its last task.
    is_over: Arc<AtomicBool>,
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

#[derive(diesel::QueryableByName)]
struct Claimed {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = Text)]
    lane: String,
    #[diesel(sql_type = BigInt)]
    fence: i64,
    /// Somebody had it and did not let go of it in time.
    #[diesel(sql_type = Bool)]
    expired: bool,
}

/// Which lanes a set of workers takes, by the beginning of their names. Work of different sorts in one schema then
/// has workers of its own, and one sort does not wait for the other's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LaneChoice {
    /// Every lane.
    #[default]
    All,
    /// Lanes that begin with this.
    Only(&'static str),
    /// Lanes that begin with none of these.
    AllBut(&'static [&'static str]),
}

impl LaneChoice {
    /// The prefixes, and whether a lane must begin with one of them or with none.
    fn parts(self) -> (Vec<&'static str>, bool) {
        match self {
            Self::All => (Vec::new(), false),
            Self::Only(prefix) => (vec![prefix], true),
            Self::AllBut(prefixes) => (prefixes.to_vec(), false),
        }
    }
}

/// Takes up to `most` lanes of the choice that are ready and free, of whatever tenants but those in `not_of`, longest
/// waiting first.
pub(crate) async fn claim(
    db: &Database,
    choice: LaneChoice,
    most: usize,
    length: Duration,
    not_of: &[String],
) -> Result<Vec<Lease>, DatabaseError> {
    let (prefixes, wanted) = choice.parts();
    let platform = PlatformScope::for_purpose("claim lanes");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    // The rows are chosen in a part of their own, which is run once: joined directly, the choice may be repeated by
    // the plan and then exceed the limit.
    let claimed: Vec<Claimed> = database::sql(
        "WITH free AS (SELECT tenant_id, lane, leased_until IS NOT NULL AS expired FROM lanes \
                WHERE ready_at <= now() AND (leased_until IS NULL OR leased_until < now()) \
                  AND EXISTS (SELECT 1 FROM unnest($3) p WHERE starts_with(lane, p)) = $4 \
                  AND tenant_id <> ALL ($5) \
                ORDER BY ready_at LIMIT $1 FOR UPDATE SKIP LOCKED) \
         UPDATE lanes l SET leased_until = now() + $2 * interval '1 second', fence = l.fence + 1 FROM free \
         WHERE l.tenant_id = free.tenant_id AND l.lane = free.lane \
         RETURNING l.tenant_id, l.lane, l.fence, free.expired",
    )
    .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX))
    .bind::<Double, _>(length.as_secs_f64())
    .bind::<Array<Text>, _>(prefixes)
    .bind::<Bool, _>(wanted)
    .bind::<Array<Text>, _>(not_of)
    .load(tx.connection())
    .await?;
    tx.commit().await?;
    let expired = claimed.iter().filter(|row| row.expired).count();
    if expired > 0 {
        metrics::counter!("kanal_leases_expired_total").increment(expired as u64);
    }
    claimed
        .into_iter()
        .map(|row| {
            let tenant =
                TenantId::parse(row.tenant_id).map_err(|error| DatabaseError::Refused(Box::new(error)))?;
            Ok(Lease {
                scope: TenantScope::of_swept_row(&platform, tenant),
                lane: row.lane,
                fence: row.fence,
                length,
                is_over: Arc::default(),
            })
        })
        .collect()
}

/// What became of a task that is done.
#[derive(diesel::QueryableByName)]
struct Done {
    #[diesel(sql_type = BigInt)]
    tasks: i64,
    /// There is another one to be done.
    #[diesel(sql_type = Bool)]
    goes_on: bool,
}

/// What a worker finds at the head of its lane.
#[derive(Debug)]
pub(crate) enum Head {
    /// This is to be done.
    Task(Box<Task>),
    /// There is nothing, and the lane was let go of.
    Nothing,
}

impl Lease {
    /// For whom the lane's work is done.
    #[must_use]
    pub const fn scope(&self) -> &TenantScope {
        &self.scope
    }

    /// The lane's name.
    #[must_use]
    pub fn lane(&self) -> &str {
        &self.lane
    }

    /// How long the lease lasts without being renewed.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// Takes the head of the lane and notes that it was begun, or lets go of the lane.
    pub(crate) async fn begin_head(&self, db: &Database) -> Result<Head, LaneError> {
        // Whoever must not begin twice writes that down by itself, and what is written down is on the disk no earlier than this.
        let mut tx = TenantTransaction::begin_not_awaited(db, &self.scope, "begin task").await?;
        self.guard(&mut tx).await?;
        let mut tasks: Vec<Task> = database::sql(
            "UPDATE lane_tasks t SET begun = t.begun + 1 \
             WHERE t.tenant_id = $1 AND t.id = (SELECT id FROM lane_tasks \
                    WHERE tenant_id = $1 AND lane = $2 AND NOT parked ORDER BY seq LIMIT 1) \
             RETURNING t.id, t.kind, t.payload, t.failures, t.begun - 1 AS begun, true AS is_begun, t.created_at",
        )
        .bind::<Text, _>(self.scope.tenant().as_str())
        .bind::<Text, _>(&self.lane)
        .load(tx.connection())
        .await?;
        self.task_or_nothing(tx, tasks.pop()).await
    }

    /// The head of the lane, for a handler that notes by itself that it was begun; or lets go of the lane.
    pub(crate) async fn look_at_head(&self, db: &Database) -> Result<Head, LaneError> {
        let mut tx = TenantTransaction::begin_not_awaited(db, &self.scope, "look at task").await?;
        let mut tasks: Vec<Task> = database::sql(
            "SELECT t.id, t.kind, t.payload, t.failures, t.begun, false AS is_begun, t.created_at \
             FROM lanes l JOIN lane_tasks t ON t.tenant_id = l.tenant_id AND t.lane = l.lane AND NOT t.parked \
             WHERE l.tenant_id = $1 AND l.lane = $2 AND l.fence = $3 ORDER BY t.seq LIMIT 1",
        )
        .bind::<Text, _>(self.scope.tenant().as_str())
        .bind::<Text, _>(&self.lane)
        .bind::<BigInt, _>(self.fence)
        .load(tx.connection())
        .await?;
        if tasks.is_empty() {
            // Or it is somebody else's by now.
            self.guard(&mut tx).await?;
        }
        self.task_or_nothing(tx, tasks.pop()).await
    }

    /// Ends the look at the head; where there was none, the lane is let go of.
    async fn task_or_nothing(
        &self,
        mut tx: TenantTransaction,
        task: Option<Task>,
    ) -> Result<Head, LaneError> {
        let head = match task {
            Some(task) => Head::Task(Box::new(task)),
            None => {
                self.let_go(&mut tx).await?;
                Head::Nothing
            }
        };
        tx.commit().await?;
        Ok(head)
    }

    /// Notes that a task was begun, before the first thing that cannot be taken back. Whoever finds it so and no outcome
    /// cannot know what was done; where it does not, nothing was.
    ///
    /// # Errors
    /// [`LaneError`]: nothing may be done.
    pub async fn begin(&self, db: &Database, task: &Task) -> Result<Task, LaneError> {
        if !task.is_begun {
            let mut tx = TenantTransaction::begin(db, &self.scope, "begin task").await?;
            self.guard(&mut tx).await?;
            let begun = database::sql(
                "UPDATE lane_tasks SET begun = begun + 1 WHERE tenant_id = $1 AND id = $2 AND NOT parked",
            )
            .bind::<Text, _>(self.scope.tenant().as_str())
            .bind::<SqlUuid, _>(task.id)
            .execute(tx.connection())
            .await?;
            if begun != 1 {
                return Err(LaneError::LeaseLost);
            }
            tx.commit().await?;
        }
        Ok(Task {
            is_begun: true,
            ..task.clone()
        })
    }

    /// Makes sure, inside the caller's transaction, that this lease still holds, and lengthens it.
    ///
    /// # Errors
    /// [`LaneError::LeaseLost`]: drop the transaction.
    pub async fn guard(&self, tx: &mut TenantTransaction) -> Result<(), LaneError> {
        let held = database::sql(
            "UPDATE lanes SET leased_until = now() + $4 * interval '1 second' \
             WHERE tenant_id = $1 AND lane = $2 AND fence = $3",
        )
        .bind::<Text, _>(self.scope.tenant().as_str())
        .bind::<Text, _>(&self.lane)
        .bind::<BigInt, _>(self.fence)
        .bind::<Double, _>(self.length.as_secs_f64())
        .execute(tx.connection())
        .await?;
        if held == 1 {
            Ok(())
        } else {
            Err(LaneError::LeaseLost)
        }
    }

    /// The task is done, together with whatever else the transaction holds. With the last one of its lane the lane is let go of:
    /// nothing more can be written through this lease then.
    ///
    /// # Errors
    /// [`LaneError::LeaseLost`]: drop the transaction.
    pub async fn done(&self, tx: &mut TenantTransaction, task: &Task) -> Result<(), LaneError> {
        // First the lock, then a look, as where the lane is let go of by itself.
        let held = database::sql(
            "SELECT FROM lanes WHERE tenant_id = $1 AND lane = $2 AND fence = $3 FOR NO KEY UPDATE",
        )
        .bind::<Text, _>(self.scope.tenant().as_str())
        .bind::<Text, _>(&self.lane)
        .bind::<BigInt, _>(self.fence)
        .execute(tx.connection())
        .await?;
        if held != 1 {
            return Err(LaneError::LeaseLost);
        }
        let done: Done = database::sql(
            "WITH gone AS (DELETE FROM lane_tasks WHERE tenant_id = $1 AND id = $3 RETURNING 1), \
             next AS (SELECT EXISTS (SELECT 1 FROM lane_tasks t \
                    WHERE t.tenant_id = $1 AND t.lane = $2 AND NOT t.parked AND t.id <> $3) AS is_there), \
             held AS (UPDATE lanes l SET fence = l.fence + CASE WHEN next.is_there THEN 0 ELSE 1 END, \
                    leased_until = CASE WHEN next.is_there THEN now() + $4 * interval '1 second' END, \
                    ready_at = CASE WHEN next.is_there THEN l.ready_at END \
                FROM next WHERE l.tenant_id = $1 AND l.lane = $2) \
             SELECT (SELECT count(*) FROM gone) AS tasks, next.is_there AS goes_on FROM next",
        )
        .bind::<Text, _>(self.scope.tenant().as_str())
        .bind::<Text, _>(&self.lane)
        .bind::<SqlUuid, _>(task.id)
        .bind::<Double, _>(self.length.as_secs_f64())
        .get_result(tx.connection())
        .await?;
        note(
            tx,
            Book::Tasks,
            Step::Delivered,
            usize::try_from(done.tasks).unwrap_or(0),
        );
        if !done.goes_on {
            let is_over = Arc::clone(&self.is_over);
            tx.when_committed(move || is_over.store(true, Ordering::Release));
        }
        Ok(())
    }

    /// The lane was let go of with its last task.
    pub(crate) fn is_over(&self) -> bool {
        AtomicBool::load(&self.is_over, Ordering::Acquire)
    }

    /// The task, and with it the lane, waits for `wait`. `what` tells what came before the wait.
    ///
    /// # Errors
    /// [`LaneError::LeaseLost`]: drop the transaction.
    pub async fn retry(
        &self,
        tx: &mut TenantTransaction,
        task: &Task,
        wait: Duration,
        what: Waits,
        reason: &str,
    ) -> Result<(), LaneError> {
        self.guard(tx).await?;
        // As often begun as it failed or was put off, and once more for each worker that died in the middle.
        let counted = i32::from(what != Waits::NotBegun) - i32::from(task.is_begun);
        database::sql(
            "UPDATE lane_tasks SET failures = failures + $3, begun = greatest(begun + $5, 0), last_error = $4 \
             WHERE tenant_id = $1 AND id = $2",
        )
        .bind::<Text, _>(self.scope.tenant().as_str())
        .bind::<SqlUuid, _>(task.id)
        .bind::<Integer, _>(i32::from(what == Waits::Failed))
        .bind::<Text, _>(reason)
        .bind::<Integer, _>(counted)
        .execute(tx.connection())
        .await?;
        database::sql(
            "UPDATE lanes SET ready_at = now() + $3 * interval '1 second', leased_until = NULL, fence = fence + 1 \
             WHERE tenant_id = $1 AND lane = $2",
        )
        .bind::<Text, _>(self.scope.tenant().as_str())
        .bind::<Text, _>(&self.lane)
        .bind::<Double, _>(wait.as_secs_f64())
        .execute(tx.connection())
        .await?;
        Ok(())
    }

    /// The task is put aside for people, and the lane goes on without it.
    ///
    /// # Errors
    /// [`LaneError::LeaseLost`]: drop the transaction.
    pub async fn park(&self, tx: &mut TenantTransaction, task: &Task, reason: &str) -> Result<(), LaneError> {
        self.guard(tx).await?;
        database::sql(
            "UPDATE lane_tasks SET parked = true, last_error = $3 WHERE tenant_id = $1 AND id = $2",
        )
        .bind::<Text, _>(self.scope.tenant().as_str())
        .bind::<SqlUuid, _>(task.id)
        .bind::<Text, _>(reason)
        .execute(tx.connection())
        .await?;
        tx.when_committed(|| metrics::counter!("kanal_tasks_parked_total").increment(1));
        Ok(())
    }

    /// Lets go. The lane is taken again at once if something was enqueued meanwhile.
    pub(crate) async fn release(&self, db: &Database) -> Result<(), LaneError> {
        let mut tx = TenantTransaction::begin_not_awaited(db, &self.scope, "release lane").await?;
        self.guard(&mut tx).await?;
        self.let_go(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets go in a transaction that has guarded the lane. First the lock, then a look: whoever enqueues holds the same lock
    /// until it commits, so this statement sees every task that could otherwise be forgotten. A crash that forgets it leaves a
    /// lease that ends by itself.
    async fn let_go(&self, tx: &mut TenantTransaction) -> Result<(), LaneError> {
        database::sql(
            "UPDATE lanes SET leased_until = NULL, fence = fence + 1, ready_at = CASE WHEN EXISTS \
                    (SELECT 1 FROM lane_tasks t WHERE t.tenant_id = $1 AND t.lane = $2 AND NOT t.parked) \
                    THEN now() END \
             WHERE tenant_id = $1 AND lane = $2",
        )
        .bind::<Text, _>(self.scope.tenant().as_str())
        .bind::<Text, _>(&self.lane)
        .execute(tx.connection())
        .await?;
        Ok(())
    }
}
