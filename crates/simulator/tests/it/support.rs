//! The gateway in front of the WA server (wa-support-gateway contract 3, 6, 7, 8).

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, Simulator};

use crate::{client, start};

const INTERNAL: (&str, &str) = ("x-internal-api-key", "simulator-internal-key");

async fn call(
    simulator: &Simulator,
    method: Method,
    path: &str,
    header: (&str, &str),
    body: Value,
) -> (u16, Value) {
    let response = client()
        .request(method, format!("{}/support{path}", simulator.base_url()))
        .header(header.0, header.1)
        .json(&body)
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

fn customer(id: &str) -> Value {
    json!({"user_id": id, "source": "govconnect", "expires_at": "2099-12-31T23:59:59Z", "max_sessions": 1})
}

async fn new_customer(simulator: &Simulator, id: &str) -> String {
    let (status, body) = call(simulator, Method::POST, "/internal/users", INTERNAL, customer(id)).await;
    assert_eq!(status, 200);
    body["api_key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn internal_routes_want_their_key_and_its_source() {
    let simulator = start().await;
    for (key, text) in [
        ("", "internal api key required"),
        ("wrong", "invalid internal api key"),
        ("govconnect:simulator-internal-key", "invalid internal api key"),
    ] {
        let header = ("x-internal-api-key", key);
        let answer = call(&simulator, Method::GET, "/internal/me", header, json!({})).await;
        assert_eq!(answer, (401, json!({"message": text})), "{key}");
    }
    let (_, me) = call(&simulator, Method::GET, "/internal/me", INTERNAL, json!({})).await;
    assert_eq!(
        me,
        json!({"auth": {"mode": "scoped", "source_service": "govconnect"}})
    );
    let mut foreign = customer("desa-a");
    foreign["source"] = json!("other");
    let refused = call(&simulator, Method::POST, "/internal/users", INTERNAL, foreign).await;
    assert_eq!(
        refused,
        (403, json!({"message": "key only allowed for its own source"}))
    );
    let missing = call(
        &simulator,
        Method::POST,
        "/internal/users",
        INTERNAL,
        json!({"user_id": "x"}),
    );
    assert_eq!(missing.await.0, 400);
}

#[tokio::test]
async fn a_key_is_shown_once_and_replaced_on_demand() {
    let simulator = start().await;
    let first = new_customer(&simulator, "desa-a").await;
    assert!(first.starts_with("gwa_") && first.len() == 47, "{first}");
    assert_eq!(new_customer(&simulator, "desa-a").await, "");
    let rotate = "/internal/users/desa-a/apikey/rotate";
    let (_, rotated) = call(&simulator, Method::POST, rotate, INTERNAL, json!({})).await;
    let second = rotated["api_key"].as_str().unwrap();
    assert_ne!(second, first);
    let old = call(
        &simulator,
        Method::GET,
        "/v1/sessions",
        ("x-api-key", &first),
        json!({}),
    )
    .await;
    assert_eq!(old, (401, json!({"message": "invalid api key"})));
    let new = call(
        &simulator,
        Method::GET,
        "/v1/sessions",
        ("x-api-key", second),
        json!({}),
    )
    .await;
    assert_eq!(new, (200, json!({"sessions": []})));
}

#[tokio::test]
async fn sessions_are_made_at_the_wa_server_called_through_the_proxy_and_removed() {
    let simulator = start().await;
    let key = new_customer(&simulator, "desa-a").await;
    let other = new_customer(&simulator, "desa-b").await;
    let (mine, theirs) = (("x-api-key", key.as_str()), ("x-api-key", other.as_str()));
    let new = json!({"session_name": "desa-a", "webhook_url": "https://hook.example", "events": "All",
                     "auto_connect": true});
    let (status, made) = call(&simulator, Method::POST, "/v1/sessions", mine, new.clone()).await;
    assert_eq!((status, &made["session"]["status"]), (201, &json!("created")));
    let (id, token) = (
        made["session"]["session_id"].as_str().unwrap(),
        made["session"]["session_token"].as_str().unwrap(),
    );
    let user = simulator.wa_users().remove(0);
    assert_eq!(
        (user.id.as_str(), user.name.as_str(), user.connected),
        (id, "desa-a", true)
    );
    let full = call(&simulator, Method::POST, "/v1/sessions", mine, new).await;
    assert_eq!(full, (403, json!({"message": "session limit exceeded"})));

    for prefix in ["/wa", "/v1/wa"] {
        let path = format!("{prefix}/session/status");
        let (status, body) = call(&simulator, Method::GET, &path, ("token", token), json!({})).await;
        assert_eq!((status, &body["data"]["name"]), (200, &json!("desa-a")));
        let unknown = call(&simulator, Method::GET, &path, ("token", "nobody"), json!({})).await;
        assert_eq!(unknown, (403, json!({"message": "record not found"})));
        let admin = format!("{prefix}/admin/users");
        let refused = call(&simulator, Method::GET, &admin, ("token", token), json!({})).await;
        assert_eq!(refused.0, 403);
    }

    let settings = format!("/v1/sessions/{id}/settings");
    let foreign = call(&simulator, Method::GET, &settings, theirs, json!({})).await;
    assert_eq!(foreign, (404, json!({"message": "session not found"})));
    let (_, own) = call(&simulator, Method::GET, &settings, mine, json!({})).await;
    assert_eq!(own["webhook_url"], "https://hook.example");
    let path = format!("/v1/sessions/{id}");
    let foreign = call(&simulator, Method::DELETE, &path, theirs, json!({})).await;
    assert_eq!(foreign, (403, json!({"message": "session not found for user"})));
    assert_eq!(
        call(&simulator, Method::DELETE, &path, mine, json!({})).await.0,
        200
    );
    assert!(simulator.wa_users().is_empty());
    assert!(simulator.support_customers()[0].sessions.is_empty());
}

#[tokio::test]
async fn faults_hit_the_gateway_too() {
    let simulator = start().await;
    let key = new_customer(&simulator, "desa-a").await;
    simulator
        .add_fault(FaultSpec::on_path("/support/v1/sessions", FaultKind::LostAnswer).times(1))
        .unwrap();
    let lost = client()
        .post(format!("{}/support/v1/sessions", simulator.base_url()))
        .header("x-api-key", key)
        .json(&json!({"session_name": "desa-a"}))
        .send()
        .await;
    assert!(lost.is_err());
    assert_eq!(simulator.support_customers()[0].sessions.len(), 1, "it was made");
}
