//! Who may call `/internal` (contract §3.1, W-09, W-10).

use reqwest::Method;
use runtime::config::SettingsReader;
use serde_json::json;
use wa_support_gateway::config::Settings;

use crate::support::{APP, GLOBAL, Gateway, wanted, with_callers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_found_where_callers_put_it() {
    let gateway = Gateway::start_for_services().await;
    let me = async |headers: &[(&str, &str)]| gateway.call(Method::GET, "/internal/me", headers).await;
    let bearer = format!("Bearer {APP}");
    for headers in [
        vec![("x-internal-api-key", APP)],
        vec![("x-internal-api-key", "  app-s3cret-key ")],
        vec![("authorization", bearer.as_str())],
        vec![("authorization", APP)],
        vec![("x-internal-api-key", "  "), ("authorization", bearer.as_str())],
        // What is sent in both places counts where it is looked for first.
        vec![("x-internal-api-key", APP), ("authorization", GLOBAL)],
    ] {
        let body = me(&headers).await.ok();
        let scoped = json!({"auth": {"mode": "scoped", "source_service": "app"}});
        assert_eq!(body, scoped, "{headers:?}");
    }
    let body = me(&[("x-internal-api-key", GLOBAL)]).await.ok();
    assert_eq!(body, json!({"auth": {"mode": "global", "source_service": ""}}));

    let prefixed = format!("app:{APP}");
    for (headers, text) in [
        (vec![], "internal api key required"),
        (vec![("authorization", "Bearer ")], "internal api key required"),
        (vec![("x-api-key", APP)], "internal api key required"),
        (
            vec![("x-internal-api-key", prefixed.as_str())],
            "invalid internal api key",
        ),
        (vec![("x-internal-api-key", "app")], "invalid internal api key"),
        (
            vec![
                ("x-internal-api-key", "wrong"),
                ("authorization", bearer.as_str()),
            ],
            "invalid internal api key",
        ),
    ] {
        let answer = me(&headers).await;
        assert_eq!(answer.refusal(), (401, text), "{headers:?}");
        assert!(answer.body["code"].is_string() && answer.body["request_id"].is_string());
    }
    // A stranger does not learn which routes there are.
    let unknown = gateway.call(Method::GET, "/internal/nothing", &[]).await;
    assert_eq!(unknown.refusal().0, 401);
    let unknown = gateway.internal_get("/nothing", APP).await;
    assert_eq!(
        (unknown.status, &unknown.body["code"]),
        (404, &json!("route_not_found"))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_nobody_gets_in() {
    let gateway = Gateway::start().await;
    let answer = gateway.internal_get("/me", "anything").await;
    assert_eq!(answer.refusal(), (401, "invalid internal api key"));
    gateway.stop().await;
}

#[test]
fn malformed_keys_stop_the_start() {
    for keys in [":key", "app:", "app:a,:b", " : "] {
        let error =
            Settings::from_reader(SettingsReader::from_map([("INTERNAL_API_KEYS", keys)])).unwrap_err();
        let named = error
            .problems
            .iter()
            .any(|problem| problem.name == "INTERNAL_API_KEYS");
        assert!(named, "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_are_counted_by_address_and_right_ones_are_not() {
    for redis in [true, false] {
        let gateway = Gateway::start_with(|settings| {
            with_callers(settings);
            settings.callers.proxies = "127.0.0.1".parse().unwrap();
            if !redis {
                settings.redis.url = "redis://127.0.0.1:1".to_owned().into();
            }
        })
        .await;
        let guess = async |from: &str, key: &str| {
            let headers = [("x-forwarded-for", from), ("x-internal-api-key", key)];
            gateway.call(Method::GET, "/internal/me", &headers).await
        };
        let mut refused = None;
        for number in 0..60 {
            let answer = guess("203.0.113.7", &format!("guess-{number}")).await;
            if answer.status == 429 {
                refused = Some((number, answer));
                break;
            }
            assert_eq!(answer.status, 401);
        }
        let (number, answer) = refused.unwrap();
        assert!(number >= 30, "thirty are free, and not {number}");
        let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(wait >= 1);
        assert_eq!(
            guess("203.0.113.7", APP).await.status,
            200,
            "a right key is never refused"
        );
        assert_eq!(
            guess("203.0.113.8", "guess").await.status,
            401,
            "another address is another one"
        );
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_services_do_is_noted_with_who_and_from_where() {
    let gateway = Gateway::start_with(|settings| {
        with_callers(settings);
        settings.callers.proxies = "127.0.0.1".parse().unwrap();
    })
    .await;
    let act = async |method: Method, path: &str, body: serde_json::Value| {
        let request = gateway
            .internal_request(method, path, APP)
            .header("x-forwarded-for", "203.0.113.7");
        assert_eq!(request.json(&body).send().await.unwrap().status(), 200);
    };
    act(Method::POST, "/users", wanted("desa-a", "app")).await;
    act(Method::POST, "/users", wanted("desa-a", "app")).await;
    let mut later = wanted("desa-a", "app");
    later["expires_at"] = json!("2199-12-31T23:59:59Z");
    act(Method::PUT, "/users/desa-a", later).await;
    act(Method::POST, "/users/desa-a/apikey/rotate", json!({})).await;
    let notes = gateway.audit("desa-a").await;
    let actions: Vec<&str> = notes.iter().map(|note| note.1.as_str()).collect();
    assert_eq!(
        actions,
        [
            "customer.create",
            "customer.upsert",
            "customer.update",
            "subscription.renew",
            "key.rotate"
        ]
    );
    assert!(
        notes
            .iter()
            .all(|note| note.0 == "app" && note.2.as_deref() == Some("203.0.113.7")),
        "{notes:?}"
    );
    gateway.stop().await;
}
