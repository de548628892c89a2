//! Customers' keys: who is let in, and how a key is replaced (contract §3.2, §6.5, §6.6).

use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::support::{APP, GLOBAL, Gateway, Peer, with_callers};

async fn rotate(gateway: &Gateway, id: &str, body: &Value) -> String {
    let path = format!("/users/{id}/apikey/rotate");
    let answer = gateway.internal(Method::POST, &path, GLOBAL, body).await.ok();
    assert_eq!(answer["user_id"], id);
    answer["api_key"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_customers_key_opens_its_own_door() {
    let gateway = Gateway::start_for_services().await;
    let (a, b) = (
        gateway.customer("desa-a", "app").await,
        gateway.customer("desa-b", "desk").await,
    );
    for (key, id) in [(&a, "desa-a"), (&b, "desa-b")] {
        assert_eq!(gateway.me(key).await.ok()["user"]["id"], id);
        assert_eq!(gateway.me(&format!("  {key} ")).await.status, 200, "trimmed");
    }
    let bearer = format!("Bearer {a}");
    for headers in [
        vec![],
        vec![("x-api-key", " ")],
        vec![("authorization", bearer.as_str())],
        vec![("token", &a)],
    ] {
        let answer = gateway.call(Method::GET, "/v1/me", &headers).await;
        assert_eq!(answer.refusal(), (401, "x-api-key is required"), "{headers:?}");
    }
    let hash = gateway
        .rows("SELECT key_hash AS text FROM api_keys WHERE tenant_id = 'desa-a'")
        .await;
    for wrong in [
        "gwa_wrong",
        &a.to_uppercase(),
        &a[..46],
        &format!("{a}x"),
        APP,
        &hash[0],
        &"x".repeat(4000),
    ] {
        assert_eq!(gateway.me(wrong).await.refusal(), (401, "invalid api key"));
    }
    // A key is for its customer and for nothing else.
    assert_eq!(gateway.internal_get("/me", &a).await.status, 401);
    let unknown = gateway.call(Method::GET, "/v1/nothing", &[]).await;
    assert_eq!(unknown.status, 404, "an unknown path is unknown without a key");
    let method = gateway.call(Method::POST, "/v1/me", &[]).await;
    assert_eq!(
        (method.status, &method.body["code"]),
        (404, &json!("route_not_found"))
    );

    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_is_not_active_is_told_so() {
    let gateway = Gateway::start_for_services().await;
    let key = gateway.customer("desa-a", "app").await;
    gateway.sql("UPDATE customers SET status = 'suspended'").await;
    assert_eq!(gateway.me(&key).await.refusal(), (403, "user is not active"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_a_key_is_not_the_key() {
    let gateway = Gateway::start_for_services().await;
    let first = gateway.customer("desa-a", "app").await;
    let second = rotate(&gateway, "desa-a", &json!({"grace_seconds": 60})).await;
    let known = gateway.internal_get("/users/desa-a/apikey", APP).await.ok();
    assert_eq!(known["user_id"], "desa-a");
    assert_eq!(
        known["note"],
        "api key tidak dapat dibaca kembali karena disimpan dalam bentuk hash"
    );
    assert_eq!(known["prefix"], second[..8]);
    assert_eq!(known["replaced"][0]["prefix"], first[..8]);
    assert!(known["created_at"].is_string() && known["replaced"][0]["valid_until"].is_string());
    let text = known.to_string();
    assert!(!text.contains(&first) && !text.contains(&second));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_key_ends_at_once_or_after_its_grace() {
    let gateway = Gateway::start_for_services().await;
    let first = gateway.customer("desa-a", "app").await;
    assert_eq!(gateway.me(&first).await.status, 200);

    // Any body and none: the original looks at none.
    let second = rotate(&gateway, "desa-a", &json!({})).await;
    assert_eq!(gateway.me(&first).await.refusal(), (401, "invalid api key"));
    assert_eq!(gateway.me(&second).await.status, 200);
    let request = gateway.internal_request(Method::POST, "/users/desa-a/apikey/rotate", APP);
    let third: Value = request.send().await.unwrap().json().await.unwrap();
    let third = third["api_key"].as_str().unwrap().to_owned();
    assert_eq!(gateway.me(&second).await.status, 401);

    let fourth = rotate(&gateway, "desa-a", &json!({"grace_seconds": 5})).await;
    assert_eq!(gateway.me(&third).await.status, 200);
    assert_eq!(gateway.me(&fourth).await.status, 200);
    eventually("the old key ends", || async {
        (gateway.me(&third).await.status == 401).then_some(())
    })
    .await;
    assert_eq!(gateway.me(&fourth).await.status, 200);

    for wrong in [json!(-1), json!(86_401), json!("60"), json!(1.5)] {
        let body = json!({"grace_seconds": wrong});
        let answer = gateway
            .internal(Method::POST, "/users/desa-a/apikey/rotate", APP, &body)
            .await;
        assert_eq!(answer.status, 400, "{body}");
    }
    assert_eq!(
        gateway.me(&fourth).await.status,
        200,
        "a refused rotation changes nothing"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_rotation_takes_the_first_ones_grace_away_and_never_adds_to_it() {
    let gateway = Gateway::start_for_services().await;
    let first = gateway.customer("desa-a", "app").await;
    rotate(&gateway, "desa-a", &json!({"grace_seconds": 3600})).await;
    rotate(&gateway, "desa-a", &json!({"grace_seconds": 86_400})).await;
    let ends = gateway.rows("SELECT (valid_until < now() + interval '2 hours')::text AS text FROM api_keys WHERE valid_until IS NOT NULL ORDER BY id").await;
    assert_eq!(ends, ["true", "false"]);
    assert_eq!(gateway.me(&first).await.status, 200);
    let last = rotate(&gateway, "desa-a", &json!({"grace_seconds": 0})).await;
    assert_eq!(
        gateway.me(&first).await.status,
        401,
        "without grace, all of them end"
    );
    assert_eq!(
        gateway.rows("SELECT count(*)::text AS text FROM api_keys").await,
        ["1"]
    );

    // However often, the number of keys stays small.
    for _ in 0..15 {
        rotate(&gateway, "desa-a", &json!({"grace_seconds": 3600})).await;
    }
    for table in ["api_keys", "tenant_directory"] {
        assert_eq!(
            gateway
                .rows(&format!("SELECT count(*)::text AS text FROM {table}"))
                .await,
            ["10"]
        );
    }
    assert_eq!(
        gateway.me(&last).await.status,
        401,
        "the eleventh last one is gone"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_rotations_leave_one_key_in_use() {
    let gateway = Gateway::start_for_services().await;
    gateway.customer("desa-a", "app").await;
    let body = json!({});
    let keys = join_all((0..10).map(|_| rotate(&gateway, "desa-a", &body))).await;
    let mut good = 0;
    for key in &keys {
        good += usize::from(gateway.me(key).await.status == 200);
    }
    assert_eq!(good, 1);
    gateway.stop().await;
}

/// Copies would live for an hour here: what ends them is what the other process says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_hears_of_a_change_when_it_is_made() {
    let mut shared = None;
    let gateway = Gateway::start_with(|settings| {
        with_callers(settings);
        settings.redis.copies_live = Duration::from_hours(1);
        shared = Some(settings.clone());
    })
    .await;
    let peer = Peer::beside(&gateway, &shared.unwrap()).await;
    // Both begin to listen in the background.
    let probe = gateway.customer("probe", "app").await;
    assert_eq!(peer.me(&probe).await.status, 200);
    eventually("the other process listens", || async {
        rotate(&gateway, "probe", &json!({})).await;
        let newest = rotate(&gateway, "probe", &json!({"grace_seconds": 3600})).await;
        assert_eq!(peer.me(&newest).await.status, 200);
        rotate(&gateway, "probe", &json!({})).await;
        for _ in 0..20 {
            if peer.me(&newest).await.status == 401 {
                return Some(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    })
    .await;

    let first = gateway.customer("desa-a", "app").await;
    assert_eq!(peer.me(&first).await.status, 200);
    let second = rotate(&gateway, "desa-a", &json!({})).await;
    eventually("the replaced key is dead there", || async {
        (peer.me(&first).await.status == 401).then_some(())
    })
    .await;

    assert_eq!(peer.me(&second).await.status, 200);
    let mut wanted = crate::support::wanted("desa-a", "app");
    wanted["expires_at"] = json!("2001-01-01T00:00:00Z");
    gateway.internal(Method::POST, "/users", APP, &wanted).await.ok();
    eventually("the subscription has ended there", || async {
        (peer.me(&second).await.refusal() == (403, "subscription expired")).then_some(())
    })
    .await;
    wanted["expires_at"] = json!(crate::support::NO_END);
    gateway.internal(Method::POST, "/users", APP, &wanted).await.ok();
    eventually("and begun again", || async {
        (peer.me(&second).await.status == 200).then_some(())
    })
    .await;
    peer.stop().await;
    gateway.stop().await;
}

/// A process that hears nothing, without Redis for one, notices a change within a second. A loaded machine gets more, and
/// still far less than the minute for which Redis would keep what nobody takes back.
const NOTICED: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_knows_of_a_change_within_a_second() {
    for redis in [true, false] {
        let mut shared = None;
        let gateway = Gateway::start_with(|settings| {
            with_callers(settings);
            if !redis {
                settings.redis.url = "redis://127.0.0.1:1".to_owned().into();
            }
            shared = Some(settings.clone());
        })
        .await;
        let peer = Peer::beside(&gateway, &shared.unwrap()).await;
        let first = gateway.customer("desa-a", "app").await;
        assert_eq!(peer.me(&first).await.status, 200);

        let second = rotate(&gateway, "desa-a", &json!({})).await;
        let changed = Instant::now();
        assert_eq!(gateway.me(&first).await.status, 401, "here at once");
        eventually("the other process knows", || async {
            (peer.me(&first).await.status == 401).then_some(())
        })
        .await;
        assert!(
            changed.elapsed() < NOTICED,
            "redis {redis}: {:?}",
            changed.elapsed()
        );
        assert_eq!(
            peer.me(&second).await.status,
            200,
            "the new key is good everywhere at once"
        );

        let mut ended = crate::support::wanted("desa-a", "app");
        ended["expires_at"] = json!("2001-01-01T00:00:00Z");
        gateway.internal(Method::POST, "/users", APP, &ended).await.ok();
        let changed = Instant::now();
        assert_eq!(gateway.me(&second).await.refusal(), (403, "subscription expired"));
        eventually("the other process knows", || async {
            (peer.me(&second).await.status == 403).then_some(())
        })
        .await;
        assert!(
            changed.elapsed() < NOTICED,
            "redis {redis}: {:?}",
            changed.elapsed()
        );

        // A grace ends by the clock, whatever a process has at hand.
        ended["expires_at"] = json!(crate::support::NO_END);
        gateway.internal(Method::POST, "/users", APP, &ended).await.ok();
        let third = rotate(&gateway, "desa-a", &json!({"grace_seconds": 2})).await;
        let replaced = Instant::now();
        eventually("the other process lets it in again", || async {
            (peer.me(&third).await.status == 200).then_some(())
        })
        .await;
        eventually("the old key ends there too", || async {
            (peer.me(&second).await.status == 401).then_some(())
        })
        .await;
        assert!(
            replaced.elapsed() < Duration::from_secs(2) + NOTICED,
            "redis {redis}"
        );
        peer.stop().await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_entry_that_outlived_its_key_leads_nowhere() {
    let gateway = Gateway::start_for_services().await;
    let (a, b) = (
        gateway.customer("desa-a", "app").await,
        gateway.customer("desa-b", "app").await,
    );
    gateway
        .sql("DELETE FROM api_keys WHERE tenant_id = 'desa-a'")
        .await;
    assert_eq!(gateway.me(&a).await.refusal(), (401, "invalid api key"));
    // An entry that points to another customer's key opens nothing either.
    gateway
        .sql("UPDATE tenant_directory SET tenant_id = 'desa-a' WHERE tenant_id = 'desa-b' AND kind = 'api_key'")
        .await;
    assert_eq!(gateway.me(&b).await.refusal(), (401, "invalid api key"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_whose_caller_has_left_comes_to_its_end() {
    let gateway = Gateway::start_for_services().await;
    let key = gateway.customer("desa-a", "app").await;
    assert_eq!(gateway.me(&key).await.status, 200);
    // Somebody holds the customer up for a moment.
    let mut holding = gateway.database.admin().await;
    let hold = "BEGIN; SELECT 1 FROM customers FOR UPDATE";
    holding.batch_execute(hold).await.unwrap();
    let rotate = gateway.internal_request(Method::POST, "/users/desa-a/apikey/rotate", APP);
    let impatient = rotate.timeout(Duration::from_millis(300)).send().await;
    assert!(impatient.unwrap_err().is_timeout());
    holding.batch_execute("COMMIT").await.unwrap();
    eventually("the old key ends", || async {
        (gateway.me(&key).await.status == 401).then_some(())
    })
    .await;
    gateway.stop().await;
}
