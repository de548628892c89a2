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
