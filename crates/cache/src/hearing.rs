//! What any process takes back, heard by all of them at once instead of noticed when their own copies end.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use moka::future::Cache;
use redis::AsyncCommands as _;
use tokio_util::sync::CancellationToken;

use crate::keys::CacheKey;
use crate::redis_link::{ANSWER_TIMEOUT, RedisLink};

/// Keys share counters of changes. Two that meet in one cost each other a load now and then.
const COUNTERS: usize = 1024;
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which nothing came for so long is asked whether it is still one.
const SILENCE: Duration = Duration::from_secs(10);
/// Wait before Redis is listened to anew.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// Copies of values in this process, of whatever type.
pub(crate) trait Copies: Send + Sync {
    fn drop_copy<'a>(&'a self, key: &'a CacheKey) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

impl<V: Clone + Send + Sync + 'static> Copies for Cache<CacheKey, V> {
    fn drop_copy<'a>(&'a self, key: &'a CacheKey) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.invalidate(key))
    }
}

/// All copies of this process, and how often something of theirs was taken back.
pub(crate) struct Hearing {
    copies: Mutex<Vec<Weak<dyn Copies>>>,
    changes: Box<[AtomicU64]>,
    hasher: RandomState,
    /// How this process signs what it tells, so that it need not act on it twice.
    name: String,
}

impl Default for Hearing {
    fn default() -> Self {
        let hasher = RandomState::new();
        Self {
            copies: Mutex::default(),
            changes: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            name: format!("{:016x}", hasher.hash_one("name")),
            hasher,
        }
    }
}

impl Hearing {
    pub(crate) fn register(&self, copies: Weak<dyn Copies>) {
        let mut all = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|copies| copies.strong_count() > 0);
        all.push(copies);
    }

    /// A number that is another one after a value of this key was taken back.
    pub(crate) fn changes_of(&self, key: &CacheKey) -> u64 {
        self.counter(key)
            .map_or(0, |changes| changes.load(Ordering::SeqCst))
    }

    /// Says that a value is taken back from now on. Before its copies are dropped: a load that is under way then sees
    /// either this or has its copy dropped.
    pub(crate) fn note(&self, key: &CacheKey) {
        if let Some(changes) = self.counter(key) {
            changes.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn heard(&self, told: &str) {
        let Some((name, key)) = told.split_once(' ') else {
            return;
        };
        if name == self.name {
            return;
        }
        let key = CacheKey::heard(key.to_owned());
        self.note(&key);
        for copies in self.all() {
            copies.drop_copy(&key).await;
        }
    }

    fn all(&self) -> Vec<Arc<dyn Copies>> {
        let all = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    fn counter(&self, key: &CacheKey) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(key) % (COUNTERS as u64)).ok()?;
        self.changes.get(hash)
    }
}

/// Why Redis is not listened to any more.
#[derive(Debug, thiserror::Error)]
enum Deaf {
    #[error("the connection ended")]
    Ended,
    #[error("Redis did not answer in time")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error("Redis failed: {:?}", .0.kind())]
    Failed(#[from] redis::RedisError),
}

impl RedisLink {
    /// Drops this process's copies of whatever another process takes back, at the moment it does so, until `stop`. A
    /// process that does not listen, or cannot for a while, has its copies end by themselves.
    pub async fn hear(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.hear_on(SILENCE)).await;
    }

    async fn hear_on(&self, silence: Duration) {
        let mut said = false;
        loop {
            let deaf = match self.listen().await {
                Ok(listening) => {
                    if std::mem::take(&mut said) {
                        tracing::info!("hearing again what others take back");
                    }
                    listening.until_lost(&self.hearing, silence).await
                }
                Err(deaf) => deaf,
            };
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(error = %deaf, "not hearing what others take back; copies end by themselves");
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }

    async fn listen(&self) -> Result<Listening, Deaf> {
        let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, self.client.get_async_pubsub()).await??;
        tokio::time::timeout(CONNECT_TIMEOUT, connection.subscribe(self.channel())).await??;
        Ok(Listening(connection))
    }

    /// Tells every process that listens. That nobody could be told is no failure: their copies end by themselves.
    pub(crate) async fn tell(&self, key: &CacheKey) {
        let (channel, mut connection) = (self.channel(), self.connection.clone());
        let told = format!("{} {}", self.hearing.name, key.as_str());
        let telling = connection.publish::<_, _, ()>(channel, told);
        if !matches!(tokio::time::timeout(ANSWER_TIMEOUT, telling).await, Ok(Ok(()))) {
            metrics::counter!("kanal_redis_failures_total").increment(1);
        }
    }

    fn channel(&self) -> String {
        self.key("taken-back")
    }
}

struct Listening(redis::aio::PubSub);

impl Listening {
    async fn until_lost(self, hearing: &Hearing, silence: Duration) -> Deaf {
        let (mut asking, mut messages) = self.0.split();
        loop {
            match tokio::time::timeout(silence, messages.next()).await {
                Ok(Some(message)) => {
                    if let Ok(told) = message.get_payload::<String>() {
                        hearing.heard(&told).await;
                    }
                }
                Ok(None) => return Deaf::Ended,
                // What a network dropped without a word would otherwise look like silence for ever.
                Err(_) => match tokio::time::timeout(CONNECT_TIMEOUT, asking.ping::<()>()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.into(),
                    Err(slow) => return slow.into(),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::TenantId;
    use secrecy::SecretString;
    use tenant_isolation::TenantScope;
    use test_support::{eventually, redis_url, unique_prefix};

    use super::*;
    use crate::ReadThrough;

    /// A connection that is silent is asked, and hears on.
    #[tokio::test]
    async fn silence_is_no_end() {
        let prefix = unique_prefix("cache");
        let link = || RedisLink::new(&SecretString::from(redis_url()), &prefix).unwrap();
        let reader = link().keeping_copies_for(Duration::from_hours(1));
        let (copies, writer) = (
            ReadThrough::<u32>::new(reader.clone(), 10),
            ReadThrough::<u32>::new(link(), 10),
        );
        let hearing = tokio::spawn(async move {
            let listening = reader.listen().await.unwrap();
            listening
                .until_lost(&reader.hearing, Duration::from_millis(1))
                .await
        });
        let scope = TenantScope::named_by_operator(TenantId::parse("a").unwrap());
        for round in 0..3 {
            let key = CacheKey::of_tenant(&scope, "thing", &round.to_string());
            let load = || async { Ok::<_, std::io::Error>(Some(7)) };
            copies.get(&key, load).await.unwrap();
            eventually("the copy is dropped", || async {
                writer.forget(&key).await;
                copies.at_hand(&key).await.is_none().then_some(())
            })
            .await;
        }
        assert!(!hearing.is_finished());
        hearing.abort();
    }
}
