//! Brings imports of history on. One of several processes does it at a time.

use std::time::Duration;

use runtime::shutdown::Shutdown;

use super::alone::Alone;
use crate::flows::history::Importer;

const EVERY: Duration = Duration::from_secs(1);

/// Goes on until the end begins.
pub async fn run(importer: Importer, shutdown: Shutdown) {
    let alone = Alone::new(importer.db.clone(), "history", EVERY * 30);
    while shutdown.sleep(EVERY).await {
        let round = async {
            if alone.is_it().await? {
                importer.round().await?;
            }
            Ok::<(), database::DatabaseError>(())
        };
        let done = tokio::select! {
            done = round => done,
            () = shutdown.begun() => break,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "history cannot be imported");
        }
    }
    alone.give_back().await;
}
