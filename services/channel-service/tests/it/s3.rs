//! Files in a bucket: in parts, read in ranges, handed out by signed links, swept. Run by `deploy/dev/aws-check`, which starts
//! a moto and names it in `MOTO_URL`.

use std::time::Duration;

use bytes::Bytes;
use channel_service::media::{Announced, ObjectKey};
use channel_service::workers::media::sweep;
use domain::ids::TenantId;
use domain::message::MediaKind;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use test_support::eventually;

use crate::gate_world::Client;
use crate::harness::{TestApp, Wishes};

const BUCKET: &str = "kanal-files";
const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "secret-of-the-bucket";
const PIECE: usize = 64 * 1024;

/// Moto tells services apart by what a request is signed for; it checks no signature.
fn authorization() -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY_ID}/20261128/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    )
}

async fn bucket(method: Method, url: &str, query: &str) -> (StatusCode, String) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http
        .request(method, format!("{url}/{BUCKET}{query}"))
        .header("authorization", authorization())
        .send()
        .await
        .unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// A document of so many bytes, no two neighbours alike.
fn document(bytes: usize) -> Vec<u8> {
    let mut document = b"%PDF-1.4\n".to_vec();
    document.extend((document.len()..bytes).map(|at| b"abcdefghijklmnopqrstuvw"[at % 23]));
    document
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs moto from PyPI; deploy/dev/aws-check runs it"]
async fn moto_keeps_files() {
    let url = std::env::var("MOTO_URL").unwrap();
    test_support::install_crypto_provider();
    let (made, text) = bucket(Method::PUT, &url, "").await;
    assert_eq!(made, StatusCode::OK, "{text}");
    // Lives as long as the process, as a setting does.
    let settings = [
        ("MEDIA_S3_BUCKET", BUCKET),
        ("MEDIA_S3_ENDPOINT", Box::leak(url.clone().into_boxed_str())),
        ("MEDIA_S3_ACCESS_KEY_ID", KEY_ID),
        ("MEDIA_S3_SECRET_ACCESS_KEY", SECRET),
    ];
    let app = TestApp::with(Wishes {
        settings: Box::leak(Box::new(settings)),
        ..Wishes::default()
    })
    .await;
    app.never_log(SECRET);
    app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    // One call, and many parts.
    for size in [1_000, 32 * 1024 * 1024] {
        let bytes = document(size);
        let answer = client.put_up("peta.pdf", "application/pdf", &bytes).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let told = client.call(Method::GET, &id, None).await.json();
        assert_eq!(
            (&told["file_size"], &told["sha256"]),
            (&json!(size), &json!(hex::encode(Sha256::digest(&bytes))))
        );
        let link = told["url"].as_str().unwrap();
        let link = link.replace("https://files.example", &app.url);
        let whole = app.http().get(&link).send().await.unwrap();
        assert_eq!(whole.status(), 200);
        assert!(whole.bytes().await.unwrap() == bytes);
        let (from, to) = (size / 3, size / 3 + 99);
        let part = app
            .http()
            .get(&link)
            .header("range", format!("bytes={from}-{to}"));
        let part = part.send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap(), bytes[from..=to]);
        let forged = app.http().get(format!("{link}x")).send().await.unwrap();
        assert_ne!(forged.status(), 200);
        assert_eq!(client.call(Method::DELETE, &id, None).await.status, 200);
        assert_eq!(app.http().get(&link).send().await.unwrap().status(), 404);
    }
    let storage = &app.media.storage;

    // A file that nobody waits for any more leaves no parts, and one that nobody has a row for is swept.
    let tenant = TenantId::parse("desa-satu").unwrap();
    let today = chrono::Utc::now().date_naive();
    let announced = Announced {
        kind: MediaKind::Document,
        declared: Some("application/pdf"),
    };
    let bytes = document(7 * 1024 * 1024);
    let pieces = || {
        let pieces: Vec<Result<Bytes, &str>> = bytes
            .chunks(PIECE)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        stream::iter(pieces)
    };
    let begun = || async {
        bucket(Method::GET, &url, "?uploads")
            .await
            .1
            .contains("<Upload>")
            .then_some(())
    };
    {
        let never = pieces().chain(stream::pending());
        let keeping = storage.keep(ObjectKey::generate(&tenant, today), 1 << 30, &announced, never);
        tokio::select! {
            _ = keeping => panic!("it never ends"),
            () = eventually("parts are there", begun) => {}
        }
    }
    eventually("the parts are gone", || async {
        begun().await.is_none().then_some(())
    })
    .await;
    let kept = storage
        .keep(ObjectKey::generate(&tenant, today), 1 << 30, &announced, pieces())
        .await
        .unwrap();
    let open = storage.read(&kept.key, None).await.unwrap().unwrap();
    let read: Vec<Bytes> = open.bytes.try_collect().await.unwrap();
    assert!(read.concat() == bytes);
    sweep(&app.direct, storage, Duration::ZERO).await.unwrap();
    assert!(storage.read(&kept.key, None).await.unwrap().is_none());
    let (_, left) = bucket(Method::GET, &url, "?list-type=2").await;
    assert!(!left.contains("<Key>"), "{left}");
    app.finish().await;
}
