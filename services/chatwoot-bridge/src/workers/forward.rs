//! Passes events on to the URLs of routes: one task takes them in hand, each is posted by a task of its own, and one writes
//! down in groups what became of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use database::Database;
use messaging::outbox::Signal;
use runtime::shutdown::{GRACE, Shutdown};
use tokio::sync::{Semaphore, mpsc};

use super::{forward_committer, forward_retention, ledger, replays};
use crate::config::{ForwardSettings, Settings};
use crate::flows::Tools;
use crate::flows::forward::accept::{ForwardQueue, Waiting};
use crate::flows::forward::deliver::{Deliveries, Finished};
use crate::flows::forward::ledger::Ledger;
use crate::flows::forward::settle::settle;
use crate::flows::forward::{Bell, Loads, show_ages};
use crate::targets::Targets;

/// Events that are taken in hand at once, and written down at once.
const BATCH: usize = 256;
/// Pause between two looks, so that events gather.
const GATHER: Duration = Duration::from_millis(4);
/// Longest pause between two looks: another process may have accepted something.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The pause when the database does not answer.
const DATABASE_AWAY: Duration = Duration::from_secs(1);
/// What is left of the time to end, for writing down what became of events.
const SETTLING: Duration = Duration::from_millis(1_500);
/// Pause between two tries to write down what became of events.
const SETTLE_AGAIN: Duration = Duration::from_millis(250);
const SHOW_AGES: Duration = Duration::from_secs(10);

/// Is there something that could not be written down yet? Then nothing is taken in hand: lanes whose lease ended meanwhile
/// would look as if nobody knew what became of their events.
#[derive(Debug, Clone, Default)]
struct Behind(Arc<AtomicBool>);

impl Behind {
    fn set(&self, is_so: bool) {
        self.0.store(is_so, Ordering::Release);
    }

    fn is_so(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The side of forwarding that has no port.
#[derive(Debug)]
pub struct ForwardWork {
    db: Database,
    jobs: Vec<mpsc::Receiver<Waiting>>,
    deliveries: Deliveries,
    settings: ForwardSettings,
    loads: Loads,
    ledger: Ledger,
    /// Rung when there is something to pass on.
    bell: Bell,
    /// Rung when agents are to be told something.
    lanes: Signal,
}

impl ForwardWork {
    /// Puts it together, and the way in. `lanes` is rung when agents are to be told something.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(
        settings: &Settings,
        tools: &Tools,
        lanes: Signal,
    ) -> Result<(ForwardQueue, Self), reqwest::Error> {
        let forward = settings.forward;
        let storage = &settings.storage;
        let targets = Targets::new(
            storage.outbound.clone(),
            storage.fetch_timeout,
            forward.per_target,
        )?;
        let loads = Loads::new(forward.queue_bytes);
        let ledger = Ledger::new(forward.log_days > 0);
        let (queue, jobs) = ForwardQueue::new(loads.clone(), ledger.clone());
        let work = Self {
            db: tools.db.clone(),
            jobs,
            deliveries: Deliveries::new(
                tools.db.clone(),
                tools.keys.clone(),
                targets,
                forward.per_target,
                forward.concurrency,
                forward.retry,
                settings.reply_window,
            ),
            settings: forward,
            loads,
            ledger,
            bell: Bell::default(),
            lanes,
        };
        Ok((queue, work))
    }

    /// Begins, and works until the end; what is in hand then is finished.
    pub fn spawn(self, shutdown: &Shutdown) {
        let (finished, done) = mpsc::channel(BATCH * 4);
        let behind = Behind::default();
        let window = self.deliveries.window();
        for jobs in self.jobs {
            let committing = forward_committer::run(self.db.clone(), self.bell.clone(), window, jobs);
            shutdown.spawn("event committer", committing);
        }
        shutdown.spawn(
            "events in hand",
            hand_out(
                self.deliveries.clone(),
                self.bell.clone(),
                self.settings.concurrency,
                finished,
                behind.clone(),
                shutdown.clone(),
            ),
        );
        let settling = Settling {
            db: self.db.clone(),
            window,
            lease: self.deliveries.lease(),
            lanes: self.lanes,
            bell: self.bell,
            behind,
            ledger: self.ledger.clone(),
            shutdown: shutdown.clone(),
        };
        shutdown.spawn("settled events", settling.run(done));
        shutdown.spawn(
            "weight of events",
            weigh(self.db.clone(), self.loads, shutdown.clone()),
        );
        shutdown.spawn(
            "ledger of events",
            ledger::run(self.db.clone(), self.ledger, shutdown.clone()),
        );
        shutdown.spawn("replays", replays::run(self.db.clone(), shutdown.clone()));
        shutdown.spawn("ages of events", watch_ages(self.db.clone(), shutdown.clone()));
        shutdown.spawn(
            "retention of events",
            forward_retention::run(self.db, self.settings, shutdown.clone()),
        );
    }
}

async fn hand_out(
    deliveries: Deliveries,
    bell: Bell,
    concurrency: usize,
    finished: mpsc::Sender<Finished>,
    behind: Behind,
    shutdown: Shutdown,
) {
    let places = Arc::new(Semaphore::new(concurrency));
    while !shutdown.has_begun() {
        if behind.is_so() {
            if !shutdown.sleep(SETTLE_AGAIN).await {
                return;
            }
            continue;
        }
        // At least one place, and then as many as there are.
        let Ok(first) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let free = places.available_permits() + 1;
        drop(first);
        let most = free.min(BATCH);
        let taken = match deliveries.take(most).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "events could not be taken in hand");
                if !shutdown.sleep(DATABASE_AWAY).await {
                    return;
                }
                continue;
            }
        };
        let number = taken.len();
        for event in taken {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let (deliveries, finished) = (deliveries.clone(), finished.clone());
            let ending = shutdown.clone();
            tokio::spawn(async move {
                let one = tokio::select! {
                    one = deliveries.deliver(event) => one,
                    () = too_late(&ending) => return,
                };
                drop(place);
                // Whoever writes outcomes down ends after all who send them.
                drop(finished.send(one).await);
            });
        }
        if number < most {
            rest(&deliveries, &bell, number, &shutdown).await;
        }
    }
}

/// A process that ends waits for answers only so long. Whoever finds such an event in hand later cannot know what came of
/// it, and treats it so.
async fn too_late(shutdown: &Shutdown) {
    shutdown.begun().await;
    tokio::time::sleep(shutdown.left_of(GRACE).saturating_sub(SETTLING)).await;
    tracing::warn!("an event was on its way when the process ended");
}

/// Waits until there is something, or may be.
async fn rest(deliveries: &Deliveries, bell: &Bell, taken: usize, shutdown: &Shutdown) {
    if !shutdown.sleep(GATHER).await || taken > 0 {
        return;
    }
    let next = match deliveries.next_turn().await {
        Ok(next) => next.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE),
        Err(_) => DATABASE_AWAY,
    };
    tokio::select! {
        () = shutdown.begun() => {}
        () = bell.rung() => {}
        () = tokio::time::sleep(next) => {}
    }
}

/// Writes down what became of events.
struct Settling {
    db: Database,
    window: Duration,
    lease: Duration,
    lanes: Signal,
    bell: Bell,
    behind: Behind,
    ledger: Ledger,
    shutdown: Shutdown,
}

impl Settling {
    async fn run(self, mut done: mpsc::Receiver<Finished>) {
        let mut group = Vec::with_capacity(BATCH);
        while done.recv_many(&mut group, BATCH).await > 0 {
            self.write_down(&mut group).await;
            group.clear();
            // The next ones of these lanes have their turn, and the places of their targets are free.
            self.bell.ring();
        }
        // All who gather are at their end.
        ledger::write(&self.db, &self.ledger).await;
    }

    /// While Postgres is away it is tried as long as the process lives, beyond the lease: what somebody else took over by
    /// then is left to them, and whatever nobody did is not delivered a second time.
    async fn write_down(&self, group: &mut Vec<Finished>) {
        let began = Instant::now();
        while let Err(error) = settle(&self.db, self.window, &self.lanes, &self.ledger, group).await {
            let is_transient = error.is_transient();
            tracing::warn!(%error, events = group.len(), "it could not be written down what became of events");
            if !is_transient {
                self.write_down_alone(group).await;
            }
            let is_given_up = !is_transient && began.elapsed() >= self.lease;
            if group.is_empty() || is_given_up || self.shutdown.left_of(GRACE).is_zero() {
                break;
            }
            self.behind.set(is_transient);
            tokio::time::sleep(SETTLE_AGAIN).await;
        }
        self.behind.set(false);
    }

    /// One that Postgres does not like harms no other. Those that could not be written down stay in the group.
    async fn write_down_alone(&self, group: &mut Vec<Finished>) {
        let mut left = Vec::new();
        for one in group.drain(..) {
            let alone = settle(
                &self.db,
                self.window,
                &self.lanes,
                &self.ledger,
                std::slice::from_ref(&one),
            )
            .await;
            if alone.is_err() {
                left.push(one);
            }
        }
        *group = left;
    }
}

async fn weigh(db: Database, loads: Loads, shutdown: Shutdown) {
    while shutdown.sleep(loads.weigh(&db).await).await {}
}

async fn watch_ages(db: Database, shutdown: Shutdown) {
    let mut shown = HashSet::new();
    while shutdown.sleep(SHOW_AGES).await {
        match show_ages(&db, shown.clone()).await {
            Ok(now) => shown = now,
            Err(error) => tracing::debug!(%error, "it is not known how old events are"),
        }
    }
}
