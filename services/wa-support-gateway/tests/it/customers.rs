//! `/internal/users`: customers, made and shown by the services they belong to (contract §6, acceptance 4).

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{APP, Answer, DESK, GLOBAL, Gateway, NO_END, wanted};

const NOT_OWN: (u16, &str) = (403, "user does not belong to this source");
const NOT_ITS_SOURCE: (u16, &str) = (403, "key only allowed for its own source");

async fn upsert(gateway: &Gateway, key: &str, body: &Value) -> Answer {
    gateway.internal(Method::POST, "/users", key, body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_customer_gets_its_key_this_once() {
    let gateway = Gateway::start_for_services().await;
    let first = upsert(&gateway, APP, &wanted("desa-a", "app")).await.ok();
    let key = first["api_key"].as_str().unwrap();
    assert_eq!((key.len(), &key[..4]), (47, "gwa_"));
    assert_eq!(first["user_id"], "desa-a");
    assert_eq!(first["note"], "api_key hanya tampil saat user baru dibuat");
    let again = upsert(&gateway, APP, &wanted("desa-a", "app")).await.ok();
    assert_eq!(again["api_key"], "", "present and empty");
    let me = gateway.me(key).await.ok();
    assert_eq!(
        (&me["user"]["id"], &me["user"]["created_by"]),
        (&json!("desa-a"), &json!("tests"))
    );
    // The key is kept as its hash, in the row and in the directory alike.
    let kept = gateway.rows("SELECT (SELECT string_agg(k::text, '') FROM api_keys k) || (SELECT string_agg(d::text, '') FROM tenant_directory d) AS text").await;
    assert!(!kept[0].contains(key), "the key is nowhere");
    let hash: String = sha256(key);
    assert_eq!(kept[0].matches(&hash).count(), 2);
    gateway.stop().await;
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_out_is_read_as_the_original_reads_it() {
    let gateway = Gateway::start_for_services().await;
    // Any content type, any case of names, unknown fields.
    let body =
        r#"{"User_Id": "desa-a", "SOURCE": "app", "expires_at": "2099-12-31T23:59:59+07:00", "more": [1]}"#;
    let request = gateway
        .internal_request(Method::POST, "/users", APP)
        .header("content-type", "text/plain");
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    let shown = gateway.internal_get("/users/desa-a", APP).await.ok();
    assert_eq!(
        shown["subscription"],
        json!({"provider": "genfity-wa", "status": "active", "expires_at": "2099-12-31T16:59:59Z",
            "max_sessions": 1, "max_messages": 0})
    );
    assert_eq!(
        (&shown["created_by"], &shown["session_count"]),
        (&json!(""), &json!(0))
    );

    // An upsert overwrites the terms, and leaves creator, key and status alone.
    gateway.sql("UPDATE customers SET status = 'suspended'").await;
    let mut more = wanted("desa-a", "app");
    (more["max_sessions"], more["max_messages"]) = (json!(-3), json!(-7));
    more["created_by"] = json!("somebody else");
    upsert(&gateway, APP, &more).await.ok();
    let shown = gateway.internal_get("/users/desa-a", APP).await.ok();
    assert_eq!(
        (&shown["status"], &shown["created_by"]),
        (&json!("suspended"), &json!(""))
    );
    assert_eq!(shown["subscription"]["max_sessions"], 1);
    assert_eq!(
        shown["subscription"]["max_messages"], 0,
        "none and less mean no limit"
    );

    // A past end is taken, and counts at once.
    more["expires_at"] = json!("2001-01-01T00:00:00Z");
    upsert(&gateway, APP, &more).await.ok();
    let shown = gateway.internal_get("/users/desa-a", APP).await.ok();
    assert_eq!(shown["subscription"]["status"], "expired");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_bodies_are_refused_and_change_nothing() {
    let gateway = Gateway::start_for_services().await;
    let change = |field: &str, value: Value| {
        let mut body = wanted("desa-a", "app");
        body[field] = value;
        body.to_string()
    };
    let without = |field: &str| {
        let mut body = wanted("desa-a", "app");
        body.as_object_mut().unwrap().remove(field);
        body.to_string()
    };
    for body in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        without("user_id"),
        without("source"),
        without("expires_at"),
        change("user_id", json!("")),
        change("user_id", json!(7)),
        change("user_id", json!("x".repeat(65))),
        change("user_id", json!("desa\u{0}a")),
        change("user_id", json!("desa a")),
        change("user_id", json!("desa/a")),
        change("source", json!("a".repeat(65))),
        change("source", json!("ap\u{0}p")),
        change("provider", json!("p".repeat(33))),
        change("provider", json!("p\n")),
        change("created_by", json!("c".repeat(129))),
        change("created_by", json!("\u{0}")),
        change("expires_at", json!("2099-12-31")),
        change("expires_at", json!("2099-12-31T23:59:59")),
        change("expires_at", json!(4_102_444_799_i64)),
        change("expires_at", json!("0001-01-01T00:00:00Z")),
        change("max_sessions", json!("1")),
        change("max_sessions", json!(1.5)),
        change("max_sessions", json!(3_000_000_000_i64)),
        change("max_messages", json!(true)),
    ] {
        let request = gateway.internal_request(Method::POST, "/users", GLOBAL);
        let answer = request.body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{body}");
        let said: Value = answer.json().await.unwrap();
        let told = said["message"].as_str().is_some_and(|text| !text.is_empty());
        assert!(told && said["request_id"].is_string(), "{said}");
    }
    gateway.customer("desa-b", "app").await;
    for body in [
        String::new(),
        "[]".to_owned(),
        change("source", json!("ap\u{0}p")),
        change("source", json!(["app"])),
        change("provider", json!("p".repeat(33))),
        change("expires_at", json!("tomorrow")),
        change("max_sessions", json!("1")),
        change("max_messages", json!(1.5)),
    ] {
        let request = gateway.internal_request(Method::PUT, "/users/desa-b", GLOBAL);
        assert_eq!(
            request.body(body.clone()).send().await.unwrap().status(),
            400,
            "{body}"
        );
    }
    let large = vec![b' '; 10 * 1024 * 1024];
    let request = gateway.internal_request(Method::POST, "/users", APP).body(large);
    assert_eq!(request.send().await.unwrap().status(), 413);
    let listed = gateway.internal_get("/users", GLOBAL).await.ok();
    assert_eq!(listed["meta"]["total"], 1, "only the one that was well made");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_neither_sees_nor_takes_nor_changes_anothers_customers() {
    let gateway = Gateway::start_for_services().await;
    let key = gateway.customer("desa-y", "desk").await;
    let before = gateway.rows("SELECT c::text || s::text || k::text AS text FROM customers c JOIN subscriptions s USING (tenant_id) JOIN api_keys k USING (tenant_id)").await;
    let empty = json!({});
    let missing = "desa-none";
    for id in ["desa-y", missing, "what%20is%00this", &"x".repeat(200)] {
        let rotate = format!("/users/{id}/apikey/rotate");
        for (method, path, body) in [
            (Method::GET, format!("/users/{id}"), &empty),
            (Method::GET, format!("/users/{id}/apikey"), &empty),
            (Method::POST, rotate, &empty),
            (Method::PUT, format!("/users/{id}"), &wanted("desa-y", "app")),
            (Method::PUT, format!("/users/{id}"), &json!({"max_sessions": 99})),
        ] {
            let answer = gateway.internal(method.clone(), &path, APP, body).await;
            assert_eq!(answer.refusal(), NOT_OWN, "{method} {path}");
        }
    }
    // Taking it over (W-01), under either name.
    assert_eq!(
        upsert(&gateway, APP, &wanted("desa-y", "app")).await.refusal(),
        NOT_OWN
    );
    assert_eq!(
        upsert(&gateway, APP, &wanted("desa-y", "desk")).await.refusal(),
        NOT_ITS_SOURCE
    );
    let put = gateway
        .internal(Method::PUT, "/users/desa-y", APP, &wanted("desa-y", "desk"))
        .await;
    assert_eq!(put.refusal(), NOT_ITS_SOURCE);
    // Nor may one give its own away.
    gateway.customer("desa-x", "app").await;
    assert_eq!(
        upsert(&gateway, APP, &wanted("desa-x", "desk")).await.refusal(),
        NOT_ITS_SOURCE
    );

    for query in ["", "?source=desk", "?source="] {
        let listed = gateway.internal_get(&format!("/users{query}"), APP).await.ok();
        assert_eq!(
            (&listed["meta"]["total"], &listed["meta"]["source"]),
            (&json!(1), &json!("app"))
        );
        assert_eq!(listed["items"][0]["user_id"], "desa-x");
    }
    let me = gateway.internal_get("/me", APP).await.ok();
    assert_eq!(me["auth"]["source_service"], "app");
    let after = gateway.rows("SELECT c::text || s::text || k::text AS text FROM customers c JOIN subscriptions s USING (tenant_id) JOIN api_keys k USING (tenant_id) WHERE tenant_id = 'desa-y'").await;
    assert_eq!(before, after);
    assert_eq!(gateway.me(&key).await.status, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_global_key_works_for_all_and_learns_what_is_not_there() {
    let gateway = Gateway::start_for_services().await;
    let nobody = (404, "user not found");
    for id in ["desa-none", "what%20is%00this", &"x".repeat(200)] {
        for (method, path, body) in [
            (Method::GET, format!("/users/{id}"), json!({})),
            (Method::GET, format!("/users/{id}/apikey"), json!({})),
            (Method::POST, format!("/users/{id}/apikey/rotate"), json!({})),
            (Method::PUT, format!("/users/{id}"), wanted("desa-none", "app")),
        ] {
            let answer = gateway.internal(method.clone(), &path, GLOBAL, &body).await;
            assert_eq!(answer.refusal(), nobody, "{method} {path}");
        }
    }
    gateway.customer("desa-a", "app").await;
    // It may give a customer to another service.
    upsert(&gateway, GLOBAL, &wanted("desa-a", "desk")).await.ok();
    assert_eq!(
        gateway.internal_get("/users/desa-a", APP).await.refusal(),
        NOT_OWN
    );
    assert_eq!(
        gateway.internal_get("/users/desa-a", DESK).await.ok()["source_service"],
        "desk"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reads_whole_bodies_as_the_original_and_parts_as_parts() {
    let gateway = Gateway::start_for_services().await;
    let mut body = wanted("desa-a", "app");
    (body["max_sessions"], body["max_messages"]) = (json!(5), json!(50));
    upsert(&gateway, APP, &body).await.ok();
    let put = async |body: Value| gateway.internal(Method::PUT, "/users/desa-a", APP, &body).await;
    let terms = async || {
        let shown = gateway.internal_get("/users/desa-a", APP).await.ok();
        let it = &shown["subscription"];
        (
            it["max_sessions"].clone(),
            it["max_messages"].clone(),
            it["status"].clone(),
        )
    };

    assert_eq!(
        put(json!({"max_sessions": 7})).await.ok(),
        json!({"message": "updated"})
    );
    assert_eq!(terms().await, (json!(7), json!(50), json!("active")));
    // The path's id counts; the body's is not looked at.
    put(json!({"user_id": "another", "max_messages": 9})).await.ok();
    assert_eq!(terms().await, (json!(7), json!(9), json!("active")));
    put(json!({"expires_at": "2001-01-01T00:00:00Z"})).await.ok();
    assert_eq!(terms().await, (json!(7), json!(9), json!("expired")));
    gateway.sql("UPDATE subscriptions SET status = 'expired'").await;
    put(json!({"max_sessions": 8})).await.ok();
    assert_eq!(terms().await.2, "expired", "a limit is no renewal");
    put(json!({"expires_at": NO_END})).await.ok();
    assert_eq!(terms().await, (json!(8), json!(9), json!("active")));
    // Whole: what the original sets back is set back.
    put(json!({"source": "app", "expires_at": NO_END})).await.ok();
    assert_eq!(terms().await, (json!(1), json!(0), json!("active")));

    // With another provider there is nothing to change a part of; with an end it is made.
    let other = put(json!({"provider": "another", "max_sessions": 2})).await;
    assert_eq!(other.refusal(), (404, "subscription not found"));
    put(json!({"provider": "another", "expires_at": NO_END, "max_sessions": 2}))
        .await
        .ok();
    let shown = gateway
        .internal_get("/users/desa-a?provider=another", APP)
        .await
        .ok();
    assert_eq!(shown["subscription"]["max_sessions"], 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_has_pages_filters_and_a_zero_subscription() {
    let gateway = Gateway::start_for_services().await;
    for number in 0..25 {
        let source = if number % 5 == 0 { "desk" } else { "app" };
        gateway.customer(&format!("desa-{number:02}"), source).await;
    }
    gateway.session("desa-24").await;
    let list = async |query: &str| gateway.internal_get(&format!("/users{query}"), GLOBAL).await.ok();
    let ids = |listed: &Value| -> Vec<String> {
        let items = listed["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["user_id"].as_str().unwrap().to_owned())
            .collect()
    };

    let first = list("").await;
    assert_eq!(
        first["meta"],
        json!({"page": 1, "limit": 20, "total": 25, "provider": "genfity-wa", "source": ""})
    );
    let item = &first["items"][0];
    assert_eq!(
        (&item["id"], &item["user_id"]),
        (&json!("desa-24"), &json!("desa-24")),
        "newest first"
    );
    assert_eq!(item["session_count"], 1);
    assert_eq!(item["subscription"]["status"], "active");
    let second = list("?page=2").await;
    let all: BTreeSet<String> = ids(&first).into_iter().chain(ids(&second)).collect();
    assert_eq!((ids(&first).len(), ids(&second).len(), all.len()), (20, 5, 25));
    assert_eq!(ids(&list("?page=9").await), Vec::<String>::new());
    assert_eq!(list("?page=9").await["meta"]["total"], 25);

    for (query, page, limit) in [
        ("?page=0&limit=0", 1, 20),
        ("?page=-1&limit=-5", 1, 20),
        ("?page=x&limit=y", 1, 20),
        ("?page=1&limit=101", 1, 100),
        ("?page=2&limit=7", 2, 7),
        ("?page=9223372036854775807", 1_000_000_000, 20),
    ] {
        let meta = &list(query).await["meta"];
        assert_eq!(
            (&meta["page"], &meta["limit"]),
            (&json!(page), &json!(limit)),
            "{query}"
        );
    }
    let desk = list("?source=%20desk%20&limit=3").await;
    assert_eq!(
        (&desk["meta"]["total"], &desk["meta"]["source"]),
        (&json!(5), &json!("desk"))
    );
    assert_eq!(ids(&desk), ["desa-20", "desa-15", "desa-10"]);
    assert_eq!(list("?source=nobody").await["meta"]["total"], 0);

    let other = list("?provider=another&limit=1").await;
    assert_eq!(other["meta"]["provider"], "another");
    assert_eq!(
        other["items"][0]["subscription"],
        json!({"provider": "", "status": "", "expires_at": "0001-01-01T00:00:00Z", "max_sessions": 0, "max_messages": 0})
    );
    assert_eq!(
        other["items"][0]["session_count"], 1,
        "sessions of every provider count"
    );
    for bad in ["?source=%00", "?provider=%00"] {
        assert_eq!(
            gateway.internal_get(&format!("/users{bad}"), GLOBAL).await.status,
            400,
            "{bad}"
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_services_wins_a_new_customer() {
    let gateway = Gateway::start_for_services().await;
    for round in 0..10 {
        let id = format!("desa-{round}");
        let (body_app, body_desk) = (wanted(&id, "app"), wanted(&id, "desk"));
        let (app, desk) = tokio::join!(
            upsert(&gateway, APP, &body_app),
            upsert(&gateway, DESK, &body_desk)
        );
        let (won, lost, owner) = if app.status == 200 {
            (app, desk, "app")
        } else {
            (desk, app, "desk")
        };
        assert_eq!(lost.refusal(), NOT_OWN);
        assert!(won.ok()["api_key"].as_str().is_some_and(|key| !key.is_empty()));
        let shown = gateway.internal_get(&format!("/users/{id}"), GLOBAL).await.ok();
        assert_eq!(shown["source_service"], owner);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_upserts_make_one_customer_one_subscription_and_one_key() {
    let gateway = Gateway::start_for_services().await;
    let body = wanted("desa-a", "app");
    let answers = join_all((0..20).map(|_| upsert(&gateway, APP, &body))).await;
    let keys = answers
        .into_iter()
        .map(|answer| answer.ok()["api_key"].as_str().unwrap().to_owned());
    let keys: Vec<String> = keys.filter(|key| !key.is_empty()).collect();
    assert_eq!(keys.len(), 1, "one of them has made it");
    assert_eq!(gateway.me(&keys[0]).await.status, 200);
    for table in ["customers", "subscriptions", "api_keys", "tenant_directory"] {
        let rows = gateway
            .rows(&format!("SELECT count(*)::text AS text FROM {table}"))
            .await;
        assert_eq!(rows, ["1"], "{table}");
    }
    gateway.stop().await;
}
