//! Values that are read often and change seldom.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use redis::AsyncCommands as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::keys::CacheKey;
use crate::redis_link::RedisLink;

/// How long a process trusts its own copy: the bound within which a change is seen everywhere.
const LOCAL_TTL: Duration = Duration::from_secs(1);
/// How long Redis keeps a copy that nobody took back.
const SHARED_TTL: Duration = Duration::from_secs(60);

/// A cache in front of a loader: this process for a second, Redis for a minute, then the loader.
///
/// Whoever changes a value calls [`forget`](Self::forget), which empties Redis; other processes follow within a
/// second. Callers that arrive together share one load. Absent values (`None`) are not shared through Redis, so that
/// something newly registered is seen within a second without anybody's help.
#[derive(Clone)]
pub struct ReadThrough<V> {
    local: Cache<CacheKey, Option<V>>,
    redis: RedisLink,
}

impl<V> ReadThrough<V>
where
    V: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
{
    /// A cache of at most `entries` values in this process.
    #[must_use]
    pub fn new(redis: RedisLink, entries: u64) -> Self {
        Self {
            local: Cache::builder()
                .max_capacity(entries)
                .time_to_live(LOCAL_TTL)
                .build(),
            redis,
        }
    }

    /// The value of `key`, from the nearest place that has it.
    ///
    /// # Errors
    /// The loader's error, shared by all callers that waited for it.
    pub async fn get<E, F>(&self, key: &CacheKey, load: impl FnOnce() -> F) -> Result<Option<V>, Arc<E>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<Option<V>, E>>,
    {
        let through = async {
            if let Some(shared) = self.shared(key).await {
                return Ok(Some(shared));
            }
            let loaded = load().await?;
            if let Some(value) = &loaded {
                self.share(key, value).await;
            }
            Ok(loaded)
        };
        self.local.try_get_with_by_ref(key, through).await
    }

    /// Takes a value back everywhere: at once in Redis and here, within a second in other processes.
    pub async fn forget(&self, key: &CacheKey) {
        self.local.invalidate(key).await;
        let name = self.redis.key(key.as_str());
        self.redis
            .ask(|mut redis| async move { redis.del::<_, ()>(name).await })
            .await;
    }

    async fn shared(&self, key: &CacheKey) -> Option<V> {
        let name = self.redis.key(key.as_str());
        let text: String = self
            .redis
            .ask(|mut redis| async move { redis.get::<_, Option<String>>(name).await })
            .await??;
        // A shape of an older release is as good as nothing.
        serde_json::from_str(&text).ok()
    }

    async fn share(&self, key: &CacheKey, value: &V) {
        let Ok(text) = serde_json::to_string(value) else {
            return;
        };
        let name = self.redis.key(key.as_str());
        self.redis
            .ask(|mut redis| async move { redis.set_ex::<_, _, ()>(name, text, SHARED_TTL.as_secs()).await })
            .await;
    }
}
