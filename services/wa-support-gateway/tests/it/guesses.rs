//! What strangers guess costs looks into the directory, and those are bounded; whoever is known is not touched by it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cache::{CacheKey, ReadThrough, RedisLink};
use futures_util::future::join_all;
use reqwest::RequestBuilder;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use tenant_isolation::resolve::ExternalId;
use test_support::{redis_url, unique_prefix};
use uuid::Uuid;
use wa_support_gateway::config::Settings;

use crate::hooks::world::{HookedSession, JSON, Receiver, start_with};
use crate::support::{Gateway, Twin};

/// Many more than an address has looks at once.
const GUESSES: usize = 300;
/// As many as it has at once, and how many more come each second.
const AT_ONCE: u64 = 60;

/// Requests are limited by numbers of their own, which are not what is looked at here.
async fn unlimited() -> Gateway {
    start_with(|settings| {
        settings.traffic.per_address.most = 1_000_000;
        settings.traffic.per_address.most_in_burst = 1_000_000;
        settings.callers.proxies = "127.0.0.1".parse().unwrap();
    })
    .await
}

/// Sends them all and counts the statuses. What is refused says when to come again.
async fn statuses(requests: impl IntoIterator<Item = RequestBuilder>) -> BTreeMap<u16, u64> {
    let answers = requests.into_iter().map(|request| async {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        if status == 429 {
            let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=2).contains(&wait), "{wait}");
        }
        status
    });
    let mut counts = BTreeMap::new();
    for status in join_all(answers).await {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// So many were looked for as the budget allows, and the others were not.
fn assert_bounded(counts: &BTreeMap<u16, u64>, began: Instant) {
    let (unknown, refused) = (counts[&401], counts.get(&429).copied().unwrap_or(0));
    assert_eq!(unknown + refused, GUESSES as u64, "{counts:?}");
    let most = AT_ONCE + began.elapsed().as_secs() + 1;
    assert!((AT_ONCE..=most).contains(&unknown), "{counts:?}, at most {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_bounded_at_every_door_and_keeps_nobody_out_who_is_known() {
    let (gateway, receiver) = (unlimited().await, Receiver::start());
    let hooked = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    let (session, owner) = (gateway.session("desa-b").await, gateway.owner("desa-c", 1).await);
    let here = |request: RequestBuilder| request.header("x-forwarded-for", "203.0.113.7");
    let get = |path: &str| gateway.client.get(gateway.url(path));
    let known = async || {
        let calls = [
            get("/wa/session/status").header("token", &session.token),
            get("/v1/me").header("x-api-key", &owner.key),
        ];
        statuses(calls.map(here)).await
    };
    assert_eq!(known().await, BTreeMap::from([(200, 2)]));
    hooked.accepted(&gateway, &hooked.event("one")).await;

    let tokens = (0..GUESSES).map(|n| here(get("/wa/session/status").header("token", format!("wat_{n}"))));
    let began = Instant::now();
    assert_bounded(&statuses(tokens).await, began);
    let keys = (0..GUESSES).map(|n| here(get("/v1/me").header("x-api-key", format!("gwa_{n}"))));
    let began = Instant::now();
    assert_bounded(&statuses(keys).await, began);
    let began = Instant::now();
    let hooks = (0..GUESSES).map(|_| {
        let hook = gateway
            .client
            .post(gateway.url(&format!("/hooks/{}", Uuid::now_v7())));
        hook.header("content-type", JSON).body("{}")
    });
    assert_bounded(&statuses(hooks).await, began);

    // Known, and also when nothing of it is at hand any more: neither here nor in Redis.
    assert_eq!(known().await, BTreeMap::from([(200, 2)]));
    hooked.accepted(&gateway, &hooked.event("two")).await;
    // Another address is another caller.
    let elsewhere = get("/wa/session/status").header("token", "wat_other");
    let elsewhere = elsewhere.header("x-forwarded-for", "203.0.113.8");
    assert_eq!(statuses([elsewhere]).await, BTreeMap::from([(401, 1)]));
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_token_is_not_a_look_each_time() {
    let gateway = unlimited().await;
    let wrong = (0..GUESSES).map(|_| {
        let request = gateway.client.get(gateway.url("/wa/session/status"));
        request.header("token", "wat_the_same")
    });
    // Each look would have taken from the budget, and it is not spent.
    assert_eq!(statuses(wrong).await, BTreeMap::from([(401, GUESSES as u64)]));
    let other = gateway.client.get(gateway.url("/wa/session/status"));
    assert_eq!(
        statuses([other.header("token", "wat_other")]).await,
        BTreeMap::from([(401, 1)])
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_wrong_a_moment_ago_is_good_within_a_second_of_its_making() {
    let gateway = unlimited().await;
    let session = gateway.session("desa-a").await;
    let hide =
        "UPDATE tenant_directory SET external_id = 'hidden ' || external_id WHERE kind = 'session_token'";
    let show = "UPDATE tenant_directory SET external_id = replace(external_id, 'hidden ', '') \
                WHERE kind = 'session_token'";
    gateway.sql(hide).await;
    assert_eq!(
        gateway
            .get("/wa/session/status", &session)
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    gateway.sql(show).await;
    test_support::eventually("the token is known", || async {
        let answer = gateway.get("/wa/session/status", &session).send().await.unwrap();
        (answer.status() == 200).then_some(())
    })
    .await;
    gateway.stop().await;
}

/// Whoever is refused by the budget of looks was counted there. A block of the address on top of it would keep out who
/// does not guess.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_is_refused_is_not_counted_against_its_address_again() {
    for (path, name) in [("/wa/session/status", "token"), ("/v1/me", "x-api-key")] {
        let gateway = start_with(|settings| settings.traffic.per_address.most_in_burst = 100).await;
        let guesses = (0..GUESSES).map(|n| {
            let request = gateway.client.get(gateway.url(path));
            request.header(name, format!("{name}_{n}"))
        });
        let said = join_all(guesses.map(|request| async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }));
        let said = said.await;
        assert!(said.iter().any(|(status, _)| *status == 429), "{path}");
        let blocked = said.iter().filter(|(_, text)| text.contains("spam")).count();
        assert_eq!(blocked, 0, "{path}");
        gateway.stop().await;
    }
}

/// Most tokens are only ever read from Redis: another process has looked for them. They are no guess either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_has_found_is_known_here() {
    let gateway = unlimited().await;
    let prefix = unique_prefix("wa-support");
    let same_redis = |settings: &mut Settings| {
        settings.redis.prefix.clone_from(&prefix);
        settings.traffic.per_address.most = 1_000_000;
        settings.traffic.per_address.most_in_burst = 1_000_000;
    };
    let (one, two) = (
        Twin::of(&gateway, same_redis).await,
        Twin::of(&gateway, same_redis).await,
    );
    let (session, owner) = (gateway.session("desa-b").await, gateway.owner("desa-c", 1).await);
    let known = |twin: &Twin| {
        [
            ("/wa/session/status", "token", &session.token),
            ("/v1/me", "x-api-key", &owner.key),
        ]
        .map(|(path, name, secret)| gateway.client.get(twin.url(path)).header(name, secret))
    };
    for twin in [&one, &two] {
        assert_eq!(statuses(known(twin)).await, BTreeMap::from([(200, 2)]));
    }
    let guess = async |many: usize| {
        for (path, name) in [("/wa/session/status", "token"), ("/v1/me", "x-api-key")] {
            let guesses = (0..many).map(|_| {
                let request = gateway.client.get(two.url(path));
                request.header(name, format!("{name}_{}", Uuid::now_v7()))
            });
            assert!(statuses(guesses).await.contains_key(&429), "{path}");
        }
    };
    guess(GUESSES).await;
    // Neither in Redis any more nor at hand.
    let redis = RedisLink::new(&SecretString::from(redis_url()), &prefix).unwrap();
    let copies: ReadThrough<String> = ReadThrough::new(redis, 10);
    for (kind, secret) in [("session_token", &session.token), ("api_key", &owner.key)] {
        let hash = hex::encode(Sha256::digest(secret));
        let external = ExternalId::new(kind, &hash).unwrap();
        copies.forget_once(&CacheKey::of_external(&external)).await;
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // Nor is a look left that came again meanwhile.
    guess(20).await;
    assert_eq!(statuses(known(&two)).await, BTreeMap::from([(200, 2)]));
    one.stop().await;
    two.stop().await;
    gateway.stop().await;
}
