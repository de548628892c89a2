//! Gates that slow down, shared by processes.

use std::num::NonZeroU32;
use std::time::Duration;

use cache::{CacheKey, Gate, GateRate, RedisLink, Throttle};
use secrecy::SecretString;
use test_support::{CuttableProxy, eventually, redis_url, unique_prefix};

use crate::link;

fn rate(seconds: u64, burst: u32) -> GateRate {
    GateRate {
        interval: Duration::from_secs(seconds),
        burst: NonZeroU32::new(burst).unwrap(),
    }
}

fn gate(name: &str, rate: Option<GateRate>) -> Gate {
    Gate {
        key: CacheKey::of_endpoint("gate", name),
        rate,
    }
}

async fn two() -> (Throttle, Throttle) {
    let prefix = unique_prefix("throttle");
    (
        Throttle::new(link(&prefix).await),
        Throttle::new(link(&prefix).await),
    )
}

#[tokio::test]
async fn gates_are_passed_together_or_not_at_all_by_whichever_process() {
    let (one, other) = two().await;
    let gates = [
        gate("number", Some(rate(600, 10))),
        gate("pair", Some(rate(600, 3))),
    ];
    for throttle in [&one, &other, &one] {
        assert!(!throttle.pass(&gates).await.unwrap().was_closed);
    }
    for throttle in [&one, &other] {
        let shut = throttle.pass(&gates).await.unwrap_err();
        assert_eq!(shut.gate, 1);
        assert!(shut.wait <= Duration::from_secs(600), "{:?}", shut.wait);
    }
    for _ in 0..7 {
        other.pass(&gates[..1]).await.unwrap();
    }
    assert_eq!(one.pass(&gates[..1]).await.unwrap_err().gate, 0);
}

#[tokio::test]
async fn a_refusal_is_known_to_all_and_halves_once() {
    let (one, other) = two().await;
    let gates = [gate("number", Some(rate(10, 10)))];
    one.pass(&gates).await.unwrap();
    one.slow(&gates[0].key, rate(10, 10)).await;
    other.slow(&gates[0].key, rate(10, 10)).await;
    let wait = other.pass(&gates).await.unwrap_err().wait;
    // The next token, at half the rate.
    assert!((15..=20).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn a_gate_is_closed_longer_each_time_for_all() {
    let (one, other) = two().await;
    let gates = [gate("pair", Some(rate(1, 45))), gate("app", None)];
    let unit = Duration::from_secs(100);
    for (throttle, times) in [
        (&one, 1),
        (&other, 4),
        (&one, 16),
        (&one, 64),
        (&one, 256),
        (&one, 1024),
        (&other, 1024),
    ] {
        assert_eq!(throttle.close_longer(&gates[0].key, unit).await, unit * times);
    }
    assert_eq!(other.pass(&gates).await.unwrap_err().gate, 0);
    other.open(&gates[0].key).await;
    assert_eq!(one.close_longer(&gates[0].key, unit).await, unit);

    one.close(&gates[1].key, Duration::from_secs(50)).await;
    let shut = other.pass(&gates[1..]).await.unwrap_err();
    assert!((45..=50).contains(&shut.wait.as_secs()), "{:?}", shut.wait);
}

#[tokio::test]
async fn who_passes_a_gate_that_had_been_closed_is_told() {
    let (one, other) = two().await;
    let gates = [gate("pair", Some(rate(1, 45)))];
    one.close_longer(&gates[0].key, Duration::from_millis(1)).await;
    test_support::eventually("it is open", || async { other.pass(&gates).await.ok() }).await;
    assert!(other.pass(&gates).await.unwrap().was_closed);
    other.open(&gates[0].key).await;
    assert!(!one.pass(&gates).await.unwrap().was_closed);
}

/// Redis does not answer, and it is as if it had: what went through counts, what was closed is closed.
#[tokio::test]
async fn without_an_answer_nothing_opens() {
    let prefix = unique_prefix("throttle");
    let proxy = CuttableProxy::in_front_of(&redis_url(), 6379).await;
    let url = SecretString::from(proxy.url(&redis_url()));
    let shaky = RedisLink::new(&url, &prefix).unwrap();
    eventually("Redis answers", || async { shaky.is_up().await.then_some(()) }).await;
    let (throttle, other) = (Throttle::new(shaky.clone()), Throttle::new(link(&prefix).await));
    let pair = [gate("pair", Some(rate(600, 3)))];
    let app = [gate("app", None)];
    for _ in 0..3 {
        throttle.pass(&pair).await.unwrap();
    }
    // It hears of this when it asks.
    eventually("it was seen closed", || async {
        other.close(&app[0].key, Duration::from_secs(600)).await;
        throttle.pass(&app).await.err()
    })
    .await;
    proxy.cut();
    for gates in [&pair, &app] {
        for _ in 0..3 {
            let shut = throttle.pass(gates).await.unwrap_err();
            assert!(shut.wait > Duration::from_secs(60), "{:?}", shut.wait);
        }
    }
    // What it heard alone, it still knows when Redis is back, which does not.
    let number = [gate("number", Some(rate(1, 100)))];
    throttle.close(&number[0].key, Duration::from_secs(600)).await;
    proxy.restore();
    eventually("Redis answers again", || async {
        shaky.is_up().await.then_some(())
    })
    .await;
    throttle.pass(&number).await.unwrap_err();
}
