//! Bodies: streamed both ways, and never without a bound.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use test_support::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Gateway, Seen, raw};

const MIB: usize = 1024 * 1024;

fn sent(gateway: &Gateway) -> Vec<Seen> {
    gateway
        .wa
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "POST")
        .collect()
}

fn chunks(count: usize) -> (reqwest::Body, String) {
    let pieces: Vec<Bytes> = (0..count)
        .map(|number| Bytes::from(vec![u8::try_from(number % 251).unwrap(); 64 * 1024]))
        .collect();
    let hash = hex::encode(Sha256::digest(pieces.concat()));
    (
        reqwest::Body::wrap_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>))),
        hash,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_mebibytes_pass_both_ways_unchanged() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;

    let (body, hash) = chunks(320);
    let request = gateway
        .post("/wa/chat/send/video", &session)
        .header("content-type", "application/json")
        .body(body);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let announced = vec![7; 20 * MIB];
    let announced_hash = hex::encode(Sha256::digest(&announced));
    let request = gateway.post("/wa/chat/send/video", &session).body(announced);
    assert_eq!(request.send().await.unwrap().status(), 200);

    let seen = sent(&gateway);
    assert_eq!(
        (seen[0].body_length, &seen[0].body_sha256, seen[0].complete),
        (20 * MIB, &hash, true)
    );
    assert_eq!(seen[0].header("transfer-encoding"), Some("chunked"));
    assert_eq!(
        (seen[1].body_length, &seen[1].body_sha256),
        (20 * MIB, &announced_hash)
    );
    assert_eq!(seen[1].header("content-length"), Some("20971520"));
    assert_eq!(seen[1].header("transfer-encoding"), None);

    for (query, length) in [("mib=20", None), ("mib=20&sized", Some("20971520"))] {
        let answer = gateway
            .get(&format!("/wa/chat/download?{query}"), &session)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["content-type"], "video/mp4");
        assert_eq!(
            answer
                .headers()
                .get("content-length")
                .map(|value| value.to_str().unwrap()),
            length
        );
        assert_eq!(hex::encode(Sha256::digest(answer.bytes().await.unwrap())), hash);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_flows_before_it_is_complete_and_ends_with_its_caller() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    // More than anything here would buffer: if it were read in full first, this would take its time and memory.
    let answer = gateway
        .get("/wa/chat/download?mib=4096", &session)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let mut pieces = answer.bytes_stream();
    assert!(!pieces.next().await.unwrap().unwrap().is_empty());
    drop(pieces);
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
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let gateway = Gateway::start_with(|settings| settings.body_limit = 1_000_000).await;
    let session = gateway.session("desa-a").await;

    // Announced: refused before a byte of it is read, and the WA server hears nothing.
    let head = format!("token: {}\r\nContent-Length: 1000001\r\n", session.token);
    let answer = raw(gateway.port, "POST", "/wa/chat/send/text", &head, b"").await;
    assert_eq!(
        (answer.status, answer.message().as_str()),
        (413, "request entity too large")
    );
    assert!(sent(&gateway).is_empty());

    let (body, _) = chunks(64);
    let answer = gateway
        .post("/wa/chat/send/text", &session)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["message"],
        "request entity too large"
    );
    // What had flowed by then never becomes a message.
    eventually("the WA server notices", || async { sent(&gateway).pop() }).await;
    assert!(
        sent(&gateway)
            .iter()
            .all(|seen| !seen.complete && seen.body_length <= 1_000_000)
    );

    let exactly = gateway
        .post("/wa/chat/send/text", &session)
        .body(vec![1; 1_000_000]);
    assert_eq!(exactly.send().await.unwrap().status(), 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_body_never_becomes_a_whole_one() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    // What is small is taken whole before anybody hears of it; what is large or of unknown length is on its way already.
    for (framing, begins) in [
        ("Content-Length: 100\r\n\r\n{\"Phone\":", false),
        ("Content-Length: 100000\r\n\r\n{\"Phone\":", true),
        ("Transfer-Encoding: chunked\r\n\r\n9\r\n{\"Phone\":\r\n", true),
    ] {
        gateway.wa.forget();
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        let head = format!(
            "POST /wa/chat/send/text HTTP/1.1\r\nHost: g\r\ntoken: {}\r\n{framing}",
            session.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(stream);
        if begins {
            let seen = eventually("the WA server notices", || async { sent(&gateway).pop() }).await;
            assert!(!seen.complete, "{framing}: {seen:?}");
        } else {
            let after = gateway.post("/wa/chat/send/text", &session).body("{}");
            assert_eq!(after.send().await.unwrap().status(), 200);
            assert!(
                sent(&gateway)
                    .iter()
                    .all(|seen| seen.complete && seen.body_length == 2)
            );
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_body_goes_out_without_one() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    assert_eq!(
        gateway
            .get("/wa/session/status", &session)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let seen = gateway
        .wa
        .seen()
        .into_iter()
        .find(|seen| seen.target == "/wa/session/status")
        .unwrap();
    assert_eq!(
        (seen.header("content-length"), seen.header("transfer-encoding")),
        (None, None)
    );

    let head = format!("token: {}\r\nContent-Length: 0\r\n", session.token);
    assert_eq!(
        raw(gateway.port, "POST", "/wa/session/disconnect", &head, b"")
            .await
            .status,
        200
    );
    let seen = sent(&gateway).pop().unwrap();
    assert_eq!((seen.header("content-length"), seen.body_length), (Some("0"), 0));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_waits_for_permission_to_send_gets_it() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    let head = format!(
        "POST /wa/chat/send/text HTTP/1.1\r\nHost: g\r\ntoken: {}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        session.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 100 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    stream.write_all(b"{}").await.unwrap();
    eventually("the body arrives", || async {
        sent(&gateway).pop().filter(|seen| seen.body_length == 2)
    })
    .await;
    gateway.stop().await;
}
