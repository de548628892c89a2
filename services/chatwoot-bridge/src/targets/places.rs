//! How many posts may be on their way to one route and one host at once. What hangs fills its own places and no others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Posts to one route at once.
const PER_ROUTE: usize = 8;
/// Events that may be in hand for one host, to each that is on its way.
const IN_HAND_EACH: usize = 4;
/// How long an event that is in hand waits for a place.
const PATIENCE: Duration = Duration::from_secs(1);

/// The places. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Places {
    per_host: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    routes: HashMap<Uuid, Line>,
    hosts: HashMap<String, Line>,
}

/// Those who have a place, and those who wait for one.
#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    all: usize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _line: InLine,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

#[derive(Debug)]
struct InLine {
    taken: Arc<Mutex<Taken>>,
    route: Uuid,
    host: String,
}

fn locked(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    /// So many for each host.
    #[must_use]
    pub fn new(per_host: usize) -> Self {
        Self {
            per_host: per_host.max(1),
            taken: Arc::default(),
        }
    }

    /// A place for a post. `None` when there is none within a moment.
    pub async fn take(&self, route: Uuid, host: &str) -> Option<Place> {
        let (at_route, at_host) = {
            let mut taken = locked(&self.taken);
            let line = |places: usize| Line {
                places: Arc::new(Semaphore::new(places)),
                all: 0,
            };
            let at_route = taken.routes.entry(route).or_insert_with(|| line(PER_ROUTE));
            at_route.all += 1;
            let at_route = Arc::clone(&at_route.places);
            let at_host = taken
                .hosts
                .entry(host.to_owned())
                .or_insert_with(|| line(self.per_host));
            at_host.all += 1;
            (at_route, Arc::clone(&at_host.places))
        };
        let line = InLine {
            taken: Arc::clone(&self.taken),
            route,
            host: host.to_owned(),
        };
        let permits = async {
            let of_route = at_route.acquire_owned().await.ok()?;
            Some((of_route, at_host.acquire_owned().await.ok()?))
        };
        let permits = tokio::time::timeout(PATIENCE, permits).await.ok()??;
        Some(Place {
            _line: line,
            _permits: permits,
        })
    }

    /// Routes for which nothing more should be taken in hand: all their places are taken, or those of their host, as far as it
    /// is `known`.
    pub fn full<'a>(&self, known: impl Iterator<Item = (Uuid, &'a str)>) -> Vec<Uuid> {
        let taken = locked(&self.taken);
        let most = self.per_host.saturating_mul(IN_HAND_EACH);
        let mut full: Vec<Uuid> = taken
            .routes
            .iter()
            .filter(|(_, line)| line.all >= PER_ROUTE)
            .map(|(route, _)| *route)
            .collect();
        if taken.hosts.values().any(|line| line.all >= most) {
            let at_full_host = |host: &str| taken.hosts.get(host).is_some_and(|line| line.all >= most);
            full.extend(
                known
                    .filter(|(_, host)| at_full_host(host))
                    .map(|(route, _)| route),
            );
        }
        full
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut taken = locked(&self.taken);
        let left = |line: Option<&mut Line>| {
            line.is_some_and(|line| {
                line.all = line.all.saturating_sub(1);
                line.all == 0
            })
        };
        if left(taken.routes.get_mut(&self.route)) {
            taken.routes.remove(&self.route);
        }
        if left(taken.hosts.get_mut(&self.host)) {
            taken.hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_route_fills_its_own_places_and_no_others() {
        let places = Places::new(10);
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        let mut held = Vec::new();
        for _ in 0..PER_ROUTE {
            held.push(places.take(one, "h").await.unwrap());
        }
        assert_eq!(places.full(std::iter::empty()), [one]);
        for _ in 0..2 {
            held.push(places.take(two, "h").await.unwrap());
        }
        // The route has eight places, and the host ten.
        let (third, fourth) = tokio::join!(places.take(one, "h"), places.take(two, "h"));
        assert!(third.is_none() && fourth.is_none());
        assert!(places.take(two, "other").await.is_some());
        held.clear();
        assert!(places.full([(one, "h")].into_iter()).is_empty());
        assert!(locked(&places.taken).hosts.is_empty());
    }
}
