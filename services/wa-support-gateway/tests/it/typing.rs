//! A session that shows that it types, and a send that is never the worse for it.

use std::time::Duration;

use serde_json::{Value, json};
use test_support::eventually;

use crate::support::{Gateway, Seen, Session};

async fn typist(gateway: &Gateway) -> Session {
    let session = gateway.session("desa-a").await;
    gateway.sql("UPDATE sessions SET typing_enabled = true").await;
    session
}

fn calls(gateway: &Gateway) -> Vec<Seen> {
    gateway
        .wa
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "POST")
        .collect()
}

fn presence(state: &str, phone: &str) -> Value {
    json!({"Phone": phone, "State": state, "Media": ""})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_goes_out_as_it_came_between_composing_and_paused() {
    let gateway = Gateway::start_with(|settings| settings.traffic.typing = Duration::from_millis(50)).await;
    let session = typist(&gateway).await;
    let body = "{ \"Body\" :\"halo\",\n\"phone\": \"62811\" , \"x\":1e2}";
    let answer = gateway
        .post("/wa/chat/send/text?a=1", &session)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let calls = eventually("it types no longer", || async {
        let calls = calls(&gateway);
        (calls.len() == 3).then_some(calls)
    })
    .await;
    let targets: Vec<&str> = calls.iter().map(|call| call.target.as_str()).collect();
    assert_eq!(
        targets,
        ["/wa/chat/presence", "/wa/chat/send/text?a=1", "/wa/chat/presence"]
    );
    assert_eq!(calls[0].json, presence("composing", "62811"));
    assert_eq!(calls[2].json, presence("paused", "62811"));
    let hash = <sha2::Sha256 as sha2::Digest>::digest(body.as_bytes());
    assert_eq!(calls[1].body_sha256, hex::encode(hash));
    assert_eq!(
        calls[1].header("content-length"),
        Some(body.len().to_string().as_str())
    );
    assert!(
        calls
            .iter()
            .all(|call| call.header("token") == Some(session.token.as_str()))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_typed_goes_out_all_the_same() {
    let gateway = Gateway::start().await;
    let session = typist(&gateway).await;
    let large = json!({"Phone": "62811", "Body": "x".repeat(70_000)}).to_string();
    for (path, body) in [
        ("/wa/chat/send/image", r#"{"Phone":"62811"}"#),
        ("/wa/chat/react", r#"{"Phone":"62811"}"#),
        ("/wa/chat/send/text", r#"{"Phone":62811}"#),
        ("/wa/chat/send/text", "no JSON"),
        ("/wa/chat/send/text", ""),
        ("/wa/chat/send/text", large.as_str()),
    ] {
        gateway.wa.forget();
        let request = gateway.post(path, &session).body(body.to_owned());
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
        let calls = calls(&gateway);
        assert_eq!(calls.len(), 1, "{path}: {calls:?}");
        assert_eq!(
            (calls[0].target.as_str(), calls[0].body_length),
            (path, body.len())
        );
    }
    // Half a body is not sent, typed or not.
    gateway.wa.forget();
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port))
        .await
        .unwrap();
    let head = format!(
        "POST /wa/chat/send/text HTTP/1.1\r\nHost: g\r\ntoken: {}\r\nContent-Length: 100\r\n\r\n{{\"Phone\":\"62811\"",
        session.token
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
        .await
        .unwrap();
    drop(stream);
    assert_eq!(
        gateway
            .get("/wa/session/status", &session)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert!(calls(&gateway).is_empty());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_presence_that_fails_fails_no_send() {
    let gateway = Gateway::start().await;
    let session = typist(&gateway).await;
    gateway.wa.refuse_presence();
    let request = gateway
        .post("/wa/chat/send/text", &session)
        .json(&json!({"Phone": "62811", "Body": "halo"}));
    assert_eq!(request.send().await.unwrap().status(), 200);
    let targets: Vec<String> = calls(&gateway).into_iter().map(|call| call.target).collect();
    assert_eq!(targets, ["/wa/chat/presence", "/wa/chat/send/text"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_does_not_type_does_not() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let request = gateway
        .post("/wa/chat/send/text", &session)
        .json(&json!({"Phone": "62811", "Body": "halo"}));
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(calls(&gateway).len(), 1);
    gateway.stop().await;
}
