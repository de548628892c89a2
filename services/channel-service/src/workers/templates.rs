//! Renews lists of approved templates. One of several processes does it at a time, under a lease in `leases`.

use std::time::Duration;

use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::flows::templates::Templates;
use crate::store::lease;

const LEASE: &str = "templates";
/// How often it is looked what is due, at most.
const EVERY: Duration = Duration::from_secs(20);
/// How many rounds a process that fell silent keeps the others waiting.
const ROUNDS: u32 = 6;

/// Goes on until the end begins.
pub async fn run(db: Database, templates: Templates, refresh: Duration, shutdown: Shutdown) {
    let holder = Uuid::now_v7();
    let every = EVERY.min(refresh / 4).max(Duration::from_millis(50));
    while shutdown.sleep(every).await {
        let round = async {
            if leads(&db, holder, every * ROUNDS).await? {
                templates.renew_due(refresh).await?;
            }
            Ok::<(), DatabaseError>(())
        };
        let done = tokio::select! {
            done = round => done,
            () = shutdown.begun() => return,
        };
        if let Err(error) = done {
            tracing::warn!(error = %crate::error::chain(&error), "templates could not be renewed");
        }
    }
}

async fn leads(db: &Database, holder: Uuid, length: Duration) -> Result<bool, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("lead templates")).await?;
    let held = lease::hold(&mut tx, LEASE, holder, length).await?;
    tx.commit().await?;
    Ok(held)
}
