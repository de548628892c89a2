//! Who asks too often: acceptance check 9.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Response;
use runtime::config::SettingsReader;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use wa_support_gateway::config::Settings;

use crate::support::Gateway;

async fn told(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["message"].as_str().unwrap_or_default().to_owned())
}

fn number(answer: &Response, header: &str) -> u64 {
    answer.headers()[header].to_str().unwrap().parse().unwrap()
}

#[test]
fn the_numbers_are_the_contracts_for_addresses_and_higher_for_keys() {
    let settings = Settings::from_reader(SettingsReader::from_map([
        ("DATABASE_URL", "postgres://wa_support:x@db/kanal"),
        ("WA_SERVER_URL", "http://wa-api:8080/"),
        ("WA_ADMIN_TOKEN", "admin"),
        ("REDIS_URL", "redis://cache"),
        ("ENCRYPTION_KEYS", test_support::ENCRYPTION_KEYS),
    ]))
    .unwrap();
    let (address, key) = (settings.traffic.per_address, settings.traffic.per_key);
    assert_eq!(
        (address.window, address.block),
        (Duration::from_secs(60), Duration::from_secs(600))
    );
    assert_eq!((address.most, address.most_in_burst), (120, 40));
    assert_eq!((key.most, key.most_in_burst), (1200, 400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_forty_first_stranger_in_ten_seconds_is_blocked_and_nobody_else() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let asks = (0..41).map(|number| {
        // Whatever it writes into its headers and whichever of the doors it takes.
        let path = ["/wa/session/status", "/v1/wa/session/status", "/v1/usage"][number % 3];
        let request = gateway
            .client
            .get(gateway.url(path))
            .header("x-forwarded-for", format!("198.51.100.{number}"))
            .header("x-real-ip", format!("198.51.100.{number}"))
            .header("token", format!("wat_guess{number}"))
            .header("x-api-key", format!("gwa_guess{number}"));
        async move { told(request.send().await.unwrap()).await }
    });
    let mut answers = join_all(asks).await;
    answers.sort();
    let spam: Vec<_> = answers.iter().filter(|(status, _)| *status == 429).collect();
    assert_eq!(answers.iter().filter(|(status, _)| *status == 401).count(), 40);
    assert_eq!(spam, [&(429, "spam detected".to_owned())]);

    for path in ["/wa/session/status", "/v1/wa/chat/send/text", "/v1/usage"] {
        let answer = gateway
            .client
            .get(gateway.url(path))
            .header("x-forwarded-for", "203.0.113.99")
            .send()
            .await
            .unwrap();
        let wait = number(&answer, "retry-after");
        assert!((590..=601).contains(&wait), "{wait}");
        assert_eq!(number(&answer, "x-ratelimit-limit"), 120);
        assert_eq!(number(&answer, "x-ratelimit-remaining"), 0);
        assert_eq!(
            told(answer).await,
            (429, "ip blocked due to spam".to_owned()),
            "{path}"
        );
    }
    // Who has a token is known by it; what has no limit has none.
    let known = gateway.get("/wa/session/status", &session).send().await.unwrap();
    assert_eq!(known.status(), 200);
    assert_eq!(number(&known, "x-ratelimit-limit"), 1200);
    assert_eq!(number(&known, "x-ratelimit-remaining"), 1199);
    assert!(number(&known, "x-ratelimit-reset") <= 61);
    for (path, status) in [
        ("/", 200),
        ("/health", 200),
        ("/health/live", 200),
        ("/internal/me", 401),
        ("/nowhere", 404),
        ("/v1/nowhere", 404),
        ("/wa", 404),
    ] {
        let answer = gateway.client.get(gateway.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert!(!answer.headers().contains_key("x-ratelimit-limit"), "{path}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_window_refuses_until_it_ends_and_counts_each_address_behind_a_listed_proxy() {
    let gateway = Gateway::start_with(|settings| {
        settings.traffic.per_address.window = Duration::from_secs(3600);
        settings.traffic.per_address.most = 3;
        settings.callers.proxies = "127.0.0.1".parse().unwrap();
    })
    .await;
    let ask = async |forwarded: &str| {
        let request = gateway.client.get(gateway.url("/wa/session/status"));
        request.header("x-forwarded-for", forwarded).send().await.unwrap()
    };
    for left in [2, 1, 0] {
        let answer = ask("198.51.100.1").await;
        assert_eq!(number(&answer, "x-ratelimit-remaining"), left);
        assert_eq!(told(answer).await, (401, "token required".to_owned()));
    }
    let answer = ask("198.51.100.1").await;
    assert!((3000..=3601).contains(&number(&answer, "retry-after")));
    assert_eq!(told(answer).await, (429, "rate limit exceeded".to_owned()));
    // What a caller writes in front of what the proxy wrote is nobody's word.
    assert_eq!(ask("203.0.113.1, 198.51.100.1").await.status(), 429);
    assert_eq!(ask("198.51.100.2").await.status(), 401);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_keys_are_counted_each_on_its_own() {
    let gateway = Gateway::start_with(|settings| {
        settings.traffic.per_key.window = Duration::from_secs(3600);
        settings.traffic.per_key.most = 3;
        settings.traffic.per_key.most_in_burst = 5;
    })
    .await;
    let (a, b) = (gateway.session("desa-a").await, gateway.session("desa-b").await);
    let key = gateway.key_of("desa-a").await;
    let usage = async || {
        let request = gateway.client.get(gateway.url("/v1/usage"));
        request
            .header("x-api-key", key.expose_secret())
            .send()
            .await
            .unwrap()
    };
    let status = async |session| gateway.get("/wa/session/status", session).send().await.unwrap();
    for _ in 0..3 {
        assert_eq!(status(&a).await.status(), 200);
        assert_eq!(usage().await.status(), 200);
    }
    gateway.wa.forget();
    assert_eq!(
        told(status(&a).await).await,
        (429, "rate limit exceeded".to_owned())
    );
    assert_eq!(told(usage().await).await, (429, "rate limit exceeded".to_owned()));
    assert_eq!(
        told(status(&a).await).await,
        (429, "rate limit exceeded".to_owned())
    );
    assert_eq!(told(status(&a).await).await, (429, "spam detected".to_owned()));
    assert_eq!(
        told(status(&a).await).await,
        (429, "ip blocked due to spam".to_owned())
    );
    assert!(
        gateway
            .wa
            .seen()
            .iter()
            .all(|seen| seen.target.ends_with("/health"))
    );
    assert_eq!(status(&b).await.status(), 200);
    // A customer that may do nothing is still counted by its token.
    gateway.sql("UPDATE customers SET status = 'suspended'").await;
    test_support::eventually("it may do nothing", || async {
        let told = told(status(&b).await).await;
        (told.0 == 403 || told.0 == 429).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_process_counts_for_itself() {
    let gateway = Gateway::start_with(|settings| {
        settings.redis.url = "redis://127.0.0.1:1".to_owned().into();
        settings.traffic.per_address.most_in_burst = 3;
        settings.traffic.per_key.window = Duration::from_secs(3600);
        settings.traffic.per_key.most = 2;
    })
    .await;
    let session = gateway.session("desa-a").await;
    let ask = async || told(gateway.client.get(gateway.url("/wa/x")).send().await.unwrap()).await;
    for _ in 0..3 {
        assert_eq!(ask().await.0, 401);
    }
    assert_eq!(ask().await, (429, "spam detected".to_owned()));
    assert_eq!(ask().await, (429, "ip blocked due to spam".to_owned()));
    for expected in [200, 200, 429] {
        let answer = gateway.get("/wa/session/status", &session).send().await.unwrap();
        assert_eq!(answer.status(), expected);
    }
    gateway.stop().await;
}
