//! How fast a Chatwoot may be asked. Rack::Attack counts the calls of an address in a minute, and Chatwoot the messages of
//! a conversation (contract 3.1): whoever is faster gets 429 or 422, and so does everything else from here. A bucket for
//! each server and one for each conversation keep us below; a 429 all the same closes the server for a while.
//!
//! Nothing that waits for a token has failed.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cache::{Buckets, CacheKey, RedisLink};
use url::{Host, Url};

use super::error::ChatwootError;

const MINUTE: Duration = Duration::from_secs(60);
/// Messages that a conversation takes at once, and in a minute after that: together below Chatwoot's 200 in any minute.
const MESSAGES_AT_ONCE: u32 = 80;
const MESSAGES_A_MINUTE: u32 = 100;
/// How long a worker waits for a token itself. What takes longer goes back to its lane.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a server is closed that said 429 and not for how long; doubled while it goes on saying so.
const CLOSED_FIRST: Duration = Duration::from_secs(2);
const CLOSED_LONGEST: Duration = Duration::from_secs(60);
/// A server that said nothing of the kind for so long begins anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(120);
/// At this many remembered servers, those that are open again are forgotten.
const MANY_SERVERS: usize = 1_024;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Haste {
    /// People wait for it.
    #[default]
    Now,
    /// It is an old matter: at most a third of what the server takes.
    Leisurely,
}

/// The buckets. Cheap to clone.
#[derive(Clone)]
pub struct Pace {
    servers: Buckets,
    leisurely: Buckets,
    conversations: Buckets,
    closed: Arc<Mutex<HashMap<String, Closed>>>,
    loopback_too: bool,
}

#[derive(Debug, Clone, Copy)]
struct Closed {
    until: Instant,
    times: u32,
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}

impl Pace {
    /// So many calls a minute to each server, counted over Redis where there is one, else in this process alone.
    #[must_use]
    pub fn new(redis: Option<RedisLink>, per_minute: NonZeroU32) -> Self {
        let third = NonZeroU32::new(per_minute.get() / 3).unwrap_or(NonZeroU32::MIN);
        let bucket = |rate: NonZeroU32, at_once: u32| {
            let at_once = NonZeroU32::new(at_once).unwrap_or(NonZeroU32::MIN);
            Buckets::over(redis.clone(), MINUTE / rate.get(), at_once)
        };
        let messages = NonZeroU32::new(MESSAGES_A_MINUTE).unwrap_or(NonZeroU32::MIN);
        Self {
            servers: bucket(per_minute, per_minute.get() / 6),
            leisurely: bucket(third, per_minute.get() / 60),
            conversations: bucket(messages, MESSAGES_AT_ONCE),
            closed: Arc::default(),
            loopback_too: false,
        }
    }

    /// Also servers on the own machine, which are asked as fast as we can: Rack::Attack leaves them uncounted, and what a
    /// conversation does not take comes back as 422. For tests.
    #[must_use]
    pub const fn on_loopback_too(mut self) -> Self {
        self.loopback_too = true;
        self
    }

    /// A conversation takes one more message after so long, once it had what it takes at once. For tests, which cannot wait
    /// to see that it does not.
    #[must_use]
    pub fn taking_one_after(mut self, time: Duration) -> Self {
        let at_once = NonZeroU32::new(MESSAGES_AT_ONCE).unwrap_or(NonZeroU32::MIN);
        self.conversations = Buckets::over(None, time, at_once);
        self
    }

    /// May the server be asked once more?
    ///
    /// # Errors
    /// [`ChatwootError::Paced`]: not now.
    pub(super) async fn call(&self, server: &str, haste: Haste) -> Result<(), ChatwootError> {
        if let Some(left) = self.closed_for(server, Instant::now()) {
            return Err(ChatwootError::Paced { after: left });
        }
        if !self.loopback_too && is_loopback(server) {
            return Ok(());
        }
        let key = CacheKey::of_endpoint("chatwoot", server);
        if haste == Haste::Leisurely {
            take(
                &self.leisurely,
                &CacheKey::of_endpoint("chatwoot_leisurely", server),
            )
            .await?;
        }
        take(&self.servers, &key).await
    }

    /// May the conversation get one more message?
    ///
    /// # Errors
    /// [`ChatwootError::Paced`]: not now.
    pub(super) async fn message(
        &self,
        server: &str,
        account: i64,
        conversation: i64,
    ) -> Result<(), ChatwootError> {
        if !self.loopback_too && is_loopback(server) {
            return Ok(());
        }
        let name = format!("{server}/{account}/{conversation}");
        take(
            &self.conversations,
            &CacheKey::of_endpoint("chatwoot_conversation", &name),
        )
        .await
    }

    /// The server said 429: nobody asks it for so long.
    pub(super) fn limited(&self, server: &str, after: Option<Duration>) {
        metrics::counter!("kanal_chatwoot_closed_total").increment(1);
        self.close(server, after, Instant::now());
    }

    fn close(&self, server: &str, after: Option<Duration>, now: Instant) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.len() >= MANY_SERVERS {
            closed.retain(|_, server| server.until > now);
        }
        let times = match closed.get(server) {
            // Calls that were under way when it closed tell the same once more.
            Some(before) if before.until > now => return,
            Some(before) if now.duration_since(before.until) < FORGIVEN_AFTER => before.times + 1,
            _ => 0,
        };
        let own = CLOSED_FIRST.saturating_mul(1 << times.min(5)).min(CLOSED_LONGEST);
        let until = now + after.unwrap_or(own).min(CLOSED_LONGEST);
        closed.insert(server.to_owned(), Closed { until, times });
    }

    fn closed_for(&self, server: &str, now: Instant) -> Option<Duration> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let until = closed.get(server)?.until;
        (until > now).then(|| until - now)
    }
}

/// A token, or a short wait for one.
async fn take(buckets: &Buckets, key: &CacheKey) -> Result<(), ChatwootError> {
    let mut left = PATIENCE;
    loop {
        let Err(wait) = buckets.take(key).await else {
            return Ok(());
        };
        if wait > left {
            metrics::counter!("kanal_chatwoot_paced_total").increment(1);
            return Err(ChatwootError::Paced { after: wait });
        }
        left -= wait;
        tokio::time::sleep(wait).await;
    }
}

/// Rack::Attack does not count the own machine's calls (contract 3.1).
fn is_loopback(server: &str) -> bool {
    let Ok(url) = Url::parse(server) else {
        return false;
    };
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(per_minute: u32) -> Pace {
        Pace::new(None, NonZeroU32::new(per_minute).unwrap())
    }

    #[tokio::test]
    async fn a_server_gets_so_many_calls_and_another_has_its_own() {
        let pace = pace(6);
        let server = "https://chat.example";
        assert!(pace.call(server, Haste::Now).await.is_ok());
        let refused = pace.call(server, Haste::Now).await;
        assert!(matches!(refused, Err(ChatwootError::Paced { .. })), "{refused:?}");
        assert!(pace.call("https://other.example", Haste::Now).await.is_ok());
        for own in ["http://127.0.0.1:3000", "http://[::1]", "http://localhost:1"] {
            for _ in 0..3 {
                assert!(pace.call(own, Haste::Now).await.is_ok(), "{own}");
            }
            for _ in 0..=MESSAGES_AT_ONCE {
                assert!(pace.message(own, 1, 7).await.is_ok(), "{own}");
            }
        }
    }

    #[tokio::test]
    async fn old_matters_leave_most_of_it_to_people() {
        let pace = pace(60);
        let server = "https://chat.example";
        assert!(pace.call(server, Haste::Leisurely).await.is_ok());
        assert!(pace.call(server, Haste::Leisurely).await.is_err());
        for _ in 0..9 {
            assert!(pace.call(server, Haste::Now).await.is_ok());
        }
    }

    #[tokio::test]
    async fn a_conversation_takes_so_many_messages_and_no_other_waits_for_it() {
        let pace = pace(60);
        for _ in 0..MESSAGES_AT_ONCE {
            assert!(pace.message("https://chat.example", 1, 7).await.is_ok());
        }
        assert!(pace.message("https://chat.example", 1, 7).await.is_err());
        assert!(pace.message("https://chat.example", 1, 8).await.is_ok());
        assert!(pace.message("https://chat.example", 2, 7).await.is_ok());
    }

    #[test]
    fn a_server_that_says_429_is_left_alone_longer_each_time() {
        let (pace, server, mut now) = (pace(6_000), "https://chat.example", Instant::now());
        for expected in [2, 4, 8, 16, 32, 60, 60] {
            pace.close(server, None, now);
            // Told again by a call that was under way.
            pace.close(server, Some(Duration::from_secs(50)), now);
            let left = pace.closed_for(server, now);
            assert_eq!(left, Some(Duration::from_secs(expected)));
            now += Duration::from_secs(expected);
            assert_eq!(pace.closed_for(server, now), None);
        }
        assert_eq!(pace.closed_for("https://other.example", now), None);
        now += FORGIVEN_AFTER;
        pace.close(server, Some(Duration::from_secs(7)), now);
        assert_eq!(pace.closed_for(server, now), Some(Duration::from_secs(7)));
    }
}
