//! Files of messages: kept with their message, as what their content says, and never in the way of the text.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::ids::{MessageId, TenantId};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use simulator::{Inbound, InboundMedia};
use test_support::eventually;

use crate::harness::{MediaWishes, Tenant, TestApp, Wishes, message};

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
    pub(crate) async fn media_row(&self) -> Value {
        let mut rows = self.rows("SELECT * FROM media").await;
        assert!(rows.len() <= 1, "{rows:?}");
        rows.pop().unwrap_or(Value::Null)
    }

    pub(crate) async fn until_media(&self, state: &str) -> Value {
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

    pub(crate) async fn fetch(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> (u16, HeaderMap, Vec<u8>) {
        self.fetch_as(Method::GET, path, headers).await
    }

    pub(crate) async fn fetch_as(
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

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[track_caller]
pub(crate) fn assert_harmless(headers: &HeaderMap) {
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
    pub(crate) async fn reads(&self, data: &Value) -> Vec<u8> {
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
