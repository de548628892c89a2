//! Gates that somebody who is told to slow down has to pass: token buckets that fill more slowly after a refusal and
//! recover by themselves, and gates that stay closed for a while.
//!
//! Several gates are passed at once or not at all, so that one that is closed costs no token of another. What a refusal did
//! to a gate is known to every process while Redis is there. While it is away, and be it for one answer that comes too late,
//! each process counts for itself, at half the rate, for it does not know of the others. It does not begin anew then: what
//! went through before counts, and what it has seen closed, it keeps closed.

mod local;

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::Script;

use crate::keys::CacheKey;
use crate::redis_link::RedisLink;
use local::Local;

/// Passes all gates, or tells at which one has to wait longest: `gate:microseconds`. `0` when all were passed, `1` when one of
/// them had been closed by [`Throttle::close_longer`] since it was last opened.
static PASS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local worst, which, closed, full_at, keep = 0, 0, '0', {}, {}
for i, key in ipairs(KEYS) do
  local interval, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local state = redis.call('HMGET', key, 'full_at', 'share', 'share_at', 'closed_until', 'times')
  if state[5] then closed = '1' end
  local wait = tonumber(state[4] or '0') - now
  if interval > 0 then
    local share = 1000
    if state[2] then
      share = math.min(1000, tonumber(state[2]) + math.floor((now - tonumber(state[3])) / 600000))
    end
    interval = interval * 1000 / share
    local full = math.max(tonumber(state[1] or '0'), now)
    wait = math.max(wait, full - now - interval * (burst - 1))
    full_at[i] = full + interval
    keep[i] = state[2] or state[5]
  end
  if wait > worst then worst, which = wait, i end
end
if worst > 0 then return which .. ':' .. string.format('%.0f', math.ceil(worst)) end
for i, key in ipairs(KEYS) do
  if full_at[i] then
    local life = math.ceil((full_at[i] - now) / 1000) + 1000
    if keep[i] then life = math.max(life, redis.call('PTTL', key)) end
    redis.call('HSET', key, 'full_at', string.format('%.0f', full_at[i]))
    redis.call('PEXPIRE', key, string.format('%.0f', life))
  end
end
return closed",
    )
});

/// Empties a bucket and lets it fill half as fast, unless that was done within the last second: many messages may hear of
/// one refusal.
static SLOW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[1], 'share', 'share_at')
local share = 1000
if state[1] then
  if now - tonumber(state[2]) < 1000000 then return 0 end
  share = math.min(1000, tonumber(state[1]) + math.floor((now - tonumber(state[2])) / 600000))
end
share = math.max(50, math.floor(share / 2))
local full = now + interval * 1000 / share * burst
redis.call('HSET', KEYS[1], 'share', share, 'share_at', string.format('%.0f', now), 'full_at', string.format('%.0f', full))
redis.call('PEXPIRE', KEYS[1], 1800000)
return 1",
    )
});

/// Closes a gate for a time, or for four times as long as the last time. Returns the microseconds.
static CLOSE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wait = tonumber(ARGV[1])
if ARGV[2] == '1' then
  local times = tonumber(redis.call('HGET', KEYS[1], 'times') or '0')
  wait = wait * 4 ^ math.min(times, 5)
  redis.call('HSET', KEYS[1], 'times', times + 1)
end
local closed_until = math.max(tonumber(redis.call('HGET', KEYS[1], 'closed_until') or '0'), now + wait)
redis.call('HSET', KEYS[1], 'closed_until', string.format('%.0f', closed_until))
local life = math.ceil((closed_until - now) / 1000) + 7200000
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(life, redis.call('PTTL', KEYS[1]))))
return string.format('%.0f', wait)",
    )
});

/// Refusals so close together are one.
const ONE_REFUSAL: u64 = 1_000_000;
/// Four to this power is the longest time a gate is closed, in units.
const MOST_TIMES: u32 = 5;

/// How fast a gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateRate {
    /// The time in which one may pass, at least a microsecond.
    pub interval: Duration,
    /// Most at once.
    pub burst: NonZeroU32,
}

/// Something to pass.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Whose.
    pub key: CacheKey,
    /// `None`: it lets through all or, for a while, nobody.
    pub rate: Option<GateRate>,
}

/// All gates were passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// One of them had been closed by [`Throttle::close_longer`]; once all is well it is opened with [`Throttle::open`].
    pub was_closed: bool,
}

/// A gate that lets nobody through now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shut {
    /// Which of those that were to be passed.
    pub gate: usize,
    /// How long.
    pub wait: Duration,
}

/// Keeps gates. Cheap to clone.
#[derive(Clone)]
pub struct Throttle {
    redis: RedisLink,
    local: Arc<Local>,
}

impl Throttle {
    /// Gates that all processes with this Redis share.
    #[must_use]
    pub fn new(redis: RedisLink) -> Self {
        Self {
            redis,
            local: Arc::new(Local::new()),
        }
    }

    /// Passes all of these gates.
    ///
    /// # Errors
    /// [`Shut`], the longest wait of all; no gate was passed then.
    pub async fn pass(&self, gates: &[Gate]) -> Result<Passed, Shut> {
        // Whoever would answer: nobody opens a gate before its time.
        if let Some(shut) = self.local.closed(gates) {
            return Err(shut);
        }
        let mut call = PASS.prepare_invoke();
        for gate in gates {
            call.key(self.redis.key(gate.key.as_str()));
        }
        for gate in gates {
            call.arg(gate.rate.map_or(0, |rate| micros(rate.interval).max(1)))
                .arg(gate.rate.map_or(1, |rate| rate.burst.get()));
        }
        let answer: Option<String> = self
            .redis
            .ask(|mut redis| async move { call.invoke_async(&mut redis).await })
            .await;
        match answer.as_deref() {
            Some(passed @ ("0" | "1")) => {
                let was_closed = passed == "1";
                self.local.passed(gates, was_closed);
                Ok(Passed { was_closed })
            }
            Some(shut) => match shut.split_once(':') {
                Some((gate, wait)) => {
                    let shut = Shut {
                        gate: gate.parse::<usize>().unwrap_or(1).saturating_sub(1),
                        wait: Duration::from_micros(wait.parse().unwrap_or(ONE_REFUSAL)),
                    };
                    if let Some(gate) = gates.get(shut.gate) {
                        self.local
                            .change(&gate.key, |gate, now| gate.keep_closed(now, shut.wait));
                    }
                    Err(shut)
                }
                None => self.local.pass(gates),
            },
            None => self.local.pass(gates),
        }
    }

    /// The other side refused for speed: the gate's bucket is empty and fills half as fast, a tenth of the rate more with each
    /// minute.
    pub async fn slow(&self, key: &CacheKey, rate: GateRate) {
        self.local.change(key, |gate, now| gate.slow(now, rate));
        let name = self.redis.key(key.as_str());
        // Without an answer it is known here, and elsewhere as soon as somebody is refused there.
        let _: Option<i64> = self
            .redis
            .ask(|mut redis| async move {
                SLOW.key(name)
                    .arg(micros(rate.interval).max(1))
                    .arg(rate.burst.get())
                    .invoke_async(&mut redis)
                    .await
            })
            .await;
    }

    /// Nobody passes for so long.
    pub async fn close(&self, key: &CacheKey, time: Duration) {
        self.shut(key, time, false).await;
    }

    /// Nobody passes for four times as long as the last time, beginning with one unit, until [`Self::open`]. Returns how long.
    pub async fn close_longer(&self, key: &CacheKey, unit: Duration) -> Duration {
        self.shut(key, unit, true).await
    }

    /// All is well at this gate: closed again, it is closed for one unit.
    pub async fn open(&self, key: &CacheKey) {
        self.local.change(key, |gate, _| gate.times = 0);
        let name = self.redis.key(key.as_str());
        let _: Option<i64> = self
            .redis
            .ask(|mut redis| async move {
                redis::cmd("HDEL")
                    .arg(name)
                    .arg("times")
                    .query_async(&mut redis)
                    .await
            })
            .await;
    }

    async fn shut(&self, key: &CacheKey, time: Duration, longer: bool) -> Duration {
        let name = self.redis.key(key.as_str());
        let answer: Option<String> = self
            .redis
            .ask(|mut redis| async move {
                CLOSE
                    .key(name)
                    .arg(micros(time))
                    .arg(u8::from(longer))
                    .invoke_async(&mut redis)
                    .await
            })
            .await;
        match answer.and_then(|wait| wait.parse().ok()) {
            Some(wait) => {
                let wait = Duration::from_micros(wait);
                self.local.change(key, |gate, now| {
                    gate.keep_closed(now, wait);
                    if longer {
                        gate.times = times_for(time, wait);
                    }
                });
                wait
            }
            None => self.local.change(key, |gate, now| gate.close(now, time, longer)),
        }
    }
}

/// How often a gate was closed that is closed for so long now.
fn times_for(unit: Duration, wait: Duration) -> u32 {
    let shorter = (0..MOST_TIMES).take_while(|times| unit.saturating_mul(4_u32.pow(*times)) < wait);
    u32::try_from(shorter.count()).unwrap_or(MOST_TIMES) + 1
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
