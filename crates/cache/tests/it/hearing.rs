//! Copies that others take back. They would live for an hour here, so nothing else ends them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use cache::{CacheKey, ReadThrough, RedisLink};
use secrecy::SecretString;
use test_support::{CuttableProxy, eventually, redis_url, unique_prefix};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{count_loads, key, link};

const HOUR: Duration = Duration::from_hours(1);

/// A process that listens until the guard is dropped.
fn listening(redis: RedisLink) -> (ReadThrough<u32>, DropGuard) {
    let redis = redis.keeping_copies_for(HOUR);
    let stop = CancellationToken::new();
    tokio::spawn(redis.clone().hear(stop.clone()));
    (ReadThrough::new(redis, 1000), stop.drop_guard())
}

async fn take_copy(copies: &ReadThrough<u32>, key: &CacheKey) {
    count_loads(copies, key, &AtomicUsize::new(0)).await;
    assert_eq!(copies.at_hand(key).await, Some(7));
}

/// Waits until it hears, with a key that is of no further interest: more may be said of it yet.
async fn until_it_hears(copies: &ReadThrough<u32>, writer: &ReadThrough<u32>) {
    let probe = key("probe", &unique_prefix("probe"));
    take_copy(copies, &probe).await;
    eventually("it hears", || async {
        writer.forget(&probe).await;
        copies.at_hand(&probe).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_another_process_takes_back_is_dropped_and_nothing_else() {
    let prefix = unique_prefix("cache");
    let (copies, _listening) = listening(link(&prefix).await);
    let writer = ReadThrough::<u32>::new(link(&prefix).await, 10);
    until_it_hears(&copies, &writer).await;
    let (changed, kept) = (key("a", "x"), key("b", "x"));
    take_copy(&copies, &changed).await;
    take_copy(&copies, &kept).await;
    writer.forget(&changed).await;
    eventually("the copy is dropped", || async {
        copies.at_hand(&changed).await.is_none().then_some(())
    })
    .await;
    assert_eq!(copies.at_hand(&kept).await, Some(7));
    // Other installations on the same Redis are others.
    let stranger = ReadThrough::<u32>::new(link(&unique_prefix("cache")).await, 10);
    stranger.forget(&kept).await;
    writer.forget(&changed).await;
    assert_eq!(copies.at_hand(&kept).await, Some(7));
}

#[tokio::test]
async fn after_an_outage_it_hears_again() {
    let proxy = CuttableProxy::in_front_of(&redis_url(), 6379).await;
    let prefix = unique_prefix("cache");
    let behind = RedisLink::new(&SecretString::from(proxy.url(&redis_url())), &prefix).unwrap();
    let (copies, _listening) = listening(behind);
    let writer = ReadThrough::<u32>::new(link(&prefix).await, 10);
    until_it_hears(&copies, &writer).await;
    proxy.cut();
    let unheard = key("a", "unheard");
    take_copy(&copies, &unheard).await;
    writer.forget(&unheard).await;
    assert_eq!(copies.at_hand(&unheard).await, Some(7), "it cannot have heard");
    proxy.restore();
    until_it_hears(&copies, &writer).await;
}

/// What was read before the change must not be kept after it, neither here nor in Redis.
#[tokio::test]
async fn a_load_that_began_before_the_change_is_not_kept() {
    let prefix = unique_prefix("cache");
    let (copies, _listening) = listening(link(&prefix).await);
    let writer = ReadThrough::<u32>::new(link(&prefix).await, 10);
    until_it_hears(&copies, &writer).await;
    let (loading, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = tokio::spawn({
        let (copies, loading, go_on) = (copies.clone(), loading.clone(), go_on.clone());
        async move {
            let load = || async {
                loading.notify_one();
                go_on.notified().await;
                Ok::<_, std::io::Error>(Some(1))
            };
            copies.get(&key("a", "x"), load).await.unwrap()
        }
    });
    loading.notified().await;
    writer.forget(&key("a", "x")).await;
    // Messages keep their order: when this one was heard, so was the one before it.
    until_it_hears(&copies, &writer).await;
    go_on.notify_one();
    assert_eq!(slow.await.unwrap(), Some(1), "it was asked before the change");
    assert_eq!(copies.at_hand(&key("a", "x")).await, None);
    let loaded = copies
        .get(&key("a", "x"), || async { Ok::<_, std::io::Error>(Some(2)) })
        .await;
    assert_eq!(loaded.unwrap(), Some(2));
}
