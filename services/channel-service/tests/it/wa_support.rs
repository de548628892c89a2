//! `/internal/wa-support/*`: the gateway's customers (contract channel-service 1.8, 9.F1).

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec};

use crate::harness::{Answer, LIMITED_KEY, Maker, TestApp, Wishes, refusal};

async fn spawn(maker: Maker) -> TestApp {
    TestApp::with(Wishes {
        maker,
        ..Wishes::default()
    })
    .await
}

async fn get(app: &TestApp, path: &str) -> Answer {
    app.internal(Method::GET, &format!("/wa-support{path}"), None)
        .await
}

async fn data(app: &TestApp, path: &str) -> Value {
    let answer = get(app, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    assert_eq!(answer.json()["success"], true);
    answer.json()["data"].take()
}

async fn provision(app: &TestApp, body: &Value) -> Answer {
    app.internal(Method::POST, "/wa-support/provision", Some(body))
        .await
}

async fn session(app: &TestApp, village: &str) -> Value {
    let path = format!("/whatsapp/session?village_id={village}");
    app.internal(Method::POST, &path, None).await.json()["data"].take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_gateway_only_health_answers() {
    let app = spawn(Maker::Server).await;
    assert_eq!(
        data(&app, "/health").await,
        json!({"configured": false, "status": "not_configured"})
    );
    for path in [
        "/users",
        "/users/desa-satu",
        "/users/desa-satu/sessions/x/settings",
        "/summary",
    ] {
        let answer = get(&app, path).await;
        answer.assert_error(503, "wa_support_not_configured");
        assert_eq!(answer.json()["error"], "WA Support V2 not configured");
        assert_eq!(answer.json()["success"], false);
    }
    provision(&app, &json!({"village_id": "desa-satu"}))
        .await
        .assert_error(503, "wa_support_not_configured");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_how_the_gateway_is_and_nothing_of_what_lies_between() {
    let app = spawn(Maker::Gateway).await;
    let health = data(&app, "/health").await;
    assert_eq!(
        health,
        json!({"configured": true, "status": "connected",
               "detail": {"auth": {"mode": "scoped", "source_service": "govconnect"}}})
    );
    for (kind, detail) in [
        (
            FaultKind::Status {
                status: 401,
                body: Some(json!({"message": "invalid internal api key"})),
                retry_after: None,
            },
            "invalid internal api key",
        ),
        (
            refusal(502, "dial tcp 10.0.0.7", None),
            "WhatsApp gateway is not available",
        ),
        (FaultKind::Cut, "WhatsApp gateway is not available"),
    ] {
        app.simulator
            .add_fault(FaultSpec::on_path("/support/internal/me", kind).times(1))
            .unwrap();
        assert_eq!(
            data(&app, "/health").await,
            json!({"configured": true, "status": "error", "detail": detail})
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_is_provisioned_once_and_its_key_is_used_later() {
    let app = spawn(Maker::Gateway).await;
    let answer = provision(&app, &json!({})).await;
    answer.assert_error(400, "village_id_required");
    assert_eq!(answer.json()["error"], "village_id is required");
    for _ in 0..2 {
        assert_eq!(
            provision(&app, &json!({"village_id": "desa-satu"})).await.json(),
            json!({"success": true, "data": {"user_id": "desa-satu", "provisioned": true}})
        );
    }
    assert_eq!(session(&app, "desa-satu").await["existing"], false);
    let customers = app.simulator.support_customers();
    assert_eq!(customers.len(), 1);
    assert_eq!(
        (customers[0].rotations, customers[0].sessions.len()),
        (0, 1),
        "the key of the provisioning opened the creation"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_are_shown_with_both_ids_their_sessions_and_no_token() {
    let app = spawn(Maker::Gateway).await;
    let made = session(&app, "desa-satu").await;
    provision(&app, &json!({"village_id": "desa-dua"})).await;
    let token = app.simulator.support_customers()[0].sessions[0]
        .session_token
        .clone();

    let users = data(&app, "/users?page=1&limit=500").await;
    assert_eq!(
        users["meta"],
        json!({"page": 1, "limit": 100, "total": 2, "provider": "genfity-wa", "source": "govconnect"})
    );
    let ids: Vec<_> = users["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["id"].clone(), item["user_id"].clone()))
        .collect();
    assert_eq!(
        ids,
        [
            (json!("desa-dua"), json!("desa-dua")),
            (json!("desa-satu"), json!("desa-satu"))
        ]
    );
    let second = data(&app, "/users?page=2&limit=1").await;
    assert_eq!(second["items"][0]["id"], "desa-satu");
    assert_eq!(data(&app, "/users?page=x&limit=-1").await["meta"]["limit"], 20);

    let user = data(&app, "/users/desa-satu").await;
    assert_eq!(
        (&user["user_id"], &user["village_id"], &user["user_info"]["id"]),
        (&json!("desa-satu"), &json!("desa-satu"), &json!("desa-satu"))
    );
    assert_eq!(user["sessions"][0]["session_id"], made["session_id"]);
    assert_eq!(user["sessions"][0]["session_token"], "");
    let nobody = data(&app, "/users/desa-tiga").await;
    assert_eq!(
        nobody,
        json!({"user_id": "desa-tiga", "village_id": "desa-tiga", "user_info": null, "sessions": []})
    );

    let summary = data(&app, "/summary").await;
    assert_eq!(summary["total"], 2);
    assert_eq!(summary["items"][0]["local_session"], Value::Null);
    let local = &summary["items"][1]["local_session"];
    assert_eq!(
        (
            &local["village_id"],
            &local["instance_name"],
            &local["wa_support_user_id"],
            &local["wa_support_session_id"]
        ),
        (
            &json!("desa-satu"),
            &json!("desa-satu"),
            &json!("desa-satu"),
            &made["session_id"]
        )
    );
    assert!(local["created_at"].as_str().unwrap().ends_with('Z'));
    for key in ["wa_number", "status", "last_connected_at"] {
        assert!(local.get(key).is_some(), "{key}");
    }

    let id = made["session_id"].as_str().unwrap();
    assert_eq!(
        data(&app, &format!("/users/desa-satu/sessions/{id}/settings")).await,
        json!({"session_id": id, "webhook_url": "https://channel.example/webhook",
               "message_stat_sent": 0, "message_stat_failed": 0})
    );
    get(&app, "/users/desa-satu/sessions/unheard/settings")
        .await
        .assert_error(404, "session_not_found");
    // Another customer's session is as unknown as any.
    get(&app, &format!("/users/desa-dua/sessions/{id}/settings"))
        .await
        .assert_error(404, "session_not_found");
    let keyless = get(&app, "/users/desa-tiga/sessions/x/settings").await;
    keyless.assert_error(404, "customer_key_not_found");
    assert_eq!(keyless.json()["error"], "API key not found for this user");

    for shown in [users, user, summary] {
        assert!(!shown.to_string().contains(&token));
    }
    app.never_log(&token);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_some_villages_sees_no_list_and_its_own_village_only() {
    let app = spawn(Maker::Gateway).await;
    session(&app, "desa-satu").await;
    session(&app, "desa-dua").await;
    let ask = |path: &'static str| {
        let app = &app;
        async move {
            app.internal_as(LIMITED_KEY, Method::GET, &format!("/wa-support{path}"), None)
                .await
        }
    };
    for path in ["/health", "/users", "/summary"] {
        ask(path).await.assert_error(403, "not_for_all_villages");
    }
    for path in ["/users/desa-dua", "/users/desa-dua/sessions/x/settings"] {
        ask(path).await.assert_error(403, "not_your_village");
    }
    assert_eq!(ask("/users/desa-satu").await.status, 200);
    app.internal_as(
        LIMITED_KEY,
        Method::POST,
        "/wa-support/provision",
        Some(&json!({"village_id": "desa-dua"})),
    )
    .await
    .assert_error(403, "not_your_village");
    let url = format!("{}/internal/wa-support/users", app.url);
    let stranger = app.http().get(url).send().await.unwrap();
    Answer::of(stranger).await.assert_error(401, "api_key_missing");
    app.finish().await;
}
