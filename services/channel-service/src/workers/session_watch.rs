//! Looks after sessions. Every process does: each session is looked at by whoever takes its row first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use database::DatabaseError;
use runtime::shutdown::Shutdown;
use tokio::task::JoinSet;

use crate::flows::session::Keeper;

/// How often it is looked what is due, at most: small intervals are looked at more often.
const EVERY: Duration = Duration::from_secs(1);
/// Sessions looked at side by side, and those of one endpoint among them: one that hangs leaves room for the others.
const AT_ONCE: usize = 32;
const OF_ENDPOINT: usize = 16;
/// How long looks that are under way may take when the end begins.
const LAST: Duration = Duration::from_secs(5);

/// Goes on until the end begins.
pub async fn run(keeper: Arc<Keeper>, shutdown: Shutdown) {
    let every = EVERY
        .min(keeper.settings().look / 10)
        .max(Duration::from_millis(20));
    let mut looks = Looks::default();
    while shutdown.sleep(every).await {
        looks.clear_away();
        let round = async {
            keeper.write_down_hearing().await?;
            looks.begin(&keeper).await
        };
        if let Err(error) = round.await {
            tracing::warn!(error = %crate::error::chain(&error), "sessions could not be looked after");
        }
    }
    // What is under way has changed things outside: it is better written down.
    let finished = tokio::time::timeout(LAST, async { while looks.running.join_next().await.is_some() {} });
    if finished.await.is_err() {
        tracing::info!(left = looks.running.len(), "looks at sessions were cut short");
    }
    if let Err(error) = keeper.write_down_hearing().await {
        tracing::debug!(error = %crate::error::chain(&error), "what was heard last is lost");
    }
}

#[derive(Default)]
struct Looks {
    running: JoinSet<String>,
    of_endpoint: HashMap<String, usize>,
}

impl Looks {
    async fn begin(&mut self, keeper: &Arc<Keeper>) -> Result<(), DatabaseError> {
        let room = AT_ONCE.saturating_sub(self.running.len()).min(OF_ENDPOINT);
        if room == 0 {
            return Ok(());
        }
        let full: Vec<&str> = self
            .of_endpoint
            .iter()
            .filter(|(_, count)| **count >= OF_ENDPOINT)
            .map(|(endpoint, _)| endpoint.as_str())
            .collect();
        for row in keeper.due(&full, room).await? {
            *self.of_endpoint.entry(row.endpoint.clone()).or_default() += 1;
            let keeper = Arc::clone(keeper);
            self.running.spawn(async move {
                if let Err(error) = keeper.look(&row).await {
                    tracing::warn!(tenant = row.tenant_id, error = %crate::error::chain(&error),
                        "a session could not be looked at");
                }
                row.endpoint
            });
        }
        Ok(())
    }

    fn clear_away(&mut self) {
        while let Some(done) = self.running.try_join_next() {
            match done {
                Ok(endpoint) => {
                    if let Some(count) = self.of_endpoint.get_mut(&endpoint) {
                        *count = count.saturating_sub(1);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "a look at a session died");
                    self.of_endpoint.clear();
                }
            }
        }
        self.of_endpoint.retain(|_, count| *count > 0);
    }
}
