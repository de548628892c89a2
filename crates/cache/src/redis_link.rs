//! The connection to Redis, which may be away.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisResult};
use secrecy::{ExposeSecret, SecretString};
use tenant_isolation::TenantScope;

use crate::hearing::Hearing;
use crate::keys::CacheKey;
use crate::read_through::COPIES_LIVE;

/// Redis answers in well under a millisecond; what takes longer is slower than asking Postgres.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_millis(100);
/// How long a Redis that failed is left alone.
const REST: Duration = Duration::from_secs(1);

/// A shared connection. Cheap to clone.
#[derive(Clone)]
pub struct RedisLink {
    pub(crate) client: Arc<Client>,
    pub(crate) connection: ConnectionManager,
    prefix: Arc<str>,
    born: Instant,
    /// Milliseconds after `born` until which Redis is left alone; 0 when it never failed.
    resting_until: Arc<AtomicU64>,
    pub(crate) hearing: Arc<Hearing>,
    pub(crate) copies_live: Duration,
}

impl std::fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLink")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// A URL that is none of Redis'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a redis:// or rediss:// URL")]
pub struct InvalidRedisUrl;

impl RedisLink {
    /// Prepares a connection; it is opened when it is first needed. `prefix` begins every key.
    ///
    /// # Errors
    /// [`InvalidRedisUrl`].
    pub fn new(url: &SecretString, prefix: &str) -> Result<Self, InvalidRedisUrl> {
        let client = Client::open(url.expose_secret()).map_err(|_| InvalidRedisUrl)?;
        Ok(Self {
            connection: lazy_connection(&client)?,
            client: Arc::new(client),
            prefix: Arc::from(prefix),
            born: Instant::now(),
            resting_until: Arc::default(),
            hearing: Arc::default(),
            copies_live: COPIES_LIVE,
        })
    }

    /// The same, with another time for which processes trust their own copies: for tests that show what ends them
    /// before that.
    #[must_use]
    pub fn keeping_copies_for(self, copies_live: Duration) -> Self {
        Self { copies_live, ..self }
    }

    /// The same Redis over a connection of its own, for a thread whose runtime ends before others do: a connection
    /// lives on the runtime that opened it. That Redis rests is known to all of them.
    ///
    /// # Errors
    /// [`InvalidRedisUrl`]; cannot happen, as the URL was taken before.
    pub fn over_own_connection(&self) -> Result<Self, InvalidRedisUrl> {
        Ok(Self {
            connection: lazy_connection(&self.client)?,
            ..self.clone()
        })
    }

    /// Does Redis answer?
    pub async fn is_up(&self) -> bool {
        let mut connection = self.connection.clone();
        let ping = async move { redis::cmd("PING").query_async::<String>(&mut connection).await };
        tokio::time::timeout(Duration::from_secs(1), ping)
            .await
            .is_ok_and(|answer| answer.is_ok())
    }

    /// Deletes every key of a tenant. Returns how many there were; `None` when Redis is away.
    pub async fn forget_tenant(&self, scope: &TenantScope) -> Option<u64> {
        let pattern = format!("{}*", escape_pattern(&self.key(&CacheKey::all_of_tenant(scope))));
        self.forget_matching(pattern).await
    }

    /// Deletes the keys of one kind of a tenant's whose id ends with `end`. Returns how many there were; `None` when Redis
    /// is away.
    pub async fn forget_ending(&self, scope: &TenantScope, kind: &'static str, end: &str) -> Option<u64> {
        let kind = escape_pattern(&self.key(CacheKey::of_tenant(scope, kind, "").as_str()));
        self.forget_matching(format!("{kind}*{}", escape_pattern(end)))
            .await
    }

    async fn forget_matching(&self, pattern: String) -> Option<u64> {
        let (mut cursor, mut deleted) = (0_u64, 0_u64);
        loop {
            let pattern = pattern.clone();
            let (next, keys): (u64, Vec<String>) = self
                .ask(|mut redis| async move {
                    redis::cmd("SCAN")
                        .arg(cursor)
                        .arg("MATCH")
                        .arg(pattern)
                        .arg("COUNT")
                        .arg(500)
                        .query_async(&mut redis)
                        .await
                })
                .await?;
            if !keys.is_empty() {
                let gone: u64 = self
                    .ask(|mut redis| async move { redis::cmd("DEL").arg(keys).query_async(&mut redis).await })
                    .await?;
                deleted += gone;
            }
            cursor = next;
            if cursor == 0 {
                return Some(deleted);
            }
        }
    }

    pub(crate) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// How long ago Redis last failed; `None` when it never did. What was to be taken back while it was away is
    /// still in there, so nothing that is older may be believed.
    pub(crate) fn undisturbed_for(&self) -> Option<Duration> {
        let resting_until = self.resting_until.load(Ordering::Relaxed);
        let failed_at = Duration::from_millis(resting_until).checked_sub(REST)?;
        Some(self.born.elapsed().saturating_sub(failed_at))
    }

    /// Asks Redis something. `None` when it is away, which is counted and otherwise nobody's problem.
    pub(crate) async fn ask<T, F>(&self, question: impl FnOnce(ConnectionManager) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        if self.is_resting() {
            return None;
        }
        self.insist(question).await
    }

    /// Asks Redis also while it is left alone: for what must not wait until it was found to be back.
    pub(crate) async fn insist<T, F>(&self, question: impl FnOnce(ConnectionManager) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let known_away = self.is_resting();
        // The timeout also covers the wait for a connection that is being made again.
        match tokio::time::timeout(ANSWER_TIMEOUT, question(self.connection.clone())).await {
            Ok(Ok(answer)) => Some(answer),
            failed => {
                let rest = u64::try_from(REST.as_millis()).unwrap_or(1000);
                self.resting_until.store(self.age() + rest, Ordering::Relaxed);
                metrics::counter!("kanal_redis_failures_total").increment(1);
                match failed {
                    // Said when it began.
                    _ if known_away => {}
                    Ok(Err(error)) => {
                        tracing::warn!(kind = ?error.kind(), "Redis failed, going on without it");
                    }
                    _ => tracing::warn!("Redis did not answer in time, going on without it"),
                }
                None
            }
        }
    }

    fn is_resting(&self) -> bool {
        self.age() < self.resting_until.load(Ordering::Relaxed)
    }

    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn lazy_connection(client: &Client) -> Result<ConnectionManager, InvalidRedisUrl> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(Duration::from_millis(500)))
        .set_response_timeout(Some(ANSWER_TIMEOUT))
        .set_pipeline_buffer_size(1024);
    ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(|_| InvalidRedisUrl)
}

/// A text that a Redis pattern matches as it is.
fn escape_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use domain::ids::TenantId;
    use test_support::{eventually, eventually_within, redis_url, unique_prefix};

    use super::*;
    use crate::ReadThrough;

    async fn link(prefix: &str) -> RedisLink {
        let link = RedisLink::new(&SecretString::from(redis_url()), prefix).unwrap();
        eventually("Redis answers", || async { link.is_up().await.then_some(()) }).await;
        link
    }

    /// Nobody else leaves Redis alone, so others go on believing what is there.
    #[tokio::test]
    async fn what_is_taken_back_is_taken_back_also_while_redis_is_left_alone() {
        let prefix = unique_prefix("cache");
        let scope = TenantScope::named_by_operator(TenantId::parse("a").unwrap());
        for once in [false, true] {
            let key = CacheKey::of_tenant(&scope, "thing", &once.to_string());
            let load = async |value: u32| {
                let fresh = ReadThrough::new(link(&prefix).await, 10);
                let loaded = fresh
                    .get(&key, || async { Ok::<_, std::io::Error>(Some(value)) })
                    .await;
                loaded.unwrap()
            };
            assert_eq!((load(1).await, load(2).await), (Some(1), Some(1)));
            let resting = link(&prefix).await;
            resting.resting_until.store(u64::MAX, Ordering::Relaxed);
            let writer: ReadThrough<u32> = ReadThrough::new(resting, 10);
            if once {
                writer.forget_once(&key).await;
            } else {
                writer.forget(&key).await;
            }
            // Long before it ends by itself.
            eventually_within(Duration::from_secs(20), "it is gone", || async {
                (load(3).await == Some(3)).then_some(())
            })
            .await;
        }
    }

    #[tokio::test]
    async fn what_is_held_is_not_loaded_again_because_redis_is_away() {
        let prefix = unique_prefix("cache");
        let scope = TenantScope::named_by_operator(TenantId::parse("a").unwrap());
        let key = CacheKey::of_tenant(&scope, "thing", "held");
        let redis = link(&prefix).await;
        let long = Duration::from_secs(600);
        let held: ReadThrough<u32> = ReadThrough::held(redis.clone(), 10, long);
        let usual: ReadThrough<u32> = ReadThrough::short_lived(redis.clone(), 10, long);
        let load = async |cache: &ReadThrough<u32>, value: u32| {
            let loaded = cache
                .get(&key, || async { Ok::<_, std::io::Error>(Some(value)) })
                .await;
            loaded.unwrap()
        };
        assert_eq!(load(&held, 1).await, Some(1));
        // It is left alone; then it is back, and what it had before is not believed.
        redis.resting_until.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(load(&usual, 2).await, Some(2), "another one has no copy");
        held.local.invalidate(&key).await;
        assert_eq!(load(&held, 3).await, Some(1));
        let rest = u64::try_from(REST.as_millis()).unwrap();
        redis.resting_until.store(redis.age() + rest, Ordering::Relaxed);
        eventually("Redis is asked again", || async {
            (!redis.is_resting()).then_some(())
        })
        .await;
        held.local.invalidate(&key).await;
        assert_eq!(load(&held, 3).await, Some(1));
        held.forget_once(&key).await;
        assert_eq!(load(&held, 4).await, Some(4), "it was taken back");
    }
}
