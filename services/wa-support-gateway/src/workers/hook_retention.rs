//! Deletes webhooks that could not be delivered in time, and forgets lanes that nobody uses.

use std::time::Duration;

use database::{Database, DatabaseError};
use messaging::lanes;
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::store::hook_events;

/// A lane's row is small and soon made again.
const LANES_DAYS: f64 = 7.0;
/// Events may be large, and deleting them takes as long as they are.
const BATCH: i64 = 100;
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Runs until the end. The first look comes at once: a process that is restarted often would never get to it.
pub(crate) async fn run(db: Database, days: u32, shutdown: Shutdown) {
    loop {
        if let Err(error) = sweep(&db, days, &shutdown).await {
            tracing::warn!(%error, "old webhooks could not be deleted");
        }
        if !shutdown.sleep(EVERY).await {
            return;
        }
    }
}

async fn sweep(db: &Database, days: u32, shutdown: &Shutdown) -> Result<(), DatabaseError> {
    while !shutdown.has_begun() {
        let mut tx =
            PlatformTransaction::begin(db, PlatformScope::for_purpose("delete old webhooks")).await?;
        let expired = hook_events::expire(&mut tx, days, BATCH).await?;
        tx.commit().await?;
        if expired > 0 {
            metrics::counter!("kanal_hook_events_expired_total").increment(expired as u64);
            tracing::error!(
                expired,
                days,
                "webhooks that could not be delivered in time are deleted"
            );
        }
        if (expired as i64) < BATCH {
            break;
        }
    }
    while !shutdown.has_begun() {
        let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("forget idle lanes")).await?;
        let forgotten = lanes::forget_idle(&mut tx, LANES_DAYS, BATCH).await?;
        tx.commit().await?;
        if (forgotten as i64) < BATCH {
            break;
        }
    }
    Ok(())
}
