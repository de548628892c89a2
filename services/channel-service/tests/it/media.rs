//! Files of messages: kept, fetched, handed out, and never in the way of the text.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cache::RedisLink;
use channel_service::flows::erase_tenant::erase;
use channel_service::flows::tenant::Actor;
use channel_service::workers::media::sweep;
use domain::ids::{MessageId, TenantId};
use domain::user::Role;
use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, Inbound, InboundMedia};
use tenant_isolation::{TenantScope, TenantTransaction};
use test_support::eventually;
use uuid::Uuid;

use crate::harness::{MediaWishes, Tenant, TestApp, Wishes, message};
use crate::signing_in::{ask, bearer_of};

const FROM: &str = "6281290000022";

/// A picture of this many bytes.
pub(crate) fn jpeg(size: usize) -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01".to_vec();
    bytes.extend((bytes.len()..size).map(|at| u8::try_from(at % 251).unwrap()));
    bytes
}

/// A picture with a caption, as it comes without its bytes and without keys.
pub(crate) fn picture(id: &str, caption: &str) -> Value {
    message(
        FROM,
        id,
        &json!({"imageMessage": {"mimetype": "image/jpeg", "caption": caption}}),
    )
}

pub(crate) fn with_inline(mut event: Value, bytes: &[u8]) -> Value {
    event["base64"] = json!(BASE64.encode(bytes));
    event["mimeType"] = json!("image/jpeg");
    event
}

pub(crate) fn with_s3(mut event: Value, url: &str, size: usize) -> Value {
    event["s3"] = json!({"url": url, "key": "users/a/b.jpg", "bucket": "wa", "size": size,
                         "mimeType": "image/jpeg", "fileName": "b.jpg"});
    event
}

/// Keys under which the simulated server has nothing, or what was put there before.
fn with_keys(mut event: Value, path: &str) -> Value {
    let file = &mut event["event"]["Message"]["imageMessage"];
    file["directPath"] = json!(path);
    file["mediaKey"] = json!(BASE64.encode([7; 32]));
    event
}

/// Somebody sends a file; the server holds it and posts the webhook itself.
pub(crate) fn sends_file(app: &TestApp, tenant: &Tenant, kind: &str, mimetype: &str, bytes: &[u8]) {
    let message = Inbound {
        session: tenant.session.id.clone(),
        from: FROM.to_owned(),
        text: (kind != "audio").then(|| "jalan rusak".to_owned()),
        media: Some(InboundMedia {
            kind: kind.to_owned(),
            mimetype: mimetype.to_owned(),
            data: BASE64.encode(bytes),
            file_name: None,
            ptt: kind == "audio",
        }),
        ..Inbound::default()
    };
    app.simulator.inbound(&message).unwrap();
}

impl TestApp {
    /// Both have a row in each of the files' tables; with no condition at all, one tenant sees its own.
    async fn no_row_is_seen_by(&self, one: &Tenant, other: &Tenant) {
        #[derive(diesel::QueryableByName)]
        struct Seen {
            #[diesel(sql_type = diesel::sql_types::Text)]
            tenant_id: String,
        }
        for tenant in [one, other] {
            self.run_sql(&format!(
                "INSERT INTO media_garbage VALUES ('{}', 'x')",
                tenant.id
            ))
            .await;
        }
        for table in ["media", "media_garbage"] {
            assert_eq!(self.count(table).await, 2);
            let mut tx = TenantTransaction::begin(&self.direct, &one.scope(), "look around")
                .await
                .unwrap();
            let query = format!("SELECT tenant_id FROM {table}");
            let seen: Vec<Seen> = diesel_async::RunQueryDsl::load(diesel::sql_query(query), tx.connection())
                .await
                .unwrap();
            assert!(seen.len() == 1 && seen[0].tenant_id == one.id, "{table}");
        }
    }

    async fn media_row(&self) -> Value {
        let mut rows = self.rows("SELECT * FROM media").await;
        assert!(rows.len() <= 1, "{rows:?}");
        rows.pop().unwrap_or(Value::Null)
    }

    async fn until_media(&self, state: &str) -> Value {
        eventually(&format!("the file is {state}"), || async {
            let row = self.media_row().await;
            (row["state"] == state).then_some(row)
        })
        .await
    }

    /// The path and query of a link to the message's file.
    pub(crate) fn link(&self, tenant: &str, message: &str) -> String {
        let tenant = TenantId::parse(tenant).unwrap();
        let message = MessageId::from_uuid(message.parse().unwrap());
        let urls = self.media.links.of(&tenant, message);
        let path = urls.public.strip_prefix("https://files.example").unwrap();
        assert_eq!(urls.internal, format!("http://inside.example{path}"));
        path.to_owned()
    }

    async fn fetch(&self, path: &str, headers: &[(&'static str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
        self.fetch_as(Method::GET, path, headers).await
    }

    async fn fetch_as(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> (u16, HeaderMap, Vec<u8>) {
        let mut request = self.http().request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.bytes().await.unwrap().to_vec())
    }

    /// Every object there is.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        files_under(self.uploads.path())
    }

    fn s3_fails(&self, kind: FaultKind, times: u64) {
        let fault = FaultSpec::on_path("/s3", kind).times(times);
        self.simulator.add_fault(fault).unwrap();
    }
}

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths
        .into_iter()
        .flat_map(|path| {
            if path.is_dir() {
                files_under(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[track_caller]
fn assert_harmless(headers: &HeaderMap) {
    assert_eq!(header(headers, "x-content-type-options"), "nosniff");
    assert_eq!(
        header(headers, "content-security-policy"),
        "default-src 'none'; sandbox"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_inside_the_webhook_is_there_with_its_message() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let bytes = jpeg(300_000);
    for (webhook, id) in [
        (
            tenant.json(&with_inline(picture("3EB0IMG1", "jalan rusak"), &bytes)),
            "3EB0IMG1",
        ),
        (
            tenant.form(&with_inline(picture("3EB0IMG2", ""), &bytes)),
            "3EB0IMG2",
        ),
    ] {
        let message = app.post(&webhook).await.assert_kept();
        let row = app.media_row_of(&message).await;
        assert_eq!(
            (&row["state"], &row["kind"]),
            (&json!("stored"), &json!("image")),
            "{id}"
        );
        assert_eq!(
            (&row["mime_type"], &row["size"]),
            (&json!("image/jpeg"), &json!(bytes.len()))
        );
        let (status, headers, body) = app.fetch(&app.link("desa-satu", &message), &[]).await;
        assert_eq!(status, 200);
        assert!(body == bytes);
        assert_eq!(header(&headers, "content-type"), "image/jpeg");
        assert_eq!(
            header(&headers, "content-disposition"),
            "inline; filename=\"image.jpg\"; filename*=UTF-8''image.jpg"
        );
        assert!(header(&headers, "cache-control").starts_with("private, max-age="));
        assert_harmless(&headers);
    }
    assert_eq!(
        app.count("lane_tasks WHERE lane LIKE 'media:%'").await,
        0,
        "nothing is left to be fetched"
    );
    assert_eq!(app.count("lanes WHERE lane LIKE 'media:%'").await, 0);
    app.until_published().await;
    let told = app.data_of("message.received");
    assert_eq!(told.len(), 2);
    for data in told {
        assert!(app.reads(&data).await == bytes);
    }
    app.finish().await;
}

impl TestApp {
    /// The file whose link an event carries for our own services.
    async fn reads(&self, data: &Value) -> Vec<u8> {
        let url = data["media"]["url"].as_str().unwrap();
        let path = url.strip_prefix("http://inside.example").unwrap();
        let (status, _, body) = self.fetch(path, &[]).await;
        assert_eq!(status, 200);
        body
    }

    async fn media_row_of(&self, message: &str) -> Value {
        self.rows(&format!("SELECT * FROM media WHERE message_id = '{message}'"))
            .await
            .remove(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_brought_again_brings_no_second_object() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let webhook = tenant.json(&with_inline(picture("3EB0IMG1", ""), &jpeg(50_000)));
    // At once, so that all of them find the message unknown.
    let answers = futures_util::future::join_all((0..6).map(|_| app.post(&webhook))).await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.json()["message_id"].is_string())
            .count(),
        1
    );
    app.post(&webhook).await.assert_done("Duplicate message");
    assert_eq!(app.objects().len(), 1);
    let row = app.media_row().await;
    assert!(app.objects()[0].ends_with(row["object_key"].as_str().unwrap()));
    app.finish().await;
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
async fn content_decides_what_a_file_is_and_nothing_runs() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let hostile = [
        (
            "HTML",
            &b"<!DOCTYPE html><script>alert(document.cookie)</script>"[..],
            "script",
        ),
        (
            "SVG",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"></svg>",
            "script",
        ),
        ("EXE", b"MZ\x90\0\x03\0\0\0\x04", "executable"),
        ("PDF-CALLED-PNG", b"%PDF-1.7\n%", "type_mismatch"),
    ];
    for (id, bytes, reason) in hostile {
        let mut event = with_inline(picture(id, ""), bytes);
        event["event"]["Message"] =
            json!({"documentMessage": {"mimetype": "image/png", "fileName": "gambar.svg"}});
        let message = app.post(&tenant.json(&event)).await.assert_kept();
        let row = app.rows(&format!("SELECT state, reason, object_key IS NOT NULL AS kept FROM media WHERE message_id = '{message}'")).await;
        assert_eq!(
            row,
            [json!({"state": "quarantined", "reason": reason, "kept": true})],
            "{id}"
        );
        let (status, ..) = app.fetch(&app.link("desa-satu", &message), &[]).await;
        assert_eq!(status, 404, "{id}");
    }
    let mut event = with_inline(picture("OWN", ""), b"\x01\x02\x03\x04");
    event["event"]["Message"] = json!({"documentMessage": {
        "mimetype": "application/x-own", "fileName": "gambar.svg\r\nX-Evil: 1"}});
    let message = app.post(&tenant.json(&event)).await.assert_kept();
    let (status, headers, body) = app.fetch(&app.link("desa-satu", &message), &[]).await;
    assert_eq!((status, &body[..]), (200, &b"\x01\x02\x03\x04"[..]));
    assert_eq!(header(&headers, "content-type"), "application/octet-stream");
    assert!(header(&headers, "content-disposition").starts_with("attachment; filename=\"gambar"));
    assert!(header(&headers, "content-disposition").contains(".bin\""));
    assert!(!headers.contains_key("x-evil"));
    assert_harmless(&headers);
    let mut event = with_inline(picture("PDF", ""), b"%PDF-1.7\n%");
    event["event"]["Message"] =
        json!({"documentMessage": {"mimetype": "text/html", "fileName": "../../etc/Kartu Keluarga.html"}});
    let message = app.post(&tenant.json(&event)).await.assert_kept();
    let (_, headers, _) = app.fetch(&app.link("desa-satu", &message), &[]).await;
    assert_eq!(header(&headers, "content-type"), "application/pdf");
    assert!(
        header(&headers, "content-disposition").starts_with("attachment; filename=\"Kartu Keluarga.pdf\"")
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_from_outside_becomes_a_path() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("..").await;
    for id in [
        "../../../../tmp/kanal-escaped",
        "..%2f..%2fescaped",
        "/etc/kanal-escaped",
    ] {
        let mut event = with_inline(picture(id, ""), &jpeg(500));
        event["fileName"] = json!("../../../../tmp/kanal-escaped.jpg");
        event["event"]["Message"]["imageMessage"]["fileName"] = json!("../../../../tmp/kanal-escaped.jpg");
        app.post(&tenant.json(&event)).await.assert_kept();
    }
    let objects = app.objects();
    assert_eq!(objects.len(), 3);
    for object in &objects {
        let name = object.strip_prefix(app.uploads.path()).unwrap();
        assert!(name.starts_with("tenants/t-.."), "{name:?}");
        let last = name.file_name().unwrap().to_str().unwrap();
        assert!(
            last.len() == 32 && last.bytes().all(|b| b.is_ascii_hexdigit()),
            "{last}"
        );
    }
    let secret = objects[0]
        .strip_prefix(app.uploads.path())
        .unwrap()
        .to_str()
        .unwrap();
    for path in [
        format!("/uploads/{secret}"),
        format!("/uploads/public/{secret}"),
        format!("/uploads/media/{secret}"),
        format!("/uploads/media/..%2f{}", secret.replace('/', "%2f")),
        "/uploads/public/..%2f..%2f..%2f/etc%2fpasswd".to_owned(),
        "/uploads/../../../../etc/passwd".to_owned(),
        "/uploads/media/%00?token=AAAA".to_owned(),
    ] {
        let answer = app.get(&path).await;
        answer.assert_error(404, "route_not_found");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_one_file_of_one_tenant() {
    let app = TestApp::spawn().await;
    let (ours, theirs) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    // Equal in everything but the tenant.
    let event = with_inline(picture("3EB0IMG1", ""), &jpeg(700));
    let message = app.post(&ours.json(&event)).await.assert_kept();
    let other = app.post(&theirs.json(&event)).await.assert_kept();
    let link = app.link("desa-satu", &message);
    let (path, token) = link.split_once("?token=").unwrap();
    assert_eq!(app.fetch(&link, &[]).await.0, 200);
    let flipped = |at: usize| {
        let mut token = token.as_bytes().to_vec();
        token[at] = if token[at] == b'A' { b'B' } else { b'A' };
        format!("{path}?token={}", String::from_utf8(token).unwrap())
    };
    for wrong in [
        path.to_owned(),
        format!("{path}?token="),
        format!("{path}?token=%00"),
        format!("{path}?token={}", "A".repeat(5_000)),
        flipped(3),
        flipped(12),
        flipped(token.len() - 5),
        // Our token for their message, and a token that is really ours, for a message that is not.
        format!("/uploads/media/{other}?token={token}"),
        app.link("desa-satu", &other),
        app.link("desa-dua", &message),
        app.link("desa-satu", &Uuid::now_v7().to_string()),
    ] {
        app.get(&wrong).await.assert_error(404, "route_not_found");
    }
    assert_eq!(app.fetch(&app.link("desa-dua", &other), &[]).await.0, 200);
    app.no_row_is_seen_by(&ours, &theirs).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_expires() {
    let media = MediaWishes {
        link_seconds: "1",
        ..MediaWishes::default()
    };
    let app = TestApp::with(Wishes {
        media,
        ..Wishes::default()
    })
    .await;
    let tenant = app.tenant("desa-satu").await;
    let event = with_inline(picture("3EB0IMG1", ""), &jpeg(700));
    let message = app.post(&tenant.json(&event)).await.assert_kept();
    let link = app.link("desa-satu", &message);
    eventually("the link has expired", || async {
        (app.get(&link).await.status == 404).then_some(())
    })
    .await;
    // The file is still there for a new link.
    eventually("a new link opens it", || async {
        (app.fetch(&app.link("desa-satu", &message), &[]).await.0 == 200).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_and_known_copies_are_answered_as_browsers_ask() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let bytes = jpeg(100_000);
    let event = with_inline(picture("3EB0IMG1", ""), &bytes);
    let message = app.post(&tenant.json(&event)).await.assert_kept();
    let link = app.link("desa-satu", &message);
    let (_, headers, _) = app.fetch(&link, &[]).await;
    assert_eq!(header(&headers, "accept-ranges"), "bytes");
    let etag = header(&headers, "etag").to_owned();

    let (status, headers, body) = app.fetch(&link, &[("range", "bytes=100-199")]).await;
    assert_eq!((status, &body[..]), (206, &bytes[100..200]));
    assert_eq!(header(&headers, "content-range"), "bytes 100-199/100000");
    assert_eq!(header(&headers, "content-length"), "100");
    assert_harmless(&headers);
    let (status, _, body) = app
        .fetch(&link, &[("range", "bytes=-10"), ("if-range", &etag)])
        .await;
    assert_eq!((status, &body[..]), (206, &bytes[99_990..]));
    let (status, _, body) = app
        .fetch(&link, &[("range", "bytes=-10"), ("if-range", "\"x\"")])
        .await;
    assert_eq!((status, body.len()), (200, bytes.len()));
    let (status, headers, _) = app.fetch(&link, &[("range", "bytes=100000-")]).await;
    assert_eq!(
        (status, header(&headers, "content-range")),
        (416, "bytes */100000")
    );

    let (status, _, body) = app.fetch(&link, &[("if-none-match", &etag)]).await;
    assert_eq!((status, body.len()), (304, 0));
    let (status, headers, body) = app.fetch_as(Method::HEAD, &link, &[]).await;
    assert_eq!((status, body.len()), (200, 0));
    assert_eq!(header(&headers, "content-length"), "100000");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_marked_and_the_text_is_kept() {
    let media = MediaWishes {
        limit_bytes: "10000",
        ..MediaWishes::default()
    };
    let app = TestApp::with(Wishes {
        media,
        ..Wishes::default()
    })
    .await;
    let tenant = app.live_tenant("desa-satu").await;
    let large = jpeg(10_001);
    let url = app.simulator.put_s3_object("large.jpg", large.clone());
    let announced = with_s3(picture("ANNOUNCED", "besar"), &url, large.len());
    // Claims to be small: only the bytes tell.
    let lying = with_s3(picture("LYING", "besar"), &url, 5);
    for event in [
        with_inline(picture("INLINE", "besar"), &jpeg(20_000)),
        with_inline(picture("EDGE", "besar"), &jpeg(10_001)),
        announced,
        lying,
    ] {
        app.post(&tenant.json(&event)).await.assert_kept();
        let row = app.until_media("too_large").await;
        assert_eq!(row["reason"], "too_large");
        app.run_sql("DELETE FROM media").await;
    }
    // Through the WhatsApp server; its declared size is true, so it is not even asked.
    sends_file(&app, &tenant, "image", "image/jpeg", &large);
    app.until_media("too_large").await;
    assert_eq!(app.objects(), Vec::<PathBuf>::new());
    app.until_published().await;
    assert_eq!(app.data_of("message.received").len(), 5);
    app.run_sql("DELETE FROM media").await;

    let fits = with_inline(picture("FITS", ""), &jpeg(10_000));
    app.post(&tenant.json(&fits)).await.assert_kept();
    assert_eq!(app.media_row().await["state"], "stored");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_behind() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let bytes = jpeg(1_000);
    let url = app.simulator.put_s3_object("b.jpg", bytes.clone());
    app.post(&tenant.json(&with_s3(picture("FETCHED", ""), &url, 9)))
        .await
        .assert_kept();
    app.until_media("stored").await;
    let kept = app
        .post(&tenant.json(&with_inline(picture("INLINE", ""), &bytes)))
        .await
        .assert_kept();
    assert_eq!(app.objects().len(), 2);
    // As if the process had died between object and commit.
    let orphan = app.objects()[0].with_file_name("0123456789abcdef0123456789abcdef");
    std::fs::write(&orphan, b"x").unwrap();
    // A message is deleted by its tenant, and with it the row of its file.
    let mut tx = TenantTransaction::begin(&app.direct, &tenant.scope(), "delete")
        .await
        .unwrap();
    diesel_async::SimpleAsyncConnection::batch_execute(
        tx.connection(),
        &format!("DELETE FROM messages WHERE id <> '{kept}'"),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(app.count("media").await, 1);
    assert_eq!(app.count("media_garbage").await, 1);

    sweep(&app.direct, &app.media.storage, Duration::from_secs(3_600))
        .await
        .unwrap();
    assert_eq!(app.objects().len(), 2, "too young to be an orphan");
    assert_eq!(app.count("media_garbage").await, 0);
    sweep(&app.direct, &app.media.storage, Duration::ZERO)
        .await
        .unwrap();
    let row = app.media_row().await;
    assert_eq!(app.objects().len(), 1);
    assert!(app.objects()[0].ends_with(row["object_key"].as_str().unwrap()));
    eventually("idle lanes are gone", || async {
        sweep(&app.direct, &app.media.storage, Duration::ZERO)
            .await
            .unwrap();
        (app.count("lanes WHERE lane LIKE 'media:%'").await == 0).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_too_large_for_memory_is_kept_with_its_file() {
    let media = MediaWishes {
        body_limit_bytes: "20000",
        limit_bytes: "300000",
        ..MediaWishes::default()
    };
    let app = TestApp::with(Wishes {
        media,
        // What goes to the disk takes no room in memory.
        settings: &[("BODY_BUDGET_BYTES", "20000")],
        ..Wishes::default()
    })
    .await;
    let tenant = app.tenant("desa-satu").await;
    let bytes = jpeg(299_999);
    for (webhook, words) in [
        (tenant.json(&with_inline(picture("JSON", "satu"), &bytes)), "satu"),
        (tenant.form(&with_inline(picture("FORM", "dua"), &bytes)), "dua"),
    ] {
        let mut forged = webhook.clone();
        let middle = forged.body.len() / 2;
        forged.body[middle] = if forged.body[middle] == b'A' { b'B' } else { b'A' };
        app.post(&forged).await.assert_error(401, "signature_mismatch");
        assert_eq!(
            app.objects().len() as u64,
            app.count("media").await,
            "nothing of a forger is kept"
        );

        let message = app.post(&webhook).await.assert_kept();
        let (status, _, body) = app.fetch(&app.link("desa-satu", &message), &[]).await;
        assert_eq!(status, 200);
        assert!(body == bytes, "{words}");
        app.post(&webhook).await.assert_done("Duplicate message");
        assert_eq!(app.objects().len() as u64, app.count("media").await);
    }
    app.run_sql("DELETE FROM media").await;

    // More than we keep of a file: the text is kept, and told that there was more.
    let larger = tenant.json(&with_inline(picture("LARGER", "tiga"), &jpeg(300_001)));
    app.post(&larger).await.assert_kept();
    let row = app.media_row().await;
    assert_eq!(
        (&row["state"], &row["reason"]),
        (&json!("too_large"), &json!("too_large"))
    );
    eventually("three messages have arrived", || async {
        (app.data_of("message.received").len() == 3).then_some(())
    })
    .await;
    let texts: Vec<Value> = app
        .data_of("message.received")
        .iter()
        .map(|data| data["text"].clone())
        .collect();
    assert_eq!(texts, ["satu", "dua", "tiga"]);
    // What is never handed out has no address.
    let last = &app.data_of("message.received")[2];
    assert!(last.get("media").is_none(), "{last}");

    // What is not a file is as limited as ever, and so is everything together.
    let words = message(FROM, "WORDS", &json!({"conversation": "x".repeat(30_000)}));
    app.post(&tenant.json(&words))
        .await
        .assert_error(413, "payload_too_large");
    let endless = tenant.json(&with_inline(picture("ENDLESS", ""), &jpeg(600_000)));
    app.post(&endless).await.assert_error(413, "payload_too_large");
    assert_eq!(app.count("messages").await, 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_tenant_takes_its_files_with_it() {
    let app = TestApp::spawn().await;
    let bytes = jpeg(1_000);
    for id in ["desa-satu", "desa-dua"] {
        let tenant = app.tenant(id).await;
        for n in 0..2 {
            let webhook = tenant.json(&with_inline(picture(&format!("{id}-{n}"), "jalan rusak"), &bytes));
            app.post(&webhook).await.assert_kept();
        }
    }
    assert_eq!(app.objects().len(), 4);
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let confirm = Some(json!({"confirm": "desa-satu"}));
    let path = "/tenants/desa-satu";
    let answer = ask(&app, Method::DELETE, path, &[("authorization", &root)], confirm).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let left = app.objects();
    assert!(
        left.len() == 2
            && left
                .iter()
                .all(|path| path.to_str().unwrap().contains("t-desa-dua"))
    );
    assert_eq!(
        (app.count("media").await, app.count("media_garbage").await),
        (2, 0)
    );

    // Where the object store is not at hand, the names wait for the sweep.
    let redis = RedisLink::new(&SecretString::from(test_support::redis_url()), "eraser").unwrap();
    let dua = TenantScope::named_by_operator(TenantId::parse("desa-dua").unwrap());
    let operator = Actor::operator();
    erase(&app.direct, &app.keys, &redis, &app.routes, None, &dua, &operator)
        .await
        .unwrap();
    assert_eq!(
        (app.count("media").await, app.count("media_garbage").await),
        (0, 2)
    );
    assert_eq!(app.objects().len(), 2);
    sweep(&app.direct, &app.media.storage, Duration::from_secs(3_600))
        .await
        .unwrap();
    assert_eq!(app.objects().len(), 0);
    assert_eq!(app.count("media_garbage").await, 0);
    app.finish().await;
}
