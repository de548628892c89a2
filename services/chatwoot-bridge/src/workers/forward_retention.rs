//! Deletes events that could not be passed on and grew too old, and forgets what is kept of others only to recognise them.

use std::time::Duration;

use database::{Database, DatabaseError};
use messaging::ledger::{Book, Step};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::config::ForwardSettings;
use crate::store::{
    forward_counts, forward_done, forward_events, forward_seen, forward_steps, replay_jobs, route_times,
};

/// A lane's row is small and soon made again.
const LANES_DAYS: f64 = 7.0;
/// The panel's pictures show two days by the minute, and a quarter of a year by the hour.
const MINUTES_DAYS: f64 = 2.0;
const HOURS_DAYS: f64 = 90.0;
const REPLAYS_DAYS: f64 = 30.0;
const BATCH: i64 = 2_000;
const EVERY: Duration = Duration::from_secs(5 * 60);

/// What leaves by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Events, waiting or put aside.
    Events,
    /// What makes known that an event was accepted.
    Seen,
    /// Lanes with nothing in them.
    Lanes,
    /// Where events went that are over.
    Done,
    /// What happened to events on their way.
    Steps,
    /// How routes fared, by the minute.
    Minutes,
    /// How routes fared, by the hour.
    Hours,
    /// Replays that ended.
    Replays,
}

impl Leaving {
    /// All of it.
    pub const ALL: [Self; 8] = [
        Self::Events,
        Self::Seen,
        Self::Lanes,
        Self::Done,
        Self::Steps,
        Self::Minutes,
        Self::Hours,
        Self::Replays,
    ];
}

/// Runs until the end.
pub async fn run(db: Database, settings: ForwardSettings, shutdown: Shutdown) {
    while shutdown.sleep(EVERY).await {
        for what in Leaving::ALL {
            while !shutdown.has_begun() {
                match step(&db, settings, what).await {
                    Ok(left) if left as i64 == BATCH => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, ?what, "what is old could not be deleted");
                        break;
                    }
                }
            }
        }
    }
}

/// One small batch. Returns how many left.
///
/// # Errors
/// [`DatabaseError`].
pub async fn step(db: &Database, settings: ForwardSettings, what: Leaving) -> Result<usize, DatabaseError> {
    let platform = PlatformScope::for_purpose("delete old events");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    let left = match what {
        Leaving::Events => forward_events::expire(&mut tx, f64::from(settings.retention_days), BATCH).await?,
        Leaving::Seen => forward_seen::forget_old(&mut tx, f64::from(settings.seen_days), BATCH).await?,
        Leaving::Lanes => forward_counts::forget_idle(&mut tx, LANES_DAYS, BATCH).await?,
        Leaving::Done => forward_done::forget_old(&mut tx, f64::from(settings.log_days), BATCH).await?,
        Leaving::Steps => {
            // An event's steps last for as long as it can be here, and for as long as it can be asked for afterwards.
            let days = f64::from(settings.retention_days + settings.log_days);
            forward_steps::forget_old(&mut tx, days, BATCH).await?
        }
        Leaving::Minutes => route_times::forget_old(&mut tx, 1, MINUTES_DAYS, BATCH).await?,
        Leaving::Hours => route_times::forget_old(&mut tx, 60, HOURS_DAYS, BATCH).await?,
        Leaving::Replays => replay_jobs::forget_old(&mut tx, REPLAYS_DAYS, BATCH).await?,
    };
    tx.commit().await?;
    if what == Leaving::Events && left > 0 {
        tracing::error!(
            left,
            "events that could not be passed on grew too old and were deleted"
        );
        metrics::counter!("kanal_bridge_forward_expired_total").increment(left as u64);
        messaging::ledger::count(Book::Forwards, Step::Expired, left);
    }
    Ok(left)
}
