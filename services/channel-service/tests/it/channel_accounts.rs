//! The internal key, and which channels a tenant has switched on (contract channel-service 1.1 and 1.7).

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, INTERNAL_KEY, LIMITED_KEY, TestApp, Wishes};

const PATH: &str = "/channel-accounts";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_comes_before_the_route() {
    let app = TestApp::spawn().await;
    let ask = |path: &'static str, header: Option<(&'static str, &'static str)>| {
        let mut request = app.http().get(format!("{}/internal{path}", app.url));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        async move { Answer::of(request.send().await.unwrap()).await }
    };
    for path in [PATH, "/no-such-route"] {
        let answer = ask(path, None).await;
        answer.assert_error(401, "api_key_missing");
        assert_eq!(answer.json()["error"], "Unauthorized: Missing API key");
        ask(path, Some(("x-internal-api-key", "")))
            .await
            .assert_error(401, "api_key_missing");
        let answer = ask(path, Some(("x-internal-api-key", "wrong"))).await;
        answer.assert_error(403, "api_key_invalid");
        assert_eq!(answer.json()["error"], "Forbidden: Invalid API key");
    }
    let known = crate::harness::INTERNAL_KEY;
    for header in ["x-internal-api-key", "X-API-Key"] {
        assert_eq!(ask(PATH, Some((header, known))).await.status, 200);
        let answer = ask("/no-such-route", Some((header, known))).await;
        answer.assert_error(404, "route_not_found");
        assert_eq!(answer.json()["path"], "/internal/no-such-route");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_are_made_kept_and_listed() {
    let app = TestApp::spawn().await;
    let answer = app
        .internal(Method::GET, "/channel-accounts/desa-satu", None)
        .await;
    answer.assert_error(404, "channel_account_not_found");
    assert_eq!(answer.json()["error"], "Channel account not found");

    let put = |path: &'static str, body: Value| {
        let app = &app;
        async move { app.internal(Method::PUT, path, Some(&body)).await }
    };
    let row = put("/channel-accounts/desa-satu", json!({})).await.json()["data"].take();
    assert_eq!(
        (
            &row["wa_number"],
            &row["enabled_wa"],
            &row["enabled_webchat"],
            &row["wa_token"]
        ),
        (&json!(""), &json!(false), &json!(false), &json!(""))
    );
    assert_eq!(row["webhook_url"], "https://channel.example/webhook");
    assert!(row["created_at"].as_str().unwrap().ends_with('Z'));
    // Null is not given, other keys are nobody's business.
    let body = json!({"enabled_webchat": true, "enabled_wa": null, "wa_token": "x", "other": [1]});
    put("/channel-accounts/desa-satu", body).await;
    let body = json!({"wa_number": "6281255500001", "enabled_wa": true});
    let changed = put("/channel-accounts/desa-satu", body).await.json()["data"].take();
    assert_eq!(
        (
            &changed["wa_number"],
            &changed["enabled_wa"],
            &changed["enabled_webchat"]
        ),
        (&json!("6281255500001"), &json!(true), &json!(true))
    );
    assert_eq!(changed["id"], row["id"]);
    put("/channel-accounts/desa-dua", json!({"enabled_wa": true})).await;

    let all = app.internal(Method::GET, PATH, None).await.json();
    assert_eq!(
        all,
        json!({"data": [
            {"village_id": "desa-dua", "enabled_webchat": false, "enabled_wa": true, "wa_number": ""},
            {"village_id": "desa-satu", "enabled_webchat": true, "enabled_wa": true, "wa_number": "6281255500001"},
        ]})
    );
    let webchat = app
        .internal(Method::GET, "/channel-accounts?enabled_webchat=true", None)
        .await
        .json();
    assert_eq!(webchat["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        app.count("tenants").await,
        2,
        "the dashboard registers villages this way"
    );
    let acts = app
        .values("SELECT action AS value FROM audit_log WHERE tenant_id = 'desa-satu' ORDER BY id")
        .await;
    assert_eq!(acts[0], "tenant.create");
    assert_eq!(
        acts[1..],
        [
            json!("channel_account.set"),
            json!("channel_account.set"),
            json!("channel_account.set")
        ]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_key_sees_and_sets_its_own_tenants_only() {
    let app = TestApp::spawn().await;
    for village in ["desa-satu", "desa-dua"] {
        app.internal(
            Method::PUT,
            &format!("{PATH}/{village}"),
            Some(&json!({"enabled_wa": true})),
        )
        .await;
    }
    let limited = |method: Method, path: String, body: Option<Value>| {
        let app = &app;
        async move { app.internal_as(LIMITED_KEY, method, &path, body.as_ref()).await }
    };
    assert_eq!(
        limited(Method::GET, format!("{PATH}/desa-satu"), None)
            .await
            .status,
        200
    );
    limited(Method::GET, format!("{PATH}/desa-dua"), None)
        .await
        .assert_error(403, "not_your_village");
    limited(
        Method::PUT,
        format!("{PATH}/desa-dua"),
        Some(json!({"enabled_wa": false})),
    )
    .await
    .assert_error(403, "not_your_village");
    let seen = limited(Method::GET, PATH.to_owned(), None).await.json();
    assert_eq!(seen["data"].as_array().unwrap().len(), 1);
    assert_eq!(seen["data"][0]["village_id"], "desa-satu");
    let still = app
        .values("SELECT enabled_wa AS value FROM channel_accounts WHERE tenant_id = 'desa-dua'")
        .await;
    assert_eq!(still, [json!(true)]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bodies_are_named_and_change_nothing() {
    let app = TestApp::spawn().await;
    for (body, code) in [
        (json!({"enabled_wa": "true"}), "invalid_field"),
        (json!({"wa_number": 628}), "invalid_field"),
        (json!({"wa_number": "+62 812"}), "invalid_field"),
        (json!({"wa_number": "6281\u{0}"}), "invalid_field"),
        (json!([]), "invalid_json"),
    ] {
        app.internal(Method::PUT, "/channel-accounts/desa-satu", Some(&body))
            .await
            .assert_error(400, code);
    }
    app.internal(Method::PUT, "/channel-accounts/desa%20satu", Some(&json!({})))
        .await
        .assert_error(400, "invalid_village_id");
    assert_eq!(app.count("channel_accounts").await, 0);
    assert_eq!(app.count("tenants").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_cannot_be_undone_in_the_log() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let mut admin = app.database.admin().await;
    for statement in [
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ] {
        let refused = diesel_async::SimpleAsyncConnection::batch_execute(&mut admin, statement).await;
        assert!(refused.is_err(), "{statement}");
    }
    assert_eq!(app.count("audit_log").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_listed_proxy_the_audit_names_the_caller_and_not_the_proxy() {
    let app = TestApp::with(Wishes {
        settings: &[("TRUSTED_PROXIES", "127.0.0.1")],
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    let request = app
        .http()
        .put(format!("{}/internal{PATH}/desa-satu", app.url))
        .header("x-internal-api-key", INTERNAL_KEY)
        .header("x-forwarded-for", "203.0.113.7")
        .json(&json!({"enabled_wa": false}));
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    let source = "SELECT source AS value FROM audit_log WHERE source IS NOT NULL";
    assert_eq!(app.values(source).await, [json!("203.0.113.7")]);
    app.finish().await;
}
