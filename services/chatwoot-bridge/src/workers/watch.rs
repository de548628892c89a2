//! Shows what of the events for URLs waits or stays for people, and how many routes' webhooks do not lead here.

use std::time::Duration;

use database::{Database, DatabaseError};
use messaging::ledger::{Book, Held, begin, show};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::store::{drift_reports, forward_counts};

const EVERY: Duration = Duration::from_secs(15);

/// Looks until the end.
pub async fn run(db: Database, shutdown: Shutdown) {
    begin(Book::Forwards);
    loop {
        if let Err(error) = look(&db).await {
            metrics::counter!("kanal_watch_failures_total").increment(1);
            tracing::warn!(%error, "what waits for URLs could not be counted");
        }
        if !shutdown.sleep(EVERY).await {
            return;
        }
    }
}

/// Looks once.
///
/// # Errors
/// [`DatabaseError`].
pub async fn look(db: &Database) -> Result<(), DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("watch events")).await?;
    let (waiting, held) = forward_counts::stocks(&mut tx).await?;
    let drifting = drift_reports::count_wrong(&mut tx).await?;
    tx.commit().await?;
    show(Book::Forwards, Held::Live, waiting.many, waiting.oldest_seconds);
    show(Book::Forwards, Held::Parked, held.many, held.oldest_seconds);
    metrics::gauge!("kanal_bridge_drifting_routes")
        .set(f64::from(u32::try_from(drifting.many).unwrap_or(u32::MAX)));
    Ok(())
}
