//! Looks, once an interval and in one process at a time, whether Chatwoot still sends events here.

use std::time::Duration;

use database::DatabaseError;
use messaging::leases;
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::flows::Tools;
use crate::flows::drift::round;

const LEASE: &str = "drift";

/// Runs until the end. Whoever has the lease when an interval begins keeps it for nearly all of it, so that there is one
/// round an interval, however many processes there are.
pub async fn run(tools: Tools, every: Duration, shutdown: Shutdown) {
    let holder = Uuid::now_v7();
    // Processes that start together do not ask all at once.
    let mut pause = every.mul_f64(rand::random::<f64>() * 0.1);
    while shutdown.sleep(pause).await {
        pause = every;
        let done = async {
            if !is_ours(&tools, holder, every.mul_f64(0.95)).await? {
                return Ok(());
            }
            tokio::select! {
                done = round(&tools) => done,
                () = shutdown.begun() => Ok(()),
            }
        };
        if let Err(error) = done.await {
            tracing::warn!(%error, "nobody looked whether Chatwoot sends events here");
        }
    }
}

async fn is_ours(tools: &Tools, holder: Uuid, length: Duration) -> Result<bool, DatabaseError> {
    let mut tx = PlatformTransaction::begin(&tools.db, PlatformScope::for_purpose("lead drift")).await?;
    let held = leases::hold(tx.connection(), LEASE, holder, length).await?;
    tx.commit().await?;
    Ok(held)
}
