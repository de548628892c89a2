//! Shows how near the ends of what customers have paid for are.

use std::time::Duration;

use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::store::quota;

/// Nothing here changes within seconds.
const EVERY: Duration = Duration::from_secs(60);

/// Looks until the end.
pub(crate) async fn run(db: Database, shutdown: Shutdown) {
    loop {
        if let Err(error) = look(&db).await {
            metrics::counter!("kanal_watch_failures_total").increment(1);
            tracing::warn!(%error, "subscriptions could not be counted");
        }
        if !shutdown.sleep(EVERY).await {
            return;
        }
    }
}

async fn look(db: &Database) -> Result<(), DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("watch subscriptions")).await?;
    let near = quota::near_the_end(&mut tx).await?;
    tx.commit().await?;
    let show = |used: &'static str, many: i64| {
        metrics::gauge!("kanal_quota_subscriptions", "used" => used)
            .set(f64::from(u32::try_from(many).unwrap_or(u32::MAX)));
    };
    show("90_percent", near.nearly_used);
    show("all", near.used_up);
    metrics::gauge!("kanal_subscriptions_ending")
        .set(f64::from(u32::try_from(near.ending).unwrap_or(u32::MAX)));
    Ok(())
}
