//! Forgets what is kept only to recognise things again, and deletes what was put aside and grew too old. One of several
//! processes does it at a time.

use std::time::Duration;

use database::{Database, DatabaseError};
use messaging::{lanes, outbox};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use super::alone::Alone;
use crate::config::Kept;
use crate::store::{
    agent_files, agent_messages, erasures, handled_events, history_jobs, message_links, notices, place_locks,
    probes, quarantine, reconcile_marks, unrouted_inboxes,
};

/// Far longer than an event can wait in a queue and come back.
const EVENTS_DAYS: f64 = 14.0;
/// Longer than a link to one holds.
const FILES_DAYS: f64 = 8.0;
/// A lane's row is small and soon made again.
const LANES_DAYS: f64 = 7.0;
/// Long enough for somebody to look at it.
const STRANGERS_DAYS: f64 = 30.0;
/// Nobody waits that long for a test message.
const PROBES_DAYS: f64 = 1.0;
const BATCH: i64 = 2_000;
/// What was put aside may be large, and deleting it takes as long as it is.
const LARGE_BATCH: i64 = 100;
const EVERY: Duration = Duration::from_secs(15 * 60);

/// What is forgotten by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgettable {
    /// Events taken off the broker.
    HandledEvents,
    /// Who was erased.
    Erasures,
    /// Which message is which.
    MessageLinks,
    /// Agents' messages and where they stand.
    AgentMessages,
    /// Where agents' files lie.
    AgentFiles,
    /// Lanes with nothing in them.
    Lanes,
    /// Bodies that were no webhooks.
    Quarantine,
    /// Test messages.
    Probes,
    /// Inboxes that nobody gave a route.
    UnroutedInboxes,
    /// Imports of history that ended.
    HistoryJobs,
    /// How far inboxes were looked through that are gone.
    ReconcileMarks,
    /// What was told in inboxes that are gone.
    Notices,
    /// Locks of workers that died with them.
    PlaceLocks,
    /// Tasks that were put aside for people, with what people wrote.
    ParkedTasks,
    /// Events that the relay gave up. One that waits for the broker stays.
    ParkedEvents,
}

impl Forgettable {
    /// All of it.
    pub const ALL: &[Self] = &[
        Self::HandledEvents,
        Self::Erasures,
        Self::MessageLinks,
        Self::AgentMessages,
        Self::AgentFiles,
        Self::Lanes,
        Self::Quarantine,
        Self::Probes,
        Self::UnroutedInboxes,
        Self::HistoryJobs,
        Self::ReconcileMarks,
        Self::Notices,
        Self::PlaceLocks,
        Self::ParkedTasks,
        Self::ParkedEvents,
    ];

    const fn batch(self) -> i64 {
        match self {
            Self::ParkedTasks | Self::ParkedEvents => LARGE_BATCH,
            _ => BATCH,
        }
    }
}

/// Runs until the end.
pub async fn run(db: Database, kept: Kept, shutdown: Shutdown) {
    let retention = Retention::new(db, kept);
    while shutdown.sleep(EVERY).await {
        if let Err(error) = retention.round(&shutdown).await {
            tracing::warn!(%error, "nobody looked for old rows");
        }
    }
    retention.alone.give_back().await;
}

/// What one process does about old rows.
#[derive(Debug)]
pub struct Retention {
    db: Database,
    kept: Kept,
    alone: Alone,
}

impl Retention {
    /// For a process of its own.
    #[must_use]
    pub fn new(db: Database, kept: Kept) -> Self {
        Self {
            alone: Alone::new(db.clone(), "retention", EVERY * 3),
            db,
            kept,
        }
    }

    /// Forgets everything that is old now. False: another process does it.
    ///
    /// # Errors
    /// [`DatabaseError`] when it is not known whose turn it is. A kind that fails is logged and keeps no other back.
    pub async fn round(&self, shutdown: &Shutdown) -> Result<bool, DatabaseError> {
        if !self.alone.is_it().await? {
            return Ok(false);
        }
        for what in Forgettable::ALL.iter().copied() {
            while !shutdown.has_begun() {
                match step(&self.db, self.kept, what).await {
                    Ok(forgotten) if forgotten as i64 == what.batch() => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, ?what, "old rows could not be forgotten");
                        break;
                    }
                }
            }
        }
        Ok(true)
    }
}

/// One small batch. Returns how many were forgotten.
///
/// # Errors
/// [`DatabaseError`].
pub async fn step(db: &Database, kept: Kept, what: Forgettable) -> Result<usize, DatabaseError> {
    let most = what.batch();
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("forget old rows")).await?;
    let forgotten = match what {
        Forgettable::HandledEvents => handled_events::forget_old(&mut tx, EVENTS_DAYS, most).await?,
        Forgettable::Erasures => erasures::forget_old(&mut tx, EVENTS_DAYS, most).await?,
        Forgettable::MessageLinks => message_links::forget_old(&mut tx, kept.links_days, most).await?,
        Forgettable::AgentMessages => agent_messages::forget_old(&mut tx, kept.links_days, most).await?,
        Forgettable::AgentFiles => agent_files::forget_old(&mut tx, FILES_DAYS, most).await?,
        Forgettable::Lanes => lanes::forget_idle(&mut tx, LANES_DAYS, most).await?,
        Forgettable::Quarantine => quarantine::forget_old(&mut tx, STRANGERS_DAYS, most).await?,
        Forgettable::Probes => probes::forget_old(&mut tx, PROBES_DAYS, most).await?,
        Forgettable::UnroutedInboxes => unrouted_inboxes::forget_old(&mut tx, STRANGERS_DAYS, most).await?,
        Forgettable::HistoryJobs => history_jobs::forget_old(&mut tx, kept.links_days, most).await?,
        Forgettable::ReconcileMarks => reconcile_marks::forget_gone(&mut tx, EVENTS_DAYS, most).await?,
        Forgettable::Notices => notices::forget_gone(&mut tx, EVENTS_DAYS, most).await?,
        Forgettable::PlaceLocks => place_locks::forget_old(&mut tx, most).await?,
        Forgettable::ParkedTasks => lanes::expire_parked(&mut tx, None, kept.parked_days, most).await?,
        Forgettable::ParkedEvents => outbox::look::expire_parked(&mut tx, kept.parked_days, most).await?,
    };
    tx.commit().await?;
    if matches!(what, Forgettable::ParkedTasks | Forgettable::ParkedEvents) && forgotten > 0 {
        tracing::error!(
            ?what,
            forgotten,
            "what was put aside grew too old and was deleted"
        );
        metrics::counter!("kanal_bridge_parked_expired_total").increment(forgotten as u64);
    }
    Ok(forgotten)
}
