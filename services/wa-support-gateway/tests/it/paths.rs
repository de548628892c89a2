//! Which paths get through and what becomes of headers and queries: acceptance checks 1, 2 and 3.

use serde_json::{Value, json};

use crate::support::{Gateway, raw};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_prefixes_and_all_ways_to_present_a_token_are_alike() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let mut answers = Vec::new();
    for prefix in ["/wa", "/v1/wa"] {
        let url = gateway.url(&format!("{prefix}/session/status"));
        for (name, value) in [
            ("token", session.token.clone()),
            ("authorization", format!("Bearer {}", session.token)),
            ("authorization", session.token.clone()),
        ] {
            let answer = gateway.client.get(&url).header(name, value).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["content-type"], "application/json");
            assert!(answer.headers().contains_key("x-request-id"));
            answers.push(answer.json::<Value>().await.unwrap());
        }
        // And the query, of which nothing of a token is left upstream.
        let answer = gateway
            .client
            .get(format!("{url}?token={}", session.token))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        answers.push(answer.json::<Value>().await.unwrap());
    }
    let expected = json!({
        "code": 200, "success": true, "data": {"target": "/wa/session/status", "token": session.token},
    });
    assert!(answers.iter().all(|answer| *answer == expected), "{answers:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_under_admin_is_reached_however_it_is_spelled() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let token = format!("token: {}\r\n", session.token);
    for prefix in ["/wa", "/v1/wa"] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            for (path, status, message) in [
                ("/admin/users", 403, "admin path is not exposed"),
                ("/%61dmin/users", 403, "admin path is not exposed"),
                ("/Admin/users", 403, "admin path is not exposed"),
                ("/administrator", 404, "Route not found"),
                ("//admin/users", 400, "invalid path"),
                ("/%2Fadmin/users", 400, "invalid path"),
                ("/./admin/users", 400, "invalid path"),
                ("/%2e/admin/users", 400, "invalid path"),
                ("/chat/../admin/users", 400, "invalid path"),
                ("/chat/%2e%2e/admin/users", 400, "invalid path"),
                ("/chat\\..\\admin", 400, "invalid path"),
                ("/%2561dmin/users", 400, "invalid path"),
                ("/%2563hat/send/text", 400, "invalid path"),
                ("/chat%252Fsend/text", 400, "invalid path"),
                ("/x%3Fa=b", 400, "invalid path"),
                ("/%25zz", 400, "invalid path"),
                ("/chat/history?chat_jid=index", 403, "path is not exposed"),
                ("/session/proxy", 403, "path is not exposed"),
                ("/session/s3/config", 403, "path is not exposed"),
                ("/session/hmac/config", 403, "path is not exposed"),
                ("/health", 404, "Route not found"),
                ("/", 404, "Route not found"),
            ] {
                let target = format!("{prefix}{path}");
                let answer = raw(gateway.port, method, &target, &token, b"").await;
                assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
                assert_eq!(answer.message(), message, "{method} {target}");
            }
        }
    }
    // Other spellings of the prefix, and ways around it.
    for target in [
        "/w%61/session/status",
        "/WA/session/status",
        "//wa/session/status",
        "/v1//wa/session/status",
        "/wa",
    ] {
        let answer = raw(gateway.port, "GET", target, &token, b"").await;
        assert_eq!(answer.status, 404, "{target}: {answer:?}");
    }
    // A browser's question is answered here and goes no further.
    for (method, status) in [
        ("OPTIONS", 204),
        ("TRACE", 404),
        ("CONNECT", 404),
        ("PROPFIND", 404),
    ] {
        let answer = raw(gateway.port, method, "/wa/session/status", &token, b"").await;
        assert_eq!(answer.status, status, "{method}: {answer:?}");
    }
    let seen = gateway.wa.seen();
    assert!(seen.iter().all(|seen| seen.target == "/wa/health"), "{seen:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_ask_for_its_webhook_and_not_set_it() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let answer = gateway.get("/v1/wa/webhook", &session).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for method in [
        reqwest::Method::POST,
        reqwest::Method::PUT,
        reqwest::Method::DELETE,
    ] {
        let request = gateway
            .client
            .request(method, gateway.url("/wa/webhook"))
            .header("token", &session.token);
        let answer = request
            .json(&json!({"webhook": "http://10.0.0.1/"}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403);
        assert_eq!(
            answer.json::<Value>().await.unwrap()["message"],
            "path is not exposed"
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wa_server_sees_one_token_and_only_the_headers_it_needs() {
    let gateway = Gateway::start().await;
    let (a, b) = (gateway.session("desa-a").await, gateway.session("desa-b").await);
    let url = gateway.url(&format!(
        "/wa/chat/send/text?token={0}&a=1&%74oken={0}&TOKEN={0}&b=%20x;token={0}&c=2",
        b.token
    ));
    let request = gateway
        .client
        .post(url)
        .header("authorization", format!("Bearer {}", a.token))
        .header("cookie", "inside=1")
        .header("x-api-key", "gwa_x")
        .header("x-internal-api-key", "inside")
        .header("x-forwarded-for", "1.2.3.4")
        .header("forwarded", "for=1.2.3.4")
        .header("accept-encoding", "gzip")
        .header("te", "trailers")
        .header("x-anything", "1")
        .header("accept", "application/json")
        .json(&json!({"Phone": "62811", "Body": "halo"}));
    assert_eq!(request.send().await.unwrap().status(), 200);
    let seen = gateway
        .wa
        .seen()
        .into_iter()
        .find(|seen| seen.method == "POST")
        .unwrap();
    assert_eq!(seen.target, "/wa/chat/send/text?a=1&c=2");
    assert_eq!(seen.json, json!({"Phone": "62811", "Body": "halo"}));
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["accept", "content-length", "content-type", "host", "token"]
    );
    assert_eq!(seen.header("token"), Some(a.token.as_str()));
    assert_eq!(seen.header("content-length"), Some("31"));
    assert!(!format!("{:?}", gateway.wa.seen()).contains(&b.token));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_back_with_their_status_and_few_headers() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let answer = gateway.get("/wa/chat/busy", &session).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["retry-after"], "7");
    assert_eq!(answer.headers()["content-length"], "10");
    assert!(
        !answer.headers().contains_key("set-cookie") && !answer.headers().contains_key("x-internal-host")
    );
    assert_eq!(answer.text().await.unwrap(), "slow down\n");

    // Consumers look for the WA server's own words.
    let answer = gateway.post("/wa/chat/error", &session).send().await.unwrap();
    assert_eq!(answer.status(), 500);
    let expected = json!({"code": 500, "error": "already connected", "success": false});
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);

    let head = gateway
        .client
        .head(gateway.url("/wa/session/status"))
        .header("token", &session.token);
    let answer = head.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(
        answer.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse::<usize>()
            .unwrap()
            > 0
    );
    assert_eq!(answer.bytes().await.unwrap().len(), 0);
    // The connection is still good for another request after the HEAD.
    assert_eq!(
        gateway
            .get("/wa/session/status", &session)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_routes_have_the_contracts_bodies() {
    let gateway = Gateway::start().await;
    for (path, status, body) in [
        (
            "/",
            200,
            json!({"service": "genfity-wa-support", "status": "running", "mode": "subscription-gateway"}),
        ),
        ("/health", 200, json!({"status": "healthy"})),
        ("/health/live", 200, json!({"status": "alive"})),
        (
            "/health/ready",
            200,
            json!({"status": "ready", "checks": {"database": "up", "redis": "up", "schema": "up", "wa_server": "up"}}),
        ),
    ] {
        let answer = gateway.client.get(gateway.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap(), body, "{path}");
    }
    let answer = gateway.client.get(gateway.url("/nowhere")).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        (&body["message"], &body["code"]),
        (&json!("Route not found"), &json!("route_not_found"))
    );
    gateway.stop().await;
}
