//! What is no webhook is refused in one shape, whatever is wrong with it, and is kept nowhere.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use test_support::logs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{TestApp, Webhook, message, text};

const RARA: &str = "6281290000011";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_webhook() {
    let app = TestApp::spawn().await;
    let desa = app.unsigned_tenant("desa-satu").await;
    let name = desa.session.name.as_str();
    let event = text(RARA, "3EB0BAD", "rahasia-warga-7731");
    let data = event.to_string();
    let repeated = format!(r#"{{"type":"Message","instanceName":"{name}","instanceName":"x","event":{{}}}}"#);
    let long = "n".repeat(300);
    let table: Vec<(Webhook, &str)> = vec![
        (Webhook::raw(JSON, ""), "empty_body"),
        (Webhook::raw(FORM, ""), "empty_body"),
        (Webhook::raw(JSON, "rahasia-warga-7731"), "not_json"),
        (Webhook::raw(JSON, r#"{"type":"Message","event":"#), "not_json"),
        (Webhook::raw(JSON, "[1, 2]"), "not_json"),
        (Webhook::raw(JSON, "null"), "not_json"),
        (Webhook::raw(JSON, "\"text\""), "not_json"),
        (Webhook::raw(JSON, &b"{\"type\":\"\xff\"}"[..]), "not_utf8"),
        (Webhook::raw(JSON, "{}"), "missing_type"),
        (Webhook::raw(JSON, r#"{"type":7}"#), "missing_type"),
        (
            Webhook::raw(JSON, r#"{"object":"x","entry":[]}"#),
            "cloud_payload",
        ),
        (Webhook::raw(JSON, repeated), "duplicate_field"),
        (
            Webhook::raw("text/plain", data.clone()),
            "unsupported_content_type",
        ),
        (
            Webhook::raw("multipart/form-data; boundary=x", data.clone()),
            "unsupported_content_type",
        ),
        (
            Webhook::form(&[("instanceName", name), ("userID", "x")]),
            "missing_json_data",
        ),
        (
            Webhook::form(&[("instanceName", name), ("jsonData", "rahasia-warga-7731")]),
            "invalid_json_data",
        ),
        (
            Webhook::form(&[("instanceName", name), ("jsonData", "null")]),
            "invalid_json_data",
        ),
        (
            Webhook::form(&[("instanceName", name), ("jsonData", &data), ("jsonData", "{}")]),
            "duplicate_field",
        ),
        (
            Webhook::form(&[("instanceName", name), ("instanceName", "x"), ("jsonData", &data)]),
            "duplicate_field",
        ),
        (
            Webhook::form(&[("instanceName", &long), ("jsonData", &data)]),
            "invalid_instance",
        ),
        (
            Webhook::form(&[("instanceName", "a\0b"), ("jsonData", &data)]),
            "invalid_instance",
        ),
    ];
    for (webhook, code) in table {
        app.post(&webhook).await.assert_error(400, code);
    }
    for table in [
        "messages",
        "chats",
        "inbound_ledger",
        "outbox",
        "quarantine",
        "provider_events",
    ] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }
    assert!(
        !logs::hold("rahasia-warga-7731"),
        "{:?}",
        logs::lines_with("rahasia-warga-7731")
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_lack_what_makes_them_usable_are_kept_with_the_tenants_things() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let mut no_id = text(RARA, "", "tanpa nomor");
    no_id["event"]["Info"]["ID"] = json!("");
    let mut traversal = text(RARA, "../../etc/passwd\u{7}", "jalan-jalan");
    traversal["event"]["Info"]["ID"] = json!("../ ../etc");
    let mut odd_chat = text(RARA, "3EB0ODD", "alamat aneh");
    odd_chat["event"]["Info"]["Chat"] = json!({"User": "628", "Server": "x"});
    let bare = json!({"type": "Message"});
    for (event, reason) in [
        (no_id, "unusable_message_id"),
        (traversal, "unusable_message_id"),
        (odd_chat, "unusable_chat"),
        (bare, "unusable_shape"),
    ] {
        app.post(&desa.json(&event))
            .await
            .assert_done("No message to process");
        let kept = app
            .values(
                "SELECT tenant_id || ' ' || type_name || ' ' || reason AS value FROM provider_events \
                 ORDER BY id DESC LIMIT 1",
            )
            .await;
        assert_eq!(kept, [json!(format!("desa-satu Message {reason}"))]);
    }
    assert_eq!(
        (
            app.count("messages").await,
            app.count("quarantine").await,
            app.count("provider_events").await
        ),
        (0, 0, 4)
    );
    // A tenant that has as many as it may have is told to come again, and no other tenant notices.
    app.run_sql(
        "INSERT INTO provider_events (tenant_id, id, account_id, type_name, payload) \
         SELECT 'desa-satu', gen_random_uuid(), gen_random_uuid(), 'X', '{}' FROM generate_series(1, 9996)",
    )
    .await;
    let event = json!({"type": "Message"});
    app.post(&desa.json(&event))
        .await
        .assert_error(503, "temporarily_unavailable");
    app.post(&desa.json(&json!({"type": "NeverHeardOf", "event": {}})))
        .await
        .assert_error(503, "temporarily_unavailable");
    let other = app.tenant("desa-dua").await;
    app.post(&other.json(&event))
        .await
        .assert_done("No message to process");
    app.post(&desa.json(&text(RARA, "3EB0FULL", "tetap diterima")))
        .await
        .assert_kept();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nul_bytes_and_other_poison_are_cleaned_and_harm_no_neighbour() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let mut poison = text(RARA, "3EB0NUL", "awal\u{0}akhir");
    poison["event"]["Info"]["PushName"] = json!("Ra\u{0}ra");
    let unknown_kind = message(RARA, "3EB0RAW", &json!({"futureMessage": {"text": "a\u{0}b"}}));
    let neighbour = text("6281290000022", "3EB0OK", "tetangga");
    let (poison, unknown_kind, neighbour) = tokio::join!(
        async { app.post(&desa.json(&poison)).await },
        async { app.post(&desa.json(&unknown_kind)).await },
        async { app.post(&desa.form(&neighbour)).await },
    );
    for answer in [poison, unknown_kind, neighbour] {
        answer.assert_kept();
    }
    let bodies = app
        .values("SELECT body AS value FROM messages ORDER BY provider_message_id")
        .await;
    assert_eq!(bodies[..2], [json!("awalakhir"), json!("tetangga")]);
    let mut event = json!({"type": "NeverHeardOf", "event": {"text": "c\u{0}d"}});
    app.post(&desa.json(&event)).await.assert_done("Event kept");
    event["type"] = json!("Never\u{0}HeardOf");
    app.post(&desa.json(&event)).await.assert_done("Event kept");
    assert_eq!(app.count("provider_events").await, 2);
    let stranger = Webhook::json(&json!({"type": "Message", "instanceName": "x", "event": "\u{0}"}));
    app.post(&stranger).await.assert_done("Unknown instance");
    app.until_published().await;
    app.finish().await;
}

/// The first line and the JSON body of a raw answer.
fn parts(answer: &[u8]) -> (String, Value) {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    let line = head.lines().next().unwrap_or_default().to_owned();
    (line, serde_json::from_str(body).unwrap_or(Value::Null))
}

async fn read_answer(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        // Enough when the body's closing brace is there; the connection may stay open.
        while !answer.ends_with(b"}") {
            match stream.read(&mut buffer).await {
                Ok(read) if read > 0 => answer.extend_from_slice(&buffer[..read]),
                _ => break,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_over_the_limit_are_413_announced_or_not() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let mut announced = TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {}\r\n\r\n",
        300 * 1024 * 1024
    );
    announced.write_all(head.as_bytes()).await.unwrap();
    let (line, body) = parts(&read_answer(&mut announced).await);
    assert_eq!(
        (line.as_str(), &body["error"], &body["code"]),
        (
            "HTTP/1.1 413 Payload Too Large",
            &json!("request entity too large"),
            &json!("payload_too_large"),
        )
    );
    assert!(body["request_id"].is_string());

    let stream = TcpStream::connect(app.address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let writer = tokio::spawn(async move {
        let head = format!(
            "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        writing.write_all(head.as_bytes()).await?;
        let chunk = [
            format!("{:x}\r\n", 1024 * 1024).into_bytes(),
            vec![b' '; 1024 * 1024],
            b"\r\n".to_vec(),
        ]
        .concat();
        for _ in 0..33 {
            writing.write_all(&chunk).await?;
        }
        // Nothing more: the limit was passed, so the answer needs no last chunk. The connection stays open.
        Ok::<_, std::io::Error>(writing)
    });
    let (line, body) = parts(&read_answer(&mut reading).await);
    assert_eq!(
        (line.as_str(), &body["code"]),
        ("HTTP/1.1 413 Payload Too Large", &json!("payload_too_large"))
    );
    drop(writer.await.unwrap());

    // Large is not too large.
    let photo = "A".repeat(20 * 1024 * 1024);
    let mut event = message(
        RARA,
        "3EB0BIG",
        &json!({"imageMessage": {"mimetype": "image/jpeg", "caption": "besar"}}),
    );
    event["base64"] = json!(photo);
    app.post(&desa.json(&event)).await.assert_kept();
    let content = app.values("SELECT length(content) AS value FROM messages").await;
    assert!(
        content[0].as_u64().unwrap() < 10_000,
        "the file is not in the row: {content:?}"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_paths_and_methods_are_404_in_json_and_health_answers_head() {
    let app = TestApp::spawn().await;
    for (method, path) in [
        (Method::PUT, "/webhook"),
        (Method::DELETE, "/webhook"),
        (Method::PUT, "/whatsapp"),
        (Method::PATCH, "/"),
        (Method::POST, "/health"),
        (Method::DELETE, "/health/ready"),
        (Method::GET, "/nowhere"),
        (Method::POST, "/webhook/"),
        (Method::POST, "/webhook/other"),
        (Method::GET, "/metrics"),
    ] {
        let answer = app.request(method.clone(), path).await;
        answer.assert_error(404, "route_not_found");
        let body = answer.json();
        assert_eq!(
            (&body["error"], &body["path"]),
            (&json!("Route not found"), &json!(path)),
            "{method} {path}"
        );
    }
    for path in ["/health", "/health/live", "/health/ready"] {
        let answer = app.request(Method::HEAD, path).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{path}");
    }
    let health = app.get("/health").await.json();
    assert_eq!(
        json!([health["status"], health["service"]]),
        json!(["ok", "channel-service"])
    );
    assert!(health["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(app.get("/").await.json()["status"], "running");
    app.finish().await;
}
