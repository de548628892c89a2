//! Looks through all inboxes now and then. One of several processes does it at a time.

use std::time::Duration;

use runtime::shutdown::Shutdown;

use super::alone::Alone;
use crate::flows::reconcile::Reconciler;

/// Goes on until the end begins. Not at once after the start: what came while we were away comes by the first look.
pub async fn run(reconciler: Reconciler, every: Duration, shutdown: Shutdown) {
    let alone = Alone::new(reconciler.tools.db.clone(), "reconcile", every * 2);
    while shutdown.sleep(every).await {
        let round = async {
            if alone.is_it().await? {
                let found = reconciler.round().await?;
                if found > 0 {
                    tracing::warn!(found, "replies were found that nobody had told of");
                }
            }
            Ok::<(), database::DatabaseError>(())
        };
        let done = tokio::select! {
            done = round => done,
            () = shutdown.begun() => break,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "inboxes cannot be looked through");
        }
    }
    alone.give_back().await;
}
