//! The Cloud API's calls, against a server that answers so: what is asked for every kind, what every answer means, and that
//! nothing is ever posted twice.

use std::time::Duration;

use domain::address::ChatAddress;
use domain::ids::{ProviderMessageId, WabaId};
use domain::message::{ContactCard, MediaId, MediaKind, MessageKind};
use domain::text::Text;
use secrecy::SecretString;
use serde_json::{Value, json};
use whatsapp::cloud::{
    GraphCourtesy, GraphEndpoint, GraphFailure, GraphSender, GraphSessions, GraphTemplates,
};
use whatsapp::courtesy::{NotShown, ShowCourtesy, Typing};
use whatsapp::credentials::SessionToken;
use whatsapp::port::{
    MessageReference, OutboundContent, OutboundFile, OutboundMedia, OutboundMessage, OutboundQuote,
    RateScope, SendMessage, SendOutcome,
};
use whatsapp::probe::{HttpProbe, ProbeEndpoint, ProbeReason};
use whatsapp::session::{FailureReason, ManageSession, SessionState, Upkeep};

use crate::outbound::verdict;
use crate::server::{Manner, Server, answer, serve};

pub(crate) const TOKEN: &str = "EAAGverysecret";

pub(crate) fn endpoint(base: &str) -> GraphEndpoint {
    // Another test of this process may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    GraphEndpoint::new(base.parse().unwrap(), SecretString::from(TOKEN))
        .unwrap()
        .with_connect_timeout(Duration::from_millis(500))
        .with_total_timeout(Duration::from_secs(2))
}

pub(crate) fn number() -> SessionToken {
    SessionToken::new("110987650000222").unwrap()
}

pub(crate) fn id(text: &str) -> ProviderMessageId {
    ProviderMessageId::parse(text).unwrap()
}

pub(crate) fn saying(content: OutboundContent) -> OutboundMessage {
    OutboundMessage {
        id: id("3EB0OURS"),
        to: ChatAddress::parse("628110000001@s.whatsapp.net").unwrap(),
        content,
        quoted: None,
    }
}

fn text() -> OutboundMessage {
    saying(OutboundContent::Text(Text::new("Selamat pagi")))
}

pub(crate) fn sent() -> String {
    json!({"messaging_product": "whatsapp", "contacts": [{"input": "+628110000001", "wa_id": "628110000001"}],
           "messages": [{"id": "wamid.HBgM99ourMessage=="}]})
    .to_string()
}

pub(crate) fn said(status: u16, body: &str) -> Manner {
    Manner::Say(answer(status, "", body))
}

pub(crate) fn error(code: i64) -> String {
    json!({"error": {"message": format!("(#{code}) no"), "type": "OAuthException", "code": code,
                     "error_data": {"messaging_product": "whatsapp", "details": "Because."}, "fbtrace_id": "A1"}})
    .to_string()
}

async fn outcome_of(manner: Manner) -> SendOutcome {
    let server = Server::start(manner).await;
    let sender = GraphSender::new(&endpoint(&server.base)).unwrap();
    sender.send(&number(), &text()).await
}

/// The body that was posted for a message.
async fn asked(message: &OutboundMessage) -> Value {
    let server = Server::start(said(200, &sent())).await;
    let sender = GraphSender::new(&endpoint(&server.base)).unwrap();
    let outcome = sender.send(&number(), message).await;
    assert_eq!(
        verdict(&outcome),
        "accepted wamid.HBgM99ourMessage==",
        "{outcome:?}"
    );
    let asked = server.asked.await.unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /v1/wa/v22.0/110987650000222/messages HTTP/1.1"),
        "{head}"
    );
    let head = head.to_ascii_lowercase();
    assert!(head.contains(&format!("authorization: bearer {}", TOKEN.to_ascii_lowercase())));
    assert!(head.contains("user-agent: kanal/"));
    serde_json::from_str(body).unwrap()
}

/// Nothing listens there: whatever is refused was refused before a call.
async fn refused(message: &OutboundMessage) -> String {
    let sender = GraphSender::new(&endpoint("http://127.0.0.1:9")).unwrap();
    verdict(&sender.send(&number(), message).await)
}

fn media(kind: MediaKind, file: OutboundFile) -> OutboundMedia {
    OutboundMedia {
        kind,
        file,
        mime_type: None,
        caption: Some(Text::new("Peta lokasi")),
        file_name: Some(Text::new("Surat.pdf")),
        seconds: None,
    }
}

fn interactive(value: Value) -> OutboundContent {
    OutboundContent::Interactive(serde_json::from_value(value).unwrap())
}

#[tokio::test]
async fn every_kind_is_asked_for_as_the_contract_has_it() {
    let up = || OutboundFile::Uploaded(MediaId::parse("1900000000000011").unwrap());
    let link = || OutboundFile::Link("https://cdn.example.test/v.mp4".parse().unwrap());
    let template = json!({"name": "janji_temu", "language": {"code": "id"}, "components": [
        {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://cdn.example.test/h.png"}}]},
        {"type": "body", "parameters": [{"type": "text", "parameter_name": "nama", "text": "Sari"}]},
        {"type": "button", "sub_type": "flow", "index": "0", "parameters": [
            {"type": "action", "action": {"flow_token": "ft-4711", "flow_action_data": {"case_id": "4711"}}}]}]});
    let flow = json!({"type": "flow", "body": {"text": "Isi formulir"}, "action": {"name": "flow", "parameters": {
        "flow_message_version": "3", "flow_token": "ft-4711", "flow_id": "770000000000001", "flow_cta": "Mulai",
        "mode": "published", "flow_action": "navigate",
        "flow_action_payload": {"screen": "INTAKE", "data": {"case_id": "4711"}}}}});
    for (content, kind, body) in [
        (
            OutboundContent::Text(Text::new("https://example.test/d/1")),
            "text",
            json!({"preview_url": false, "body": "https://example.test/d/1"}),
        ),
        (
            OutboundContent::Media(media(MediaKind::Image, up())),
            "image",
            json!({"id": "1900000000000011", "caption": "Peta lokasi"}),
        ),
        (
            OutboundContent::Media(media(MediaKind::Video, link())),
            "video",
            json!({"link": "https://cdn.example.test/v.mp4", "caption": "Peta lokasi"}),
        ),
        (
            OutboundContent::Media(media(MediaKind::Voice, up())),
            "audio",
            json!({"id": "1900000000000011", "voice": true}),
        ),
        (
            OutboundContent::Media(media(MediaKind::Audio, up())),
            "audio",
            json!({"id": "1900000000000011"}),
        ),
        (
            OutboundContent::Media(media(MediaKind::Document, up())),
            "document",
            json!({"id": "1900000000000011", "filename": "Surat.pdf", "caption": "Peta lokasi"}),
        ),
        (
            OutboundContent::Media(media(MediaKind::Sticker, up())),
            "sticker",
            json!({"id": "1900000000000011"}),
        ),
        (
            OutboundContent::Location {
                latitude: -6.1753924,
                longitude: 106.8271528,
                name: Some(Text::new("Kantor")),
                address: Some(Text::new("Jl. Contoh 1, Jakarta")),
            },
            "location",
            json!({"latitude": "-6.1753924", "longitude": "106.8271528", "name": "Kantor",
                   "address": "Jl. Contoh 1, Jakarta"}),
        ),
        (
            OutboundContent::Location {
                latitude: -6.1753924,
                longitude: 106.8271528,
                name: None,
                address: Some(Text::new("Jl. Contoh 1, Jakarta")),
            },
            "location",
            json!({"latitude": "-6.1753924", "longitude": "106.8271528", "name": "Jl. Contoh 1, Jakarta"}),
        ),
        (
            OutboundContent::Contacts(vec![ContactCard {
                display_name: Text::new("Budi"),
                vcard: Some(Text::new("TEL;type=WORK;waid=628110000002:+628110000002")),
            }]),
            "contacts",
            json!([{"name": {"formatted_name": "Budi", "first_name": "Budi"},
                    "phones": [{"phone": "+628110000002", "type": "WORK", "wa_id": "628110000002"}]}]),
        ),
        (
            OutboundContent::Reaction {
                target: MessageReference {
                    id: id("wamid.target"),
                    ours: false,
                    participant: None,
                },
                emoji: None,
            },
            "reaction",
            json!({"message_id": "wamid.target", "emoji": ""}),
        ),
        (
            OutboundContent::Template(serde_json::from_value(template.clone()).unwrap()),
            "template",
            template,
        ),
        (interactive(flow.clone()), "interactive", flow),
    ] {
        let asked = asked(&saying(content)).await;
        let expected = json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+628110000001", "type": kind,
            kind: body, "biz_opaque_callback_data": "3EB0OURS",
        });
        assert_eq!(asked, expected);
    }
}

#[tokio::test]
async fn an_answer_names_what_it_answers_and_a_person_without_a_number_is_named_apart() {
    let mut message = text();
    message.quoted = Some(OutboundQuote {
        id: id("wamid.quoted"),
        participant: None,
        text: None,
    });
    assert_eq!(
        asked(&message).await["context"],
        json!({"message_id": "wamid.quoted"})
    );
    message.content = OutboundContent::Reaction {
        target: MessageReference {
            id: id("wamid.target"),
            ours: false,
            participant: None,
        },
        emoji: Some(Text::new("👍")),
    };
    assert_eq!(asked(&message).await.get("context"), None);

    message.to = ChatAddress::parse("ID.90812345670000000001@bsuid").unwrap();
    let body = asked(&message).await;
    assert_eq!(
        (body.get("to"), &body["recipient"]),
        (None, &json!("ID.90812345670000000001"))
    );
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_before_a_call() {
    for to in [
        "190000000000001@lid",
        "120363040000000001@g.us",
        "web_visitor",
        "status@broadcast",
    ] {
        let message = OutboundMessage {
            to: ChatAddress::parse(to).unwrap(),
            ..text()
        };
        assert_eq!(refused(&message).await, "rejected invalid_recipient", "{to}");
    }
    let file = |kind, bytes: usize| {
        let bytes = whatsapp::port::FileBytes::new(vec![0; bytes].into()).unwrap();
        OutboundContent::Media(media(kind, OutboundFile::Bytes(bytes)))
    };
    for (content, verdict) in [
        (
            OutboundContent::Edit {
                target: id("wamid.x"),
                text: Text::new("x"),
            },
            "rejected unprocessable",
        ),
        (
            OutboundContent::Revoke {
                target: id("wamid.x"),
            },
            "rejected unprocessable",
        ),
        (
            OutboundContent::Text(Text::new(&"x".repeat(4_097))),
            "rejected too_large",
        ),
        (OutboundContent::Text(Text::new(" ")), "rejected invalid_request"),
        (OutboundContent::Contacts(Vec::new()), "rejected unprocessable"),
        (file(MediaKind::Image, 5_000_001), "rejected too_large"),
        (file(MediaKind::Sticker, 500_001), "rejected too_large"),
        (
            interactive(json!({"type": "button", "body": {"text": "x"}, "action": {"buttons": []}})),
            "rejected invalid_request",
        ),
    ] {
        assert_eq!(refused(&saying(content.clone())).await, verdict, "{content:?}");
    }
    let sender = GraphSender::new(&endpoint("http://127.0.0.1:9")).unwrap();
    let of_another = SessionToken::new("wat_token").unwrap();
    assert_eq!(
        verdict(&sender.send(&of_another, &text()).await),
        "retry unauthorized"
    );
    assert_eq!(refused(&text()).await, "retry unreachable");
}

#[tokio::test]
async fn every_answer_has_its_meaning() {
    for (status, body, meaning) in [
        (200, r#"{"messages":[]}"#.to_owned(), "unknown unreadable_answer"),
        (
            200,
            r#"{"messages":[{"id":""}]}"#.to_owned(),
            "unknown unreadable_answer",
        ),
        (200, "<html>".to_owned(), "unknown unreadable_answer"),
        (400, error(0), "retry unauthorized"),
        (401, error(190), "retry unauthorized"),
        (403, error(10), "retry forbidden"),
        (400, error(4), "limited 60"),
        (400, error(80_007), "limited 300"),
        (429, error(130_429), "limited 10"),
        (400, error(131_056), "limited 6"),
        (400, error(132_069), "limited 360"),
        (400, error(133_016), "limited 3600"),
        (400, error(131_048), "rejected spam_limited"),
        (400, error(131_047), "rejected window_closed"),
        (400, error(131_026), "rejected invalid_recipient"),
        (400, error(131_009), "rejected invalid_request"),
        (400, error(131_053), "rejected unprocessable"),
        (404, error(132_001), "rejected invalid_request"),
        (400, error(33), "rejected not_found"),
        (500, error(131_045), "rejected policy"),
        (403, error(368), "rejected policy"),
        (400, error(1), "unknown server_error"),
        (503, error(2), "unknown server_error"),
        (500, error(131_057), "unknown server_error"),
        (500, String::new(), "unknown server_error"),
        (502, "<html>".to_owned(), "unknown bad_gateway"),
        (503, String::new(), "unknown bad_gateway"),
        (504, String::new(), "unknown gateway_timeout"),
        (429, String::new(), "limited 10"),
        (401, String::new(), "retry unauthorized"),
        (403, "<html>".to_owned(), "retry forbidden"),
        (404, String::new(), "rejected not_found"),
        (408, String::new(), "unknown timeout"),
        (413, String::new(), "rejected too_large"),
        (422, String::new(), "rejected unprocessable"),
        (418, String::new(), "rejected refused"),
        (307, String::new(), "retry redirected"),
    ] {
        let outcome = outcome_of(said(status, &body)).await;
        assert_eq!(verdict(&outcome), meaning, "{status} {body}");
    }
    assert_eq!(
        verdict(&outcome_of(Manner::Wait(Duration::from_secs(5))).await),
        "unknown timeout"
    );
    assert_eq!(
        verdict(&outcome_of(Manner::Say(Vec::new())).await),
        "unknown connection_cut"
    );
}

#[tokio::test]
async fn a_limit_tells_its_scope_and_how_long() {
    for (headers, code, seconds, scope) in [
        ("retry-after: 30\r\n", 131_056, 30, RateScope::Chat),
        (
            "x-business-use-case-usage: {\"1\":[{\"estimated_time_to_regain_access\":7}]}\r\n",
            80_007,
            420,
            RateScope::Business,
        ),
        ("", 130_429, 10, RateScope::Number),
        ("x-app-usage: {\"call_count\":100}\r\n", 4, 60, RateScope::App),
    ] {
        let server = Server::start(Manner::Say(answer(400, headers, &error(code)))).await;
        let sender = GraphSender::new(&endpoint(&server.base)).unwrap();
        let outcome = sender.send(&number(), &text()).await;
        let SendOutcome::RateLimited {
            after, scope: told, ..
        } = outcome
        else {
            panic!("{outcome:?}")
        };
        assert_eq!((after.as_secs(), told), (seconds, scope), "{code}");
        let used = if headers.starts_with("x-app") { 100 } else { 0 };
        assert_eq!(sender.app_usage(), used);
    }
}

#[tokio::test]
async fn whatever_comes_of_it_a_message_is_posted_once_and_the_token_never_shows() {
    let leak = json!({"error": {"message": format!("bad token {TOKEN}"), "code": 190}}).to_string();
    for manner in [
        said(500, &error(131_000)),
        said(503, ""),
        Manner::Say(Vec::new()),
        said(401, &leak),
    ] {
        // The second manner would be met by a second call.
        let (base, asked) = serve(vec![manner, said(200, &sent())]).await;
        let sender = GraphSender::new(&endpoint(&base)).unwrap();
        let outcome = sender.send(&number(), &text()).await;
        assert!(!matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
        assert!(!format!("{outcome:?} {sender:?}").contains(TOKEN));
        assert!(!asked.is_finished());
        asked.abort();
    }
    let sender = GraphSender::new(&endpoint("http://127.0.0.1:9")).unwrap();
    assert!(!sender.resend_safety(MessageKind::Template).may_repeat());
    assert!(sender.resend_safety(MessageKind::Reaction).may_repeat());
}

#[tokio::test]
async fn an_accounts_own_token_is_used_where_it_has_one() {
    let server = Server::start(said(200, &sent())).await;
    let sender = GraphSender::new(&endpoint(&server.base)).unwrap();
    let own = SessionToken::new("110987650000333:EAAGown").unwrap();
    assert!(matches!(
        sender.send(&own, &text()).await,
        SendOutcome::Accepted { .. }
    ));
    let asked = server.asked.await.unwrap();
    assert!(
        asked.starts_with("POST /v1/wa/v22.0/110987650000333/messages"),
        "{asked}"
    );
    assert!(asked.contains("Bearer EAAGown") && !asked.contains(TOKEN));
}

#[tokio::test]
async fn the_newest_message_is_marked_and_typing_is_shown_under_it() {
    let yes = || said(200, r#"{"success":true}"#);
    let (base, asked) = serve(vec![yes(), yes()]).await;
    let courtesy = GraphCourtesy::new(&endpoint(&base)).unwrap();
    let chat = ChatAddress::parse("628110000001@s.whatsapp.net").unwrap();
    // Nothing is known to type under.
    let unknown = courtesy.presence(&number(), &chat, Typing::Composing).await;
    assert_eq!(unknown, Err(NotShown::NotSendable));
    let messages = [id("wamid.older"), id("wamid.newer")];
    courtesy.mark_read(&number(), &chat, &messages).await.unwrap();
    courtesy
        .presence(&number(), &chat, Typing::Composing)
        .await
        .unwrap();
    // These make no call: there is no third answer.
    courtesy.presence(&number(), &chat, Typing::Paused).await.unwrap();
    courtesy.mark_read(&number(), &chat, &[]).await.unwrap();
    let bodies: Vec<Value> = asked
        .await
        .unwrap()
        .iter()
        .map(|asked| serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap())
        .collect();
    let mark = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.newer"});
    let mut typing = mark.clone();
    typing["typing_indicator"] = json!({"type": "text"});
    assert_eq!(bodies, [mark, typing]);
    let lid = ChatAddress::parse("190000000000001@lid").unwrap();
    assert_eq!(
        courtesy.mark_read(&number(), &lid, &messages).await,
        Err(NotShown::NotOnWhatsApp)
    );
}

#[tokio::test]
async fn a_number_tells_where_it_stands() {
    let told = |platform: &str, status: &str| {
        json!({"id": "110987650000222", "display_phone_number": "+62 21-5500-2222", "verified_name": "Kantor Hukum",
               "platform_type": platform, "status": status,
               "webhook_configuration": {"application": "https://kanal.example/hook"}})
        .to_string()
    };
    for (body, connected, logged_in, reason) in [
        (told("CLOUD_API", "CONNECTED"), true, true, None),
        (
            told("CLOUD_API", "BANNED"),
            false,
            true,
            Some(FailureReason::NotConnected),
        ),
        (
            told("NOT_APPLICABLE", "PENDING"),
            false,
            false,
            Some(FailureReason::NotLoggedIn),
        ),
    ] {
        let (base, asked) = serve(vec![said(200, &body), said(200, &body)]).await;
        let sessions = GraphSessions::new(&endpoint(&base)).unwrap();
        let state = sessions.status(&number()).await.unwrap();
        let expected = SessionState {
            connected,
            logged_in,
            jid: "622155002222@s.whatsapp.net".to_owned(),
            name: "Kantor Hukum".to_owned(),
            webhook: "https://kanal.example/hook".to_owned(),
            ..SessionState::default()
        };
        assert_eq!(state, expected);
        let connected = sessions.connect(&number(), &Upkeep::default()).await;
        assert_eq!(connected.err().map(|failure| failure.reason), reason);
        let asked = asked.await.unwrap();
        assert!(
            asked[0].starts_with("GET /v1/wa/v22.0/110987650000222?fields=id"),
            "{}",
            asked[0]
        );
    }
    for (status, body, reason) in [
        (401, error(190), FailureReason::UnknownToken),
        (
            400,
            json!({"error": {"code": 100, "error_subcode": 33}}).to_string(),
            FailureReason::NotVisible,
        ),
        (403, error(10), FailureReason::Refused),
        (400, error(80_008), FailureReason::RateLimited),
        (502, String::new(), FailureReason::NoAnswer),
        (200, "[]".to_owned(), FailureReason::Unreadable),
    ] {
        let server = Server::start(said(status, &body)).await;
        let sessions = GraphSessions::new(&endpoint(&server.base)).unwrap();
        let failure = sessions.status(&number()).await.unwrap_err();
        assert_eq!(failure.reason, reason, "{status} {body}");
    }
    let sessions = GraphSessions::new(&endpoint("http://127.0.0.1:9")).unwrap();
    for refused in [
        sessions.disconnect(&number()).await.err(),
        sessions.logout(&number()).await.err(),
        sessions.qr(&number()).await.err(),
    ] {
        let failure = refused.unwrap();
        assert_eq!(failure.reason, FailureReason::Refused);
        assert!(!failure.said.as_str().is_empty());
    }
}

#[tokio::test]
async fn a_probe_shows_the_token_and_asks_for_the_number() {
    for (status, reason) in [
        (200, None),
        (401, Some(ProbeReason::KeyRefused)),
        (503, Some(ProbeReason::Unwell)),
        (404, Some(ProbeReason::Unexpected)),
    ] {
        let server = Server::start(said(status, "{}")).await;
        let probe = HttpProbe::graph(&endpoint(&server.base), Some("110987650000222")).unwrap();
        let told = probe.probe().await;
        assert_eq!(told.as_ref().err().map(|failure| failure.reason), reason);
        assert!(told.is_err() || told.is_ok_and(|report| report.key_taken));
        let asked = server.asked.await.unwrap();
        assert!(
            asked.starts_with("GET /v1/wa/v22.0/110987650000222?fields=id "),
            "{asked}"
        );
        assert!(asked.contains(TOKEN));
        assert!(!format!("{probe:?}").contains(TOKEN));
    }
}

#[tokio::test]
async fn templates_are_read_page_by_page_and_addresses_of_pages_are_not_followed() {
    let page = |name: &str, paging: Value| {
        let data = json!([{"id": "1", "name": name, "language": "id", "status": "APPROVED", "category": "UTILITY",
                           "components": [{"type": "BODY", "text": "Halo {{1}}"}]}, {"odd": true}]);
        said(200, &json!({"data": data, "paging": paging}).to_string())
    };
    let more =
        json!({"cursors": {"before": "a", "after": "MTAx"}, "next": "http://evil.example/?access_token=x"});
    let (base, asked) = serve(vec![
        page("satu", more),
        page("dua", json!({"cursors": {"after": "MTAy"}})),
    ])
    .await;
    let templates = GraphTemplates::new(&endpoint(&base)).unwrap();
    let waba = WabaId::parse("102290000000001").unwrap();
    let all = templates.list(None, &waba).await.unwrap();
    let names: Vec<&str> = all.iter().map(|template| template.name.as_str()).collect();
    assert_eq!(names, ["satu", "dua"]);
    let asked = asked.await.unwrap();
    assert!(asked[0].starts_with("GET /v1/wa/v22.0/102290000000001/message_templates?fields="));
    assert!(asked[1].contains("after=MTAx"), "{}", asked[1]);

    let server = Server::start(said(400, &error(80_008))).await;
    let templates = GraphTemplates::new(&endpoint(&server.base)).unwrap();
    let failure = templates.list(Some(&number()), &waba).await.unwrap_err();
    assert!(matches!(failure, GraphFailure::Refused(refusal) if refusal.code == Some(80_008)));
}
