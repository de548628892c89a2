//! Events that were put aside are taken up again by a filter: first it is shown which ones that are, then a job takes them up
//! batch by batch. It goes on after a restart, and each batch is taken up together with the note how far it came.

use database::{Database, DatabaseError};
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use crate::store::audit_log::{self, Actor};
use crate::store::replay_jobs::{self};
pub use crate::store::replay_jobs::{Filter, Found, ReplayJob};

/// Events of one batch.
const BATCH: i64 = 200;
/// Batches of one job in one round, and jobs.
const MOST_BATCHES: usize = 20;
const MOST_JOBS: i64 = 16;
/// Groups that a look shows.
const GROUPS: i64 = 50;

/// What somebody may want of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// No further batch.
    Stop,
    /// Go on where it was stopped.
    Resume,
}

/// What would be taken up, and nothing is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn preview(db: &Database, filter: &Filter) -> Result<Vec<Found>, DatabaseError> {
    let mut tx = begin(db, "look what a replay finds").await?;
    let found = replay_jobs::preview(&mut tx, filter, GROUPS).await?;
    tx.commit().await?;
    Ok(found)
}

/// Begins a job about what the filter finds now, and notes it in the log of `tenant`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn start(
    db: &Database,
    filter: &Filter,
    tenant: &TenantId,
    actor: &Actor,
) -> Result<Uuid, DatabaseError> {
    let id = Uuid::now_v7();
    let scope = TenantScope::named_by_operator(tenant.clone());
    // Noted first: rather an act in the log that did not happen than the other way round.
    note(db, &scope, actor, "replay.start", id).await?;
    let mut tx = begin(db, "begin replay").await?;
    replay_jobs::add(&mut tx, id, filter, (&actor.name, actor.source.as_deref())).await?;
    tx.commit().await?;
    Ok(id)
}

/// A job.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(db: &Database, id: Uuid) -> Result<Option<ReplayJob>, DatabaseError> {
    let mut tx = begin(db, "show replay").await?;
    let job = replay_jobs::find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(job)
}

/// The newest jobs.
///
/// # Errors
/// [`DatabaseError`].
pub async fn newest(db: &Database, most: i64) -> Result<Vec<ReplayJob>, DatabaseError> {
    let mut tx = begin(db, "list replays").await?;
    let jobs = replay_jobs::newest(&mut tx, most).await?;
    tx.commit().await?;
    Ok(jobs)
}

/// Does what is wished. False when the job is not there, or not in the state for it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn wish(
    db: &Database,
    id: Uuid,
    wish: Wish,
    tenant: &TenantId,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let (from, to, action) = match wish {
        Wish::Stop => ("running", "stopped", "replay.stop"),
        Wish::Resume => ("stopped", "running", "replay.resume"),
    };
    let mut tx = begin(db, "change replay").await?;
    let job = replay_jobs::lock(&mut tx, id).await?;
    let Some(mut job) = job.filter(|job| job.state == from) else {
        return Ok(false);
    };
    to.clone_into(&mut job.state);
    replay_jobs::put(&mut tx, &job).await?;
    tx.commit().await?;
    let scope = TenantScope::named_by_operator(tenant.clone());
    note(db, &scope, actor, action, id).await?;
    Ok(true)
}

/// Brings every job on. Returns how many events were taken up.
///
/// # Errors
/// [`DatabaseError`].
pub async fn round(db: &Database) -> Result<i64, DatabaseError> {
    let mut tx = begin(db, "find replays").await?;
    let running = replay_jobs::running(&mut tx, MOST_JOBS).await?;
    tx.commit().await?;
    let mut replayed = 0;
    for job in running {
        for _ in 0..MOST_BATCHES {
            let Some(events) = step(db, job.id).await? else {
                break;
            };
            replayed += events;
        }
    }
    Ok(replayed)
}

/// One batch. `None` when there is none, or no more.
async fn step(db: &Database, id: Uuid) -> Result<Option<i64>, DatabaseError> {
    let mut tx = begin(db, "replay events").await?;
    let job = replay_jobs::lock(&mut tx, id).await?;
    let Some(mut job) = job.filter(|job| job.state == "running") else {
        return Ok(None);
    };
    let (events, next) = replay_jobs::take_up(&mut tx, &job, BATCH).await?;
    job.replayed += events;
    match next {
        Some(after) => job.after_seq = after,
        None => "done".clone_into(&mut job.state),
    }
    replay_jobs::put(&mut tx, &job).await?;
    tx.commit().await?;
    if next.is_none() {
        tracing::info!(replay = %job.id, replayed = job.replayed, "a replay is done");
    }
    Ok(next.map(|_| events))
}

async fn begin(db: &Database, purpose: &'static str) -> Result<PlatformTransaction, DatabaseError> {
    PlatformTransaction::begin(db, PlatformScope::for_purpose(purpose)).await
}

async fn note(
    db: &Database,
    scope: &TenantScope,
    actor: &Actor,
    action: &'static str,
    id: Uuid,
) -> Result<(), DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "note replay").await?;
    let act = actor.act(action, Some(id.to_string()));
    audit_log::note(&mut tx, &act).await?;
    tx.commit().await
}
