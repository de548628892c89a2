//! `simulator first-message`, with a small stand-in for the services between the two ends.

use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{NewAccount, NewInbox, NewSession, Simulator};

use crate::receiver::Receiver;
use crate::{client, start, wa_post};

async fn first_message(simulator: &Simulator, seconds: &str) -> Output {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_simulator"))
        .args([
            "first-message",
            "--session",
            "desa-contoh",
            "--chatwoot-account",
            "1",
        ])
        .args([
            "--simulator-url",
            &simulator.base_url(),
            "--timeout-seconds",
            seconds,
        ])
        .output();
    output.await.unwrap()
}

#[tokio::test]
async fn every_hop_is_told_until_the_reply_is_read() {
    let (simulator, channel, bridge) = (
        Arc::new(start().await),
        Receiver::start().await,
        Receiver::start().await,
    );
    let user = simulator
        .create_wa_session(NewSession {
            name: "desa-contoh".to_owned(),
            webhook: channel.url.clone(),
            ..NewSession::default()
        })
        .unwrap();
    let account = simulator.create_chatwoot_account(NewAccount::default());
    let inbox = NewInbox {
        account_id: account.id,
        name: "WA".to_owned(),
        webhook_url: bridge.url.clone(),
        secret: None,
        lock_to_single_conversation: false,
        channel_type: None,
    };
    let inbox = simulator.create_chatwoot_inbox(inbox).unwrap().id;
    let services = tokio::spawn(relay(
        Arc::clone(&simulator),
        channel,
        bridge,
        user.token,
        account.api_access_token,
        inbox,
    ));
    let output = first_message(&simulator, "60").await;
    services.abort();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    let hops = [
        "sends \"Selamat pagi",
        "the webhook was answered 200",
        "contact \"Budi\" created",
        "conversation 1 opened",
        "arrived in Chatwoot",
        "agent replies",
        "chatwoot-bridge answered the webhook 200",
        "WA server accepted the reply (id R",
        "reply is on the phone",
        "marked sent",
        "phone confirms delivery",
        "marked delivered",
        "phone confirms reading",
        "marked read",
        "The message went all the way round in",
    ];
    let mut rest = told.as_str();
    for hop in hops {
        let place = rest.find(hop);
        assert!(place.is_some(), "{hop:?} is missing or out of order in\n{told}");
        rest = &rest[place.unwrap()..];
    }
}

#[tokio::test]
async fn a_hop_that_does_not_happen_is_named() {
    let simulator = start().await;
    let receiver = Receiver::start().await;
    crate::session(&simulator, &receiver.url);
    simulator.create_chatwoot_account(NewAccount::default());
    let output = first_message(&simulator, "5").await;
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("did not happen within 5 s: a contact for the phone is in Chatwoot"),
        "{told}"
    );
    assert!(
        told.contains("last seen:") && told.contains("to look at:"),
        "{told}"
    );
}

/// The least that carries a message both ways and reports statuses.
async fn relay(
    simulator: Arc<Simulator>,
    channel: Receiver,
    bridge: Receiver,
    wa_token: String,
    chatwoot_token: String,
    inbox: u64,
) {
    let base = format!("{}/chatwoot/api/v1/accounts/1", simulator.base_url());
    let call = async |method: reqwest::Method, path: String, body: Value| -> Value {
        let request = client()
            .request(method, format!("{base}{path}"))
            .header("api_access_token", &chatwoot_token);
        request.json(&body).send().await.unwrap().json().await.unwrap()
    };
    let (mut from_wa, mut from_chatwoot, mut message) = (0, 0, Value::Null);
    loop {
        for webhook in channel.received().iter().skip(from_wa) {
            from_wa += 1;
            let event: Value = serde_json::from_str(&webhook.form()[1].1).unwrap();
            if event["type"] == "Message" {
                let contact = json!({
                    "inbox_id": inbox, "name": event["event"]["Info"]["PushName"], "source_id": "s",
                    "phone_number": "+6281290000011",
                });
                let contact = call(reqwest::Method::POST, "/contacts".to_owned(), contact).await;
                let opened = json!({
                    "inbox_id": inbox, "source_id": "s", "contact_id": contact["payload"]["contact"]["id"],
                });
                let opened = call(reqwest::Method::POST, "/conversations".to_owned(), opened).await;
                let said = json!({
                    "content": event["event"]["Message"]["conversation"], "message_type": "incoming",
                });
                call(
                    reqwest::Method::POST,
                    format!("/conversations/{}/messages", opened["id"]),
                    said,
                )
                .await;
            } else if event["type"] == "ReadReceipt" {
                let status = event["state"].as_str().unwrap().to_lowercase();
                let path = format!("/conversations/1/messages/{message}");
                call(reqwest::Method::PATCH, path, json!({"status": status})).await;
            }
        }
        for webhook in bridge.received().iter().skip(from_chatwoot) {
            from_chatwoot += 1;
            let event = webhook.json();
            if event["event"] == "message_created" && event["message_type"] == "outgoing" {
                message = event["id"].clone();
                let send =
                    json!({"Phone": "6281290000011", "Body": event["content"], "Id": format!("R{message}")});
                wa_post(&simulator, &wa_token, "/chat/send/text", send).await;
                let path = format!("/conversations/1/messages/{message}");
                call(reqwest::Method::PATCH, path, json!({"status": "sent"})).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
