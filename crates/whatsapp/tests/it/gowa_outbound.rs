//! Sending through GoWA, against a server that answers so: each row of the sender's table, and what is asked for each kind.

use std::time::Duration;

use bytes::Bytes;
use domain::address::ChatAddress;
use domain::message::{ContactCard, MediaKind, MessageKind};
use domain::text::Text;
use serde_json::{Value, json};
use whatsapp::credentials::BasicAuth;
use whatsapp::gowa::{GowaEndpoint, GowaSender};
use whatsapp::port::{
    FileBytes, MessageReference, OutboundContent, OutboundFile, OutboundMedia, OutboundMessage,
    OutboundQuote, SendMessage, SendOutcome,
};

use crate::gowa_server::{PASSWORD, device, endpoint, id};
use crate::outbound::verdict;
use crate::server::{Manner, Server, answer, serve};

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
