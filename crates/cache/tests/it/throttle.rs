//! Gates that slow down, shared by processes.

use std::num::NonZeroU32;
use std::time::Duration;

use cache::{CacheKey, Gate, GateRate, Throttle};
use test_support::unique_prefix;

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
