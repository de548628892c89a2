//! Fixed windows with a block behind them: so many requests in a window, so many in ten seconds, and whoever exceeds
//! the latter is left outside for a while (contract wa-support-gateway 12).
//!
//! A caller is one key, a hash that ends by itself. Counting and judging are one script on Redis' own clock, so all
//! processes together count exactly. Of a caller that asks again and again and has plenty left, requests are counted
//! ahead, at most a 256th of what is left of either window, and handed out here: Redis is asked now and then. What was
//! counted ahead and is not asked for within a second stays counted. While Redis is away each process counts on its own, in
//! a map with a bound. A block that was seen is remembered here, too: the blocked cost Redis nothing, and stay outside when
//! it goes away.

mod ahead;

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::future::Cache;
use moka::policy::EvictionPolicy;
use redis::Script;
use tokio::sync::oneshot;

use self::ahead::Ahead;
use crate::keys::CacheKey;
use crate::redis_link::{ANSWER_TIMEOUT, RedisLink};

/// The short window, behind which the block stands.
const BURST: Duration = Duration::from_secs(10);
/// Which part of what is left may be counted ahead.
const PART_AHEAD: u32 = 256;
/// Callers that one process counts on its own. The one that was quiet for the longest is forgotten first.
const COUNTED_HERE: u64 = 50_000;

/// KEYS: callers, one for each request. ARGV: window, most in it, burst window, most in it, block; times in milliseconds;
/// which part of what is left may be counted ahead; then for each request how many are wanted ahead. Returns for each
/// outcome, what is left in the window, milliseconds until the window, or the block, ends, how many were counted ahead, and
/// milliseconds until either window ends. A window
/// begins with the first request after the one before it ended; while a block holds nothing is counted and nothing
/// prolongs it.
static HITS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window, most, burst, most_burst, block =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local part = tonumber(ARGV[6])
local answers = {}
for i, key in ipairs(KEYS) do
  local blocked_until, w, w_end, b, b_end = 0, 0, 0, 0, 0
  local kept = redis.call('GET', key)
  if kept then blocked_until, w, w_end, b, b_end = struct.unpack('ddddd', kept) end
  local outcome, left, wait, ahead = 1, 0, blocked_until - now, 0
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
    else
      ahead = math.min(tonumber(ARGV[6 + i]), math.floor((most - w) / part), math.floor((most_burst - b) / part))
      w, b, left = w + ahead, b + ahead, left - ahead
    end
    redis.call('SET', key, struct.pack('ddddd', blocked_until, w, w_end, b, b_end),
      'PX', math.max(w_end, b_end, blocked_until) - now)
  end
  local at = 5 * (i - 1)
  answers[at + 1], answers[at + 2], answers[at + 3], answers[at + 4] = outcome, left, wait, ahead
  answers[at + 5] = math.min(w_end, b_end) - now
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
    waiting: Vec<Waiting>,
    asking: bool,
}

struct Waiting {
    name: String,
    /// How many more requests to count.
    ahead: u32,
    answer: oneshot::Sender<Told>,
}

/// What Redis says to one request.
struct Told {
    outcome: i64,
    left: i64,
    wait_ms: i64,
    ahead: i64,
    ends_ms: i64,
}

/// What one process knows of a caller.
#[derive(Debug, Clone, Copy)]
struct Counters {
    blocked_until: Option<Instant>,
    window: (u32, Instant),
    burst: (u32, Instant),
    ahead: Ahead,
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
    /// blocked or of whom requests were counted ahead.
    pub async fn hit(&self, key: &CacheKey) -> Hit {
        let counters = self.counters(key).await;
        let ahead = {
            let mut counters = lock(&counters);
            let now = Instant::now();
            if let Some(hit) = counters.blocked(now).or_else(|| counters.ahead.take(now)) {
                return hit;
            }
            counters.ahead.wanted(now)
        };
        // Seldom for those who ask often, and large.
        Box::pin(self.hit_asking(key, &counters, ahead)).await
    }

    async fn hit_asking(&self, key: &CacheKey, counters: &Mutex<Counters>, ahead: u32) -> Hit {
        let asked = Instant::now();
        let told = self.ask(key, ahead).await;
        let mut counters = lock(counters);
        match told {
            Some(told) => counters.told(told, ahead, asked),
            None => {
                if ahead > 0 {
                    counters.ahead.got_none();
                }
                counters.hit(&self.rules, Instant::now())
            }
        }
    }

    /// `None` when Redis is away, or too many wait for it.
    async fn ask(&self, key: &CacheKey, ahead: u32) -> Option<Told> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            // Not the name that other shapes of the counters had.
            name: format!("{}/windows", self.redis.key(key.as_str())),
            ahead,
            answer,
        };
        let first = {
            let mut queue = lock(&self.queue);
            if queue.waiting.len() >= WAITING {
                return None;
            }
            queue.waiting.push(waiting);
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

    async fn counters(&self, key: &CacheKey) -> Arc<Mutex<Counters>> {
        if let Some(counters) = self.here.get(key).await {
            return counters;
        }
        let first = async { Arc::new(Mutex::new(Counters::new(Instant::now()))) };
        let entry = self.here.entry_by_ref(key).or_insert_with(first);
        Box::pin(entry).await.into_value()
    }
}

/// The one who asks. Whoever still waits when it ends, for whatever reason, counts on its own.
struct Asking {
    queue: Arc<Mutex<Queue>>,
    done: bool,
}

impl Asking {
    /// The next requests; with the last of them the asking is over.
    fn take(&mut self) -> Vec<Waiting> {
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
                for waiting in &group {
                    script.key(&waiting.name);
                }
                script
                    .arg(millis(rules.window))
                    .arg(rules.most)
                    .arg(millis(BURST))
                    .arg(rules.most_in_burst)
                    .arg(millis(rules.block))
                    .arg(PART_AHEAD);
                for waiting in &group {
                    script.arg(waiting.ahead);
                }
                async move { script.invoke_async(&mut redis).await }
            })
            .await;
        let answers = answers.unwrap_or_default();
        for (waiting, told) in group.into_iter().zip(answers.chunks_exact(5)) {
            if let &[outcome, left, wait_ms, ahead, ends_ms] = told {
                // Whoever left is counted all the same.
                drop(waiting.answer.send(Told {
                    outcome,
                    left,
                    wait_ms,
                    ahead,
                    ends_ms,
                }));
            }
        }
    }
}

impl Counters {
    const fn new(now: Instant) -> Self {
        Self {
            blocked_until: None,
            window: (0, now),
            burst: (0, now),
            ahead: Ahead::none(now),
        }
    }

    /// What a caller is told that stays outside, as far as this process has seen.
    fn blocked(&self, now: Instant) -> Option<Hit> {
        let reset = self.blocked_until?.checked_duration_since(now)?;
        (!reset.is_zero()).then_some(Hit {
            outcome: HitOutcome::Blocked,
            left: 0,
            reset,
        })
    }

    /// What Redis says to a request that wanted so many ahead, and asked then.
    fn told(&mut self, told: Told, wanted: u32, asked: Instant) -> Hit {
        let number = |told: i64| u32::try_from(told).unwrap_or(0);
        let time = |told: i64| Duration::from_millis(u64::try_from(told).unwrap_or(0));
        let outcome = match told.outcome {
            0 => HitOutcome::Passed,
            1 => HitOutcome::Blocked,
            2 => HitOutcome::Spam,
            _ => HitOutcome::OverLimit,
        };
        let (left, reset) = (number(told.left), time(told.wait_ms));
        if matches!(outcome, HitOutcome::Blocked | HitOutcome::Spam) {
            self.blocked_until = Some(Instant::now() + reset);
        }
        if wanted > 0 {
            let (count, ends) = (number(told.ahead), time(told.ends_ms));
            self.ahead.got(count, ends, (left, reset), asked);
        }
        Hit {
            outcome,
            left: left.saturating_add(self.ahead.count()),
            reset,
        }
    }

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
        let mut caller = Counters::new(start);
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

    #[test]
    fn who_asks_again_and_again_is_counted_ahead_for_a_moment() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let answer = |ahead: i64| Told {
            outcome: 0,
            left: 1_000 - ahead,
            wait_ms: 500,
            ahead,
            ends_ms: 400,
        };
        let mut caller = Counters::new(start);
        assert_eq!(caller.ahead.wanted(at(0)), 0, "nobody knows yet");
        assert_eq!(caller.told(answer(0), 0, at(0)).left, 1_000);
        assert_eq!(caller.ahead.wanted(at(30)), 0, "it took its time");
        assert_eq!(caller.ahead.wanted(at(40)), 1);
        assert_eq!(caller.ahead.wanted(at(41)), 0, "one asks for all");
        assert_eq!(caller.told(answer(1), 1, at(40)).left, 1_000);
        assert_eq!(caller.ahead.take(at(42)).map(|hit| hit.left), Some(999));
        assert_eq!(caller.ahead.take(at(42)), None);
        assert_eq!(caller.ahead.wanted(at(43)), 2);
        caller.told(answer(2), 2, at(43));
        let last = caller.ahead.take(at(442));
        assert_eq!(last.map(|hit| hit.reset), Some(Duration::from_millis(101)));
        assert_eq!(caller.ahead.take(at(443)), None, "a window has ended");
        // An answer that never came keeps nobody from asking for more.
        assert_eq!(caller.ahead.wanted(at(450)), 4);
        assert_eq!(caller.ahead.wanted(at(460)), 0);
        assert_eq!(
            caller.ahead.wanted(at(450) + PATIENCE - Duration::from_millis(1)),
            0
        );
        assert_eq!(caller.ahead.wanted(at(450) + PATIENCE), 8);
    }

    #[tokio::test]
    async fn nobody_waits_for_long_and_nobody_waits_in_a_full_queue() {
        let windows = alone();
        // Somebody asks, and does not come back.
        lock(&windows.queue).asking = true;
        let key = CacheKey::of_address("test", IpAddr::V6(Ipv6Addr::LOCALHOST));
        for full in [false, true] {
            if full {
                let waiting = || Waiting {
                    name: "name".to_owned(),
                    ahead: 0,
                    answer: oneshot::channel().0,
                };
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
            windows.counters(&CacheKey::of_address("test", address)).await;
            if number % 100_000 == 0 {
                windows.here.run_pending_tasks().await;
                assert!(windows.here.entry_count() <= COUNTED_HERE, "{number}");
            }
        }
        windows.here.run_pending_tasks().await;
        assert!(windows.here.entry_count() <= COUNTED_HERE);
    }
}
