//! Values that are read often and change seldom.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use moka::future::Cache;
use redis::AsyncCommands as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::task::TaskTracker;

use crate::keys::CacheKey;
use crate::redis_link::RedisLink;

/// How long a process trusts its own copy: the bound within which a change is seen everywhere, also by a process that
/// hears nothing of it.
pub const COPIES_LIVE: Duration = Duration::from_secs(1);
/// How long Redis keeps a copy that nobody took back.
const SHARED_TTL: Duration = Duration::from_secs(60);
/// When a value is taken back once more: a load that had begun before the change has put its copy there by then.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How soon Redis is asked again to take a value back.
const UNTIL_NEXT: Duration = Duration::from_millis(100);

/// A cache in front of a loader: this process for a second, Redis for a minute, then the loader.
///
/// Whoever changes a value calls [`forget`](Self::forget), which empties Redis and tells the other processes; they follow at
/// once where they listen ([`RedisLink::hear`]), and else within a second. A change that is made while Redis is away counts
/// all the same: after a failure, copies that were shared before it are not believed. Callers that arrive together share
/// one load. That something is absent is never remembered: what was registered a moment ago must be found at once, and not
/// be taken for a stranger.
#[derive(Clone)]
pub struct ReadThrough<V> {
    pub(crate) local: Arc<Cache<CacheKey, V>>,
    /// What this process has loaded itself, for when Redis does not tell. Of values that must not be made anew meanwhile.
    own: Option<Arc<Cache<CacheKey, Own<V>>>>,
    redis: RedisLink,
    /// Values that are to be taken back once more.
    again: TaskTracker,
    shared_ttl: Duration,
}

/// What this process has loaded itself.
#[derive(Clone)]
struct Own<V> {
    value: V,
    /// Redis has taken a copy: without it, somebody has taken the value back.
    is_shared: bool,
}

/// What Redis says of a value.
enum Shared<V> {
    Copy(V),
    Nothing,
    /// It does not answer, or what it has is not believed.
    NotKnown,
}

/// Why a load gave no value to keep. Never kept itself.
#[derive(Debug, thiserror::Error)]
pub enum NotLoaded<E> {
    /// There is none.
    #[error("there is no such value")]
    Absent,
    /// The loader failed.
    #[error(transparent)]
    Failed(E),
}

impl<V> ReadThrough<V>
where
    V: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
{
    /// A cache of at most `entries` values in this process.
    #[must_use]
    pub fn new(redis: RedisLink, entries: u64) -> Self {
        Self::short_lived(redis, entries, SHARED_TTL)
    }

    /// The same for values that go out of date by themselves, with nobody to take them back: `shared_ttl` is how long
    /// Redis keeps a copy. A process may show it for as long again, but for no more than a second.
    #[must_use]
    pub fn short_lived(redis: RedisLink, entries: u64, shared_ttl: Duration) -> Self {
        let local = Arc::new(
            Cache::builder()
                .max_capacity(entries)
                .time_to_live(redis.copies_live.min(shared_ttl))
                .build(),
        );
        let copies: Weak<Cache<CacheKey, V>> = Arc::downgrade(&local);
        redis.hearing.register(copies);
        Self {
            local,
            own: None,
            redis,
            again: TaskTracker::new(),
            shared_ttl,
        }
    }

    /// The same for values of which a new one spoils the one before: what a process has loaded it does not load again within
    /// `shared_ttl`, whether Redis answers or not. Taken back in another process while Redis is away, a value may be shown
    /// here until then.
    #[must_use]
    pub fn held(redis: RedisLink, entries: u64, shared_ttl: Duration) -> Self {
        let own = Cache::builder().max_capacity(entries).time_to_live(shared_ttl);
        let own = Arc::new(own.build());
        let copies: Weak<Cache<CacheKey, Own<V>>> = Arc::downgrade(&own);
        redis.hearing.register(copies);
        Self {
            own: Some(own),
            ..Self::short_lived(redis, entries, shared_ttl)
        }
    }

    /// The value of `key` if this process has it, without asking anybody.
    pub async fn at_hand(&self, key: &CacheKey) -> Option<V> {
        self.local.get(key).await
    }

    /// The value of `key`, from the nearest place that has it; `None` when even the loader has none.
    ///
    /// # Errors
    /// The loader's error, shared by all callers that waited for it.
    pub async fn get<E, F>(
        &self,
        key: &CacheKey,
        load: impl FnOnce() -> F,
    ) -> Result<Option<V>, Arc<NotLoaded<E>>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<Option<V>, E>>,
    {
        // Most of all calls end here.
        if let Some(value) = self.at_hand(key).await {
            count_read("process");
            return Ok(Some(value));
        }
        let through = async {
            let shared = self.shared(key).await;
            if let Shared::Copy(shared) = shared {
                count_read("redis");
                // Another process has made it anew since.
                if let Some(cache) = &self.own {
                    let (value, is_shared) = (shared.clone(), true);
                    cache.insert(key.clone(), Own { value, is_shared }).await;
                }
                return Ok(shared);
            }
            if let Some(own) = self.own(key).await
                && (matches!(shared, Shared::NotKnown) || !own.is_shared)
            {
                count_read("process");
                return Ok(own.value);
            }
            count_read("source");
            let value = load()
                .await
                .map_err(NotLoaded::Failed)?
                .ok_or(NotLoaded::Absent)?;
            let is_shared = self.share(key, &value).await;
            if let Some(cache) = &self.own {
                let value = value.clone();
                cache.insert(key.clone(), Own { value, is_shared }).await;
            }
            Ok(value)
        };
        let changes = self.redis.hearing.changes_of(key);
        let got = self.local.try_get_with_by_ref(key, through).await;
        if self.redis.hearing.changes_of(key) != changes {
            // Loaded before the change, and perhaps kept after it: good for whoever asked before it, and for nobody else.
            self.forget_here(key).await;
            TakingBack::begin(&self.redis, key, self.shared_ttl).await;
        }
        match got {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(*error, NotLoaded::Absent) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a value back everywhere: at once in Redis, here and in processes that listen, within a second in others. Where
    /// Redis does not answer it is asked again and again, but not longer than the copy lives; and it is taken back once
    /// more a moment later.
    pub async fn forget(&self, key: &CacheKey) {
        self.redis.hearing.note(key);
        self.forget_here(key).await;
        let taking = TakingBack::begin(&self.redis, key, self.shared_ttl).await;
        if taking.done {
            self.redis.tell(key).await;
        }
        let key = key.clone();
        self.again.spawn(async move {
            if !taking.done && taking.finish().await {
                taking.redis.tell(&key).await;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
            taking.anew().await.finish().await;
        });
    }

    /// As [`Self::forget`], but only once and without telling others, for values that it costs something to have made
    /// anew: a load that had begun before the change may put its copy there after it.
    pub async fn forget_once(&self, key: &CacheKey) {
        self.forget_here(key).await;
        let taking = TakingBack::begin(&self.redis, key, self.shared_ttl).await;
        if !taking.done {
            self.again.spawn(async move {
                taking.finish().await;
            });
        }
    }

    /// Waits until everything that was forgotten so far is taken back for good. For a process that ends soon after.
    pub async fn settled(&self) {
        self.again.close();
        self.again.wait().await;
    }

    async fn forget_here(&self, key: &CacheKey) {
        if let Some(own) = &self.own {
            own.invalidate(key).await;
        }
        self.local.invalidate(key).await;
    }

    async fn own(&self, key: &CacheKey) -> Option<Own<V>> {
        self.own.as_ref()?.get(key).await
    }

    async fn shared(&self, key: &CacheKey) -> Shared<V> {
        let name = self.redis.key(key.as_str());
        let told: Option<(Option<String>, i64)> = self
            .redis
            .ask(
                |mut redis| async move { redis::pipe().get(&name).pttl(&name).query_async(&mut redis).await },
            )
            .await;
        let Some((text, left_ms)) = told else {
            return Shared::NotKnown;
        };
        let Some(text) = text else {
            return Shared::Nothing;
        };
        // By Redis' own clock, so that the processes' clocks do not matter.
        let age = self
            .shared_ttl
            .saturating_sub(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)));
        if self.redis.undisturbed_for().is_some_and(|calm| age >= calm) {
            return Shared::NotKnown;
        }
        // A shape of an older release is as good as nothing.
        serde_json::from_str(&text).map_or(Shared::Nothing, Shared::Copy)
    }

    /// False: Redis may not have it.
    async fn share(&self, key: &CacheKey, value: &V) -> bool {
        let Ok(text) = serde_json::to_string(value) else {
            return false;
        };
        let name = self.redis.key(key.as_str());
        let ttl = u64::try_from(self.shared_ttl.as_millis()).unwrap_or(u64::MAX);
        self.redis
            .ask(|mut redis| async move { redis.pset_ex::<_, _, ()>(name, text, ttl).await })
            .await
            .is_some()
    }
}

/// Where a value came from: a cache that is asked and rarely has it is worth nothing.
fn count_read(from: &'static str) {
    metrics::counter!("kanal_cache_reads_total", "from" => from).increment(1);
}

/// A value that is taken back in Redis. Asked also while this process leaves Redis alone: what was revoked must not stay
/// good for as long as that lasts.
struct TakingBack {
    redis: RedisLink,
    name: String,
    /// When every copy is gone that was there at the change, also one that nobody takes back.
    until: Instant,
    done: bool,
}

impl TakingBack {
    async fn begin(redis: &RedisLink, key: &CacheKey, lives: Duration) -> Self {
        let mut taking = Self {
            redis: redis.clone(),
            name: redis.key(key.as_str()),
            until: Instant::now() + lives,
            done: false,
        };
        taking.done = taking.ask().await;
        taking
    }

    async fn anew(&self) -> Self {
        Self {
            redis: self.redis.clone(),
            name: self.name.clone(),
            until: self.until,
            done: self.ask().await,
        }
    }

    /// Asks until Redis answers. False when it never did.
    async fn finish(&self) -> bool {
        let mut done = self.done;
        while !done && Instant::now() < self.until {
            tokio::time::sleep(UNTIL_NEXT).await;
            done = self.ask().await;
        }
        done
    }

    async fn ask(&self) -> bool {
        let name = self.name.clone();
        let asked = self
            .redis
            .insist(|mut redis| async move { redis.del::<_, ()>(name).await });
        asked.await.is_some()
    }
}
