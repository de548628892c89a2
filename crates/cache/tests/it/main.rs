//! The cache against a real Redis, there and away.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod hearing;
mod spam_guard;
mod throttle;
mod windows;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cache::{Buckets, CacheKey, Rate, ReadThrough, RedisLink};
use domain::ids::TenantId;
use secrecy::SecretString;
use tenant_isolation::TenantScope;
use test_support::{CuttableProxy, redis_url, unique_prefix};

fn key(tenant: &str, id: &str) -> CacheKey {
    let scope = TenantScope::named_by_operator(TenantId::parse(tenant).unwrap());
    CacheKey::of_tenant(&scope, "thing", id)
}

/// A link that is connected: the first question would include that, and a busy machine may take longer for it than an
/// answer is waited for.
async fn link(prefix: &str) -> RedisLink {
    let link = RedisLink::new(&SecretString::from(redis_url()), prefix).unwrap();
    test_support::eventually("Redis answers", || async { link.is_up().await.then_some(()) }).await;
    link
}

async fn count_loads(cache: &ReadThrough<u32>, key: &CacheKey, loads: &AtomicUsize) -> Option<u32> {
    cache
        .get(key, || async {
            loads.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Some(7))
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_value_is_loaded_once_for_all_processes_until_it_is_forgotten() {
    let prefix = unique_prefix("cache");
    let (one, other) = (
        ReadThrough::new(link(&prefix).await, 10),
        ReadThrough::new(link(&prefix).await, 10),
    );
    let loads = AtomicUsize::new(0);
    assert_eq!(count_loads(&one, &key("a", "x"), &loads).await, Some(7));
    assert_eq!(count_loads(&other, &key("a", "x"), &loads).await, Some(7));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    one.forget(&key("a", "x")).await;
    // The other process may keep its own copy for a second, and no longer.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(count_loads(&other, &key("a", "x"), &loads).await, Some(7));
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_process_that_ends_soon_can_wait_until_a_change_is_settled() {
    let prefix = unique_prefix("cache");
    let one: ReadThrough<u32> = ReadThrough::new(link(&prefix).await, 10);
    let other = ReadThrough::new(link(&prefix).await, 10);
    let loads = AtomicUsize::new(0);
    one.forget(&key("a", "x")).await;
    // A load that had begun before the change puts its copy there after it.
    count_loads(&other, &key("a", "x"), &loads).await;
    one.settled().await;
    let third = ReadThrough::new(link(&prefix).await, 10);
    count_loads(&third, &key("a", "x"), &loads).await;
    assert_eq!(loads.load(Ordering::SeqCst), 2, "the old copy is still there");
}

#[tokio::test]
async fn what_was_absent_a_moment_ago_is_found_at_once() {
    let cache: ReadThrough<u32> = ReadThrough::new(link(&unique_prefix("cache")).await, 10);
    let absent = cache
        .get(&key("a", "x"), || async { Ok::<_, std::io::Error>(None) })
        .await;
    assert_eq!(absent.unwrap(), None);
    assert_eq!(
        count_loads(&cache, &key("a", "x"), &AtomicUsize::new(0)).await,
        Some(7)
    );
}

#[tokio::test]
async fn equal_ids_of_two_tenants_are_two_values() {
    let cache = ReadThrough::new(link(&unique_prefix("cache")).await, 10);
    let loads = AtomicUsize::new(0);
    count_loads(&cache, &key("a", "x"), &loads).await;
    count_loads(&cache, &key("b", "x"), &loads).await;
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_redis_everything_still_works() {
    let proxy = CuttableProxy::in_front_of(&redis_url(), 6379).await;
    let redis = RedisLink::new(
        &SecretString::from(proxy.url(&redis_url())),
        &unique_prefix("cache"),
    )
    .unwrap();
    assert!(redis.is_up().await);
    proxy.cut();
    let (cache, loads) = (ReadThrough::new(redis.clone(), 10), AtomicUsize::new(0));
    assert_eq!(count_loads(&cache, &key("a", "x"), &loads).await, Some(7));
    let buckets = Buckets::new(redis.clone(), rate(1, 2));
    assert!(buckets.take(&key("a", "x")).await.is_ok());
    assert!(buckets.take(&key("a", "x")).await.is_ok());
    assert!(buckets.take(&key("a", "x")).await.is_err());
    proxy.restore();
    test_support::eventually("Redis is used again", || async {
        redis.is_up().await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_change_while_redis_is_away_is_not_undone_when_it_returns() {
    let proxy = CuttableProxy::in_front_of(&redis_url(), 6379).await;
    let url = SecretString::from(proxy.url(&redis_url()));
    let prefix = unique_prefix("cache");
    let reader = ReadThrough::new(RedisLink::new(&url, &prefix).unwrap(), 10);
    let writer: ReadThrough<u32> = ReadThrough::new(RedisLink::new(&url, &prefix).unwrap(), 10);
    let loads = AtomicUsize::new(0);
    count_loads(&reader, &key("a", "x"), &loads).await;
    proxy.cut();
    writer.forget(&key("a", "x")).await;
    // Each round outlives the reader's own copy, so that it asks Redis again.
    for round in 1..=4 {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        count_loads(&reader, &key("a", "x"), &loads).await;
        assert!(
            loads.load(Ordering::SeqCst) > 1,
            "the old copy was believed in round {round}"
        );
        if round == 1 {
            proxy.restore();
        }
    }
    // And what was loaded since is shared and believed again.
    assert!(loads.load(Ordering::SeqCst) < 5);
}

/// A writer behind a proxy, and a value that it is about to take back and others have shared.
async fn shared_behind_a_proxy(prefix: &str) -> (CuttableProxy, RedisLink, ReadThrough<u32>) {
    let proxy = CuttableProxy::in_front_of(&redis_url(), 6379).await;
    let behind = RedisLink::new(&SecretString::from(proxy.url(&redis_url())), prefix).unwrap();
    test_support::eventually("Redis answers", || async { behind.is_up().await.then_some(()) }).await;
    let reader = ReadThrough::new(link(prefix).await, 10);
    count_loads(&reader, &key("a", "x"), &AtomicUsize::new(0)).await;
    let writer = ReadThrough::new(behind.clone(), 10);
    proxy.cut();
    // From now on the writer leaves Redis alone for a second. Nobody else does.
    count_loads(&writer, &key("a", "other"), &AtomicUsize::new(0)).await;
    (proxy, behind, writer)
}

async fn is_gone(prefix: &str, within: Duration) {
    test_support::eventually_within(within, "the copy is gone", || async {
        let (fresh, loads) = (ReadThrough::new(link(prefix).await, 10), AtomicUsize::new(0));
        count_loads(&fresh, &key("a", "x"), &loads).await;
        (loads.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_taken_back_while_redis_is_left_alone_is_gone_at_once() {
    let prefix = unique_prefix("cache");
    let (proxy, behind, writer) = shared_behind_a_proxy(&prefix).await;
    proxy.restore();
    test_support::eventually("Redis answers", || async { behind.is_up().await.then_some(()) }).await;
    writer.forget(&key("a", "x")).await;
    // The next time would be two seconds later.
    is_gone(&prefix, Duration::from_millis(1500)).await;
}

#[tokio::test]
async fn what_is_taken_back_once_while_redis_is_away_is_gone_when_it_returns() {
    let prefix = unique_prefix("cache");
    let (proxy, _, writer) = shared_behind_a_proxy(&prefix).await;
    writer.forget_once(&key("a", "x")).await;
    proxy.restore();
    // Much sooner than by itself, after a minute.
    is_gone(&prefix, Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_bucket_is_exact_over_processes_and_apart_for_tenants() {
    let prefix = unique_prefix("bucket");
    let (one, other) = (
        Buckets::new(link(&prefix).await, rate(1, 10)),
        Buckets::new(link(&prefix).await, rate(1, 10)),
    );
    let (mut taken, started) = (0, Instant::now());
    for _ in 0..10 {
        taken += u64::from(one.take(&key("a", "x")).await.is_ok());
        taken += u64::from(other.take(&key("a", "x")).await.is_ok());
    }
    let refilled = started.elapsed().as_secs() + 1;
    assert!(
        (10..=10 + refilled).contains(&taken),
        "{taken} tokens from a bucket of ten"
    );
    let wait = one.take(&key("a", "x")).await.unwrap_err();
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    assert!(one.take(&key("b", "x")).await.is_ok());
}

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate {
        per_second: NonZeroU32::new(per_second).unwrap(),
        burst: NonZeroU32::new(burst).unwrap(),
    }
}
