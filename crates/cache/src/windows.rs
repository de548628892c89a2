//! Fixed windows with a block behind them: so many requests in a window, so many in ten seconds, and whoever exceeds
//! the latter is left outside for a while (contract wa-support-gateway 12).
//!
//! A caller is one key, a hash that ends by itself. Counting and judging are one script on Redis' own clock, so all
//! processes together count exactly. While Redis is away each process counts on its own, in a map with a bound. A block
//! that was seen is remembered here, too: the blocked cost Redis nothing, and stay outside when it goes away.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::future::Cache;
use moka::policy::EvictionPolicy;
use redis::Script;
use tokio::sync::oneshot;

use crate::keys::CacheKey;
use crate::redis_link::{ANSWER_TIMEOUT, RedisLink};

/// The short window, behind which the block stands.
const BURST: Duration = Duration::from_secs(10);
/// Callers that one process counts on its own. The one that was quiet for the longest is forgotten first.
const COUNTED_HERE: u64 = 50_000;

/// KEYS: callers, one for each request. ARGV: window, most in it, burst window, most in it, block; times in milliseconds.
/// Returns for each outcome, what is left in the window, and milliseconds until the window, or the block, ends. A window
/// begins with the first request after the one before it ended; while a block holds nothing is counted and nothing
/// prolongs it.
static HITS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window, most, burst, most_burst, block =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local answers = {}
for i, key in ipairs(KEYS) do
  local blocked_until, w, w_end, b, b_end = 0, 0, 0, 0, 0
  local kept = redis.call('GET', key)
  if kept then blocked_until, w, w_end, b, b_end = struct.unpack('ddddd', kept) end
  local outcome, left, wait = 1, 0, blocked_until - now
  if blocked_until <= now then
    if w_end <= now then w, w_end = 0, now + window end
    if b_end <= now then b, b_end = 0, now + burst end
    w, b, blocked_until = w + 1, b + 1, 0
    outcome, left, wait = 0, most - w, w_end - now
    if b > most_burst then
      blocked_until = now + block
      outcome, left, wait = 2, 0, block
    elseif w > most then
      outcome, left = 3, 0
    end
    redis.call('SET', key, struct.pack('ddddd', blocked_until, w, w_end, b, b_end),
      'PX', math.max(w_end, b_end, blocked_until) - now)
  end
  answers[3 * i - 2], answers[3 * i - 1], answers[3 * i] = outcome, left, wait
end
return answers",
    )
});

/// Most requests that are counted by one question.
const TOGETHER: usize = 64;

/// Most requests that wait for Redis. Of more, each process counts on its own.
const WAITING: usize = 16 * 1024;

/// How long a request waits for Redis: for the question that is under way, and for its own.
const PATIENCE: Duration = ANSWER_TIMEOUT.saturating_mul(2);

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRules {
    /// Length of the window.
    pub window: Duration,
    /// Most requests in it.
    pub most: u32,
    /// Most requests in ten seconds.
    pub most_in_burst: u32,
    /// How long the block lasts that exceeding the latter brings.
    pub block: Duration,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HitOutcome {
    /// It may go on.
    Passed,
    /// The caller is blocked.
    Blocked,
    /// It is the one too many in ten seconds, and the block begins.
    Spam,
    /// The window is full.
    OverLimit,
}

/// A request that was counted, or was not because its caller is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// What becomes of it.
    pub outcome: HitOutcome,
    /// How many more the window has room for.
    pub left: u32,
    /// When the window ends, or the block.
    pub reset: Duration,
}

/// Windows of one set of rules, one per key. Cheap to clone.
#[derive(Clone)]
pub struct Windows {
    redis: RedisLink,
    rules: WindowRules,
    here: Cache<CacheKey, Arc<Mutex<Counters>>>,
    queue: Arc<Mutex<Queue>>,
}

/// Requests that wait to be counted. While one question is under way the next ones gather, so what many requests at once
/// cost Redis is not many times what one costs.
#[derive(Default)]
struct Queue {
    waiting: Vec<(String, oneshot::Sender<Told>)>,
    asking: bool,
}

/// What Redis says to one request.
struct Told {
    outcome: i64,
    left: i64,
    wait_ms: i64,
}

/// What one process knows of a caller.
#[derive(Debug, Clone, Copy)]
struct Counters {
    blocked_until: Option<Instant>,
    window: (u32, Instant),
    burst: (u32, Instant),
}

impl std::fmt::Debug for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl Windows {
    /// Windows under these rules.
    #[must_use]
    pub fn new(redis: RedisLink, rules: WindowRules) -> Self {
        let longest = rules.window.max(rules.block).max(BURST);
        let here = Cache::builder()
            .max_capacity(COUNTED_HERE)
            // Newcomers are always taken in: what is to be counted is above all the caller that was not there before.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(longest)
            .build();
        Self {
            redis,
            rules,
            here,
            queue: Arc::default(),
        }
    }

    /// The same windows, asked for over another link.
    #[must_use]
    pub fn over(&self, redis: RedisLink) -> Self {
        Self {
            redis,
            rules: self.rules,
            here: self.here.clone(),
            queue: Arc::default(),
        }
    }

    /// The rules.
    #[must_use]
    pub const fn rules(&self) -> WindowRules {
        self.rules
    }

    /// Counts a request of `key` and judges it: one question to Redis, and none for a caller that is known to be
    /// blocked.
    pub async fn hit(&self, key: &CacheKey) -> Hit {
        if let Some(left) = self.blocked_for(key).await {
            return Hit {
                outcome: HitOutcome::Blocked,
                left: 0,
                reset: left,
            };
        }
        match self.ask(key).await {
            Some(told) => self.told(key, told).await,
            None => self.count_here(key).await,
        }
    }

    /// `None` when Redis is away, or too many wait for it.
    async fn ask(&self, key: &CacheKey) -> Option<Told> {
        let (answer, answered) = oneshot::channel();
        // Not the name that other shapes of the counters had.
        let name = format!("{}/windows", self.redis.key(key.as_str()));
        let first = {
            let mut queue = lock(&self.queue);
            if queue.waiting.len() >= WAITING {
                return None;
            }
            queue.waiting.push((name, answer));
            !std::mem::replace(&mut queue.asking, true)
        };
        if first {
            // A task, because whoever is first may leave while others wait for the same answer.
            tokio::spawn(ask_for_all(
                self.redis.clone(),
                self.rules,
                Asking {
                    queue: Arc::clone(&self.queue),
                    done: false,
                },
            ));
        }
        // Behind many others even a Redis that answers each question in time takes too long.
        tokio::time::timeout(PATIENCE, answered).await.ok()?.ok()
    }

    /// How long the caller stays outside, as far as this process has seen.
    async fn blocked_for(&self, key: &CacheKey) -> Option<Duration> {
        let until = lock(&*self.here.get(key).await?).blocked_until?;
        until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    async fn told(&self, key: &CacheKey, told: Told) -> Hit {
        let reset = Duration::from_millis(u64::try_from(told.wait_ms).unwrap_or(0));
        let outcome = match told.outcome {
            0 => HitOutcome::Passed,
            1 => HitOutcome::Blocked,
            2 => HitOutcome::Spam,
            _ => HitOutcome::OverLimit,
        };
        if matches!(outcome, HitOutcome::Blocked | HitOutcome::Spam) {
            let counters = self.counters(key).await;
            lock(&counters).blocked_until = Some(Instant::now() + reset);
        }
        Hit {
            outcome,
            left: u32::try_from(told.left).unwrap_or(0),
            reset,
        }
    }

    async fn counters(&self, key: &CacheKey) -> Arc<Mutex<Counters>> {
        let now = Instant::now();
        let fresh = Counters {
            blocked_until: None,
            window: (0, now),
            burst: (0, now),
        };
        self.here
            .entry_by_ref(key)
            .or_insert_with(async { Arc::new(Mutex::new(fresh)) })
            .await
            .into_value()
    }

    async fn count_here(&self, key: &CacheKey) -> Hit {
        let counters = self.counters(key).await;
        let mut counters = lock(&counters);
        counters.hit(&self.rules, Instant::now())
    }
}

/// The one who asks. Whoever still waits when it ends, for whatever reason, counts on its own.
struct Asking {
    queue: Arc<Mutex<Queue>>,
    done: bool,
}

impl Asking {
    /// The next requests; with the last of them the asking is over.
    fn take(&mut self) -> Vec<(String, oneshot::Sender<Told>)> {
        let mut queue = lock(&self.queue);
        let count = queue.waiting.len().min(TOGETHER);
        queue.asking = count > 0;
        self.done = count == 0;
        queue.waiting.drain(..count).collect()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.done {
            *lock(&self.queue) = Queue::default();
        }
    }
}

async fn ask_for_all(redis: RedisLink, rules: WindowRules, mut asking: Asking) {
    loop {
        let group = asking.take();
        if group.is_empty() {
            return;
        }
        let answers: Option<Vec<i64>> = redis
            .ask(|mut redis| {
                let mut script = HITS.prepare_invoke();
                for (name, _) in &group {
                    script.key(name);
                }
                script
                    .arg(millis(rules.window))
                    .arg(rules.most)
                    .arg(millis(BURST))
                    .arg(rules.most_in_burst)
                    .arg(millis(rules.block));
                async move { script.invoke_async(&mut redis).await }
            })
            .await;
        let answers = answers.unwrap_or_default();
        for ((_, waiting), told) in group.into_iter().zip(answers.chunks_exact(3)) {
            if let &[outcome, left, wait_ms] = told {
                // Whoever left is counted all the same.
                drop(waiting.send(Told {
                    outcome,
                    left,
                    wait_ms,
                }));
            }
        }
    }
}

impl Counters {
    /// The script's judgement on this process' own numbers.
    fn hit(&mut self, rules: &WindowRules, now: Instant) -> Hit {
        let (in_window, window_end) = counted(&mut self.window, rules.window, now);
        let (in_burst, _) = counted(&mut self.burst, BURST, now);
        if in_burst > rules.most_in_burst {
            self.blocked_until = Some(now + rules.block);
            return Hit {
                outcome: HitOutcome::Spam,
                left: 0,
                reset: rules.block,
            };
        }
        let outcome = if in_window > rules.most {
            HitOutcome::OverLimit
        } else {
            HitOutcome::Passed
        };
        Hit {
            outcome,
            left: rules.most.saturating_sub(in_window),
            reset: window_end.saturating_duration_since(now),
        }
    }
}

fn counted(window: &mut (u32, Instant), length: Duration, now: Instant) -> (u32, Instant) {
    if window.1 <= now {
        *window = (0, now + length);
    }
    window.0 = window.0.saturating_add(1);
    *window
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is in there is whole whoever panicked beside it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {

    use std::net::{IpAddr, Ipv6Addr};

    use secrecy::SecretString;

    use super::*;

    const RULES: WindowRules = WindowRules {
        window: Duration::from_secs(60),
        most: 120,
        most_in_burst: 40,
        block: Duration::from_secs(600),
    };

    fn alone() -> Windows {
        let nowhere = SecretString::from("redis://127.0.0.1:1");
        Windows::new(RedisLink::new(&nowhere, "test.").unwrap(), RULES)
    }

    #[test]
    fn the_numbers_are_the_contracts() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut caller = Counters {
            blocked_until: None,
            window: (0, start),
            burst: (0, start),
        };
        let mut hits = |now: Instant, count: u32| {
            (0..count)
                .map(|_| caller.hit(&RULES, now).outcome)
                .filter(|outcome| *outcome == HitOutcome::Passed)
                .count()
        };
        assert_eq!(hits(at(0), 40), 40);
        assert_eq!(hits(at(10), 40), 40);
        assert_eq!(hits(at(20), 40), 40);
        // The window holds 120; the next one begins when it ends.
        assert_eq!(hits(at(30), 1), 0);
        assert_eq!(hits(at(45), 1), 0);
        assert_eq!(hits(at(60), 41), 40);
        assert_eq!(caller.blocked_until, Some(at(660)));
    }

    #[tokio::test]
    async fn nobody_waits_for_long_and_nobody_waits_in_a_full_queue() {
        let windows = alone();
        // Somebody asks, and does not come back.
        lock(&windows.queue).asking = true;
        let key = CacheKey::of_address("test", IpAddr::V6(Ipv6Addr::LOCALHOST));
        for full in [false, true] {
            if full {
                let waiting = || ("name".to_owned(), oneshot::channel().0);
                lock(&windows.queue).waiting = std::iter::repeat_with(waiting).take(WAITING).collect();
            }
            let hit = tokio::time::timeout(Duration::from_secs(10), windows.hit(&key)).await;
            assert_eq!(hit.map(|hit| hit.outcome), Ok(HitOutcome::Passed), "{full}");
            assert!(lock(&windows.queue).waiting.len() <= WAITING);
        }
    }

    #[tokio::test]
    async fn a_million_callers_take_no_more_room_than_some() {
        let windows = alone();
        for number in 0..1_000_000_u32 {
            let address = IpAddr::V6(Ipv6Addr::from(u128::from(number) << 64));
            windows.count_here(&CacheKey::of_address("test", address)).await;
            if number % 100_000 == 0 {
                windows.here.run_pending_tasks().await;
                assert!(windows.here.entry_count() <= COUNTED_HERE, "{number}");
            }
        }
        windows.here.run_pending_tasks().await;
        assert!(windows.here.entry_count() <= COUNTED_HERE);
    }
}
