//! Files that people upload for the public pages (contract channel-service 1.8; 9.A4 and A6).

use std::io::Cursor;

use reqwest::Method;
use serde_json::{Value, json};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::harness::{Answer, INTERNAL_KEY, TestApp};
use crate::media::jpeg;

const LIMIT: usize = 5 * 1024 * 1024;
const WRONG_TYPE: &str = "Tipe file tidak didukung. Gunakan PDF/JPG/PNG/DOC/DOCX.";

/// A file as a browser sends it.
struct Part<'a> {
    field: &'a str,
    name: &'a str,
    content_type: &'a str,
    bytes: &'a [u8],
}

fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = b"--kanal\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhalo\r\n".to_vec();
    for part in parts {
        body.extend_from_slice(
            format!(
                "--kanal\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
                part.field, part.name, part.content_type
            )
            .as_bytes(),
        );
        body.extend_from_slice(part.bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--kanal--\r\n");
    body
}

impl TestApp {
    async fn upload_raw(&self, scope: &str, content_type: &str, body: Vec<u8>) -> Answer {
        let url = format!("{}/internal/media/upload{scope}", self.url);
        let request = self.http().post(url).header("x-internal-api-key", INTERNAL_KEY);
        Answer::of(
            request
                .header("content-type", content_type)
                .body(body)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    async fn upload(&self, scope: &str, name: &str, content_type: &str, bytes: &[u8]) -> Answer {
        let part = Part {
            field: "file",
            name,
            content_type,
            bytes,
        };
        self.upload_raw(scope, "multipart/form-data; boundary=kanal", form(&[part]))
            .await
    }
}

#[track_caller]
fn assert_refused(answer: &Answer, text: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["success"], &body["error"]),
        (400, &json!(false), &json!(text))
    );
    assert!(body["code"].is_string() && body["request_id"].is_string());
}

/// A Word document of 2007 and later, with nothing in its parts.
fn docx() -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for name in ["[Content_Types].xml", "word/document.xml"] {
        archive.start_file(name, stored).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// One of the years before.
fn doc() -> Vec<u8> {
    let mut container = cfb::CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    container.create_stream("/WordDocument").unwrap();
    container.flush().unwrap();
    container.into_inner().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_five_types_are_taken_whatever_they_are_called() {
    let app = TestApp::spawn().await;
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    for (bytes, mime, extension, shown) in [
        (b"%PDF-1.7\n".to_vec(), "application/pdf", "pdf", false),
        (jpeg(2_000), "image/jpeg", "jpg", true),
        (png, "image/png", "png", true),
        (doc(), "application/msword", "doc", false),
        (
            docx(),
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "docx",
            false,
        ),
    ] {
        let answer = app
            .upload("?scope=Service Requests", "a.html", "text/html", &bytes)
            .await;
        let mut body = answer.json();
        assert_eq!(
            (answer.status, &body["success"]),
            (200, &json!(true)),
            "{}",
            answer.text
        );
        let data = body["data"].take();
        assert_eq!(
            (&data["mime_type"], &data["size"]),
            (&json!(mime), &json!(bytes.len()))
        );
        let (path, name) = (data["path"].as_str().unwrap(), data["filename"].as_str().unwrap());
        assert_eq!(path, format!("public/service-requests/{name}"));
        assert!(
            name.len() == 37 + extension.len() && name.ends_with(&format!(".{extension}")),
            "{name}"
        );
        assert_eq!(data["url"], format!("https://files.example/uploads/{path}"));
        assert_eq!(
            data["internal_url"],
            format!("http://inside.example/uploads/{path}")
        );
        assert_eq!(data.as_object().unwrap().len(), 6);
        assert!(app.uploads.path().join(path).is_file());

        let got = app
            .http()
            .get(format!("{}/uploads/{path}", app.url))
            .send()
            .await
            .unwrap();
        assert_eq!(got.status(), 200);
        let header = |name: &str| got.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), mime);
        let kind = if shown { "inline; " } else { "attachment; " };
        assert!(header("content-disposition").starts_with(kind));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(header("cache-control"), "public, max-age=604800");
        let etag = header("etag");
        assert!(got.bytes().await.unwrap() == bytes);
        let known = app
            .http()
            .get(format!("{}/uploads/{path}", app.url))
            .header("if-none-match", etag);
        assert_eq!(known.send().await.unwrap().status(), 304);
        let part = app
            .http()
            .get(format!("{}/uploads/{path}", app.url))
            .header("range", "bytes=1-3");
        let part = part.send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap()[..], bytes[1..4]);
        assert_eq!(
            app.request(Method::HEAD, &format!("/uploads/{path}"))
                .await
                .status,
            200
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_types_are_refused_whatever_they_are_called() {
    let app = TestApp::spawn().await;
    for (name, declared, bytes) in [
        (
            "a.pdf",
            "application/pdf",
            &b"<!DOCTYPE html><script>alert(1)</script>"[..],
        ),
        (
            "a.png",
            "image/png",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>",
        ),
        ("a.jpg", "image/jpeg", b"GIF89a\x01\0\x01\0"),
        ("a.doc", "application/msword", b"MZ\x90\0\x03\0\0\0"),
        (
            "a.docx",
            "application/zip",
            b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
        ("a.docx", "application/msword", &docx()[..60]),
        ("a.pdf", "application/pdf", b""),
    ] {
        assert_refused(&app.upload("", name, declared, bytes).await, WRONG_TYPE);
    }
    assert!(app.objects().is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_may_have_five_megabytes_and_no_more() {
    let app = TestApp::spawn().await;
    let answer = app.upload("", "a.jpg", "image/jpeg", &jpeg(LIMIT)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(
        answer.json()["data"]["path"]
            .as_str()
            .unwrap()
            .starts_with("public/public/")
    );
    for size in [LIMIT + 1, LIMIT + 100_000, 4 * LIMIT] {
        let answer = app.upload("", "a.jpg", "image/jpeg", &jpeg(size)).await;
        assert_refused(&answer, "Ukuran file maksimal 5MB");
    }
    assert_eq!(app.objects().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_form_with_one_file_is_refused() {
    let app = TestApp::spawn().await;
    let multipart = "multipart/form-data; boundary=kanal";
    let picture = jpeg(500);
    let part = |field| Part {
        field,
        name: "a.jpg",
        content_type: "image/jpeg",
        bytes: &picture,
    };
    let missing = "File tidak ditemukan";
    for (content_type, body, text) in [
        ("application/json", b"{}".to_vec(), missing),
        ("image/jpeg", picture.clone(), missing),
        (multipart, form(&[]), missing),
        (
            multipart,
            form(&[part("other")]),
            "Upload error: Unexpected field",
        ),
        (
            multipart,
            form(&[part("file"), part("file")]),
            "Upload error: Unexpected field",
        ),
        (
            "multipart/form-data",
            form(&[part("file")]),
            "Upload error: Multipart: Boundary not found",
        ),
        (
            multipart,
            form(&[part("file")])[..400].to_vec(),
            "Upload error: Unexpected end of form",
        ),
        (multipart, Vec::new(), "Upload error: Unexpected end of form"),
    ] {
        assert_refused(&app.upload_raw("", content_type, body).await, text);
    }
    assert!(app.objects().is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_other_services_upload_and_no_scope_is_a_path() {
    let app = TestApp::spawn().await;
    let url = format!("{}/internal/media/upload", app.url);
    let stranger = app.http().post(&url).body("x").send().await.unwrap();
    Answer::of(stranger).await.assert_error(401, "api_key_missing");
    let stranger = app
        .http()
        .post(&url)
        .header("x-api-key", "wrong")
        .body("x")
        .send()
        .await
        .unwrap();
    Answer::of(stranger).await.assert_error(403, "api_key_invalid");
    assert_eq!(
        app.request(Method::GET, "/internal/media/upload").await.status,
        401
    );
    for (scope, folder) in [
        ("?scope=../../../etc", "-etc"),
        ("?scope=..%2f..%2fx%00y", "-x-y"),
        ("?scope=%20Admin%20Updates%20", "admin-updates"),
        ("?scope=", "public"),
    ] {
        let answer = app.upload(scope, "../../a.jpg", "image/jpeg", &jpeg(500)).await;
        let path = answer.json()["data"]["path"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            path.starts_with(&format!("public/{folder}/")),
            "{scope}: {}",
            answer.text
        );
        assert!(app.uploads.path().join(&path).is_file());
    }
    // Nobody lists a folder or finds what was not uploaded.
    for path in [
        "/uploads",
        "/uploads/",
        "/uploads/public",
        "/uploads/public/public/",
        "/uploads/public/public/a.jpg",
        "/uploads/public/public/0190a1b2-0000-4000-8000-000000000000.jpg",
        "/uploads/public/public/0190a1b2-0000-4000-8000-000000000000.html",
    ] {
        let answer = app.get(path).await;
        answer.assert_error(404, "route_not_found");
        assert_eq!(answer.json()["path"], Value::from(path));
    }
    app.finish().await;
}
