//! Every kind of message on its route, in the shape that wa-server contract 7 fixes.

use std::time::Duration;

use bytes::Bytes;
use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use domain::message::{ContactCard, MediaKind, MessageKind};
use domain::text::Text;
use serde_json::{Value, json};
use whatsapp::credentials::SessionToken;
use whatsapp::genfity::{Endpoint, GenfitySender};
use whatsapp::port::{
    FileBytes, MessageReference, OutboundContent, OutboundFile, OutboundMedia, OutboundMessage,
    OutboundQuote, ResendSafety, SendMessage as _, SendOutcome,
};

use crate::outbound::verdict;
use crate::server::{Manner, answer, serve};

const SENT: &str =
    r#"{"code":200,"data":{"Details":"Sent","Timestamp":1771330600,"Id":"3EB0THEIRS"},"success":true}"#;

fn id(text: &str) -> ProviderMessageId {
    ProviderMessageId::parse(text).unwrap()
}

fn address(text: &str) -> ChatAddress {
    ChatAddress::parse(text).unwrap()
}

fn message(content: OutboundContent) -> OutboundMessage {
    OutboundMessage {
        id: id("3EB0OURS"),
        to: address("6281200000001@s.whatsapp.net"),
        content,
        quoted: None,
    }
}

fn media(kind: MediaKind, file: OutboundFile, mime_type: Option<&str>) -> OutboundMedia {
    OutboundMedia {
        kind,
        file,
        mime_type: mime_type.map(Text::new),
        caption: Some("keterangan".into()),
        file_name: Some("KK.pdf".into()),
        seconds: Some(4),
    }
}

fn bytes() -> OutboundFile {
    OutboundFile::Bytes(FileBytes::new(Bytes::from_static(b"isi")).unwrap())
}

fn link() -> OutboundFile {
    OutboundFile::Link("https://media.example/a.jpg".parse().unwrap())
}

fn sender(base: &str) -> GenfitySender {
    rustls::crypto::ring::default_provider().install_default().ok();
    let endpoint = Endpoint::new(base.parse().unwrap())
        .unwrap()
        .with_total_timeout(Duration::from_secs(5));
    GenfitySender::new(&endpoint).unwrap()
}

fn token() -> SessionToken {
    SessionToken::new("wat_verysecret").unwrap()
}

/// Path and body of a request.
fn parts(request: &str) -> (String, Value) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("token: wat_verysecret"), "{head}");
    let path = head.split(' ').nth(1).unwrap();
    (
        path.trim_start_matches("/v1/wa").to_owned(),
        serde_json::from_str(body).unwrap(),
    )
}

async fn send(message: &OutboundMessage, answers: &[(u16, &str)]) -> (SendOutcome, Vec<(String, Value)>) {
    let manners = answers
        .iter()
        .map(|(status, body)| Manner::Say(answer(*status, "", body)))
        .collect();
    let (base, asked) = serve(manners).await;
    let outcome = sender(&base).send(&token(), message).await;
    if answers.is_empty() {
        asked.abort();
        return (outcome, Vec::new());
    }
    let asked = asked.await.unwrap();
    (outcome, asked.iter().map(|request| parts(request)).collect())
}

async fn on_the_wire(message: OutboundMessage) -> (String, Value) {
    let (outcome, mut asked) = send(&message, &[(200, SENT)]).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    asked.pop().unwrap()
}

#[tokio::test]
async fn files_travel_as_data_urls_that_begin_as_the_route_wants() {
    for (kind, mime_type, path, body) in [
        (
            MediaKind::Image,
            Some("image/png"),
            "/chat/send/image",
            json!({"Image": "data:image/png;base64,aXNp", "Caption": "keterangan", "MimeType": "image/png"}),
        ),
        (
            MediaKind::Image,
            None,
            "/chat/send/image",
            json!({"Image": "data:image/jpeg;base64,aXNp", "Caption": "keterangan"}),
        ),
        (
            MediaKind::Video,
            Some("video/mp4"),
            "/chat/send/video",
            json!({"Video": "data:video/mp4;base64,aXNp", "Caption": "keterangan", "MimeType": "video/mp4"}),
        ),
        (
            MediaKind::Audio,
            Some("audio/mpeg"),
            "/chat/send/audio",
            json!({"Audio": "data:audio/mpeg;base64,aXNp", "ptt": false, "mimetype": "audio/mpeg", "Seconds": 4}),
        ),
        (
            MediaKind::Voice,
            Some("audio/ogg; codecs=opus"),
            "/chat/send/audio",
            json!({"Audio": "data:audio/ogg;base64,aXNp", "ptt": true, "mimetype": "audio/ogg; codecs=opus",
                   "Seconds": 4}),
        ),
        // The data URL is always of this type here; the real one has its own field.
        (
            MediaKind::Document,
            Some("application/pdf"),
            "/chat/send/document",
            json!({"Document": "data:application/octet-stream;base64,aXNp", "FileName": "KK.pdf",
                   "Caption": "keterangan", "MimeType": "application/pdf"}),
        ),
        (
            MediaKind::Sticker,
            Some("image/webp"),
            "/chat/send/sticker",
            json!({"Sticker": "data:image/webp;base64,aXNp", "MimeType": "image/webp"}),
        ),
    ] {
        let sent = on_the_wire(message(OutboundContent::Media(media(kind, bytes(), mime_type)))).await;
        let mut expected = body;
        expected["Phone"] = json!("6281200000001");
        expected["Id"] = json!("3EB0OURS");
        assert_eq!(sent, (path.to_owned(), expected), "{kind}");
    }
}

#[tokio::test]
async fn links_go_out_where_the_server_fetches_them_and_nowhere_else() {
    let content = |kind| OutboundContent::Media(media(kind, link(), None));
    let (path, body) = on_the_wire(message(content(MediaKind::Video))).await;
    assert_eq!(
        (path.as_str(), &body["Video"]),
        ("/chat/send/video", &json!("https://media.example/a.jpg"))
    );
    let sender = sender("http://127.0.0.1:1/v1/wa");
    for kind in [
        MediaKind::Audio,
        MediaKind::Voice,
        MediaKind::Document,
        MediaKind::Sticker,
    ] {
        assert!(!sender.takes_links(kind));
        let outcome = sender.send(&token(), &message(content(kind))).await;
        assert_eq!(verdict(&outcome), "rejected unprocessable", "{kind}");
    }
    assert!(sender.takes_links(MediaKind::Image) && sender.takes_links(MediaKind::Video));
}

#[tokio::test]
async fn an_answer_names_what_it_answers_and_who_wrote_that() {
    let mut reply = message(OutboundContent::Text("Baik".into()));
    reply.quoted = Some(OutboundQuote {
        id: id("3EB0QUOTED"),
        participant: Some(address("6281200000001@s.whatsapp.net")),
        text: Some("syaratnya?".into()),
    });
    assert_eq!(
        on_the_wire(reply).await,
        (
            "/chat/send/text".to_owned(),
            json!({"Phone": "6281200000001", "Id": "3EB0OURS", "Body": "Baik",
                   "ContextInfo": {"StanzaID": "3EB0QUOTED", "Participant": "6281200000001@s.whatsapp.net"},
                   "QuotedMessage": {"conversation": "syaratnya?"}})
        )
    );
}

#[tokio::test]
async fn a_place_on_the_equator_is_a_place() {
    let place = |latitude| OutboundContent::Location {
        latitude,
        longitude: 109.33,
        name: Some("Tugu".into()),
        address: Some("Jl. Khatulistiwa".into()),
    };
    let (path, body) = on_the_wire(message(place(-0.02))).await;
    assert_eq!(path, "/chat/send/location");
    assert_eq!(
        body,
        json!({"Phone": "6281200000001", "Id": "3EB0OURS", "Latitude": -0.02, "Longitude": 109.33, "Name": "Tugu"})
    );
    // Exactly zero counts as missing there.
    let (_, body) = on_the_wire(message(place(0.0))).await;
    let latitude = body["Latitude"].as_f64().unwrap();
    assert!(latitude != 0.0 && latitude.abs() < 1e-6);
}

fn cards(count: usize) -> OutboundContent {
    let card = |number| ContactCard {
        display_name: Text::from(format!("Pak {number}")),
        vcard: Some(Text::from(format!("BEGIN:VCARD\nFN:Pak {number}\nEND:VCARD"))),
    };
    OutboundContent::Contacts((1..=count).map(card).collect())
}

#[tokio::test]
async fn several_cards_are_several_calls_with_ids_of_their_own() {
    let (outcome, asked) = send(&message(cards(2)), &[(200, SENT), (200, SENT)]).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    let seen: Vec<Value> = asked
        .iter()
        .map(|(path, body)| json!([path, body["Id"], body["Name"], body["Vcard"]]))
        .collect();
    assert_eq!(
        json!(seen),
        json!([
            [
                "/chat/send/contact",
                "3EB0OURS",
                "Pak 1",
                "BEGIN:VCARD\nFN:Pak 1\nEND:VCARD"
            ],
            [
                "/chat/send/contact",
                "3EB0OURS01",
                "Pak 2",
                "BEGIN:VCARD\nFN:Pak 2\nEND:VCARD"
            ],
        ])
    );
    // Once the first is out, no failure of the second makes it a message that did not go out.
    for (status, body, meaning) in [
        (400, "{}", "unknown partly_sent"),
        (500, r#"{"error":"no session"}"#, "unknown partly_sent"),
        (429, "{}", "limited 10"),
    ] {
        let (outcome, _) = send(&message(cards(2)), &[(200, SENT), (status, body)]).await;
        assert_eq!(verdict(&outcome), meaning);
    }
    let (outcome, asked) = send(&message(cards(2)), &[(400, "{}")]).await;
    assert_eq!(
        (verdict(&outcome).as_str(), asked.len()),
        ("rejected invalid_request", 1)
    );
    let blank = OutboundContent::Contacts(vec![ContactCard {
        display_name: "Pak Lurah".into(),
        vcard: None,
    }]);
    assert_eq!(
        verdict(&send(&message(blank), &[]).await.0),
        "rejected unprocessable"
    );
}

#[tokio::test]
async fn edits_deletions_and_reactions_name_the_other_message_and_keep_their_own_id() {
    let reference = |ours, participant: Option<&str>| MessageReference {
        id: id("3EB0OTHER"),
        ours,
        participant: participant.map(address),
    };
    let react = |target, emoji: Option<&str>| OutboundContent::Reaction {
        target,
        emoji: emoji.map(Text::new),
    };
    for (content, path, body) in [
        (
            OutboundContent::Edit {
                target: id("3EB0OTHER"),
                text: "baru".into(),
            },
            "/chat/send/edit",
            json!({"Phone": "6281200000001", "Body": "baru", "Id": "3EB0OTHER"}),
        ),
        (
            OutboundContent::Revoke {
                target: id("3EB0OTHER"),
            },
            "/chat/delete",
            json!({"Phone": "6281200000001", "Id": "3EB0OTHER"}),
        ),
        (
            react(reference(false, None), Some("👍")),
            "/chat/react",
            json!({"Phone": "6281200000001", "Body": "👍", "Id": "3EB0OTHER"}),
        ),
        (
            react(reference(true, None), None),
            "/chat/react",
            json!({"Phone": "6281200000001", "Body": "remove", "Id": "me:3EB0OTHER"}),
        ),
        (
            react(reference(false, Some("6281300000007@s.whatsapp.net")), Some("❤")),
            "/chat/react",
            json!({"Phone": "6281200000001", "Body": "❤", "Id": "3EB0OTHER",
                   "Participant": "6281300000007@s.whatsapp.net"}),
        ),
    ] {
        let (outcome, mut asked) = send(&message(content), &[(200, SENT)]).await;
        assert_eq!(verdict(&outcome), "accepted 3EB0OURS");
        assert_eq!(asked.pop().unwrap(), (path.to_owned(), body));
    }
}

#[test]
fn resending_is_as_safe_as_the_route_makes_it() {
    let sender = sender("http://127.0.0.1:1/v1/wa");
    for &kind in MessageKind::ALL {
        let safety = sender.resend_safety(kind);
        let expected = match kind {
            MessageKind::Edit | MessageKind::Revoke | MessageKind::Reaction => ResendSafety::SameEffect,
            MessageKind::Poll
            | MessageKind::PollVote
            | MessageKind::InteractiveReply
            | MessageKind::Template
            | MessageKind::Interactive
            | MessageKind::Unsupported => ResendSafety::EachCallIsAMessage,
            _ => ResendSafety::SameIdIsOneMessage,
        };
        assert_eq!(safety, expected, "{kind}");
        assert_eq!(safety.may_repeat(), expected != ResendSafety::EachCallIsAMessage);
    }
}
