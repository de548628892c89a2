//! Many messages that were put aside are taken up again: first it is looked which ones that would be, then an order is
//! noted with each of them, then it is worked off one message after the other, by one process at a time.
//!
//! Each message is queued and crossed off in one transaction, under the order's fence: a process that dies leaves a message
//! either way, another one goes on behind it, and of two orders that mean the same message the second finds nothing left to do.
//!
//! | what is found | what is noted |
//! |---|---|
//! | it is put aside | `replayed` |
//! | it turned out meanwhile that it went out | `skipped`, `went_out` |
//! | somebody queued it already, or it is gone | `skipped`, `not_put_aside` |
//! | it may be out through an endpoint that its tenant has left | `skipped`, `endpoint_changed` |
//! | the tables refuse it | `failed`, `refused` |

use std::time::Duration;

use database::{Database, DatabaseError};
use domain::ids::{MessageId, TenantId};
use serde::Serialize;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::dead_letter::{self, Replayed, Wake};
use super::session::ENDPOINT_CHANGED;
use super::tenant::Actor;
use crate::store::audit;
use crate::store::replay_job::{
    self, Chosen, ChosenRow, FateRow, ItemOutcome, JobRow, LeftRow, MOST_MESSAGES, NewJob, TakenRow,
};

/// Most messages that a report names one by one.
const MOST_NAMED: i64 = 200;
/// How long whoever works an order off may be silent before somebody else goes on.
pub const LEASE: Duration = Duration::from_secs(15);
/// Messages that are looked up at once.
const BATCH: i64 = 50;

/// What an order would mean, if it were given now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// How many of each sort, the most first.
    pub sorts: Vec<ChosenRow>,
    /// How many of all, at most as many as one order may have.
    pub total: i64,
    /// There are more than one order may have: those that have lain longest come first.
    pub more: bool,
}

impl DryRun {
    fn of(sorts: Vec<ChosenRow>) -> Self {
        let total: i64 = sorts.iter().map(|sort| sort.messages).sum();
        Self {
            total: total.min(MOST_MESSAGES),
            more: total > MOST_MESSAGES,
            sorts,
        }
    }

    /// How many tenants it is about.
    #[must_use]
    pub fn tenants(&self) -> usize {
        let tenants: std::collections::BTreeSet<&str> =
            self.sorts.iter().map(|sort| sort.tenant_id.as_str()).collect();
        tenants.len()
    }
}

/// Looks which of the tenant's messages an order would mean.
///
/// # Errors
/// [`DatabaseError`].
pub async fn dry_run(db: &Database, scope: &TenantScope, which: &Chosen) -> Result<DryRun, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "look at replay").await?;
    let sorts = replay_job::count(&mut tx, which).await?;
    tx.commit().await?;
    Ok(DryRun::of(sorts))
}

/// Looks which messages an order over all tenants would mean.
///
/// # Errors
/// [`DatabaseError`].
pub async fn dry_run_for_all(db: &Database, which: &Chosen) -> Result<DryRun, DatabaseError> {
    let scope = PlatformScope::for_purpose("look at replay over all tenants");
    let mut tx = PlatformTransaction::begin(db, scope).await?;
    let sorts = replay_job::count_of_all(&mut tx, which).await?;
    tx.commit().await?;
    Ok(DryRun::of(sorts))
}

/// Takes an order for a tenant. False when nothing is meant, or it was taken under this id before.
///
/// # Errors
/// [`DatabaseError`]; nothing is begun then.
pub async fn begin(
    db: &Database,
    scope: &TenantScope,
    id: Uuid,
    which: &Chosen,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "begin replay").await?;
    let begun = replay_job::begin(&mut tx, &order(id, which, actor)).await?;
    tx.commit().await?;
    Ok(begun)
}

/// Takes an order over all tenants: one for each of them, which go by the same id. Returns for how many.
///
/// # Errors
/// [`DatabaseError`]; nothing is begun then.
pub async fn begin_for_all(
    db: &Database,
    id: Uuid,
    which: &Chosen,
    actor: &Actor,
) -> Result<i64, DatabaseError> {
    let scope = PlatformScope::for_purpose("begin replay over all tenants");
    let mut tx = PlatformTransaction::begin(db, scope).await?;
    let begun = replay_job::begin_for_all(&mut tx, &order(id, which, actor)).await?;
    tx.commit().await?;
    Ok(begun)
}

fn order<'a>(id: Uuid, which: &'a Chosen, actor: &'a Actor) -> NewJob<'a> {
    NewJob {
        batch: id,
        which,
        asked_by: &actor.name,
        asked_from: actor.source.as_deref(),
    }
}

/// How far an order is, and what came of it so far.
#[derive(Debug, Clone, Serialize)]
pub struct Progress {
    /// The order, or all parts of one over several tenants together.
    pub job: JobRow,
    /// How many tenants it is about.
    pub tenants: usize,
    /// Messages that were left as they are, or could not be queued; some of them.
    pub left: Vec<LeftRow>,
    /// Where those stand now that were queued again.
    pub fates: Vec<FateRow>,
}

impl Progress {
    /// How many messages had their turn.
    #[must_use]
    pub const fn turned(&self) -> i64 {
        self.job.replayed + self.job.skipped + self.job.failed
    }

    /// Will anything more be done?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.job.state != "running"
    }
}

/// How far an order of the tenant's is. `None`: it has none with this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn progress(
    db: &Database,
    scope: &TenantScope,
    id: Uuid,
) -> Result<Option<Progress>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "look at replay").await?;
    let Some(job) = replay_job::find(&mut tx, id).await? else {
        return Ok(None);
    };
    let left = replay_job::left(&mut tx, id, MOST_NAMED).await?;
    let fates = replay_job::fates(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Some(Progress {
        job,
        tenants: 1,
        left,
        fates,
    }))
}

/// How far an order over all tenants is, without single messages. `None`: there is none with this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn progress_for_all(db: &Database, id: Uuid) -> Result<Option<Progress>, DatabaseError> {
    let scope = PlatformScope::for_purpose("look at replay over all tenants");
    let mut tx = PlatformTransaction::begin(db, scope).await?;
    let parts = replay_job::of_batch(&mut tx, id).await?;
    tx.commit().await?;
    Ok(together(&parts))
}

/// One order of its parts: over when all are, and cancelled when one was.
fn together(parts: &[JobRow]) -> Option<Progress> {
    let mut job = parts.first()?.clone();
    for part in parts.iter().skip(1) {
        job.total += part.total;
        job.replayed += part.replayed;
        job.skipped += part.skipped;
        job.failed += part.failed;
        job.received_at = job.received_at.min(part.received_at);
        job.ended_at = job.ended_at.max(part.ended_at);
    }
    for state in ["cancelled", "running"] {
        if parts.iter().any(|part| part.state == state) {
            state.clone_into(&mut job.state);
        }
    }
    if job.state == "running" {
        job.ended_at = None;
    }
    Some(Progress {
        job,
        tenants: parts.len(),
        left: Vec::new(),
        fates: Vec::new(),
    })
}

/// The tenant's newest orders.
///
/// # Errors
/// [`DatabaseError`].
pub async fn newest(db: &Database, scope: &TenantScope, most: i64) -> Result<Vec<JobRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list replays").await?;
    let rows = replay_job::newest(&mut tx, most).await?;
    tx.commit().await?;
    Ok(rows)
}

/// Ends an order before it is worked off. What was queued until then stays queued. False when it is over already, or not
/// the tenant's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn cancel(
    db: &Database,
    scope: &TenantScope,
    id: Uuid,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "cancel replay").await?;
    let cancelled = replay_job::cancel(&mut tx, id).await?;
    if cancelled {
        audit::note(
            &mut tx,
            &actor.act("dead_letter.replay_cancel", Some(id.to_string())),
        )
        .await?;
    }
    tx.commit().await?;
    Ok(cancelled)
}

/// As [`cancel`], for every part of an order over all tenants.
///
/// # Errors
/// [`DatabaseError`]; some parts may be cancelled then.
pub async fn cancel_for_all(db: &Database, id: Uuid, actor: &Actor) -> Result<bool, DatabaseError> {
    let platform = PlatformScope::for_purpose("cancel replay over all tenants");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    let parts = replay_job::of_batch(&mut tx, id).await?;
    tx.commit().await?;
    let mut cancelled = false;
    for part in parts.iter().filter(|part| part.state == "running") {
        let scope = TenantScope::of_swept_row(&platform, tenant(&part.tenant_id)?);
        cancelled |= cancel(db, &scope, id, actor).await?;
    }
    Ok(cancelled)
}

/// An order in the hands of this process.
#[derive(Debug)]
pub struct Taken {
    scope: TenantScope,
    row: TakenRow,
    actor: Actor,
    waiting: std::vec::IntoIter<Uuid>,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A message had its turn.
    Went,
    /// There is nothing left to do.
    Over,
    /// Somebody else has it, or it was cancelled.
    Lost,
}

/// Takes the order that waits longest. `None`: there is none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn take(db: &Database) -> Result<Option<Taken>, DatabaseError> {
    let platform = PlatformScope::for_purpose("take replay");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    let row = replay_job::take(&mut tx, LEASE).await?;
    tx.commit().await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Taken {
        scope: TenantScope::of_swept_row(&platform, tenant(&row.tenant_id)?),
        actor: Actor {
            name: row.asked_by.clone(),
            source: row.asked_from.clone(),
        },
        row,
        waiting: Vec::new().into_iter(),
    }))
}

impl Taken {
    /// Gives the next message its turn.
    ///
    /// # Errors
    /// [`DatabaseError`]: the message may have its turn again.
    pub async fn step(&mut self, db: &Database, wake: Wake<'_>) -> Result<Step, DatabaseError> {
        let Some(message) = self.next(db).await? else {
            let mut tx = TenantTransaction::begin(db, &self.scope, "end replay").await?;
            let ended = replay_job::end(&mut tx, &self.row).await?;
            tx.commit().await?;
            return Ok(if ended { Step::Over } else { Step::Lost });
        };
        let id = MessageId::from_uuid(message);
        let mut tx = TenantTransaction::begin(db, &self.scope, "replay message of many").await?;
        let came = match dead_letter::replay_in(&mut tx, id, &self.actor).await {
            Ok(Replayed::Queued) => {
                if !self.note(&mut tx, message, outcome("replayed", None)).await? {
                    return Ok(Step::Lost);
                }
                tx.commit().await?;
                wake.ring();
                return Ok(Step::Went);
            }
            Ok(Replayed::WentOut) => outcome("skipped", Some("went_out")),
            Ok(Replayed::NotThere) => outcome("skipped", Some("not_put_aside")),
            Ok(Replayed::MayBeOutElsewhere) => outcome("skipped", Some(ENDPOINT_CHANGED)),
            Err(DatabaseError::Refused(error)) => {
                tracing::error!(tenant = %self.scope.tenant(), message = %id, %error,
                    "a message cannot be taken up again");
                outcome("failed", Some("refused"))
            }
            Err(error) => return Err(error),
        };
        // Nothing of the attempt stays.
        drop(tx);
        let mut tx = TenantTransaction::begin(db, &self.scope, "pass over message of many").await?;
        if !self.note(&mut tx, message, came).await? {
            return Ok(Step::Lost);
        }
        tx.commit().await?;
        Ok(Step::Went)
    }

    /// Lets another process go on with it at once.
    ///
    /// # Errors
    /// [`DatabaseError`]: another one does so when the lease is over.
    pub async fn let_go(self, db: &Database) -> Result<(), DatabaseError> {
        let mut tx = TenantTransaction::begin(db, &self.scope, "let go of replay").await?;
        replay_job::let_go(&mut tx, &self.row).await?;
        tx.commit().await
    }

    async fn next(&mut self, db: &Database) -> Result<Option<Uuid>, DatabaseError> {
        if let Some(message) = self.waiting.next() {
            return Ok(Some(message));
        }
        let mut tx = TenantTransaction::begin(db, &self.scope, "look for messages to replay").await?;
        self.waiting = replay_job::waiting(&mut tx, self.row.id, BATCH)
            .await?
            .into_iter();
        tx.commit().await?;
        Ok(self.waiting.next())
    }

    async fn note(
        &self,
        tx: &mut TenantTransaction,
        message: Uuid,
        came: ItemOutcome,
    ) -> Result<bool, DatabaseError> {
        replay_job::note(tx, &self.row, message, came, LEASE).await
    }
}

const fn outcome(outcome: &'static str, reason: Option<&'static str>) -> ItemOutcome {
    ItemOutcome { outcome, reason }
}

fn tenant(id: &str) -> Result<TenantId, DatabaseError> {
    TenantId::parse(id).map_err(|error| DatabaseError::Refused(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    fn part(state: &str, total: i64, replayed: i64) -> JobRow {
        JobRow {
            tenant_id: "desa-satu".to_owned(),
            id: Uuid::nil(),
            state: state.to_owned(),
            asked_by: "user a@b.id".to_owned(),
            total,
            replayed,
            skipped: 1,
            failed: 0,
            received_at: Utc::now(),
            ended_at: (state != "running").then(Utc::now),
        }
    }

    #[test]
    fn parts_are_one_order_that_runs_while_one_of_them_does() {
        assert!(together(&[]).is_none());
        let all = together(&[part("done", 3, 2), part("running", 5, 0), part("cancelled", 2, 0)]).unwrap();
        assert_eq!((all.job.total, all.turned(), all.tenants), (10, 5, 3));
        assert!(!all.is_over() && all.job.ended_at.is_none());
        let all = together(&[part("done", 3, 2), part("cancelled", 2, 0)]).unwrap();
        assert_eq!((all.job.state.as_str(), all.is_over()), ("cancelled", true));
    }
}
