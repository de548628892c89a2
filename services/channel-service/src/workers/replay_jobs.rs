//! Works off orders to take many messages up again, at a bounded pace: one order at a time in each process, and each order in
//! one process at a time.

use std::time::Duration;

use database::{Database, DatabaseError};
use messaging::outbox::Signal;
use runtime::shutdown::Shutdown;

use crate::config::ReplaySettings;
use crate::flows::dead_letter::Wake;
use crate::flows::replay_job::{self, Step};

/// Messages of one order before another one has its turn: a long one keeps nobody waiting.
const TURN: usize = 50;
/// How often it is looked for orders that nobody has.
const EVERY: Duration = Duration::from_secs(1);

/// What the worker works with.
pub struct ReplayWorker {
    /// The tables.
    pub db: Database,
    /// Publishes events.
    pub relay: Signal,
    /// Send messages.
    pub senders: Signal,
    /// How fast.
    pub settings: ReplaySettings,
}

impl ReplayWorker {
    /// Works until the end begins. An order in hand is left to another process, or to this one after its restart.
    pub async fn run(self, shutdown: Shutdown) {
        while shutdown.sleep(EVERY).await {
            if let Err(error) = self.work(&shutdown).await {
                tracing::warn!(error = %crate::error::chain(&error), "messages could not be taken up again");
            }
        }
    }

    /// Works orders off until there is none that nobody has.
    async fn work(&self, shutdown: &Shutdown) -> Result<(), DatabaseError> {
        let wake = Wake {
            relay: &self.relay,
            senders: &self.senders,
        };
        while let Some(mut order) = replay_job::take(&self.db).await? {
            let mut turns = 0..TURN;
            let goes_on = loop {
                if turns.next().is_none() {
                    break true;
                }
                match order.step(&self.db, wake).await? {
                    Step::Went => {}
                    Step::Over | Step::Lost => break false,
                }
                if !shutdown.sleep(self.settings.pause).await {
                    return order.let_go(&self.db).await;
                }
            };
            if goes_on {
                order.let_go(&self.db).await?;
            }
        }
        Ok(())
    }
}
