//! Files of the Cloud API: put up once and named in messages, fetched from allowed hosts only, and believed by their hash.

use domain::message::{GraphFile, MediaId, MediaKind, Sha256};
use domain::text::Text;
use futures_util::TryStreamExt as _;
use serde_json::json;
use sha2::Digest as _;
use whatsapp::cloud::GraphMedia;
use whatsapp::cloud::GraphSender;
use whatsapp::download::{DownloadError, DownloadMedia, HeldFile, WantedFile};
use whatsapp::port::{FileBytes, OutboundContent, OutboundFile, OutboundMedia, OutboundMessage, SendMessage};

use crate::cloud_outbound::{TOKEN, endpoint, error, number, said, saying, sent};
use crate::outbound::verdict;
use crate::server::{Manner, serve};

fn voice(bytes: &'static str) -> OutboundMessage {
    saying(OutboundContent::Media(OutboundMedia {
        kind: MediaKind::Voice,
        file: OutboundFile::Bytes(FileBytes::new(bytes.into()).unwrap()),
        mime_type: Some(Text::new("audio/opus")),
        caption: None,
        file_name: None,
        seconds: Some(3),
    }))
}

fn up(id: &str) -> Manner {
    said(200, &json!({"id": id}).to_string())
}

#[tokio::test]
async fn a_file_that_goes_to_many_is_put_up_once() {
    let (base, asked) = serve(vec![
        up("1900000000000012"),
        said(200, &sent()),
        said(200, &sent()),
        up("1900000000000013"),
        said(200, &sent()),
    ])
    .await;
    let sender = GraphSender::new(&endpoint(&base)).unwrap();
    for bytes in ["OggS satu", "OggS satu", "OggS dua"] {
        let outcome = sender.send(&number(), &voice(bytes)).await;
        assert_eq!(verdict(&outcome), "accepted wamid.HBgM99ourMessage==");
    }
    let asked = asked.await.unwrap();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.lines().next().unwrap()).collect();
    let media = "POST /v1/wa/v22.0/110987650000222/media HTTP/1.1";
    let messages = "POST /v1/wa/v22.0/110987650000222/messages HTTP/1.1";
    assert_eq!(lines, [media, messages, messages, media, messages]);
    for part in [
        "name=\"messaging_product\"\r\n\r\nwhatsapp",
        "name=\"type\"\r\n\r\naudio/ogg; codecs=opus",
        "filename=\"file.ogg\"",
        "OggS satu",
    ] {
        assert!(asked[0].contains(part), "{part}: {}", asked[0]);
    }
    assert!(
        asked[1].contains(r#""audio":{"id":"1900000000000012","voice":true}"#),
        "{}",
        asked[1]
    );
    assert!(asked[4].contains("1900000000000013"));
}

#[tokio::test]
async fn a_file_that_is_gone_from_meta_is_put_up_anew() {
    let (base, asked) = serve(vec![
        up("1"),
        said(200, &sent()),
        // Of a file that was put up before.
        said(400, &error(100)),
        up("2"),
        said(200, &sent()),
    ])
    .await;
    let sender = GraphSender::new(&endpoint(&base)).unwrap();
    let mut verdicts = Vec::new();
    for _ in 0..3 {
        verdicts.push(verdict(&sender.send(&number(), &voice("OggS")).await));
    }
    let accepted = "accepted wamid.HBgM99ourMessage==";
    assert_eq!(verdicts, [accepted, "retry upload_failed", accepted]);
    assert!(asked.await.unwrap()[4].contains(r#""id":"2""#));
}

#[tokio::test]
async fn a_file_that_cannot_be_put_up_means_that_nothing_was_sent() {
    for (manner, meaning) in [
        (said(400, &error(131_053)), "rejected unprocessable"),
        (said(401, &error(190)), "retry unauthorized"),
        (said(400, &error(80_007)), "limited 300"),
        (said(500, &error(131_000)), "retry upload_failed"),
        (said(502, ""), "retry upload_unanswered"),
        (said(413, ""), "rejected too_large"),
        (said(200, "{}"), "retry upload_failed"),
        (Manner::Say(Vec::new()), "retry upload_unanswered"),
    ] {
        for prepares in [false, true] {
            let (base, _) = serve(vec![manner.clone()]).await;
            let sender = GraphSender::new(&endpoint(&base)).unwrap();
            let outcome = if prepares {
                sender.prepare(&number(), &voice("OggS")).await.unwrap_err()
            } else {
                sender.send(&number(), &voice("OggS")).await
            };
            assert_eq!(verdict(&outcome), meaning);
        }
    }
}

#[tokio::test]
async fn a_prepared_message_is_one_call_and_what_makes_no_call_needs_no_preparing() {
    let (base, asked) = serve(vec![up("7"), said(200, &sent())]).await;
    let sender = GraphSender::new(&endpoint(&base)).unwrap();
    let text = saying(OutboundContent::Text(Text::new("halo")));
    assert_eq!(sender.prepare(&number(), &text).await, Ok(()));
    for _ in 0..2 {
        assert_eq!(sender.prepare(&number(), &voice("OggS")).await, Ok(()));
    }
    let outcome = sender.send(&number(), &voice("OggS")).await;
    assert_eq!(verdict(&outcome), "accepted wamid.HBgM99ourMessage==");
    let asked = asked.await.unwrap();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].starts_with("POST /v1/wa/v22.0/110987650000222/messages "));
}

/// Put up for this message, and refused with it: the same bytes would be refused again.
#[tokio::test]
async fn a_file_that_no_message_was_taken_with_is_refused_for_good() {
    for prepares in [false, true] {
        let (base, asked) = serve(vec![up("1"), said(400, &error(100)), up("2"), said(200, &sent())]).await;
        let sender = GraphSender::new(&endpoint(&base)).unwrap();
        let mut verdicts = Vec::new();
        for _ in 0..2 {
            if prepares {
                assert_eq!(sender.prepare(&number(), &voice("OggS")).await, Ok(()));
            }
            verdicts.push(verdict(&sender.send(&number(), &voice("OggS")).await));
        }
        assert_eq!(
            verdicts,
            ["rejected invalid_request", "accepted wamid.HBgM99ourMessage=="]
        );
        assert_eq!(asked.await.unwrap().len(), 4);
    }
}

fn wanted(sha256: Option<Sha256>) -> WantedFile {
    WantedFile {
        kind: MediaKind::Image,
        mime_type: None,
        held: HeldFile::Graph(GraphFile {
            id: MediaId::parse("1900000000000001").unwrap(),
            sha256,
        }),
    }
}

fn hash(bytes: &[u8]) -> Sha256 {
    Sha256::new(sha2::Sha256::digest(bytes).into())
}

/// What is told of the file, with an address on the same server.
fn info(base: &str, sha256: Option<&str>) -> Manner {
    let url = format!("{base}/bytes?mid=1");
    said(
        200,
        &json!({"url": url, "sha256": sha256, "file_size": "7", "mime_type": "image/jpeg"}).to_string(),
    )
}

async fn fetch(base: &str, wanted: &WantedFile) -> Result<Vec<u8>, DownloadError> {
    let media = GraphMedia::new(&endpoint(base)).unwrap();
    let pieces: Vec<bytes::Bytes> = media.download(&number(), wanted).await?.try_collect().await?;
    Ok(pieces.concat())
}

/// A server of its own for the bytes, which the endpoint is told of.
async fn fetched(
    bytes: Manner,
    sha256: Option<Sha256>,
    told: Option<&str>,
) -> (Result<Vec<u8>, DownloadError>, String) {
    let (bytes_base, bytes_asked) = serve(vec![bytes]).await;
    let (base, asked) = serve(vec![info(&bytes_base, told)]).await;
    let endpoint = endpoint(&base).with_media_origin(&bytes_base.parse().unwrap());
    let media = GraphMedia::new(&endpoint).unwrap();
    let fetched = match media.download(&number(), &wanted(sha256)).await {
        Ok(stream) => stream
            .try_collect::<Vec<bytes::Bytes>>()
            .await
            .map(|pieces| pieces.concat()),
        Err(error) => Err(error),
    };
    let asked = asked.await.unwrap();
    assert!(
        asked[0].starts_with("GET /v1/wa/v22.0/1900000000000001?phone_number_id=110987650000222 "),
        "{}",
        asked[0]
    );
    (fetched, bytes_asked.await.unwrap().remove(0))
}

#[tokio::test]
async fn a_file_comes_when_its_bytes_are_what_was_told_of() {
    let right = hash(b"rahasia");
    for (wanted, told, fits) in [
        (None, None, true),
        (Some(right), None, true),
        (None, Some(right.to_hex()), true),
        (None, Some(right.to_base64()), true),
        (Some(hash(b"else")), Some(right.to_hex()), false),
        (None, Some(hash(b"else").to_hex()), false),
    ] {
        let (fetched, asked) = fetched(said(200, "rahasia"), wanted, told.as_deref()).await;
        if fits {
            assert_eq!(fetched, Ok(b"rahasia".to_vec()));
        } else {
            assert_eq!(fetched, Err(DownloadError::later("hash_mismatch")));
        }
        assert!(asked.contains(&format!("Bearer {TOKEN}")), "{asked}");
        assert!(asked.to_ascii_lowercase().contains("user-agent: kanal/"));
    }
}

#[tokio::test]
async fn the_token_is_not_sent_where_meta_is_not() {
    for url in [
        "https://evil.example/lookaside.fbsbx.com",
        "http://lookaside.fbsbx.com/x",
        "http://127.0.0.1:9/x",
    ] {
        let (base, _) = serve(vec![said(200, &json!({"url": url}).to_string())]).await;
        let refused = fetch(&base, &wanted(None)).await;
        assert_eq!(
            refused,
            Err(DownloadError::Never {
                reason: "path_refused"
            }),
            "{url}"
        );
    }
}

#[tokio::test]
async fn an_address_that_has_ended_is_asked_for_once_more() {
    let (bytes_base, bytes_asked) = serve(vec![said(404, ""), said(200, "isi")]).await;
    let (base, asked) = serve(vec![info(&bytes_base, None), info(&bytes_base, None)]).await;
    let endpoint = endpoint(&base).with_media_origin(&bytes_base.parse().unwrap());
    let media = GraphMedia::new(&endpoint).unwrap();
    let stream = media.download(&number(), &wanted(None)).await.unwrap();
    let pieces: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), b"isi");
    assert_eq!(
        (asked.await.unwrap().len(), bytes_asked.await.unwrap().len()),
        (2, 2)
    );

    let (bytes_base, _) = serve(vec![said(404, ""), said(404, "")]).await;
    let (base, _) = serve(vec![info(&bytes_base, None), info(&bytes_base, None)]).await;
    let endpoint = crate::cloud_outbound::endpoint(&base).with_media_origin(&bytes_base.parse().unwrap());
    let gone = GraphMedia::new(&endpoint)
        .unwrap()
        .download(&number(), &wanted(None))
        .await
        .err();
    assert_eq!(
        gone,
        Some(DownloadError::Never {
            reason: "not_on_server"
        })
    );
}

#[tokio::test]
async fn what_can_pass_is_for_later_and_what_cannot_is_for_never() {
    let later = |reason| DownloadError::later(reason);
    let never = |reason| DownloadError::Never { reason };
    for (status, body, outcome) in [
        (401, error(190), later("unauthorized")),
        (403, error(10), later("forbidden")),
        (
            400,
            error(80_007),
            DownloadError::Later {
                reason: "rate_limited",
                after: None,
            },
        ),
        (503, error(2), later("provider_failed")),
        (502, String::new(), later("unavailable")),
        (504, String::new(), later("timeout")),
        (200, "{}".to_owned(), later("unreadable_answer")),
        (
            200,
            json!({"url": "https://lookaside.fbsbx.com/x", "file_size": 104_857_601}).to_string(),
            never("too_large"),
        ),
        (400, error(131_009), never("provider_refused")),
    ] {
        let (base, _) = serve(vec![said(status, &body)]).await;
        assert_eq!(fetch(&base, &wanted(None)).await, Err(outcome), "{status} {body}");
    }
    // Asked for twice.
    let (base, _) = serve(vec![said(400, &error(100)), said(400, &error(100))]).await;
    assert_eq!(fetch(&base, &wanted(None)).await, Err(never("not_on_server")));
    for (bytes, reason) in [
        (said(401, ""), "unauthorized"),
        (said(429, ""), "rate_limited"),
        (said(500, ""), "provider_failed"),
        (said(503, ""), "unavailable"),
        (Manner::Say(Vec::new()), "connection_cut"),
        (
            Manner::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nrah".to_vec()),
            "connection_cut",
        ),
    ] {
        let (outcome, _) = fetched(bytes, None, None).await;
        assert_eq!(outcome, Err(later(reason)));
    }
}
