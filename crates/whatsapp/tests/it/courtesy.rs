//! Typing and read marks: the bytes on the wire, and what each answer means.

use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use serde_json::{Value, json};
use whatsapp::courtesy::{NotShown, ShowCourtesy, Typing};
use whatsapp::credentials::SessionToken;
use whatsapp::genfity::{Endpoint, GenfityCourtesy};

use crate::server::{Manner, Server, answer};

fn courtesy(base: &str) -> (Box<dyn ShowCourtesy>, SessionToken) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let endpoint = Endpoint::new(base.parse().unwrap()).unwrap();
    let courtesy = GenfityCourtesy::new(&endpoint).unwrap();
    (Box::new(courtesy), SessionToken::new("wat_verysecret").unwrap())
}

fn address(text: &str) -> ChatAddress {
    ChatAddress::parse(text).unwrap()
}

async fn asked(server: Server) -> (String, Value) {
    let asked = server.asked.await.unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    (
        head.lines().next().unwrap().to_owned(),
        serde_json::from_str(body).unwrap(),
    )
}

#[tokio::test]
async fn typing_is_shown_to_a_number_and_to_a_hidden_id() {
    for (to, typing, phone, state) in [
        (
            "6281290000011@s.whatsapp.net",
            Typing::Composing,
            "6281290000011",
            "composing",
        ),
        (
            "190000000000001@lid",
            Typing::Paused,
            "190000000000001@lid",
            "paused",
        ),
    ] {
        let server = Server::start(Manner::Say(answer(200, "", "{}"))).await;
        let (courtesy, token) = courtesy(&server.base);
        courtesy.presence(&token, &address(to), typing).await.unwrap();
        let (line, body) = asked(server).await;
        assert_eq!(line, "POST /v1/wa/chat/presence HTTP/1.1");
        assert_eq!(body, json!({"Phone": phone, "State": state, "Media": ""}));
    }
}

#[tokio::test]
async fn read_marks_name_the_person_twice() {
    let server = Server::start(Manner::Say(answer(200, "", "{}"))).await;
    let (courtesy, token) = courtesy(&server.base);
    let ids = ["3EB0A", "3EB0B"].map(|id| ProviderMessageId::parse(id).unwrap());
    let rara = address("6281290000011@s.whatsapp.net");
    courtesy.mark_read(&token, &rara, &ids).await.unwrap();
    let (line, body) = asked(server).await;
    assert_eq!(line, "POST /v1/wa/chat/markread HTTP/1.1");
    assert_eq!(
        body,
        json!({"Id": ["3EB0A", "3EB0B"], "ChatPhone": "6281290000011", "SenderPhone": "6281290000011"})
    );
}

#[tokio::test]
async fn a_refusal_and_silence_are_told_apart_and_a_visitor_is_never_dialled() {
    let server = Server::start(Manner::Say(answer(500, "", r#"{"error":"no session"}"#))).await;
    let (shown, token) = courtesy(&server.base);
    let rara = address("6281290000011@s.whatsapp.net");
    let outcome = shown.presence(&token, &rara, Typing::Composing).await;
    assert_eq!(outcome, Err(NotShown::Refused(500)));

    let (shown, token) = courtesy("http://127.0.0.1:1/wa");
    let outcome = shown.presence(&token, &rara, Typing::Composing).await;
    assert_eq!(outcome, Err(NotShown::NoAnswer));
    let visitor = address("web_abc");
    let outcome = shown.presence(&token, &visitor, Typing::Composing).await;
    assert_eq!(outcome, Err(NotShown::NotOnWhatsApp));
    let outcome = shown.mark_read(&token, &visitor, &[]).await;
    assert_eq!(outcome, Err(NotShown::NotOnWhatsApp));
}
