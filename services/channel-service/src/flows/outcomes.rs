//! Waiting for what becomes of a message: the sender of this process tells, whoever waits for a sender of another
//! process looks from time to time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use messaging::lanes::{HandleTask, LaneError, Lease, Next, Task};
use tokio::sync::watch;
use uuid::Uuid;

/// Most messages that are waited for at once; for one more nobody waits.
const MOST: usize = 4096;

/// Messages that somebody waits for. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outcomes(Arc<Mutex<HashMap<Uuid, Awaited>>>);

#[derive(Debug)]
struct Awaited {
    changes: watch::Sender<()>,
    waiting: usize,
}

/// One who waits for a message. Dropping it ends the wait.
#[derive(Debug)]
pub struct Waiting {
    outcomes: Outcomes,
    message: Uuid,
    changes: watch::Receiver<()>,
}

impl Outcomes {
    /// Begins to wait for a message, before it is there. `None`: as many wait as we allow.
    #[must_use]
    pub fn wait_for(&self, message: Uuid) -> Option<Waiting> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&message) {
            return None;
        }
        let awaited = all.entry(message).or_insert_with(|| Awaited {
            changes: watch::Sender::new(()),
            waiting: 0,
        });
        awaited.waiting += 1;
        Some(Waiting {
            outcomes: self.clone(),
            message,
            changes: awaited.changes.subscribe(),
        })
    }

    /// Something was written about a message.
    pub fn tell(&self, message: Uuid) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(awaited) = all.get(&message) {
            awaited.changes.send_replace(());
        }
    }
}

impl Waiting {
    /// Returns when something was written since the last time.
    pub async fn changed(&mut self) {
        // The sender lives as long as this value: it cannot be gone.
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut all = self.outcomes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(awaited) = all.get_mut(&self.message) {
            awaited.waiting -= 1;
            if awaited.waiting == 0 {
                all.remove(&self.message);
            }
        }
    }
}

/// A handler of tasks after each of which those who wait for it are told.
pub struct Telling<H> {
    handler: Arc<H>,
    outcomes: Outcomes,
}

impl<H> Telling<H> {
    /// Around a handler.
    pub const fn new(handler: Arc<H>, outcomes: Outcomes) -> Self {
        Self { handler, outcomes }
    }
}

impl<H: HandleTask> HandleTask for Telling<H> {
    const BEGINS_ITSELF: bool = H::BEGINS_ITSELF;

    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let next = self.handler.handle(lease, task).await;
        self.outcomes.tell(task.id);
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_told_before_anybody_looks_is_not_lost() {
        let outcomes = Outcomes::default();
        let id = Uuid::now_v7();
        let mut waiting = outcomes.wait_for(id).unwrap();
        outcomes.tell(Uuid::now_v7());
        let early = tokio::time::timeout(Duration::from_millis(10), waiting.changed()).await;
        assert!(early.is_err(), "another message's outcome is nobody's business");
        outcomes.tell(id);
        waiting.changed().await;
    }

    #[test]
    fn nothing_is_kept_for_nobody_and_the_map_has_a_bound() {
        let outcomes = Outcomes::default();
        let id = Uuid::now_v7();
        let (first, second) = (outcomes.wait_for(id), outcomes.wait_for(id));
        drop(first);
        assert_eq!(outcomes.0.lock().unwrap().len(), 1);
        drop(second);
        assert_eq!(outcomes.0.lock().unwrap().len(), 0);

        let many: Vec<_> = (0..MOST).map(|_| outcomes.wait_for(Uuid::now_v7())).collect();
        assert!(outcomes.wait_for(Uuid::now_v7()).is_none());
        drop(many);
        assert!(outcomes.wait_for(Uuid::now_v7()).is_some());
    }
}
