//! What strangers hear of the dependencies, by the paths of the service we replace (contract channel-service 1.2).

use serde_json::{Value, json};
use test_support::eventually;

use crate::harness::TestApp;

async fn until(app: &TestApp, path: &str, status: u16) -> Value {
    eventually(&format!("{path} is {status}"), || async {
        let answer = app.get(path).await;
        (answer.status == status).then(|| answer.json())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_dependency_is_shown_and_nothing_of_why_it_is_away() {
    let app = TestApp::spawn().await;
    let database = json!({"status": "ok", "database": "connected"});
    let broker = json!({"status": "ok", "rabbitmq": "connected"});
    assert_eq!(until(&app, "/health/db", 200).await, database);
    assert_eq!(until(&app, "/health/rabbitmq", 200).await, broker);

    app.proxies.postgres.cut();
    let mut away = until(&app, "/health/db", 503).await;
    away["request_id"].take();
    assert_eq!(
        away,
        json!({"status": "error", "database": "disconnected", "error": "Not connected", "code": "disconnected",
               "request_id": null})
    );
    assert_eq!(
        until(&app, "/health/rabbitmq", 200).await,
        broker,
        "one at a time"
    );
    app.proxies.postgres.restore();
    assert_eq!(until(&app, "/health/db", 200).await, database);

    app.proxies.rabbitmq.cut();
    let away = until(&app, "/health/rabbitmq", 503).await;
    assert_eq!(
        (&away["status"], &away["rabbitmq"], &away["error"]),
        (&json!("error"), &json!("disconnected"), &json!("Not connected"))
    );
    assert_eq!(app.get("/health").await.status, 200, "that asks nobody");
    app.proxies.rabbitmq.restore();
    assert_eq!(until(&app, "/health/rabbitmq", 200).await, broker);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_case_service_was_never_called() {
    let app = TestApp::spawn().await;
    let answer = app.get("/health/circuit-breakers").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let breaker = &answer.json()["circuitBreakers"]["caseService"];
    assert_eq!(
        (&breaker["totalRequests"], &breaker["successRate"]),
        (&json!(0), &json!("N/A"))
    );
    assert!(
        answer.json()["timestamp"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
    app.finish().await;
}
