//! What is done to sessions is noted with who did it (W-27), and never with a secret.

use serde_json::{Value, json};

use wa_support_gateway::flows::provision_session::Wanted;

use crate::support::{Gateway, Owner, try_session};

/// Actor, action, session, detail and address of what was done, oldest first.
async fn acts(gateway: &Gateway, customer: &str) -> Vec<String> {
    let query = format!(
        "SELECT concat_ws(' | ', actor, action, subject, detail, source) AS text FROM audit_log \
         WHERE tenant_id = '{customer}' AND action LIKE 'session.%' ORDER BY id"
    );
    gateway.rows(&query).await
}

async fn ask(gateway: &Gateway, owner: &Owner, method: &str, path: &str, body: Value) -> Value {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let call = gateway
        .as_owner(owner, method, path)
        .header("x-forwarded-for", "203.0.113.7");
    let answer = call.json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_customer_does_to_its_sessions_is_noted_under_its_key() {
    let gateway =
        Gateway::start_with(|settings| settings.callers.proxies = "127.0.0.1".parse().unwrap()).await;
    let owner = gateway.owner("desa-a", 1).await;
    let key = &gateway.rows("SELECT id::text AS text FROM api_keys").await[0];
    let wanted = json!({"session_name": "desa-a", "webhook_url": "https://hook.invalid/s3cret-path"});
    let made = ask(&gateway, &owner, "POST", "/v1/sessions", wanted).await["session"].clone();
    let id = made["session_id"].as_str().unwrap();
    let path = format!("/v1/sessions/{id}");
    let change = json!({"session_name": "desa-b", "events": "Message"});
    ask(&gateway, &owner, "PUT", &path, change).await;
    let settings =
        json!({"webhook_url": "https://hook.invalid/other-s3cret", "hmac_key": "s3cret".repeat(10)});
    ask(&gateway, &owner, "PUT", &format!("{path}/settings"), settings).await;
    ask(&gateway, &owner, "PUT", &format!("{path}/settings"), json!({})).await;
    // What did not happen is not noted.
    let taken = json!({"session_name": "one-too-many"});
    assert_eq!(gateway.ask(&owner, "POST", "/v1/sessions", taken).await.0, 403);
    ask(&gateway, &owner, "DELETE", &path, Value::Null).await;

    let by = |act: &str| {
        let (action, detail) = act.split_once(' ').unwrap();
        format!("key:{key} | {action} | {id} | {detail} | 203.0.113.7")
    };
    let acts = acts(&gateway, "desa-a").await;
    assert_eq!(
        acts,
        [
            by("session.create desa-a"),
            by("session.change desa-a: session_name, events, now desa-b"),
            by("session.change desa-b: webhook_url, hmac_key"),
            by("session.delete desa-b"),
        ]
    );
    let token = made["session_token"].as_str().unwrap();
    assert!(
        !acts
            .iter()
            .any(|act| act.contains("s3cret") || act.contains(token))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_to_be_connected_is_noted_and_a_refused_session_is_not() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    let wanted = json!({"session_name": "desa-a", "auto_connect": true});
    ask(&gateway, &owner, "POST", "/v1/sessions", wanted).await;
    let acts = acts(&gateway, "desa-a").await;
    assert_eq!(acts.len(), 1);
    assert!(acts[0].contains("| desa-a, to be connected |"), "{acts:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_does_is_noted_as_its_work() {
    let gateway = Gateway::start().await;
    for _ in 0..2 {
        let made = try_session(&gateway.database.db, &gateway.wa, "desa-a", "desa-a", |_| {}).await;
        made.unwrap();
    }
    let acts = acts(&gateway, "desa-a").await;
    let kinds: Vec<Vec<&str>> = acts
        .iter()
        .map(|act| act.split(" | ").take(2).collect())
        .collect();
    assert_eq!(
        kinds,
        [["operator", "session.create"], ["operator", "session.repair"]]
    );
    let customers = async || {
        let query = "SELECT concat_ws(' | ', actor, action, detail) AS text FROM audit_log \
                     WHERE tenant_id = 'desa-a' AND action LIKE 'customer.%' ORDER BY id";
        gateway.rows(query).await
    };
    // Once, although it was made sure of twice.
    let made = "operator | customer.create | until 2099-12-31T23:59:59Z, sessions 1; for operator".to_owned();
    assert_eq!(customers().await, std::slice::from_ref(&made));
    let more = |wanted: &mut Wanted| wanted.max_sessions = Some(5);
    let again = try_session(&gateway.database.db, &gateway.wa, "desa-a", "desa-a", more).await;
    again.unwrap();
    assert_eq!(
        customers().await,
        [made, "operator | customer.update | sessions 5".to_owned()]
    );
    gateway.stop().await;
}
