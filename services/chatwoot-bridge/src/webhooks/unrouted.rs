//! Events of inboxes that have no route: counted, and not worth more than one connection.
//!
//! An account's webhook tells of all its inboxes, and anybody can invent some. Whoever comes while another event is being
//! noted leaves its own to be noted with the next ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction};

use super::event::Event;
use crate::store::inboxes::InboxKey;
use crate::store::unrouted_inboxes::{self, NO_ACCOUNT};

/// Most inboxes that wait to be noted.
const MOST_WAITING: usize = 1_000;

/// How often the request that notes what it brought does so for others, too.
const ROUNDS: usize = 2;

/// What counts them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Unrouted {
    db: Database,
    waiting: Arc<Mutex<HashMap<InboxKey, i64>>>,
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Unrouted {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self {
            db,
            waiting: Arc::default(),
            writing: Arc::default(),
        }
    }

    /// Counts an event. Best effort: what is nobody's needs no durability, only visibility.
    pub async fn note(&self, installation: &str, event: &Event) {
        let Some(inbox_id) = event.inbox_id else {
            return;
        };
        let key = InboxKey {
            installation: installation.to_owned(),
            account_id: event.account_id.unwrap_or(NO_ACCOUNT),
            inbox_id,
        };
        if !self.wait(key) {
            return metrics::counter!("kanal_bridge_unrouted_not_noted_total").increment(1);
        }
        for _ in 0..ROUNDS {
            if !self.write_waiting().await {
                return;
            }
        }
        // Chatwoot waits for the answer to this one.
        let rest = self.clone();
        tokio::spawn(async move { while rest.write_waiting().await {} });
    }

    /// Writes down what waits. True when more came meanwhile: whoever brought it found the lock taken and went on.
    async fn write_waiting(&self) -> bool {
        let Ok(writing) = self.writing.try_lock() else {
            return false;
        };
        let waiting = std::mem::take(&mut *self.waiting());
        if let Err(error) = self.write(&waiting).await {
            tracing::warn!(%error, "unknown inboxes could not be noted");
        }
        drop(writing);
        !self.waiting().is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<InboxKey, i64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, key: InboxKey) -> bool {
        let mut waiting = self.waiting();
        if waiting.len() >= MOST_WAITING && !waiting.contains_key(&key) {
            return false;
        }
        *waiting.entry(key).or_default() += 1;
        true
    }

    async fn write(&self, seen: &HashMap<InboxKey, i64>) -> Result<(), DatabaseError> {
        if seen.is_empty() {
            return Ok(());
        }
        let platform = PlatformScope::for_purpose("note unrouted inboxes");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        // In one order, so that two processes do not wait for each other.
        let mut seen: Vec<_> = seen.iter().collect();
        seen.sort_unstable();
        for (key, events) in seen {
            unrouted_inboxes::note(&mut tx, key, *events).await?;
        }
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use database::{PoolSettings, SchemaNames};

    use super::*;
    use crate::webhooks::event::Class;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_does_not_note_for_others_without_end() {
        // Nobody listens there: each round fails, and takes its time.
        let url = "postgres://u:p@127.0.0.1:1/d".parse().unwrap();
        let pool = PoolSettings {
            size: 1,
            wait: Duration::from_secs(1),
        };
        let unrouted = Unrouted::new(Database::new(&url, SchemaNames::of_service("x"), pool).unwrap());
        let done = Arc::new(AtomicBool::new(false));
        let (others, is_done) = (unrouted.clone(), Arc::clone(&done));
        let others = std::thread::spawn(move || {
            let key = InboxKey {
                installation: "default".to_owned(),
                account_id: 1,
                inbox_id: 2,
            };
            while !is_done.load(Ordering::Relaxed) {
                others.wait(key.clone());
                std::thread::yield_now();
            }
        });
        let event = Event {
            name: String::new(),
            account_id: Some(1),
            inbox_id: Some(1),
            conversation_id: None,
            message_id: None,
            class: Class::Other,
            key: None,
        };
        let noted = tokio::time::timeout(Duration::from_secs(20), unrouted.note("default", &event)).await;
        done.store(true, Ordering::Relaxed);
        others.join().unwrap();
        assert!(noted.is_ok());
    }
}
