//! Looks after the numbers of all connected inboxes. One of several processes does it at a time.

use std::time::Duration;

use runtime::shutdown::Shutdown;

use super::alone::Alone;
use crate::flows::notices::Notices;

const EVERY: Duration = Duration::from_secs(60);

/// Goes on until the end begins.
pub async fn run(notices: Notices, shutdown: Shutdown) {
    let alone = Alone::new(notices.tools.db.clone(), "notices", EVERY * 3);
    while shutdown.sleep(EVERY).await {
        let round = async {
            if alone.is_it().await? {
                notices.round().await?;
            }
            Ok::<(), database::DatabaseError>(())
        };
        let done = tokio::select! {
            done = round => done,
            () = shutdown.begun() => break,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "agents cannot be told about their numbers");
        }
    }
    alone.give_back().await;
}
