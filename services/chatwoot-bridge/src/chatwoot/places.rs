//! So many of our workers may be at one Chatwoot at a time, and no more: a server that answers slowly, but within the
//! limit, would otherwise have all of them, and the chats of all other servers would wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ChatwootError;

/// How long a worker waits for a place itself, before it does something else meanwhile.
const MOMENT: Duration = Duration::from_millis(20);
/// At this many remembered servers, those that nobody is at are forgotten.
const MANY_SERVERS: usize = 1_024;

/// The places at all servers. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places {
    at_once: usize,
    servers: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

/// A place at one server, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            at_once,
            servers: Arc::default(),
        }
    }

    /// A place at this server.
    ///
    /// # Errors
    /// [`ChatwootError::Busy`] when none is free within a moment.
    pub(super) async fn take(&self, server: &str) -> Result<Place, ChatwootError> {
        let free = tokio::time::timeout(MOMENT, self.of(server).acquire_owned()).await;
        match free {
            Ok(Ok(permit)) => Ok(Place { _permit: permit }),
            Ok(Err(_)) | Err(_) => {
                metrics::counter!("kanal_chatwoot_busy_total").increment(1);
                Err(ChatwootError::Busy)
            }
        }
    }

    fn of(&self, server: &str) -> Arc<Semaphore> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = servers.get(server) {
            return Arc::clone(places);
        }
        if servers.len() >= MANY_SERVERS {
            // Whoever has a place, or waits for one, holds on to the semaphore.
            servers.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let places = Arc::new(Semaphore::new(self.at_once));
        servers.insert(server.to_owned(), Arc::clone(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_server_holds_up_only_its_own() {
        let places = Places::new(2);
        let (one, _two) = (places.take("a").await.unwrap(), places.take("a").await.unwrap());
        assert_eq!(places.take("a").await.unwrap_err(), ChatwootError::Busy);
        drop(places.take("b").await.unwrap());
        drop(one);
        drop(places.take("a").await.unwrap());
    }

    #[tokio::test]
    async fn servers_nobody_is_at_are_forgotten() {
        let places = Places::new(1);
        let held = places.take("held").await.unwrap();
        for n in 0..2 * MANY_SERVERS {
            drop(places.take(&n.to_string()).await.unwrap());
        }
        assert!(places.servers.lock().unwrap().len() <= MANY_SERVERS);
        assert_eq!(places.take("held").await.unwrap_err(), ChatwootError::Busy);
        drop(held);
    }
}
