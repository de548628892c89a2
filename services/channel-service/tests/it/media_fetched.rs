//! Files of messages that are fetched after their message was kept: from an address or from the WhatsApp server, as often
//! as is set, and from nowhere inside.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec};
use test_support::eventually;

use crate::harness::TestApp;
use crate::media::{header, jpeg, picture, sends_file, with_inline, with_s3};

/// Keys under which the simulated server has nothing, or what was put there before.
fn with_keys(mut event: Value, path: &str) -> Value {
    let file = &mut event["event"]["Message"]["imageMessage"];
    file["directPath"] = json!(path);
    file["mediaKey"] = json!(BASE64.encode([7; 32]));
    event
}

impl TestApp {
    fn s3_fails(&self, kind: FaultKind, times: u64) {
        let fault = FaultSpec::on_path("/s3", kind).times(times);
        self.simulator.add_fault(fault).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_behind_an_address_is_fetched_after_a_failure() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let bytes = jpeg(200_000);
    let url = app.simulator.put_s3_object("users/a/b.jpg", bytes.clone());
    app.s3_fails(FaultKind::Cut, 1);
    app.s3_fails(
        FaultKind::Status {
            status: 503,
            body: None,
            retry_after: None,
        },
        1,
    );
    let event = with_s3(
        picture("3EB0IMG1", "jalan rusak"),
        &format!("{url}?X-Amz-Signature=a"),
        bytes.len(),
    );
    let message = app.post(&tenant.json(&event)).await.assert_kept();
    let row = app.until_media("stored").await;
    assert_eq!((&row["attempts"], &row["reason"]), (&json!(2), &Value::Null));
    let (status, _, body) = app.fetch(&app.link("desa-satu", &message), &[]).await;
    assert_eq!(status, 200);
    assert!(body == bytes);
    assert_eq!(app.count("lane_tasks WHERE lane LIKE 'media:%'").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_at_the_whatsapp_server_is_fetched_after_a_failure() {
    let app = TestApp::spawn().await;
    let tenant = app.live_tenant("desa-satu").await;
    let fault = FaultKind::Status {
        status: 500,
        body: Some(json!({"code": 500, "error": "failed to download audio", "success": false})),
        retry_after: None,
    };
    app.simulator
        .add_fault(FaultSpec::on_path("/wa/chat/downloadaudio", fault).times(1))
        .unwrap();
    let mut bytes = b"OggS\0\x02\0\0\0\0\0\0\0\0".to_vec();
    bytes.resize(70_001, 3);
    sends_file(&app, &tenant, "audio", "audio/ogg; codecs=opus", &bytes);
    let row = app.until_media("stored").await;
    assert_eq!((&row["kind"], &row["attempts"]), (&json!("voice"), &json!(1)));
    assert_eq!(row["mime_type"], "audio/ogg");
    let message = row["message_id"].as_str().unwrap();
    let (_, headers, body) = app.fetch(&app.link("desa-satu", message), &[]).await;
    assert!(body == bytes);
    assert!(header(&headers, "content-disposition").starts_with("inline; filename=\"voice.ogg\""));
    // The link was told before the file was there.
    app.until_published().await;
    assert!(app.reads(&app.data_of("message.received")[0]).await == bytes);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_had_holds_no_text() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let gone = format!("{}/s3/gone.jpg", app.simulator.base_url());
    app.post(&tenant.json(&with_s3(picture("3EB0IMG1", "foto satu"), &gone, 9)))
        .await
        .assert_kept();
    app.until_published().await;
    assert_eq!(app.data_of("message.received")[0]["text"], "foto satu");
    let row = app.until_media("failed").await;
    assert_eq!(row["reason"], "url_answers_no_file");
    assert_eq!(app.count("lane_tasks WHERE lane LIKE 'media:%'").await, 0);
    let message = row["message_id"].as_str().unwrap();
    assert_eq!(app.fetch(&app.link("desa-satu", message), &[]).await.0, 404);
    app.run_sql("DELETE FROM media").await;

    // A server that fails every time is asked as often as is set, and no more.
    let event = with_keys(picture("3EB0IMG2", "foto dua"), "/v/unknown");
    app.post(&tenant.json(&event)).await.assert_kept();
    let row = app.until_media("failed").await;
    assert_eq!(
        (&row["reason"], &row["attempts"]),
        (&json!("provider_failed"), &json!(5))
    );
    app.run_sql("DELETE FROM media").await;

    // No source at all.
    app.post(&tenant.json(&picture("3EB0IMG3", "foto tiga")))
        .await
        .assert_kept();
    assert_eq!(app.media_row().await["state"], "none");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_asked_for_as_often_as_its_tenant_wants() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let root = crate::tenant_config::root(&app).await;
    let body = json!({"endpoint_name": "Primary", "webhook_retries": 1});
    crate::tenant_config::assign(&app, &root, "desa-satu", body).await;
    let event = with_keys(picture("3EB0IMG1", "foto"), "/v/unknown");
    app.post(&tenant.json(&event)).await.assert_kept();
    let row = app.until_media("failed").await;
    assert_eq!(
        (&row["reason"], &row["attempts"]),
        (&json!("provider_failed"), &json!(2))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_source_is_tried_when_one_has_no_file() {
    let app = TestApp::spawn().await;
    let tenant = app.live_tenant("desa-satu").await;
    let bytes = jpeg(5_000);
    sends_file(&app, &tenant, "image", "image/jpeg", &bytes);
    let first = app.until_media("stored").await;
    let path = app
        .values("SELECT content::jsonb->'sources'->0->>'direct_path' AS value FROM messages")
        .await;
    app.run_sql("DELETE FROM media").await;

    let gone = format!("{}/s3/gone.jpg", app.simulator.base_url());
    let event = with_keys(
        with_s3(picture("3EB0IMG2", ""), &gone, 9),
        path[0].as_str().unwrap(),
    );
    app.post(&tenant.json(&event)).await.assert_kept();
    let row = app.until_media("stored").await;
    assert_eq!(row["sha256"], first["sha256"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_is_kept_while_the_object_store_is_away() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let bytes = jpeg(4_000);
    let url = app.simulator.put_s3_object("b.jpg", bytes.clone());
    // A file where the directory was: everything below it fails.
    let (place, aside) = (
        app.uploads.path().to_owned(),
        app.uploads.path().with_extension("aside"),
    );
    std::fs::rename(&place, &aside).unwrap();
    std::fs::write(&place, b"").unwrap();

    app.post(&tenant.json(&with_inline(picture("LOST", "satu"), &bytes)))
        .await
        .assert_kept();
    let row = app.media_row().await;
    assert_eq!(
        (&row["state"], &row["reason"]),
        (&json!("failed"), &json!("inline_lost"))
    );
    app.run_sql("DELETE FROM media").await;

    let both = with_s3(with_inline(picture("BOTH", "dua"), &bytes), &url, bytes.len());
    let message = app.post(&tenant.json(&both)).await.assert_kept();
    app.until_published().await;
    assert_eq!(app.data_of("message.received").len(), 2);
    eventually("the fetch was tried", || async {
        let waiting = app.values("SELECT last_error AS value FROM lane_tasks").await;
        (waiting == [json!("storage_unavailable")]).then_some(())
    })
    .await;
    let row = app.media_row().await;
    assert_eq!(
        (&row["state"], &row["attempts"]),
        (&json!("pending"), &json!(0)),
        "our trouble does not count"
    );

    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    app.until_media("stored").await;
    let (_, _, body) = app.fetch(&app.link("desa-satu", &message), &[]).await;
    assert!(body == bytes);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_of_the_own_network_is_dialled() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    // Not listed, and it would answer.
    let inside = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = inside.local_addr().unwrap().port();
    for (id, url, reason) in [
        ("A", format!("http://127.0.0.2:{port}/a.jpg"), "url_private"),
        ("B", format!("http://2130706434:{port}/a.jpg"), "url_private"),
        (
            "C",
            format!("http://[::ffff:127.0.0.2]:{port}/a.jpg"),
            "url_private",
        ),
        (
            "D",
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            "url_private",
        ),
        ("E", "file:///etc/passwd".to_owned(), "url_invalid"),
        ("F", "not-an-address".to_owned(), "url_invalid"),
        (
            "G",
            format!("http://user:secret@127.0.0.1:{port}/a.jpg"),
            "url_invalid",
        ),
    ] {
        app.post(&tenant.json(&with_s3(picture(id, "teks"), &url, 9)))
            .await
            .assert_kept();
        assert_eq!(app.until_media("failed").await["reason"], reason, "{url}");
        app.run_sql("DELETE FROM media").await;
    }
    let redirect = FaultKind::Status {
        status: 302,
        body: None,
        retry_after: None,
    };
    app.s3_fails(redirect, 1);
    let url = app.simulator.put_s3_object("a.jpg", jpeg(100));
    app.post(&tenant.json(&with_s3(picture("H", ""), &url, 9)))
        .await
        .assert_kept();
    assert_eq!(app.until_media("failed").await["reason"], "url_redirects");
    let dialled = tokio::time::timeout(Duration::from_millis(100), inside.accept()).await;
    assert!(dialled.is_err(), "somebody came");
    app.finish().await;
}
