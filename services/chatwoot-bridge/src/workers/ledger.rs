//! Writes down, every few seconds, how routes fare and which events are over.

use std::time::Duration;

use database::Database;
use runtime::shutdown::Shutdown;

use crate::flows::forward::ledger::Ledger;

const EVERY: Duration = Duration::from_secs(2);

/// Runs until the end. What is gathered after that is written by whoever gathers last.
pub async fn run(db: Database, ledger: Ledger, shutdown: Shutdown) {
    while shutdown.sleep(EVERY).await {
        write(&db, &ledger).await;
    }
}

/// Once.
pub(super) async fn write(db: &Database, ledger: &Ledger) {
    if let Err(error) = ledger.write(db).await {
        tracing::warn!(%error, "it could not be written down how routes fare");
    }
}
