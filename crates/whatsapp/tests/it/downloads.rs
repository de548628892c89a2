//! Fetching a file, against a server that answers so.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::message::{DownloadKeys, MediaKind};
use domain::text::Text;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use whatsapp::credentials::SessionToken;
use whatsapp::download::{DownloadError, DownloadMedia, HeldFile, WantedFile};
use whatsapp::genfity::{Endpoint, GenfityDownloads};

use crate::server::{Manner, Server, answer};

fn wanted(kind: MediaKind, mime_type: Option<&str>) -> WantedFile {
    WantedFile {
        kind,
        mime_type: mime_type.map(Text::new),
        held: HeldFile::Keys(DownloadKeys {
            url: Some("https://mmg.whatsapp.net/v/a.enc".into()),
            direct_path: Some("/v/a".into()),
            media_key: "AAEC".into(),
            file_enc_sha256: Some("/u3e".into()),
            file_sha256: Some("3q2+".into()),
            file_length: Some(88_123),
        }),
    }
}

async fn download(base: &str, file: &WantedFile) -> Result<Vec<u8>, DownloadError> {
    // Another test of this process may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let endpoint = Endpoint::new(base.parse().unwrap())
        .unwrap()
        .with_connect_timeout(Duration::from_millis(500));
    let downloads = GenfityDownloads::new(&endpoint).unwrap();
    let token = SessionToken::new("wat_verysecret").unwrap();
    let pieces: Vec<bytes::Bytes> = downloads.download(&token, file).await?.try_collect().await?;
    Ok(pieces.concat())
}

async fn answered(status: u16, headers: &str, body: &str) -> Result<Vec<u8>, DownloadError> {
    let server = Server::start(Manner::Say(answer(status, headers, body))).await;
    download(&server.base, &wanted(MediaKind::Image, Some("image/jpeg"))).await
}

#[tokio::test]
async fn every_field_of_the_message_is_asked_with_and_the_file_comes_back() {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for (kind, mime_type, route, asked_type) in [
        (
            MediaKind::Image,
            Some("image/jpeg"),
            "downloadimage",
            "image/jpeg",
        ),
        (MediaKind::Video, None, "downloadvideo", "video/mp4"),
        (
            MediaKind::Voice,
            Some("audio/ogg; codecs=opus"),
            "downloadaudio",
            "audio/ogg; codecs=opus",
        ),
        (MediaKind::Audio, Some("no type"), "downloadaudio", "audio/ogg"),
        (
            MediaKind::Document,
            Some("a/b/c"),
            "downloaddocument",
            "application/octet-stream",
        ),
        (
            MediaKind::Sticker,
            Some("image/webp"),
            "downloadsticker",
            "image/webp",
        ),
    ] {
        let data = format!("data:{asked_type};base64,{}", BASE64.encode(&bytes));
        let body = json!({"code": 200, "data": {"Mimetype": asked_type, "Data": data}, "success": true});
        let server = Server::start(Manner::Say(answer(200, "", &body.to_string()))).await;
        let file = download(&server.base, &wanted(kind, mime_type)).await.unwrap();
        assert!(file == bytes, "{route}");
        let asked = server.asked.await.unwrap();
        assert!(
            asked.starts_with(&format!("POST /v1/wa/chat/{route} ")),
            "{asked}"
        );
        assert!(asked.contains("token: wat_verysecret"));
        let body: Value = serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(
            body,
            json!({"Url": "https://mmg.whatsapp.net/v/a.enc", "DirectPath": "/v/a", "MediaKey": "AAEC",
                   "Mimetype": asked_type, "FileEncSHA256": "/u3e", "FileSHA256": "3q2+", "FileLength": 88_123})
        );
    }
}

#[tokio::test]
async fn what_can_pass_is_for_later_and_what_cannot_is_for_never() {
    let later = |reason: &'static str| Err(DownloadError::later(reason));
    let never = |reason: &'static str| Err(DownloadError::Never { reason });
    for (status, body, outcome) in [
        (401, "", later("unauthorized")),
        (403, r#"{"error":"subscription expired"}"#, later("forbidden")),
        (
            500,
            r#"{"code":500,"error":"no session","success":false}"#,
            later("no_session"),
        ),
        (
            500,
            r#"{"code":500,"error":"failed to download image 403"}"#,
            later("provider_failed"),
        ),
        (502, "", later("unavailable")),
        (504, "", later("timeout")),
        (
            400,
            r#"{"error":"could not decode Payload"}"#,
            never("provider_refused"),
        ),
        (404, "404 page not found", never("provider_has_no_route")),
        (307, "", never("redirected")),
        (
            200,
            r#"{"code":200,"data":{"Media":"x"},"success":true}"#,
            later("unreadable_answer"),
        ),
        (
            200,
            r#"{"data":{"Data":"data:image/jpeg;base64,Zm9v*"}}"#,
            later("unreadable_answer"),
        ),
        (200, "<html>", later("unreadable_answer")),
    ] {
        assert_eq!(answered(status, "", body).await, outcome, "{status} {body}");
    }
    let after = Some(Duration::from_secs(7));
    let limited = DownloadError::Later {
        reason: "rate_limited",
        after,
    };
    assert_eq!(answered(429, "retry-after: 7\r\n", "").await, Err(limited));
}

#[tokio::test]
async fn half_a_file_is_no_file() {
    let whole = answer(
        200,
        "",
        &format!(
            r#"{{"data":{{"Data":"data:a/b;base64,{}"}}}}"#,
            "Zm9v".repeat(9_000)
        ),
    );
    for length in [0, whole.len() / 2, whole.len() - 2] {
        let server = Server::start(Manner::Say(whole[..length].to_vec())).await;
        let outcome = download(&server.base, &wanted(MediaKind::Image, None)).await;
        assert_eq!(outcome, Err(DownloadError::later("connection_cut")), "{length}");
    }
    let nobody = download("http://127.0.0.1:9/v1/wa", &wanted(MediaKind::Image, None)).await;
    assert_eq!(nobody, Err(DownloadError::later("unreachable")));
}
