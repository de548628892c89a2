//! The limits of contract 5, as buckets that really fill and empty.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Pairs with a bucket of their own; full ones are forgotten beyond that.
const PAIRS: usize = 50_000;

/// Objects whose calls are counted.
const COUNTED: usize = 10_000;

#[derive(Debug)]
struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    fn full(capacity: f64) -> Self {
        Self {
            level: capacity,
            at: Instant::now(),
        }
    }

    fn refill(&mut self, now: Instant, capacity: f64, per_second: f64) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * per_second).min(capacity);
        self.at = now;
    }

    fn take(&mut self, now: Instant, capacity: f64, per_second: f64) -> bool {
        self.refill(now, capacity, per_second);
        if self.level < 1.0 {
            return false;
        }
        self.level -= 1.0;
        true
    }
}

/// Calls within a window that begins with its first.
#[derive(Debug)]
struct Calls {
    since: Instant,
    made: u64,
}

/// How much of an allowance is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) over: bool,
    /// Minutes until there is an allowance again; zero while there is.
    pub(super) wait: u64,
}

#[derive(Debug, Default)]
pub(super) struct Limits {
    numbers: HashMap<String, Bucket>,
    pairs: HashMap<(String, String), Bucket>,
    apps: HashMap<String, Calls>,
    wabas: HashMap<String, Calls>,
    registrations: HashMap<String, Calls>,
}

impl Limits {
    /// One more message of a number; false if that is too many.
    pub(super) fn number(&mut self, number: &str, per_second: f64) -> bool {
        let capacity = per_second.max(1.0);
        self.numbers
            .entry(number.to_owned())
            .or_insert_with(|| Bucket::full(capacity))
            .take(Instant::now(), capacity, per_second)
    }

    /// One more message from a number to a person; false if that is too many.
    pub(super) fn pair(&mut self, number: &str, person: &str, burst: f64, refill: Duration) -> bool {
        let per_second = 1.0 / refill.as_secs_f64().max(0.000_001);
        let (now, capacity) = (Instant::now(), burst.max(1.0));
        if self.pairs.len() >= PAIRS {
            self.pairs.retain(|_, bucket| {
                bucket.refill(now, capacity, per_second);
                bucket.level < capacity
            });
        }
        self.pairs
            .entry((number.to_owned(), person.to_owned()))
            .or_insert_with(|| Bucket::full(capacity))
            .take(now, capacity, per_second)
    }

    pub(super) fn app(&mut self, app: &str, most: u64, window: Duration) -> Usage {
        count(&mut self.apps, app, most, window)
    }

    pub(super) fn waba(&mut self, waba: &str, most: u64, window: Duration) -> Usage {
        count(&mut self.wabas, waba, most, window)
    }

    /// One more registration of a number; false beyond ten in 72 hours.
    pub(super) fn registration(&mut self, number: &str) -> bool {
        let window = Duration::from_secs(72 * 3_600);
        !count(&mut self.registrations, number, 10, window).over
    }

    /// How much of an app's allowance is gone.
    pub(super) fn app_percent(&self, app: &str, most: Option<u64>) -> u64 {
        let made = self.apps.get(app).map_or(0, |calls| calls.made);
        made * 100 / most.unwrap_or(1).max(1)
    }

    /// How much of an account's allowance is gone.
    pub(super) fn waba_percent(&self, waba: &str, most: u64) -> u64 {
        self.wabas.get(waba).map_or(0, |calls| calls.made) * 100 / most.max(1)
    }

    /// Everything is full again.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

fn count(all: &mut HashMap<String, Calls>, key: &str, most: u64, window: Duration) -> Usage {
    let now = Instant::now();
    if all.len() >= COUNTED {
        all.clear();
    }
    let calls = all.entry(key.to_owned()).or_insert(Calls { since: now, made: 0 });
    if now.saturating_duration_since(calls.since) >= window {
        *calls = Calls { since: now, made: 0 };
    }
    let over = calls.made >= most;
    if !over {
        calls.made += 1;
    }
    let left = window.saturating_sub(now.saturating_duration_since(calls.since));
    Usage {
        over,
        wait: if over {
            left.as_secs().div_ceil(60).max(1)
        } else {
            0
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket {
            level: 45.0,
            at: start,
        };
        let sixth = 1.0 / 6.0;
        assert_eq!((0..60).filter(|_| bucket.take(start, 45.0, sixth)).count(), 45);
        assert!(!bucket.take(start + Duration::from_millis(5_900), 45.0, sixth));
        assert!(bucket.take(start + Duration::from_millis(6_100), 45.0, sixth));
        assert!(!bucket.take(start + Duration::from_millis(6_200), 45.0, sixth));
    }

    #[test]
    fn calls_over_the_allowance_are_told_how_long_to_wait() {
        let mut limits = Limits::default();
        let hour = Duration::from_secs(3_600);
        assert!(!limits.app("1", 2, hour).over);
        assert!(!limits.app("1", 2, hour).over);
        assert_eq!(limits.app_percent("1", Some(2)), 100);
        let third = limits.app("1", 2, hour);
        assert!(third.over && third.wait >= 59, "{third:?}");
        assert!(!limits.app("2", 2, hour).over);
    }
}
