//! Brings replays on. One of several processes does it at a time.

use std::time::Duration;

use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;

use super::alone::Alone;
use crate::flows::replays;

const EVERY: Duration = Duration::from_secs(1);

/// Goes on until the end begins.
pub async fn run(db: Database, shutdown: Shutdown) {
    let alone = Alone::new(db.clone(), "replays", EVERY * 30);
    while shutdown.sleep(EVERY).await {
        let round = async {
            if alone.is_it().await? {
                replays::round(&db).await?;
            }
            Ok::<(), DatabaseError>(())
        };
        let done = tokio::select! {
            done = round => done,
            () = shutdown.begun() => break,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "events cannot be taken up again");
        }
    }
    alone.give_back().await;
}
