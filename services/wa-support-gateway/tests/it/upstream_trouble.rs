//! A WA server that is away, slow, or wants to send callers elsewhere: acceptance check 12.

use std::time::Duration;

use runtime::config::{BaseUrl, Setting as _};
use serde_json::Value;
use test_support::eventually;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::support::Gateway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_wa_server_is_a_502_that_names_no_host() {
    let gateway = Gateway::start_with(|settings| {
        settings.wa_server.url = BaseUrl::from_text("http://127.0.0.1:9/wa").unwrap();
    })
    .await;
    let session = gateway.session("desa-a").await;
    for path in ["/wa/session/status", "/v1/wa/user/contacts"] {
        let answer = gateway.get(path, &session).send().await.unwrap();
        assert_eq!(answer.status(), 502);
        let text = answer.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["message"], "upstream unavailable");
        // Senders may repeat after this code, and after no other 502.
        assert_eq!(body["code"], "upstream_unreachable");
        assert!(!text.contains("127.0.0.1") && !text.contains(":9"), "{text}");
    }
    // The gateway itself is ready: it says what is missing.
    let ready = gateway
        .client
        .get(gateway.url("/health/ready"))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(
        ready.json::<Value>().await.unwrap()["checks"]["wa_server"],
        "down"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_up_is_unavailable_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let gateway = Gateway::start_with(|settings| {
        settings.wa_server.url = BaseUrl::from_text(&format!("http://127.0.0.1:{port}")).unwrap();
    })
    .await;
    let session = gateway.session("desa-a").await;
    let answer = gateway.get("/wa/session/status", &session).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["message"], "upstream unavailable");
    assert_eq!(
        body["code"], "upstream_unavailable",
        "it may have done what it was asked"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_a_504() {
    let gateway =
        Gateway::start_with(|settings| settings.wa_server.read_timeout = Duration::from_millis(400)).await;
    let session = gateway.session("desa-a").await;
    let answer = gateway.get("/wa/chat/never", &session).send().await.unwrap();
    assert_eq!(answer.status(), 504);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["message"],
        "upstream did not answer in time"
    );
    eventually("the call is given up", || async {
        (gateway.wa.abandoned() == 1).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_not_passed_on() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let answer = gateway.post("/wa/chat/redirect", &session).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(!answer.headers().contains_key("location"));
    assert_eq!(
        answer.json::<Value>().await.unwrap()["message"],
        "upstream unavailable"
    );
    assert!(!gateway.wa.seen().iter().any(|seen| seen.target.contains("admin")));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_takes_its_call_along() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    let head = format!(
        "GET /wa/chat/never HTTP/1.1\r\nHost: g\r\ntoken: {}\r\n\r\n",
        session.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("the call arrives", || async {
        gateway
            .wa
            .seen()
            .iter()
            .any(|seen| seen.target.ends_with("/chat/never"))
            .then_some(())
    })
    .await;
    assert_eq!(gateway.wa.abandoned(), 0);
    drop(stream);
    eventually("the call is given up", || async {
        (gateway.wa.abandoned() == 1).then_some(())
    })
    .await;
    gateway.stop().await;
}
