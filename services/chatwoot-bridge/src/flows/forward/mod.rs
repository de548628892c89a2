//! Events on their way to the URLs of routes: taken in, kept until the target has them, or put aside for people.

pub mod accept;
pub mod deliver;
pub mod ledger;
pub mod parked;
pub mod settle;
pub mod write_back;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::store::forward_counts;

/// Routes that have numbers of their own in the metrics; the others share one.
const COUNTED_ROUTES: usize = 5_000;

/// How often it is looked how much waits: the pause is so many times as long as a look takes, between these two.
const WEIGH: Duration = Duration::from_secs(1);
const WEIGH_SELDOM: Duration = Duration::from_secs(5);
const WEIGH_SHARE: u32 = 50;

/// Rung when there is something to pass on.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// There is something.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits until there is.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// How many bytes wait for which route: looked at now and then, and added to in between. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Loads {
    most: i64,
    weighed: Arc<Mutex<Weighed>>,
}

#[derive(Debug, Default)]
struct Weighed {
    /// What the last look saw, and what was kept since it began.
    waits: HashMap<Uuid, i64>,
    /// What was kept since the look began that is under way, or was the last one. It may have come too late to be seen.
    kept: HashMap<Uuid, i64>,
    /// What is about to be kept.
    in_hand: HashMap<Uuid, i64>,
}

/// Room that was made for an event; the event counts as kept when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    loads: Loads,
    route: Uuid,
    bytes: i64,
    kept: bool,
}

impl Room {
    /// Gives the room back of an event that was not kept.
    pub(super) fn give_back(mut self) {
        self.kept = false;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut weighed = self.loads.weighed();
        if let Some(bytes) = weighed.in_hand.get_mut(&self.route) {
            *bytes -= self.bytes;
            if *bytes <= 0 {
                weighed.in_hand.remove(&self.route);
            }
        }
        if self.kept {
            *weighed.waits.entry(self.route).or_default() += self.bytes;
            *weighed.kept.entry(self.route).or_default() += self.bytes;
        }
    }
}

impl Loads {
    /// Nothing waits, and so much may for one route.
    #[must_use]
    pub fn new(most: i64) -> Self {
        Self {
            most,
            weighed: Arc::default(),
        }
    }

    fn weighed(&self) -> MutexGuard<'_, Weighed> {
        self.weighed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for an event. `None` when its route has none.
    pub(super) fn add(&self, route: Uuid, bytes: i64) -> Option<Room> {
        let mut weighed = self.weighed();
        let waits = weighed.waits.get(&route).copied().unwrap_or_default();
        let in_hand = weighed.in_hand.get(&route).copied().unwrap_or_default();
        if waits.saturating_add(in_hand).saturating_add(bytes) > self.most {
            return None;
        }
        weighed.in_hand.insert(route, in_hand + bytes);
        drop(weighed);
        Some(Room {
            loads: self.clone(),
            route,
            bytes,
            kept: true,
        })
    }

    fn look(&self) {
        self.weighed().kept.clear();
    }

    /// What was kept while it was looked counts twice when it was seen, until the next look.
    fn seen(&self, bytes: HashMap<Uuid, i64>) {
        let mut weighed = self.weighed();
        let mut waits = bytes;
        for (route, bytes) in &weighed.kept {
            *waits.entry(*route).or_default() += bytes;
        }
        weighed.waits = waits;
    }

    /// Looks at what really waits, and says after which pause to look again.
    pub async fn weigh(&self, db: &Database) -> Duration {
        let began = Instant::now();
        let looked = self.refresh(db).await;
        if let Err(error) = &looked {
            tracing::debug!(%error, "it is not known how much waits");
        }
        weigh_pause(looked.is_ok(), began.elapsed())
    }

    /// Looks at what really waits.
    ///
    /// # Errors
    /// [`DatabaseError`]: what was known before still is.
    pub async fn refresh(&self, db: &Database) -> Result<(), DatabaseError> {
        let platform = PlatformScope::for_purpose("weigh waiting events");
        self.look();
        let mut tx = PlatformTransaction::begin(db, platform).await?;
        let loads = forward_counts::loads(&mut tx).await?;
        tx.commit().await?;
        self.seen(
            loads
                .into_iter()
                .map(|load| (load.route_id, load.bytes))
                .collect(),
        );
        Ok(())
    }
}

/// What a look costs is a reason to look less often, what a failure took is none: routes may count as full meanwhile.
fn weigh_pause(looked: bool, took: Duration) -> Duration {
    if looked {
        took.saturating_mul(WEIGH_SHARE).clamp(WEIGH, WEIGH_SELDOM)
    } else {
        WEIGH
    }
}

/// What a route is called in the metrics: its number, as long as there are not too many of them.
pub(crate) fn route_label(number: i64) -> String {
    static COUNTED: LazyLock<Mutex<HashSet<i64>>> = LazyLock::new(Mutex::default);
    let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    if counted.contains(&number) || (counted.len() < COUNTED_ROUTES && counted.insert(number)) {
        number.to_string()
    } else {
        "other".to_owned()
    }
}

/// Shows how long the oldest event of each route waits. Routes of `before` where nothing waits any more have no age.
/// Returns those that have one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show_ages(db: &Database, before: HashSet<String>) -> Result<HashSet<String>, DatabaseError> {
    let platform = PlatformScope::for_purpose("look how old events are");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    let ages = forward_counts::oldest(&mut tx).await?;
    tx.commit().await?;
    let mut oldest: HashMap<String, f64> = before.into_iter().map(|route| (route, 0.0)).collect();
    let mut now = HashSet::new();
    for age in ages {
        let route = route_label(age.number);
        let longest = oldest.entry(route.clone()).or_default();
        *longest = longest.max(age.seconds);
        now.insert(route);
    }
    for (route, seconds) in oldest {
        metrics::gauge!("kanal_bridge_route_oldest_seconds", "route" => route).set(seconds);
    }
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_room_for_so_much_and_no_more() {
        let loads = Loads::new(100);
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        let held = [loads.add(one, 60), loads.add(one, 40)];
        assert!(held.iter().all(Option::is_some) && loads.add(one, 1).is_none());
        drop(held);
        assert!(loads.add(one, 1).is_none());
        assert!(loads.add(two, 100).is_some() && loads.add(two, 1).is_none());
    }

    #[test]
    fn a_look_that_failed_is_soon_followed_by_another() {
        let ms = Duration::from_millis;
        assert_eq!(weigh_pause(true, ms(3)), WEIGH);
        assert_eq!(weigh_pause(true, ms(40)), ms(2_000));
        assert_eq!(weigh_pause(true, ms(5_000)), WEIGH_SELDOM);
        assert_eq!(weigh_pause(false, ms(5_000)), WEIGH);
    }

    #[test]
    fn room_that_was_not_needed_is_given_back_once() {
        let (loads, route) = (Loads::new(100), Uuid::now_v7());
        for _ in 0..3 {
            loads.add(route, 100).unwrap().give_back();
        }
        let room = loads.add(route, 60).unwrap();
        loads.seen(HashMap::from([(route, 50)]));
        room.give_back();
        assert!(loads.add(route, 60).is_none());
        assert!(loads.add(route, 50).is_some());
    }

    #[test]
    fn a_look_does_not_forget_what_it_came_too_early_for() {
        let (loads, route) = (Loads::new(100), Uuid::now_v7());
        let begun_before = loads.add(route, 40).unwrap();
        loads.look();
        drop(begun_before);
        let room = loads.add(route, 40).unwrap();
        loads.seen(HashMap::new());
        assert!(loads.add(route, 30).is_none());
        drop(room);
        assert!(loads.add(route, 30).is_none());
        loads.look();
        loads.seen(HashMap::new());
        assert!(loads.add(route, 100).is_some());
    }
}
