//! GoWA's calls, against a server that answers so: each row of the sender's table, what is asked, and what of devices.

use std::time::Duration;

use bytes::Bytes;
use domain::address::{ChatAddress, PhoneNumber};
use domain::ids::ProviderMessageId;
use domain::message::{ContactCard, MediaKind, MessageKind, ServerFile};
use domain::text::Text;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use whatsapp::courtesy::{ShowCourtesy, Typing};
use whatsapp::credentials::{BasicAuth, SessionToken, WebhookKey};
use whatsapp::download::{DownloadError, DownloadMedia, HeldFile, WantedFile};
use whatsapp::genfity::Removal;
use whatsapp::gowa::{
    DeviceWebhook, GowaCourtesy, GowaDevices, GowaDownloads, GowaEndpoint, GowaSender, GowaSessions,
    NewDevice,
};
use whatsapp::port::{
    FileBytes, MessageReference, OutboundContent, OutboundFile, OutboundMedia, OutboundMessage,
    OutboundQuote, SendMessage, SendOutcome,
};
use whatsapp::session::{FailureReason, ManageSession, Upkeep};

use crate::outbound::verdict;
use crate::server::{Manner, Server, answer, serve};

const PASSWORD: &str = "very-secret";

fn endpoint(base: &str) -> GowaEndpoint {
    // Another test of this process may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let auth = BasicAuth::parse(&format!("kanal:{PASSWORD}")).unwrap();
    GowaEndpoint::new(base.parse().unwrap(), Some(&auth))
        .unwrap()
        .with_connect_timeout(Duration::from_millis(500))
        .with_total_timeout(Duration::from_secs(2))
}

fn device() -> SessionToken {
    SessionToken::new("toko/1").unwrap()
}

fn id(text: &str) -> ProviderMessageId {
    ProviderMessageId::parse(text).unwrap()
}

fn saying(content: OutboundContent) -> OutboundMessage {
    OutboundMessage {
        id: id("3EB0OURS"),
        to: ChatAddress::parse("628123450001@s.whatsapp.net").unwrap(),
        content,
        quoted: None,
    }
}

fn text() -> OutboundMessage {
    saying(OutboundContent::Text(Text::new("Halo \"Sari\"")))
}

fn sent(message_id: &str) -> String {
    json!({"code": "SUCCESS", "message": "sent", "results": {"message_id": message_id, "status": "sent"}})
        .to_string()
}

async fn send_to(base: &str, message: &OutboundMessage) -> SendOutcome {
    let sender = GowaSender::new(&endpoint(base)).unwrap();
    sender.send(&device(), message).await
}

async fn outcome_of(manner: Manner) -> SendOutcome {
    send_to(&Server::start(manner).await.base, &text()).await
}

/// What was asked for a message: the first line and the body.
async fn asked(message: &OutboundMessage) -> (String, String, String) {
    let server = Server::start(Manner::Say(answer(200, "", &sent("3EB0THEIRS")))).await;
    let outcome = send_to(&server.base, message).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    let asked = server.asked.await.unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    let first = head.lines().next().unwrap_or_default().to_owned();
    (first, head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn every_status_has_its_meaning() {
    let says = |code: &str| json!({"code": code, "message": "no"}).to_string();
    for (status, headers, body, meaning) in [
        (200, "", sent("3EB0THEIRS"), "accepted 3EB0THEIRS"),
        (
            200,
            "",
            json!({"code": "SUCCESS"}).to_string(),
            "accepted 3EB0OURS",
        ),
        (200, "", sent("not an id"), "accepted 3EB0OURS"),
        (200, "", says("ODD"), "unknown unreadable_answer"),
        (200, "", "<html>".to_owned(), "unknown unreadable_answer"),
        (204, "", String::new(), "unknown unreadable_answer"),
        (308, "location: /x\r\n", String::new(), "retry redirected"),
        (
            303,
            "location: /x\r\n",
            String::new(),
            "unknown unreadable_answer",
        ),
        (400, "", says("VALIDATION_ERROR"), "rejected invalid_request"),
        (400, "", says("INVALID_REQUEST"), "rejected invalid_request"),
        (400, "", says("INVALID_JID"), "rejected invalid_recipient"),
        (400, "", says("DEVICE_ID_REQUIRED"), "retry no_session"),
        (401, "", says("AUTHENTICATION_ERROR"), "retry no_session"),
        (401, "", "Unauthorized".to_owned(), "retry unauthorized"),
        (403, "", String::new(), "retry forbidden"),
        (404, "", says("DEVICE_NOT_FOUND"), "retry unauthorized"),
        (404, "", says("NOT_FOUND"), "rejected not_found"),
        (408, "", says("CONTEXT_ERROR"), "unknown timeout"),
        (413, "", String::new(), "rejected too_large"),
        (418, "", String::new(), "rejected refused"),
        (422, "", String::new(), "rejected unprocessable"),
        (429, "", says("WA_REACHOUT_TIMELOCK"), "retry reachout_timelock"),
        (429, "", String::new(), "limited 10"),
        (429, "retry-after: 7\r\n", String::new(), "limited 7"),
        (500, "", says("UPLOAD_MEDIA_ERROR"), "retry upload_failed"),
        (500, "", says("INVALID_WA_CLI"), "retry no_session"),
        (500, "", says("INTERNAL_SERVER_ERROR"), "unknown server_error"),
        (500, "", String::new(), "unknown server_error"),
        (502, "", String::new(), "unknown bad_gateway"),
        (503, "", says("DEVICE_MANAGER_UNAVAILABLE"), "retry unavailable"),
        (503, "retry-after: 2\r\n", String::new(), "retry unavailable"),
        (503, "", String::new(), "unknown bad_gateway"),
        (504, "", says("GATEWAY_TIMEOUT"), "unknown gateway_timeout"),
        (501, "", String::new(), "unknown server_error"),
    ] {
        let outcome = outcome_of(Manner::Say(answer(status, headers, &body))).await;
        assert_eq!(verdict(&outcome), meaning, "{status} {body}");
    }
}

#[tokio::test]
async fn a_timelock_is_tried_again_in_an_hour_and_holds_up_nobody_else() {
    let body = json!({"code": "WA_REACHOUT_TIMELOCK", "message": "463"}).to_string();
    let outcome = outcome_of(Manner::Say(answer(429, "", &body))).await;
    let SendOutcome::RetryLater { after, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(after, Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn what_may_have_gone_out_is_unknown_and_what_cannot_is_not() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(verdict(&send_to(&base, &text()).await), "retry unreachable");
    let say = |bytes: &[u8]| Manner::Say(bytes.to_vec());
    for (manner, meaning) in [
        (say(b""), "unknown connection_cut"),
        (
            say(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"code\":"),
            "unknown connection_cut",
        ),
        (
            say(b"HTTP/1.1 400 Bad\r\ncontent-length: 90\r\n\r\n{\"code\":"),
            "rejected invalid_request",
        ),
        (
            Manner::Say(answer(200, "", &"x".repeat(70_000))),
            "unknown unreadable_answer",
        ),
        (Manner::Wait(Duration::from_secs(5)), "unknown timeout"),
    ] {
        assert_eq!(verdict(&outcome_of(manner).await), meaning);
    }
    let sender = GowaSender::new(&endpoint("http://127.0.0.1:1")).unwrap();
    for &kind in MessageKind::ALL {
        let same = matches!(
            kind,
            MessageKind::Edit | MessageKind::Revoke | MessageKind::Reaction
        );
        assert_eq!(sender.resend_safety(kind).may_repeat(), same, "{kind}");
    }
}

#[tokio::test]
async fn a_text_names_its_device_and_its_quote() {
    let mut message = text();
    message.quoted = Some(OutboundQuote {
        id: id("3EB0QUOTED"),
        participant: None,
        text: None,
    });
    let (first, head, body) = asked(&message).await;
    assert_eq!(first, "POST /v1/wa/send/message HTTP/1.1");
    assert!(head.contains("x-device-id: toko%2f1"), "{head}");
    assert!(head.contains("authorization: basic "), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body,
        json!({"phone": "628123450001@s.whatsapp.net", "message": "Halo \"Sari\"", "reply_message_id": "3EB0QUOTED"})
    );
}

#[tokio::test]
async fn every_other_kind_goes_to_its_route() {
    let card = |vcard: &str| ContactCard {
        display_name: Text::new("Pak RT"),
        vcard: Some(Text::new(vcard)),
    };
    let to = "628123450001@s.whatsapp.net";
    for (content, path, body) in [
        (
            OutboundContent::Location {
                latitude: -6.2,
                longitude: 106.816_667,
                name: Some(Text::new("Monas")),
                address: None,
            },
            "send/location",
            json!({"phone": to, "latitude": "-6.2", "longitude": "106.816667"}),
        ),
        (
            OutboundContent::Contacts(vec![card("TEL;waid=62812000:+62 812-000")]),
            "send/contact",
            json!({"phone": to, "contact_name": "Pak RT", "contact_phone": "62812000"}),
        ),
        (
            OutboundContent::Reaction {
                target: MessageReference {
                    id: id("3EB0T"),
                    ours: false,
                    participant: None,
                },
                emoji: Some(Text::new("👍")),
            },
            "message/3EB0T/reaction",
            json!({"phone": to, "emoji": "👍"}),
        ),
        (
            OutboundContent::Reaction {
                target: MessageReference {
                    id: id("3EB0T"),
                    ours: true,
                    participant: None,
                },
                emoji: None,
            },
            "message/3EB0T/reaction",
            json!({"phone": to, "emoji": ""}),
        ),
        (
            OutboundContent::Edit {
                target: id("3EB0T"),
                text: Text::new("baru"),
            },
            "message/3EB0T/update",
            json!({"phone": to, "message": "baru"}),
        ),
        (
            OutboundContent::Revoke { target: id("a/b") },
            "message/a%2Fb/revoke",
            json!({"phone": to}),
        ),
    ] {
        let (first, _, asked) = asked(&saying(content)).await;
        assert_eq!(first, format!("POST /v1/wa/{path} HTTP/1.1"));
        assert_eq!(serde_json::from_str::<Value>(&asked).unwrap(), body);
    }
    // A reaction is about another message; its own id is nobody's.
    let about = saying(OutboundContent::Revoke { target: id("3EB0T") });
    let server = Server::start(Manner::Say(answer(200, "", &sent("3EB0T")))).await;
    assert_eq!(verdict(&send_to(&server.base, &about).await), "accepted 3EB0OURS");
    for (content, meaning) in [
        (OutboundContent::Contacts(Vec::new()), "rejected unprocessable"),
        (
            OutboundContent::Contacts(vec![card("FN:no number")]),
            "rejected unprocessable",
        ),
        (
            OutboundContent::Revoke { target: id("..") },
            "rejected invalid_request",
        ),
    ] {
        assert_eq!(
            verdict(&send_to("http://127.0.0.1:1", &saying(content)).await),
            meaning
        );
    }
    let mut visitor = text();
    visitor.to = ChatAddress::parse("web_abc").unwrap();
    let outcome = send_to("http://127.0.0.1:1", &visitor).await;
    assert_eq!(verdict(&outcome), "rejected invalid_recipient");
}

fn file(kind: MediaKind, file: OutboundFile) -> OutboundMessage {
    saying(OutboundContent::Media(OutboundMedia {
        kind,
        file,
        mime_type: (kind == MediaKind::Image).then(|| Text::new("image/png")),
        caption: Some(Text::new("keterangan")),
        file_name: (kind == MediaKind::Document).then(|| Text::new("KTP \"asli\".pdf")),
        seconds: None,
    }))
}

#[tokio::test]
async fn files_go_as_forms_and_by_address_where_that_is_all_there_is() {
    let bytes = || OutboundFile::Bytes(FileBytes::new(Bytes::from_static(b"the bytes")).unwrap());
    for (kind, route, part, told, not_told) in [
        (
            MediaKind::Image,
            "image",
            "name=\"image\"; filename=\"image.jpg\"\r\nContent-Type: image/png",
            vec!["keterangan", "name=\"compress\"\r\n\r\nfalse"],
            vec!["ptt"],
        ),
        (
            MediaKind::Video,
            "video",
            "name=\"video\"; filename=\"video.mp4\"\r\nContent-Type: video/mp4",
            vec!["keterangan"],
            vec!["ptt"],
        ),
        (
            MediaKind::Voice,
            "audio",
            "name=\"audio\"; filename=\"audio.ogg\"\r\nContent-Type: audio/ogg",
            vec!["name=\"ptt\"\r\n\r\ntrue"],
            vec!["keterangan"],
        ),
        (
            MediaKind::Audio,
            "audio",
            "name=\"audio\"; filename=\"audio.ogg\"",
            vec![],
            vec!["ptt", "keterangan"],
        ),
        (
            MediaKind::Document,
            "file",
            "name=\"file\"; filename=\"KTP ",
            vec!["keterangan"],
            vec!["compress"],
        ),
        (
            MediaKind::Sticker,
            "sticker",
            "name=\"sticker\"; filename=\"sticker.webp\"\r\nContent-Type: image/webp",
            vec![],
            vec!["keterangan"],
        ),
    ] {
        let (first, head, body) = asked(&file(kind, bytes())).await;
        assert_eq!(first, format!("POST /v1/wa/send/{route} HTTP/1.1"));
        assert!(
            head.contains("content-type: multipart/form-data; boundary="),
            "{head}"
        );
        assert!(head.contains("content-length: "), "{head}");
        for told in [part, "the bytes", "628123450001@s.whatsapp.net"]
            .into_iter()
            .chain(told)
        {
            assert!(body.contains(told), "{route}: {told} in {body}");
        }
        for not_told in not_told {
            assert!(!body.contains(not_told), "{route}: {not_told} in {body}");
        }
    }
    let link = OutboundFile::Link("https://files.example/a.png?x=1".parse().unwrap());
    let (first, _, body) = asked(&file(MediaKind::Image, link)).await;
    assert_eq!(first, "POST /v1/wa/send/image HTTP/1.1");
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({"phone": "628123450001@s.whatsapp.net", "caption": "keterangan", "compress": false,
               "image_url": "https://files.example/a.png?x=1"})
    );
}

#[tokio::test]
async fn of_several_cards_none_is_sent_twice() {
    let card = || ContactCard {
        display_name: Text::new("Pak RT"),
        vcard: Some(Text::new("TEL;waid=62812000:x")),
    };
    let message = saying(OutboundContent::Contacts(vec![card(), card()]));
    let limited = Manner::Say(answer(429, "", ""));
    let first = Manner::Say(answer(200, "", &sent("3EB0FIRST")));
    let (base, _asked) = serve(vec![first, limited]).await;
    assert_eq!(verdict(&send_to(&base, &message).await), "unknown partly_sent");
    let both = ["3EB0FIRST", "3EB0SECOND"].map(|id| Manner::Say(answer(200, "", &sent(id))));
    let (base, asked) = serve(both.into()).await;
    assert_eq!(verdict(&send_to(&base, &message).await), "accepted 3EB0FIRST");
    assert_eq!(asked.await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_server_says_is_kept_without_our_password() {
    let auth = BasicAuth::parse(&format!("kanal:{PASSWORD}")).unwrap();
    let header = secrecy::ExposeSecret::expose_secret(&auth.header()).to_owned();
    let body =
        json!({"code": "VALIDATION_ERROR", "message": format!("you said {header}\n{}", "x".repeat(900))});
    let SendOutcome::Rejected { detail, .. } =
        outcome_of(Manner::Say(answer(400, "", &body.to_string()))).await
    else {
        panic!("not rejected")
    };
    assert!(
        detail.as_str().starts_with("you said [token]"),
        "{}",
        detail.as_str()
    );
    assert!(!format!("{:?}", endpoint("http://a.example")).contains(PASSWORD));
    assert!(GowaEndpoint::new("ftp://a.example".parse().unwrap(), None).is_err());
}

fn results(results: Value) -> Manner {
    Manner::Say(answer(
        200,
        "",
        &json!({"code": "SUCCESS", "results": results}).to_string(),
    ))
}

fn refuses(status: u16, code: &str) -> Manner {
    Manner::Say(answer(
        status,
        "",
        &json!({"code": code, "message": "no"}).to_string(),
    ))
}

fn first_lines(asked: &[String]) -> Vec<String> {
    asked
        .iter()
        .map(|asked| asked.lines().next().unwrap_or_default().replace(" HTTP/1.1", ""))
        .collect()
}

#[tokio::test]
async fn a_code_is_fetched_from_the_endpoint_wherever_the_link_points() {
    let login = json!({"device_id": "x", "qr_link": "http://evil.example/v1/wa/statics/qrcode/a.png", "qr_duration": 30});
    let png = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\n".as_slice(),
        b"\x89PNG\r\n\x1a\n",
    ]
    .concat();
    let (base, asked) = serve(vec![results(login.clone()), Manner::Say(png)]).await;
    let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
    let code = sessions.qr(&device()).await.unwrap();
    assert_eq!(code.0, "data:image/png;base64,iVBORw0KGgo=");
    assert_eq!(
        first_lines(&asked.await.unwrap()),
        [
            "GET /v1/wa/devices/toko%2F1/login",
            "GET /v1/wa/statics/qrcode/a.png"
        ]
    );
    // What is no picture is handed to nobody.
    let (base, _asked) = serve(vec![results(login), Manner::Say(answer(200, "", "<script>"))]).await;
    let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
    assert_eq!(
        sessions.qr(&device()).await.unwrap_err().reason,
        FailureReason::Unreadable
    );
    let (base, _asked) = serve(vec![refuses(400, "ALREADY_LOGGED_IN")]).await;
    let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
    assert_eq!(
        sessions.qr(&device()).await.unwrap_err().reason,
        FailureReason::AlreadyLoggedIn
    );
}

#[tokio::test]
async fn connecting_tells_the_webhook_again_and_begins_what_is_needed() {
    let upkeep = Upkeep {
        webhook_url: Some("https://here.example/webhook/gowa/toko".to_owned()),
        webhook_key: Some(WebhookKey::new("key").unwrap()),
    };
    let status = |up: bool| results(json!({"device_id": "toko/1", "is_connected": up, "is_logged_in": up}));
    let device_is = |jid: &str| results(json!({"id": "toko/1", "state": "x", "jid": jid, "created_at": "x"}));
    let told = || {
        vec![
            results(json!({"webhook_url": "", "webhook_secret": "", "webhook_events": ""})),
            results(json!({})),
        ]
    };
    for (then, details, last) in [
        (
            vec![status(true)],
            "Already connected",
            "GET /v1/wa/devices/toko%2F1/status",
        ),
        (
            vec![
                status(false),
                device_is("628:1@s.whatsapp.net"),
                results(Value::Null),
            ],
            "Reconnect requested",
            "POST /v1/wa/devices/toko%2F1/reconnect",
        ),
        (
            vec![
                status(false),
                device_is("628:1@s.whatsapp.net"),
                refuses(401, "AUTHENTICATION_ERROR"),
                results(json!({"qr_link": "x"})),
            ],
            "Login started",
            "GET /v1/wa/devices/toko%2F1/login",
        ),
        (
            vec![status(false), device_is(""), results(json!({"qr_link": "x"}))],
            "Login started",
            "GET /v1/wa/devices/toko%2F1/login",
        ),
    ] {
        let manners = told().into_iter().chain(then).collect();
        let (base, asked) = serve(manners).await;
        let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
        assert_eq!(sessions.connect(&device(), &upkeep).await.unwrap().0, details);
        let asked = asked.await.unwrap();
        assert_eq!(first_lines(&asked).last().map(String::as_str), Some(last));
        let told: Value = serde_json::from_str(asked[1].split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(
            (told["webhook_url"].as_str(), told["webhook_secret"].as_str()),
            (Some("https://here.example/webhook/gowa/toko"), Some("key"))
        );
    }
}

#[tokio::test]
async fn a_device_that_is_not_there_is_told_apart_from_a_server_in_trouble() {
    let list = |devices: Value| results(devices);
    for (devices, reason) in [
        (json!([]), FailureReason::UnknownToken),
        (json!([{"id": "toko/1", "state": "x"}]), FailureReason::Refused),
    ] {
        let (base, _asked) = serve(vec![refuses(500, "INTERNAL_SERVER_ERROR"), list(devices)]).await;
        let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
        assert_eq!(sessions.status(&device()).await.unwrap_err().reason, reason);
    }
    for (manner, reason) in [
        (refuses(401, "AUTHENTICATION_ERROR"), FailureReason::NotLoggedIn),
        // Our own user is refused: that says nothing about the device.
        (
            Manner::Say(answer(401, "", "Unauthorized")),
            FailureReason::Refused,
        ),
        (
            refuses(503, "DEVICE_MANAGER_UNAVAILABLE"),
            FailureReason::NoAnswer,
        ),
        (Manner::Say(Vec::new()), FailureReason::NoAnswer),
    ] {
        let (base, _asked) = serve(vec![manner]).await;
        let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
        assert_eq!(sessions.logout(&device()).await.unwrap_err().reason, reason);
    }
    let sessions = GowaSessions::new(&endpoint("http://127.0.0.1:1")).unwrap();
    let refused = sessions.disconnect(&device()).await.unwrap_err();
    assert_eq!(refused.reason, FailureReason::Refused);
    assert!(refused.said.as_str().contains("log it out"));
    let phone = PhoneNumber::parse("628123450001").unwrap();
    let (base, asked) = serve(vec![results(json!({"device_id": "x", "pair_code": "ABCD-1234"}))]).await;
    let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
    assert_eq!(
        sessions.pair_phone(&device(), &phone).await.unwrap().0,
        "ABCD-1234"
    );
    assert_eq!(
        first_lines(&asked.await.unwrap()),
        ["POST /v1/wa/devices/toko%2F1/login/code?phone=628123450001"]
    );
}

#[tokio::test]
async fn a_device_is_made_once() {
    let new = NewDevice {
        id: SessionToken::new("toko-1").unwrap(),
        webhook: Some(DeviceWebhook {
            url: "https://here.example/webhook/gowa/toko".to_owned(),
            key: WebhookKey::new("key").unwrap(),
        }),
    };
    let there = || results(json!([{"id": "toko-1", "state": "disconnected", "jid": null}]));
    let made = || results(json!({"id": "toko-1", "state": "disconnected", "jid": ""}));
    for (manners, lines) in [
        (
            vec![results(json!([])), made()],
            vec!["GET /v1/wa/devices", "POST /v1/wa/devices"],
        ),
        (
            vec![there(), results(json!({}))],
            vec!["GET /v1/wa/devices", "PATCH /v1/wa/devices/toko-1/webhook"],
        ),
        // The answer was lost, or somebody else was faster.
        (
            vec![
                results(json!([])),
                refuses(500, "INTERNAL_SERVER_ERROR"),
                there(),
                results(json!({})),
            ],
            vec![
                "GET /v1/wa/devices",
                "POST /v1/wa/devices",
                "GET /v1/wa/devices",
                "PATCH /v1/wa/devices/toko-1/webhook",
            ],
        ),
    ] {
        let (base, asked) = serve(manners).await;
        let devices = GowaDevices::new(&endpoint(&base)).unwrap();
        assert_eq!(devices.ensure(&new).await.unwrap().id, "toko-1");
        assert_eq!(first_lines(&asked.await.unwrap()), lines);
    }
    for (manners, removal) in [
        (vec![results(Value::Null)], Removal::Removed),
        (
            vec![refuses(500, "INTERNAL_SERVER_ERROR"), results(json!([]))],
            Removal::WasAbsent,
        ),
    ] {
        let (base, _asked) = serve(manners).await;
        let devices = GowaDevices::new(&endpoint(&base)).unwrap();
        assert_eq!(devices.remove(&new.id).await.unwrap(), removal);
    }
    let (base, _asked) = serve(vec![refuses(500, "INTERNAL_SERVER_ERROR"), there()]).await;
    let devices = GowaDevices::new(&endpoint(&base)).unwrap();
    assert!(devices.remove(&new.id).await.is_err());
}

#[tokio::test]
async fn a_key_that_is_told_is_in_no_error() {
    const KEY: &str = "key-that-nobody-else-may-have";
    let new = NewDevice {
        id: SessionToken::new("toko-1").unwrap(),
        webhook: Some(DeviceWebhook {
            url: "https://here.example/webhook/gowa/toko".to_owned(),
            key: WebhookKey::new(KEY).unwrap(),
        }),
    };
    let echo = || {
        let words = format!("cannot read {{\"webhook_secret\":\"{KEY}\"}}");
        Manner::Say(answer(
            400,
            "",
            &json!({"code": "BAD_REQUEST", "message": words}).to_string(),
        ))
    };
    let there = results(json!([{"id": "toko-1", "state": "disconnected"}]));
    for manners in [
        // Made, and told again.
        vec![results(json!([])), echo(), results(json!([]))],
        vec![there, echo()],
    ] {
        let (base, _asked) = serve(manners).await;
        let devices = GowaDevices::new(&endpoint(&base)).unwrap();
        let error = devices.ensure(&new).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("cannot read"), "{shown}");
        assert!(!shown.contains(KEY), "{shown}");
    }
}

async fn download(base: &str, path: Option<&str>) -> Result<Vec<u8>, DownloadError> {
    let file = WantedFile {
        kind: MediaKind::Image,
        mime_type: None,
        held: HeldFile::Server(ServerFile {
            path: path.map(str::to_owned),
            message: id("3EB0AAAA0002"),
            chat: "628123450001@s.whatsapp.net".to_owned(),
        }),
    };
    let downloads = GowaDownloads::new(&endpoint(base)).unwrap();
    let pieces: Vec<Bytes> = downloads.download(&device(), &file).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn a_file_has_a_second_chance_and_no_other_host() {
    let bytes = || Manner::Say(answer(200, "", "the file"));
    let (base, asked) = serve(vec![bytes()]).await;
    assert_eq!(
        download(&base, Some("statics/media/a.jpg")).await.unwrap(),
        b"the file"
    );
    assert_eq!(
        first_lines(&asked.await.unwrap()),
        ["GET /v1/wa/statics/media/a.jpg"]
    );

    let again = json!({"message_id": "x", "file_path": "statics/media/b.jpg", "file_url": "http://evil.example/b.jpg"});
    let gone = Manner::Say(answer(404, "", "Not Found"));
    let (base, asked) = serve(vec![gone, results(again), bytes()]).await;
    assert_eq!(
        download(&base, Some("statics/media/a.jpg")).await.unwrap(),
        b"the file"
    );
    assert_eq!(
        first_lines(&asked.await.unwrap())[1..],
        [
            "GET /v1/wa/message/3EB0AAAA0002/download?phone=628123450001%40s.whatsapp.net",
            "GET /v1/wa/statics/media/b.jpg"
        ]
    );
    let never = |reason| Err(DownloadError::Never { reason });
    assert_eq!(
        download("http://127.0.0.1:1", Some("statics/../devices")).await,
        never("path_refused")
    );
    assert_eq!(
        download("http://127.0.0.1:1", Some("statics/a.jpg")).await,
        Err(DownloadError::later("unreachable"))
    );
    for (manner, outcome) in [
        (
            refuses(500, "INTERNAL_SERVER_ERROR"),
            Err(DownloadError::later("provider_failed")),
        ),
        (
            refuses(401, "AUTHENTICATION_ERROR"),
            Err(DownloadError::later("no_session")),
        ),
        (
            results(json!({"file_path": "http://evil.example/x"})),
            never("path_refused"),
        ),
        (results(json!({"file_path": ""})), never("not_on_server")),
        (
            Manner::Say(answer(302, "location: http://evil.example/\r\n", "")),
            never("redirected"),
        ),
    ] {
        let (base, _asked) = serve(vec![manner]).await;
        assert_eq!(download(&base, None).await, outcome);
    }
}

#[tokio::test]
async fn typing_and_read_marks_are_shown_once() {
    let done = || results(json!({}));
    let (base, asked) = serve(vec![done(), done(), done(), done()]).await;
    let courtesy = GowaCourtesy::new(&endpoint(&base)).unwrap();
    let chat = ChatAddress::parse("628123450001@s.whatsapp.net").unwrap();
    let (device, messages) = (device(), [id("3EB0A"), id("3EB0B")]);
    courtesy
        .presence(&device, &chat, Typing::Composing)
        .await
        .unwrap();
    courtesy.presence(&device, &chat, Typing::Paused).await.unwrap();
    courtesy.mark_read(&device, &chat, &messages).await.unwrap();
    let asked = asked.await.unwrap();
    assert_eq!(
        first_lines(&asked),
        [
            "POST /v1/wa/send/chat-presence",
            "POST /v1/wa/send/chat-presence",
            "POST /v1/wa/message/3EB0A/read",
            "POST /v1/wa/message/3EB0B/read"
        ]
    );
    assert!(asked[0].contains("\"action\":\"start\"") && asked[1].contains("\"action\":\"stop\""));
}
