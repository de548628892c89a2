//! Each row of the sender's table, against a server that answers so.

use std::time::Duration;

use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use domain::text::Text;
use serde_json::{Value, json};
use whatsapp::credentials::SessionToken;
use whatsapp::genfity::{Endpoint, GenfitySender};
use whatsapp::port::{OutboundContent, OutboundMessage, SendMessage, SendOutcome};

use crate::server::{Manner, Server, answer};

const TOKEN: &str = "wat_verysecret";

fn text() -> OutboundMessage {
    OutboundMessage {
        id: ProviderMessageId::parse("3EB0OURS").unwrap(),
        to: ChatAddress::parse("4915112345678@s.whatsapp.net").unwrap(),
        content: OutboundContent::Text(Text::new("Syaratnya KTP & KK \"asli\"")),
        quoted: None,
    }
}

async fn send_to(base: &str) -> SendOutcome {
    // Another test of this process may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let endpoint = Endpoint::new(base.parse().unwrap())
        .unwrap()
        .with_connect_timeout(Duration::from_millis(500))
        .with_total_timeout(Duration::from_secs(2));
    let sender: Box<dyn SendMessage> = Box::new(GenfitySender::new(&endpoint).unwrap());
    let token = SessionToken::new(TOKEN).unwrap();
    sender.send(&token, &text()).await
}

async fn outcome_of(manner: Manner) -> SendOutcome {
    send_to(&Server::start(manner).await.base).await
}

/// An outcome in one word and its reason's code.
pub(crate) fn verdict(outcome: &SendOutcome) -> String {
    match outcome {
        SendOutcome::Accepted {
            provider_message_id, ..
        } => format!("accepted {provider_message_id}"),
        SendOutcome::RetryLater { reason, .. } => format!("retry {reason}"),
        SendOutcome::RateLimited { after, .. } => format!("limited {}", after.as_secs()),
        SendOutcome::Rejected { reason, .. } => format!("rejected {reason}"),
        SendOutcome::Unknown { reason, .. } => format!("unknown {reason}"),
    }
}

#[tokio::test]
async fn the_request_is_what_the_server_reads() {
    let said =
        r#"{"code":200,"data":{"Details":"Sent","Timestamp":1771330600,"Id":"3EB0OURS"},"success":true}"#;
    let server = Server::start(Manner::Say(answer(200, "", said))).await;
    let outcome = send_to(&server.base).await;
    let SendOutcome::Accepted {
        provider_message_id,
        at,
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (provider_message_id.as_str(), at.timestamp()),
        ("3EB0OURS", 1_771_330_600)
    );

    let asked = server.asked.await.unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /v1/wa/chat/send/text HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("token: wat_verysecret"));
    assert!(head.contains("content-type: application/json"));
    let body: Value = serde_json::from_str(body).unwrap();
    // No 62 in front of a foreign number.
    assert_eq!(
        body,
        json!({"Phone": "4915112345678", "Body": "Syaratnya KTP & KK \"asli\"", "Id": "3EB0OURS"})
    );
}

#[tokio::test]
async fn every_status_has_its_meaning() {
    let error = |code: u16, text: &str| json!({"code": code, "error": text, "success": false}).to_string();
    let gateway = |text: &str| json!({"message": text}).to_string();
    for (status, headers, body, meaning) in [
        (
            200,
            "",
            json!({"code": 200, "data": {"Details": "Sent"}}).to_string(),
            "accepted 3EB0OURS",
        ),
        (
            200,
            "",
            json!({"data": {"Details": "Sent", "Id": "THEIRS"}}).to_string(),
            "accepted THEIRS",
        ),
        (201, "", json!({"success": true}).to_string(), "accepted 3EB0OURS"),
        (200, "", error(500, "odd"), "unknown unreadable_answer"),
        (
            200,
            "",
            "<html>welcome</html>".to_owned(),
            "unknown unreadable_answer",
        ),
        (204, "", String::new(), "unknown unreadable_answer"),
        (
            301,
            "location: http://127.0.0.1:1/\r\n",
            String::new(),
            "retry redirected",
        ),
        (307, "location: /elsewhere\r\n", String::new(), "retry redirected"),
        (
            303,
            "location: /elsewhere\r\n",
            String::new(),
            "unknown unreadable_answer",
        ),
        (
            400,
            "",
            error(400, "could not decode Payload"),
            "rejected invalid_request",
        ),
        (
            400,
            "",
            error(400, "could not parse Phone"),
            "rejected invalid_recipient",
        ),
        (401, "", error(401, "unauthorized"), "retry unauthorized"),
        (401, "", gateway("token required"), "retry unauthorized"),
        (403, "", gateway("record not found"), "retry forbidden"),
        (
            403,
            "",
            gateway("subscription expired"),
            "retry subscription_expired",
        ),
        (403, "", gateway("message quota exceeded"), "retry quota_exceeded"),
        (404, "", "404 page not found".to_owned(), "rejected not_found"),
        (408, "", String::new(), "unknown timeout"),
        (413, "", String::new(), "rejected too_large"),
        (418, "", String::new(), "rejected refused"),
        (422, "", String::new(), "rejected unprocessable"),
        (429, "", gateway("rate limit exceeded"), "limited 10"),
        (429, "", gateway("ip blocked due to spam"), "limited 600"),
        (429, "", gateway("spam detected"), "limited 600"),
        (
            429,
            "retry-after: 7\r\n",
            gateway("rate limit exceeded"),
            "limited 7",
        ),
        (429, "retry-after: 0\r\n", String::new(), "limited 1"),
        (429, "retry-after: 86400\r\n", String::new(), "limited 3600"),
        (500, "", error(500, "no session"), "retry no_session"),
        (
            500,
            "",
            error(500, "failed to upload file: timed out"),
            "retry upload_failed",
        ),
        (
            500,
            "",
            error(500, "error sending message: timed out"),
            "unknown server_error",
        ),
        (
            500,
            "",
            json!({"code": 500, "success": true}).to_string(),
            "unknown server_error",
        ),
        (501, "", String::new(), "unknown server_error"),
        (
            502,
            "",
            gateway("whatsapp server unreachable"),
            "unknown bad_gateway",
        ),
        (
            502,
            "",
            json!({"message": "x", "code": "upstream_unreachable"}).to_string(),
            "retry upstream_unreachable",
        ),
        (503, "", String::new(), "unknown bad_gateway"),
        (503, "retry-after: 2\r\n", String::new(), "retry unavailable"),
        (504, "", String::new(), "unknown gateway_timeout"),
    ] {
        let outcome = outcome_of(Manner::Say(answer(status, headers, &body))).await;
        assert_eq!(verdict(&outcome), meaning, "{status} {body}");
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_a_message_that_did_not_go_out() {
    // A port that was free a moment ago and has no listener.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(verdict(&send_to(&base).await), "retry unreachable");
    // Speaking TLS to a server that does not: the request was not sent either.
    let server = Server::start(Manner::Say(b"not tls at all".to_vec())).await;
    assert_eq!(
        verdict(&send_to(&server.base.replace("http:", "https:")).await),
        "retry unreachable"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_come_whole_leaves_the_outcome_unknown() {
    let cut = |head: &str| Manner::Say(head.as_bytes().to_vec());
    for (manner, meaning) in [
        (cut(""), "unknown connection_cut"),
        (cut("HTTP/1.1 20"), "unknown connection_cut"),
        (cut("garbage\r\n\r\n"), "unknown connection_cut"),
        (
            cut("HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"code\":200,"),
            "unknown connection_cut",
        ),
        (
            cut("HTTP/1.1 500 Oops\r\ncontent-length: 90\r\n\r\n{\"error\":\"no sess"),
            "unknown server_error",
        ),
        // A refusal stays one when its explanation is cut.
        (
            cut("HTTP/1.1 400 Bad\r\ncontent-length: 90\r\n\r\n{\"error\":"),
            "rejected invalid_request",
        ),
        (
            Manner::Say(answer(200, "", &"x".repeat(70_000))),
            "unknown unreadable_answer",
        ),
        (
            Manner::Say(answer(400, "", &"x".repeat(70_000))),
            "rejected invalid_request",
        ),
        (Manner::Wait(Duration::from_secs(5)), "unknown timeout"),
    ] {
        assert_eq!(verdict(&outcome_of(manner).await), meaning);
    }
}

#[tokio::test]
async fn what_a_server_says_is_kept_short_and_without_the_token() {
    let text = format!("bad token {TOKEN}\n{}", "x".repeat(1000));
    let body = json!({"error": text}).to_string();
    let SendOutcome::Rejected { detail, .. } = outcome_of(Manner::Say(answer(400, "", &body))).await else {
        panic!("not rejected")
    };
    assert!(
        detail.as_str().starts_with("bad token [token] xxx"),
        "{}",
        detail.as_str()
    );
    assert!(detail.as_str().chars().count() <= 300);
}
