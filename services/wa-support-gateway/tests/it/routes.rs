//! System endpoints, browsers, and the document (contract §2, §5, W-26).

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{APP, Gateway, with_callers};

const PAGE: &str = "https://panel.example.id";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_endpoints_answer_as_they_did() {
    let gateway = Gateway::start_for_services().await;
    let root = gateway.call(Method::GET, "/", &[]).await.ok();
    assert_eq!(
        root,
        json!({"service": "genfity-wa-support", "status": "running", "mode": "subscription-gateway"})
    );
    assert_eq!(
        gateway.call(Method::GET, "/health", &[]).await.ok(),
        json!({"status": "healthy"})
    );
    for path in ["/", "/health"] {
        let head = gateway.call(Method::HEAD, path, &[]).await;
        assert_eq!((head.status, head.body), (200, Value::Null), "{path}");
    }
    for (method, path) in [
        (Method::GET, "/nothing"),
        (Method::POST, "/"),
        (Method::DELETE, "/health"),
        (Method::GET, "/v1/nothing"),
        (Method::POST, "/v1/me"),
        (Method::GET, "/v1/me/"),
        (Method::GET, "/v1"),
        (Method::GET, "/wa"),
        (Method::GET, "/internal"),
        (Method::GET, "/internalx/me"),
        (Method::GET, "//v1/me"),
    ] {
        let answer = gateway.call(method.clone(), path, &[]).await;
        if path == "/internal" {
            assert!(matches!(answer.status, 401 | 404), "{}", answer.status);
            continue;
        }
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(
            answer.body["message"].is_string() && answer.body["request_id"].is_string(),
            "{path}"
        );
    }
    for (method, path) in [
        (Method::DELETE, "/internal/users"),
        (Method::GET, "/internal/users/"),
    ] {
        let answer = gateway
            .call(method.clone(), path, &[("x-internal-api-key", APP)])
            .await;
        assert_eq!(answer.status, 404, "{method} {path}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_end_here_and_only_listed_pages_may_call() {
    let gateway = Gateway::start_with(|settings| {
        with_callers(settings);
        settings.http.origins = PAGE.parse().unwrap();
    })
    .await;
    let session = gateway.session("desa-a").await;
    let paths = [
        "/",
        "/v1/me",
        "/v1/nothing",
        "/wa/session/status",
        "/v1/wa/chat/send/text",
        "/internal/users",
        "/nothing",
    ];
    for path in paths {
        let headers = [
            ("origin", PAGE),
            ("token", session.token.as_str()),
            ("access-control-request-method", "POST"),
        ];
        let answer = gateway.call(Method::OPTIONS, path, &headers).await;
        assert_eq!((answer.status, &answer.body), (204, &Value::Null), "{path}");
        let open = path.starts_with("/v1/") || path.starts_with("/wa/");
        let allowed = answer
            .headers
            .get("access-control-allow-origin")
            .map(|value| value.to_str().unwrap());
        assert_eq!(allowed, open.then_some(PAGE), "{path}");
        if open {
            let names = answer.headers["access-control-allow-headers"].to_str().unwrap();
            assert_eq!(names, "Content-Type, Authorization, token, x-api-key");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        }
        let stranger = gateway
            .call(Method::OPTIONS, path, &[("origin", "https://evil.example")])
            .await;
        assert_eq!(stranger.status, 204);
        assert!(
            !stranger.headers.contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
    assert!(gateway.wa.seen().is_empty(), "OPTIONS is never passed on");

    // Answers can be read by the page, refusals too; those of /internal by none.
    let allowed =
        |answer: &crate::support::Answer| answer.headers.contains_key("access-control-allow-origin");
    for (path, status) in [
        ("/wa/session/status", 200),
        ("/v1/me", 401),
        ("/v1/nothing", 404),
        ("/wa/admin/users", 403),
    ] {
        let answer = gateway
            .call(Method::GET, path, &[("origin", PAGE), ("token", &session.token)])
            .await;
        assert_eq!(answer.status, status, "{path}");
        assert!(allowed(&answer), "{path}");
        assert_eq!(answer.headers["vary"], "Origin");
    }
    let headers = [("origin", PAGE), ("x-internal-api-key", APP)];
    assert!(!allowed(
        &gateway.call(Method::GET, "/internal/me", &headers).await
    ));
    gateway.stop().await;

    let closed = Gateway::start().await;
    let answer = closed.call(Method::OPTIONS, "/v1/me", &[("origin", PAGE)]).await;
    assert!(
        answer.status == 204 && !allowed(&answer),
        "nobody is listed by default"
    );
    closed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_describes_what_is_served() {
    let gateway = Gateway::start_with(|settings| settings.http.docs = true).await;
    let document = gateway.call(Method::GET, "/api-docs.json", &[]).await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    let error = &document["components"]["schemas"]["Error"];
    assert_eq!(error["required"], json!(["message", "code", "request_id"]));
    assert!(error["properties"]["message"].is_object() && error["properties"]["error"].is_null());
    for (method, path) in wa_support_gateway::routes::served() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(operation["summary"].is_string(), "{method} {path}");
    }
    for path in [
        "/internal/me",
        "/internal/users",
        "/internal/users/{user_id}/apikey/rotate",
        "/v1/me",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    let page = gateway
        .client
        .get(gateway.url("/api-docs/"))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    gateway.stop().await;

    let without = Gateway::start().await;
    for path in ["/api-docs.json", "/api-docs/"] {
        assert_eq!(without.call(Method::GET, path, &[]).await.status, 404, "{path}");
    }
    without.stop().await;
}
