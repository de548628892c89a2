//! Forgets what is kept only to recognise things again.

use std::time::Duration;

use database::{Database, DatabaseError};
use messaging::lanes;
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

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
    ];
}

/// Runs until the end.
pub async fn run(db: Database, kept: Kept, shutdown: Shutdown) {
    while shutdown.sleep(EVERY).await {
        for what in Forgettable::ALL.iter().copied() {
            while !shutdown.has_begun() {
                match step(&db, kept, what).await {
                    Ok(forgotten) if forgotten as i64 == BATCH => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, ?what, "old rows could not be forgotten");
                        break;
                    }
                }
            }
        }
    }
}

/// One small batch. Returns how many were forgotten.
///
/// # Errors
/// [`DatabaseError`].
pub async fn step(db: &Database, kept: Kept, what: Forgettable) -> Result<usize, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("forget old rows")).await?;
    let forgotten = match what {
        Forgettable::HandledEvents => handled_events::forget_old(&mut tx, EVENTS_DAYS, BATCH).await?,
        Forgettable::Erasures => erasures::forget_old(&mut tx, EVENTS_DAYS, BATCH).await?,
        Forgettable::MessageLinks => message_links::forget_old(&mut tx, kept.links_days, BATCH).await?,
        Forgettable::AgentMessages => agent_messages::forget_old(&mut tx, kept.links_days, BATCH).await?,
        Forgettable::AgentFiles => agent_files::forget_old(&mut tx, FILES_DAYS, BATCH).await?,
        Forgettable::Lanes => lanes::forget_idle(&mut tx, LANES_DAYS, BATCH).await?,
        Forgettable::Quarantine => quarantine::forget_old(&mut tx, STRANGERS_DAYS, BATCH).await?,
        Forgettable::Probes => probes::forget_old(&mut tx, PROBES_DAYS, BATCH).await?,
        Forgettable::UnroutedInboxes => unrouted_inboxes::forget_old(&mut tx, STRANGERS_DAYS, BATCH).await?,
        Forgettable::HistoryJobs => history_jobs::forget_old(&mut tx, kept.links_days, BATCH).await?,
        Forgettable::ReconcileMarks => reconcile_marks::forget_gone(&mut tx, EVENTS_DAYS, BATCH).await?,
        Forgettable::Notices => notices::forget_gone(&mut tx, EVENTS_DAYS, BATCH).await?,
        Forgettable::PlaceLocks => place_locks::forget_old(&mut tx, BATCH).await?,
    };
    tx.commit().await?;
    Ok(forgotten)
}
