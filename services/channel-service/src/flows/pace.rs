//! How fast messages go out: a token bucket, and a queue of turns for those who find it empty.
//!
//! Whoever is refused a token is told a time of its own. Were all of them told when the next token comes, a thousand
//! chats would come back for it at once, again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cache::{Buckets, CacheKey, Rate, RedisLink};

/// Turns further away are not given out: who knows what the bucket does by then.
const FURTHEST_TURN: Duration = Duration::from_secs(30);
/// Keys at which turns that are over are forgotten.
const SWEEP_AT: usize = 1_000;

/// The pace of whatever a key stands for. Cheap to clone.
#[derive(Clone)]
pub struct Pace {
    buckets: Buckets,
    turns: Turns,
}

impl Pace {
    /// Paces of one rate, one per key.
    #[must_use]
    pub fn new(redis: RedisLink, rate: Rate) -> Self {
        Self {
            buckets: Buckets::new(redis, rate),
            turns: Turns::every(Duration::from_secs(1) / rate.per_second.get()),
        }
    }

    /// May one message go out now?
    ///
    /// # Errors
    /// The wait until the caller's turn, when it asks again.
    pub async fn ask(&self, key: &CacheKey) -> Result<(), Duration> {
        let token = self.buckets.take(key).await;
        token.map_err(|wait| self.turns.next(key, wait, Instant::now()))
    }
}

/// The last turn that was given out, by key. One process's own: several give out turns side by side, and the bucket
/// still decides.
#[derive(Clone)]
pub(super) struct Turns {
    interval: Duration,
    last: Arc<Mutex<HashMap<CacheKey, Instant>>>,
}

impl Turns {
    pub(super) fn every(interval: Duration) -> Self {
        Self {
            interval,
            last: Arc::default(),
        }
    }

    /// The next free turn, not before `wait` is over.
    pub(super) fn next(&self, key: &CacheKey, wait: Duration, now: Instant) -> Duration {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= SWEEP_AT {
            last.retain(|_, turn| *turn > now);
        }
        let earliest = now + wait;
        let turn = last.get(key).map_or(earliest, |last| {
            earliest
                .max(*last + self.interval)
                .min(now + wait.max(FURTHEST_TURN))
        });
        last.insert(key.clone(), turn);
        turn - now
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::TenantId;
    use tenant_isolation::TenantScope;

    use super::*;

    #[test]
    fn everybody_who_is_refused_gets_a_turn_of_its_own() {
        let scope = TenantScope::named_by_operator(TenantId::parse("desa-satu").unwrap());
        let (one, other) = (
            CacheKey::of_tenant(&scope, "rate", "one"),
            CacheKey::of_tenant(&scope, "rate", "other"),
        );
        let turns = Turns {
            interval: Duration::from_millis(50),
            last: Arc::default(),
        };
        let (now, wait) = (Instant::now(), Duration::from_millis(20));
        let given: Vec<u128> = (0..4).map(|_| turns.next(&one, wait, now).as_millis()).collect();
        assert_eq!(given, [20, 70, 120, 170]);
        assert_eq!(turns.next(&other, wait, now), wait);
        let later = now + Duration::from_secs(1);
        assert_eq!(turns.next(&one, wait, later), wait, "all earlier turns are over");
        for _ in 0..2_000 {
            assert!(turns.next(&one, wait, now) <= FURTHEST_TURN);
        }
    }
}
