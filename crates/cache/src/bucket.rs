//! Token buckets, exact over all processes while Redis is there, per process while it is not.
//!
//! The generic cell rate algorithm: a bucket is one number, the time at which it will be full again. The script runs
//! on Redis' own clock, so the processes' clocks do not matter.

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use redis::Script;

use crate::keys::CacheKey;
use crate::redis_link::RedisLink;

/// Returns 0 when a token was taken, else the microseconds to wait. Numbers are written with `%.0f`, because Lua
/// would print microseconds since 1970 in a shortened form.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
local interval_us, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now_us)
local wait = full_at - now_us - interval_us * (burst - 1)
if wait > 0 then return string.format('%.0f', wait) end
full_at = full_at + interval_us
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', string.format('%.0f', math.ceil((full_at - now_us) / 1000) + 1000))
return '0'",
    )
});

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: NonZeroU32,
    /// Most tokens at once.
    pub burst: NonZeroU32,
}

/// Buckets of one rate, one per key.
#[derive(Clone)]
pub struct Buckets {
    redis: Option<RedisLink>,
    /// The time in which one token comes.
    interval: Duration,
    burst: NonZeroU32,
    local: Arc<DefaultKeyedRateLimiter<CacheKey>>,
}

impl Buckets {
    /// Buckets that fill at `rate`.
    #[must_use]
    pub fn new(redis: RedisLink, rate: Rate) -> Self {
        Self::every(redis, Duration::from_secs(1) / rate.per_second.get(), rate.burst)
    }

    /// Buckets into which a token falls each `interval`, which is at least a microsecond, and which hold `burst`.
    #[must_use]
    pub fn every(redis: RedisLink, interval: Duration, burst: NonZeroU32) -> Self {
        Self::over(Some(redis), interval, burst)
    }

    /// The same over Redis where there is one, else of this process alone.
    #[must_use]
    pub fn over(redis: Option<RedisLink>, interval: Duration, burst: NonZeroU32) -> Self {
        let interval = interval.max(Duration::from_micros(1));
        let quota = Quota::with_period(interval)
            .unwrap_or(Quota::per_second(burst))
            .allow_burst(burst);
        Self {
            redis,
            interval,
            burst,
            local: Arc::new(RateLimiter::keyed(quota)),
        }
    }

    /// Takes a token. `Err` says how long there will be none.
    ///
    /// # Errors
    /// The wait.
    pub async fn take(&self, key: &CacheKey) -> Result<(), Duration> {
        let Some(redis) = &self.redis else {
            return self.take_locally(key);
        };
        let interval_us = u64::try_from(self.interval.as_micros()).unwrap_or(u64::MAX);
        let name = redis.key(key.as_str());
        let burst = self.burst.get();
        let answer: Option<String> = redis
            .ask(|mut redis| async move {
                TAKE.key(name)
                    .arg(interval_us)
                    .arg(burst)
                    .invoke_async(&mut redis)
                    .await
            })
            .await;
        match answer.and_then(|wait| wait.parse::<u64>().ok()) {
            Some(0) => Ok(()),
            Some(wait_us) => Err(Duration::from_micros(wait_us)),
            None => self.take_locally(key),
        }
    }

    fn take_locally(&self, key: &CacheKey) -> Result<(), Duration> {
        // Keys that have not been used for long are dropped now and then, so the map stays as small as the traffic.
        if self.local.len() > 10_000 {
            self.local.retain_recent();
        }
        let clock = DefaultClock::default();
        self.local
            .check_key(key)
            .map_err(|until| until.wait_time_from(clock.now()))
    }
}
