//! Windows of requests, counted over processes.

use std::net::IpAddr;
use std::time::Duration;

use cache::{CacheKey, HitOutcome, RedisLink, WindowRules, Windows};
use secrecy::SecretString;
use test_support::{CuttableProxy, redis_url, unique_prefix};

use crate::link;

/// So long that no machine is too slow for a window.
const RULES: WindowRules = WindowRules {
    window: Duration::from_secs(600),
    most: 5,
    most_in_burst: 1_000,
    block: Duration::from_secs(600),
};

fn address(text: &str) -> CacheKey {
    CacheKey::of_address("test", text.parse::<IpAddr>().unwrap())
}

async fn passed(windows: &Windows, key: &CacheKey, count: usize) -> usize {
    let mut passed = 0;
    for _ in 0..count {
        passed += usize::from(windows.hit(key).await.outcome == HitOutcome::Passed);
    }
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_exact_over_processes() {
    let prefix = unique_prefix("windows");
    let (one, other) = (
        Windows::new(link(&prefix).await, RULES),
        Windows::new(link(&prefix).await, RULES),
    );
    let key = address("203.0.113.7");
    let hits = (0..40).map(|number| {
        let windows = if number % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        let key = key.clone();
        tokio::spawn(async move { windows.hit(&key).await })
    });
    let mut outcomes = Vec::new();
    for hit in hits.collect::<Vec<_>>() {
        outcomes.push(hit.await.unwrap());
    }
    let passed: Vec<_> = outcomes
        .iter()
        .filter(|hit| hit.outcome == HitOutcome::Passed)
        .collect();
    assert_eq!(passed.len(), 5);
    let mut left: Vec<u32> = passed.iter().map(|hit| hit.left).collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 3, 4]);
    assert!(
        outcomes
            .iter()
            .filter(|hit| hit.outcome != HitOutcome::Passed)
            .all(|hit| hit.outcome == HitOutcome::OverLimit && hit.reset <= RULES.window)
    );
    assert_eq!(
        one.hit(&address("203.0.113.8")).await.left,
        4,
        "others are not concerned"
    );
    // A house with more addresses than anybody could count is one caller; an IPv4 address has two spellings.
    assert_eq!(one.hit(&address("2001:db8:1:1::1")).await.left, 4);
    assert_eq!(other.hit(&address("2001:db8:1:1:ffff::2")).await.left, 3);
    assert_eq!(other.hit(&address("::ffff:203.0.113.8")).await.left, 3);
}

#[tokio::test]
async fn many_at_once_count_each_and_who_leaves_keeps_nobody_waiting() {
    let rules = WindowRules { most: 150, ..RULES };
    let windows = Windows::new(link(&unique_prefix("windows")).await, rules);
    let (one, other) = (address("203.0.113.7"), address("203.0.113.8"));
    let hits: Vec<_> = (0..400)
        .map(|number| {
            let (windows, key) = (
                windows.clone(),
                if number % 2 == 0 {
                    one.clone()
                } else {
                    other.clone()
                },
            );
            tokio::spawn(async move { windows.hit(&key).await.outcome })
        })
        .collect();
    let mut passed = 0;
    for hit in hits {
        passed += usize::from(hit.await.unwrap() == HitOutcome::Passed);
    }
    assert_eq!(passed, 300);

    // The first asks for all; it leaves before there is an answer.
    let third = address("203.0.113.9");
    let (first, asked) = (windows.clone(), third.clone());
    let leaving = tokio::spawn(async move { first.hit(&asked).await });
    tokio::task::yield_now().await;
    leaving.abort();
    let stayed = windows.hit(&third).await;
    assert_eq!(stayed.outcome, HitOutcome::Passed);
    assert!(stayed.left >= 148);
    assert!(leaving.await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_ahead_never_lets_too_many_pass() {
    let rules = WindowRules {
        most: 2_000,
        most_in_burst: 1_000_000,
        ..RULES
    };
    let prefix = unique_prefix("windows");
    let key = address("203.0.113.7");
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (prefix, key) = (prefix.clone(), key.clone());
            tokio::spawn(async move {
                let windows = Windows::new(link(&prefix).await, rules);
                passed(&windows, &key, 1_500).await
            })
        })
        .collect();
    let mut passed = 0;
    for caller in callers {
        passed += caller.await.unwrap();
    }
    // Seven are a 256th of what there is; towards the end none are kept.
    assert!((1_980..=2_000).contains(&passed), "{passed}");
}

#[tokio::test]
async fn one_who_asks_alone_sees_each_request_counted_once() {
    let rules = WindowRules {
        most: 1_000_000,
        most_in_burst: 1_000_000,
        ..RULES
    };
    let prefix = unique_prefix("windows");
    let windows = Windows::new(link(&prefix).await, rules);
    let key = address("203.0.113.7");
    let mut left = rules.most;
    for _ in 0..2_000 {
        let hit = windows.hit(&key).await;
        assert_eq!(hit.outcome, HitOutcome::Passed);
        assert!(hit.left < left, "{} after {left}", hit.left);
        left = hit.left;
    }
    // What is counted ahead is counted for all.
    let elsewhere = Windows::new(link(&prefix).await, rules).hit(&key).await.left;
    assert!(elsewhere < left, "{elsewhere} after {left}");
}

#[tokio::test]
async fn a_window_ends_and_a_new_one_begins() {
    let rules = WindowRules {
        window: Duration::from_millis(700),
        ..RULES
    };
    let windows = Windows::new(link(&unique_prefix("windows")).await, rules);
    let key = address("203.0.113.7");
    assert_eq!(passed(&windows, &key, 6).await, 5);
    test_support::eventually("the window ends", || async {
        (windows.hit(&key).await.outcome == HitOutcome::Passed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_spams_is_blocked_everywhere_and_also_without_redis() {
    let proxy = CuttableProxy::in_front_of(&redis_url(), 6379).await;
    let prefix = unique_prefix("windows");
    let behind = RedisLink::new(&SecretString::from(proxy.url(&redis_url())), &prefix).unwrap();
    test_support::eventually("Redis answers", || async { behind.is_up().await.then_some(()) }).await;
    let rules = WindowRules {
        most: 1_000,
        most_in_burst: 3,
        ..RULES
    };
    let (one, other) = (
        Windows::new(link(&prefix).await, rules),
        Windows::new(behind, rules),
    );
    let key = address("203.0.113.7");
    assert_eq!(passed(&one, &key, 3).await, 3);
    let fourth = other.hit(&key).await;
    assert_eq!((fourth.outcome, fourth.reset), (HitOutcome::Spam, rules.block));
    for windows in [&one, &other] {
        let next = windows.hit(&key).await;
        assert_eq!(next.outcome, HitOutcome::Blocked);
        assert!(next.reset <= rules.block && !next.reset.is_zero());
    }
    proxy.cut();
    assert_eq!(other.hit(&key).await.outcome, HitOutcome::Blocked);
    // Whoever was not seen yet is counted here alone, by the same rules.
    let stranger = address("203.0.113.9");
    assert_eq!(passed(&other, &stranger, 3).await, 3);
    assert_eq!(other.hit(&stranger).await.outcome, HitOutcome::Spam);
    assert_eq!(other.hit(&stranger).await.outcome, HitOutcome::Blocked);
}
