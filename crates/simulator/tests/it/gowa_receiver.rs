//! The GoWA's receiver of Chatwoot's webhooks, row by row (Chatwoot contract 4.3).

use serde_json::{Value, json};
use simulator::{GowaChatwoot, GowaConfigChange, NewGowaDevice, Simulator};

use crate::{client, start};

const PHONE: &str = "628123450001";

/// Posts a webhook with the right secret: status and text of the answer.
async fn post(simulator: &Simulator, path: &str, body: &Value) -> (u16, String) {
    let answer = client()
        .post(format!("{}/gowa/chatwoot/webhook{path}", simulator.base_url()))
        .header("x-gowa-chatwoot-secret", "secret")
        .json(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn ok() -> (u16, String) {
    (200, "OK".to_owned())
}

/// An agent's message of inbox 42 in account 3.
fn created(id: u64, content: &str) -> Value {
    json!({
        "event": "message_created", "id": id, "message_type": "outgoing", "content": content, "private": false,
        "source_id": null, "content_attributes": {}, "account": {"id": 3, "name": "Toko"},
        "inbox": {"id": 99}, "sender": {"id": 11, "name": "Budi"},
        "conversation": {"id": 317, "inbox_id": 42, "meta": {"sender": {
            "id": 880, "name": "Sari", "phone_number": format!("+{PHONE}"), "identifier": null,
            "custom_attributes": {},
        }}},
    })
}

fn device(simulator: &Simulator, id: &str, inbox: Option<i64>) {
    simulator.create_gowa_device(NewGowaDevice {
        id: id.to_owned(),
        ..NewGowaDevice::default()
    });
    let own = inbox.map(|inbox_id| GowaChatwoot {
        account_id: 3,
        inbox_id,
        enabled: true,
        ..GowaChatwoot::default()
    });
    simulator.set_gowa_chatwoot(id, own);
}

/// Who sent what to the person's phone.
fn sent(simulator: &Simulator) -> Vec<(String, String)> {
    let messages = simulator.gowa_phone(PHONE).into_iter();
    messages.map(|message| (message.device, message.text)).collect()
}

#[tokio::test]
async fn what_is_no_agents_message_is_answered_and_dropped() {
    let simulator = start().await;
    device(&simulator, "toko-1", Some(42));
    let url = format!("{}/gowa/chatwoot/webhook", simulator.base_url());
    let nobody = client().post(&url).json(&created(1, "x")).send().await.unwrap();
    assert_eq!(
        (nobody.status().as_u16(), nobody.text().await.unwrap().as_str()),
        (401, "Unauthorized")
    );
    for (field, value) in [
        ("event", json!("conversation_updated")),
        ("event", json!("message_updated")),
        ("message_type", json!("incoming")),
        ("message_type", json!("template")),
        ("private", json!(true)),
        ("source_id", json!("WAID:3EB0A")),
        ("conversation", json!({"id": 317, "inbox_id": 42})),
        ("account", json!({"id": 4})),
    ] {
        let mut body = created(1, "x");
        body[field] = value;
        assert_eq!(post(&simulator, "", &body).await, ok(), "{field}");
    }
    for (field, value) in [
        ("id", json!("1")),
        ("content", json!(12)),
        ("private", json!("true")),
        ("account", json!({"id": "3"})),
        ("attachments", json!({})),
    ] {
        let mut body = created(1, "x");
        body[field] = value;
        let (status, said) = post(&simulator, "", &body).await;
        assert_eq!(
            (status, said.contains("Invalid payload")),
            (400, true),
            "{field}: {said}"
        );
    }
    simulator.gowa_made_in_chatwoot(3, 1);
    assert_eq!(post(&simulator, "", &created(1, "gema")).await, ok());
    assert_eq!(sent(&simulator), []);
    simulator.configure_gowa(GowaConfigChange {
        chatwoot_enabled: Some(false),
        ..GowaConfigChange::default()
    });
    assert_eq!(post(&simulator, "", &created(1, "x")).await.0, 404);
}

#[tokio::test]
async fn the_device_is_that_of_the_link_the_contact_the_inbox_or_all() {
    let simulator = start().await;
    device(&simulator, "umum", None);
    assert_eq!(post(&simulator, "", &created(1, "siapa?")).await, ok());
    assert_eq!(sent(&simulator), [], "no device");
    simulator.configure_gowa(GowaConfigChange {
        chatwoot_device_id: Some("umum".to_owned()),
        ..GowaConfigChange::default()
    });
    post(&simulator, "", &created(2, "semua")).await;
    device(&simulator, "toko-1", Some(42));
    device(&simulator, "toko-2", Some(43));
    post(&simulator, "", &created(3, "percakapan")).await;
    let mut other = created(4, "kotak");
    other["conversation"]["id"] = json!(318);
    post(&simulator, "", &other).await;
    let mut named = created(5, "kontak");
    named["conversation"]["id"] = json!(319);
    named["conversation"]["inbox_id"] = json!(43);
    named["conversation"]["meta"]["sender"]["custom_attributes"] = json!({"gowa_device_id": "toko-1"});
    post(&simulator, "", &named).await;
    let by: Vec<(String, String)> = [
        ("umum", "semua"),
        ("umum", "percakapan"),
        ("toko-1", "kotak"),
        ("toko-2", "kontak"),
    ]
    .map(|(device, text)| (device.to_owned(), text.to_owned()))
    .to_vec();
    assert_eq!(sent(&simulator), by, "a contact's device must be of the inbox");
}

#[tokio::test]
async fn a_path_names_a_device_and_only_its_own_inbox_may() {
    let simulator = start().await;
    device(&simulator, "toko-1", Some(42));
    device(&simulator, "toko-2", None);
    assert_eq!(post(&simulator, "/toko-1", &created(1, "satu")).await, ok());
    let mut strange = created(2, "dua");
    strange["conversation"]["inbox_id"] = json!(43);
    assert_eq!(post(&simulator, "/toko-1", &strange).await.0, 401);
    strange["event"] = json!("conversation_updated");
    assert_eq!(
        post(&simulator, "/toko-1", &strange).await,
        ok(),
        "message events only"
    );
    assert_eq!(post(&simulator, "/toko-9", &created(3, "tiga")).await, ok());
    simulator.configure_gowa(GowaConfigChange {
        chatwoot_needs_config: Some(true),
        ..GowaConfigChange::default()
    });
    assert_eq!(post(&simulator, "/toko-2", &created(4, "empat")).await, ok());
    assert_eq!(sent(&simulator), [("toko-1".to_owned(), "satu".to_owned())]);
}

#[tokio::test]
async fn files_go_one_by_one_deletions_take_all_back_and_failures_are_noted() {
    let simulator = start().await;
    device(&simulator, "toko-1", Some(42));
    simulator.configure_gowa(GowaConfigChange {
        chatwoot_message_delete: Some(true),
        chatwoot_sign_msg: Some(true),
        ..GowaConfigChange::default()
    });
    let mut body = created(1, "**baru**");
    let file = |kind: &str| json!({"id": 1, "file_type": kind, "data_url": format!("http://chat/{kind}")});
    body["attachments"] = json!([file("image"), file("file"), file("audio")]);
    assert_eq!(post(&simulator, "", &body).await, ok());
    let shown: Vec<(String, String)> = simulator
        .gowa_phone(PHONE)
        .into_iter()
        .map(|message| (message.kind, message.text))
        .collect();
    let once = |kind: &str, text: &str| (kind.to_owned(), text.to_owned());
    assert_eq!(
        shown,
        [
            once("image", "*Budi*\n\n*baru*"),
            once("file", ""),
            once("audio", "")
        ]
    );
    body["event"] = json!("message_updated");
    body["content_attributes"] = json!({"deleted": "true"});
    assert_eq!(post(&simulator, "", &body).await, ok());
    assert!(simulator.gowa_phone(PHONE).iter().all(|message| message.deleted));

    simulator.cut_gowa("toko-1");
    assert_eq!(
        post(&simulator, "", &created(2, "putus")).await,
        ok(),
        "all the same"
    );
    let notes = simulator.gowa_notes();
    assert_eq!(
        (notes.len(), notes[0].message_id, notes[0].conversation_id),
        (1, 2, 317)
    );
    assert!(
        notes[0].text.contains("you are not logged in"),
        "{}",
        notes[0].text
    );
    assert_eq!(simulator.gowa_phone(PHONE).len(), 3);
}
