//! The loop around the tables: claim, work, renew, let go.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use database::Database;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::lease::{Head, LaneChoice, LaneError, Lease, claim};
use super::share::Shares;
use super::table::Task;
use crate::outbox::Signal;
use crate::publisher::error_chain;

/// How often to look without being called: for lanes whose wait is over, and for those of dead workers.
const POLL: Duration = Duration::from_millis(200);
/// The pause after the database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// How a service works its lanes.
#[derive(Debug, Clone, Copy)]
pub struct WorkerSettings {
    /// Lanes worked on at once. From eight on, one tenant's are at most a quarter of them.
    pub concurrency: usize,
    /// How long a worker may be silent before another one takes its lane.
    pub lease: Duration,
}

/// What a handler says after it has written the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The head is done or put aside: go on with the next one.
    Continue,
    /// The head waits, and the lane with it: the lease is over.
    Wait,
}

/// Does tasks.
pub trait HandleTask: Send + Sync + 'static {
    /// The handler notes by itself that a task was begun ([`Lease::begin`]), just before it does what cannot be taken
    /// back. Else it is noted before the handler has the task, and then whatever breaks in between, the database above
    /// all, looks as if the work had been done.
    const BEGINS_ITSELF: bool = false;

    /// Works on the head of a lane and writes what became of it through the lease ([`Lease::done`],
    /// [`Lease::retry`] or [`Lease::park`]) in a transaction of its own.
    fn handle(&self, lease: &Lease, task: &Task) -> impl Future<Output = Result<Next, LaneError>> + Send;
}

/// Works lanes until it is stopped.
#[derive(Debug)]
pub struct Workers<H> {
    db: Database,
    handler: Arc<H>,
    settings: WorkerSettings,
    signal: Signal,
    choice: LaneChoice,
}

impl<H: HandleTask> Workers<H> {
    /// Workers over the lanes in `db`; `signal` is rung when a task was enqueued.
    pub fn new(db: Database, handler: Arc<H>, settings: WorkerSettings, signal: Signal) -> Self {
        Self {
            db: db.keeping_plans(),
            handler,
            settings,
            signal,
            choice: LaneChoice::All,
        }
    }

    /// These workers take only some of the lanes.
    #[must_use]
    pub const fn choosing(mut self, choice: LaneChoice) -> Self {
        self.choice = choice;
        self
    }

    /// Works until `stop`, then finishes what is in hand.
    pub async fn run(self, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.settings.concurrency));
        let shares = Shares::of(self.settings.concurrency);
        while !stop.is_cancelled() {
            // Nothing is claimed once the end has begun, however long the lanes in hand take.
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&permits).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            let free = (permits.available_permits() + 1).min(shares.batch());
            let full = shares.full();
            let leases = match claim(&self.db, self.choice, free, self.settings.lease, &full).await {
                Ok(leases) => leases,
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "lanes cannot be claimed");
                    pause(&stop, DATABASE_PAUSE).await;
                    continue;
                }
            };
            let found = leases.len();
            let mut permit = Some(permit);
            for lease in leases {
                let permit = match permit.take() {
                    Some(permit) => permit,
                    None => match Arc::clone(&permits).acquire_owned().await {
                        Ok(permit) => permit,
                        Err(_) => return,
                    },
                };
                let (db, handler, stop) = (self.db.clone(), Arc::clone(&self.handler), stop.clone());
                let held = shares.hold(lease.scope().tenant());
                tokio::spawn(async move {
                    work_lane(&db, handler.as_ref(), &lease, &stop).await;
                    drop(held);
                    drop(permit);
                });
            }
            if found == 0 {
                drop(permit);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(POLL) => {}
                    () = self.signal.rung() => {}
                    () = shares.eased() => {}
                }
            }
        }
        // Every permit back means every lane in hand is finished.
        let all = u32::try_from(self.settings.concurrency).unwrap_or(u32::MAX);
        drop(permits.acquire_many(all).await);
    }
}

/// One step for tests: claims what is ready and works it to the end. Returns the number of lanes.
///
/// # Errors
/// [`LaneError`] when the lanes cannot be claimed.
pub async fn claim_and_work<H: HandleTask>(
    db: &Database,
    handler: &H,
    settings: WorkerSettings,
) -> Result<usize, LaneError> {
    let leases = claim(db, LaneChoice::All, settings.concurrency, settings.lease, &[]).await?;
    for lease in &leases {
        work_lane(db, handler, lease, &CancellationToken::new()).await;
    }
    Ok(leases.len())
}

async fn work_lane<H: HandleTask>(db: &Database, handler: &H, lease: &Lease, stop: &CancellationToken) {
    let tenant = lease.scope().tenant();
    match work(db, handler, lease, stop).await {
        Ok(()) => {}
        Err(LaneError::LeaseLost) => {
            metrics::counter!("kanal_leases_lost_total").increment(1);
            tracing::warn!(%tenant, "a lane was taken over by another worker");
        }
        // The lease ends by itself; whoever takes the lane then sees whether its head was begun.
        Err(error @ LaneError::Database(_)) => {
            tracing::warn!(%tenant, error = error_chain(&error), "a lane has to wait for the database");
        }
    }
}

async fn work<H: HandleTask>(
    db: &Database,
    handler: &H,
    lease: &Lease,
    stop: &CancellationToken,
) -> Result<(), LaneError> {
    while !stop.is_cancelled() {
        let head = if H::BEGINS_ITSELF {
            lease.look_at_head(db).await?
        } else {
            lease.begin_head(db).await?
        };
        let Head::Task(task) = head else { return Ok(()) };
        let next = renewing(db, lease, handler.handle(lease, &task)).await?;
        if next == Next::Wait || lease.is_over() {
            return Ok(());
        }
    }
    lease.release(db).await
}

/// Does the work and keeps the lease alive meanwhile. Losing the lease does not cancel the work: an outside call
/// that went out is better finished than cut, and its outcome will find the fence closed.
///
/// Both go on at once: a renewal may have to wait for a row that the work's own transaction holds, or for a place in
/// the pool that the work's next transaction was given.
async fn renewing<T>(
    db: &Database,
    lease: &Lease,
    work: impl Future<Output = Result<T, LaneError>>,
) -> Result<T, LaneError> {
    tokio::select! {
        done = work => done,
        never = keep(db, lease) => match never {},
    }
}

async fn keep(db: &Database, lease: &Lease) -> Infallible {
    loop {
        tokio::time::sleep(lease.length() / 3).await;
        match renew(db, lease).await {
            Ok(()) => {}
            // Nothing can bring it back.
            Err(LaneError::LeaseLost) => return std::future::pending().await,
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "a lease could not be renewed");
            }
        }
    }
}

async fn renew(db: &Database, lease: &Lease) -> Result<(), LaneError> {
    let mut tx = tenant_isolation::TenantTransaction::begin(db, lease.scope(), "renew lease").await?;
    lease.guard(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn pause(stop: &CancellationToken, time: Duration) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
