//! The right to work on a lane: claiming it, beginning its head, and what became of a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use database::{Database, DatabaseError};
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::table::Task;
use crate::ledger::{Book, Step, note};

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
