//! Chatwoot: uniqueness, messages, statuses, webhooks (Chatwoot contract, sections 2 and 3).

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{
    FaultKind, FaultSpec, FaultTarget, NewAccount, NewInbox, Redelivery, Reply, ReplyStream, Simulator,
    SimulatorConfig, chatwoot_signature,
};

use crate::receiver::Receiver;
use crate::{client, eventually, start};

/// An account with an inbox, and a client for its API.
pub(crate) struct Desk {
    pub(crate) base: String,
    pub(crate) token: String,
    pub(crate) account: u64,
    pub(crate) inbox: u64,
    pub(crate) secret: String,
}

impl Desk {
    pub(crate) fn new(simulator: &Simulator, webhook: &str) -> Self {
        let account = simulator.create_chatwoot_account(NewAccount::default());
        let inbox = simulator
            .create_chatwoot_inbox(NewInbox {
                account_id: account.id,
                name: "WA Desa".to_owned(),
                webhook_url: webhook.to_owned(),
                secret: None,
                lock_to_single_conversation: false,
                channel_type: None,
            })
            .unwrap();
        Self {
            base: format!("{}/chatwoot/api/v1/accounts/{}", simulator.base_url(), account.id),
            token: account.api_access_token,
            account: account.id,
            inbox: inbox.id,
            secret: inbox.secret,
        }
    }

    pub(crate) async fn call(&self, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
        let response = client()
            .request(method, format!("{}{path}", self.base))
            .header("api_access_token", &self.token)
            .json(&body)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(reqwest::Method::POST, path, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.call(reqwest::Method::GET, path, Value::Null).await.1
    }

    /// A contact and a conversation with it; returns the conversation.
    pub(crate) async fn conversation(&self, phone: &str) -> u64 {
        let contact = json!({
            "inbox_id": self.inbox, "name": "Sari", "phone_number": format!("+{phone}"), "source_id": phone,
        });
        let (_, contact) = self.post("/contacts", contact).await;
        let conversation = json!({
            "inbox_id": self.inbox, "source_id": phone, "contact_id": contact["payload"]["contact"]["id"],
        });
        self.post("/conversations", conversation).await.1["id"]
            .as_u64()
            .unwrap()
    }
}

#[tokio::test]
async fn tokens_are_checked() {
    let simulator = start().await;
    let desk = Desk::new(&simulator, "");
    let url = format!("{}/contacts/search?q=a", desk.base);
    let nobody = client().get(&url).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    let stranger = client()
        .get(&url)
        .header("api_access_token", "wrong")
        .send()
        .await
        .unwrap();
    assert_eq!(stranger.status(), 401);
    assert_eq!(
        stranger.json::<Value>().await.unwrap(),
        json!({"error": "Invalid Access Token"})
    );
}

#[tokio::test]
async fn what_must_be_unique_is_refused_the_second_time() {
    let simulator = start().await;
    let desk = Desk::new(&simulator, "");
    let first = json!({
        "name": "Sari", "phone_number": "+6281200000001", "identifier": "6281200000001@s.whatsapp.net",
        "inbox_id": desk.inbox, "source_id": "6281200000001@s.whatsapp.net",
    });
    let (status, created) = desk.post("/contacts", first).await;
    assert_eq!(status, 200);
    let id = &created["payload"]["contact"]["id"];
    let link = &created["payload"]["contact_inbox"];
    assert_eq!(link["source_id"], "6281200000001@s.whatsapp.net");
    assert_eq!(
        created["payload"]["contact"]["contact_inboxes"][0]["inbox"]["id"],
        json!(desk.inbox)
    );

    let taken =
        |message: &str, attribute: &str| (422, json!({"message": message, "attributes": [attribute]}));
    let phone = desk
        .post("/contacts", json!({"phone_number": "+6281200000001"}))
        .await;
    assert_eq!(
        phone,
        taken("Phone number has already been taken", "phone_number")
    );
    let identifier = desk
        .post("/contacts", json!({"identifier": "6281200000001@s.whatsapp.net"}))
        .await;
    assert_eq!(
        identifier,
        taken("Identifier has already been taken", "identifier")
    );
    let format = desk
        .post("/contacts", json!({"phone_number": "6281200000001"}))
        .await;
    assert_eq!(
        format,
        taken("Phone number should be in e164 format", "phone_number")
    );
    let (_, other) = desk.post("/contacts", json!({"name": "Budi"})).await;
    let path = format!("/contacts/{}/contact_inboxes", other["payload"]["contact"]["id"]);
    let clash = json!({"inbox_id": desk.inbox, "source_id": "6281200000001@s.whatsapp.net"});
    assert_eq!(
        desk.post(&path, clash).await,
        (422, json!({"error": "source_id should be unique"}))
    );

    let filter = json!({"payload": [{
        "attribute_key": "phone_number", "filter_operator": "equal_to", "values": ["6281200000001"],
        "query_operator": null,
    }]});
    let (_, found) = desk.post("/contacts/filter", filter).await;
    // Any of several is the same question.
    let any_of = json!({"payload": [
        {"attribute_key": "identifier", "filter_operator": "equal_to", "values": ["nobody"], "query_operator": "OR"},
        {"attribute_key": "phone_number", "filter_operator": "equal_to", "values": ["+6281200000001"]},
    ]});
    assert_eq!(
        desk.post("/contacts/filter", any_of).await.1["payload"],
        found["payload"]
    );
    assert_eq!(
        (&found["meta"]["count"], &found["payload"][0]["id"]),
        (&json!(1), id)
    );
    assert_eq!(desk.get("/contacts/search?q=sari").await["payload"][0]["id"], *id);
    assert_eq!(simulator.chatwoot_contacts(desk.account).len(), 2);
}

#[tokio::test]
async fn messages_can_be_found_by_source_id_and_are_not_idempotent() {
    let simulator = start().await;
    let desk = Desk::new(&simulator, "");
    let conversation = desk.conversation("6281200000001").await;
    let path = format!("/conversations/{conversation}/messages");
    let message = json!({"content": "Halo", "message_type": "incoming", "source_id": "WAID:3EB0A"});
    let (status, first) = desk.post(&path, message.clone()).await;
    assert_eq!(
        (status, &first["message_type"], &first["status"]),
        (200, &json!(0), &json!("sent"))
    );
    desk.post(&path, message).await;
    for number in 0..21 {
        desk.post(&path, json!({"content": number.to_string()})).await;
    }
    let newest = desk.get(&path).await["payload"].as_array().unwrap().clone();
    assert_eq!((newest.len(), &newest[19]["content"]), (20, &json!("20")));
    let all = desk
        .get(&format!("{path}?after={}", first["id"].as_u64().unwrap() - 1))
        .await;
    let all = all["payload"].as_array().unwrap();
    let ours: Vec<&Value> = all
        .iter()
        .filter(|message| message["source_id"] == "WAID:3EB0A")
        .collect();
    assert_eq!((all.len(), ours.len()), (23, 2));
    let url = format!(
        "{}/_sim/chatwoot/accounts/{}/messages?conversation_id={conversation}&inbox_id={}",
        simulator.base_url(),
        desk.account,
        desk.inbox
    );
    let read_back: Value = client().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(read_back[0]["source_id"], "WAID:3EB0A");
}

#[test]
fn the_signature_is_that_of_the_contracts_test_vector() {
    let body = br#"{"event":"message_created","id":9001,"content":"Halo \u0026 selamat"}"#;
    assert_eq!(
        chatwoot_signature("test-secret-not-real-0001", "1767225600", body),
        "sha256=054114a3606fcc6a806537625a1edae06f0aae3cb5096fbe44fc8626f91ef905"
    );
}

#[tokio::test]
async fn an_agents_reply_fires_a_signed_webhook() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let desk = Desk::new(&simulator, &receiver.url);
    let conversation = desk.conversation("6281200000001").await;
    let reply = Reply {
        account_id: desk.account,
        conversation_id: conversation,
        content: "Halo & <b>selamat</b>".to_owned(),
        ..Reply::default()
    };
    let id = simulator.agent_reply(&reply).unwrap();
    eventually("conversation_created and message_created", || {
        receiver.count() == 2
    })
    .await;
    let received = receiver.received();
    let webhook = received
        .iter()
        .find(|webhook| webhook.json()["event"] == "message_created")
        .unwrap();
    let expected = chatwoot_signature(
        &desk.secret,
        &webhook.headers["x-chatwoot-timestamp"],
        &webhook.body,
    );
    assert_eq!(webhook.headers["x-chatwoot-signature"], expected);
    assert!(String::from_utf8_lossy(&webhook.body).contains("Halo \\u0026 \\u003cb"));
    let body = webhook.json();
    assert_eq!(
        (&body["id"], &body["message_type"]),
        (&json!(id), &json!("outgoing"))
    );
    assert!(body.get("status").is_none());
    assert_eq!(body["inbox"]["id"], json!(desk.inbox));
    assert_eq!(
        body["conversation"]["contact_inbox"]["source_id"],
        "6281200000001"
    );
    assert_eq!(
        body["conversation"]["meta"]["sender"]["phone_number"],
        "+6281200000001"
    );
    assert_eq!(body["conversation"]["messages"][0]["message_type"], 1);

    simulator.redeliver(&Redelivery { message_id: id }).unwrap();
    eventually("once more", || receiver.count() == 3).await;
    let again = &receiver.received()[2];
    assert_eq!(again.json()["id"], json!(id));
    assert_ne!(
        again.headers["x-chatwoot-delivery"],
        webhook.headers["x-chatwoot-delivery"]
    );
}

#[tokio::test]
async fn statuses_follow_the_rules_and_fire_message_updated() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let desk = Desk::new(&simulator, &receiver.url);
    let conversation = desk.conversation("6281200000001").await;
    let messages = format!("/conversations/{conversation}/messages");
    let id = desk.post(&messages, json!({"content": "x"})).await.1["id"]
        .as_u64()
        .unwrap();
    let path = format!("{messages}/{id}");
    let mut seen = Vec::new();
    for (status, error) in [
        ("failed", Some("nomor tidak ada")),
        ("delivered", None),
        ("read", None),
        ("delivered", None),
        ("seen", None),
    ] {
        let body = json!({"status": status, "external_error": error});
        let (code, message) = desk.call(reqwest::Method::PATCH, &path, body).await;
        assert_eq!(code, 200);
        seen.push((message["status"].clone(), message["content_attributes"].clone()));
    }
    assert_eq!(
        seen[0],
        (json!("failed"), json!({"external_error": "nomor tidak ada"}))
    );
    assert_eq!(seen[1], (json!("delivered"), json!({})));
    assert_eq!(
        (&seen[2].0, &seen[3].0, &seen[4].0),
        (&json!("read"), &json!("read"), &json!("read"))
    );
    let applied: Vec<bool> = simulator
        .status_updates()
        .iter()
        .map(|update| update.applied)
        .collect();
    assert_eq!(applied, [true, true, true, false, false]);
    eventually("created, created, three updates", || receiver.count() == 5).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(receiver.count(), 5);
}

#[tokio::test]
async fn a_webhook_that_fails_marks_the_message_failed_and_is_not_tried_again() {
    let config = SimulatorConfig {
        chatwoot_webhook_timeout: Duration::from_millis(100),
        ..SimulatorConfig::for_tests()
    };
    let (simulator, receiver) = (Simulator::start(config).await.unwrap(), Receiver::start().await);
    let desk = Desk::new(&simulator, &receiver.url);
    let conversation = desk.conversation("6281200000001").await;
    eventually("conversation_created", || receiver.count() == 1).await;
    receiver.think(Duration::from_millis(300));
    let reply = Reply {
        account_id: desk.account,
        conversation_id: conversation,
        content: "lambat".to_owned(),
        ..Reply::default()
    };
    let id = simulator.agent_reply(&reply).unwrap();
    let failed = |simulator: &Simulator| simulator.chatwoot_messages(desk.account)[0].status == "failed";
    eventually("the message is failed", || failed(&simulator)).await;
    let message = &simulator.chatwoot_messages(desk.account)[0];
    assert!(
        message.content_attributes["external_error"]
            .as_str()
            .unwrap()
            .contains("timed out")
    );
    receiver.think(Duration::ZERO);
    let events = || -> Vec<String> {
        simulator
            .chatwoot_deliveries()
            .into_iter()
            .filter(|delivery| delivery.message_id == Some(id))
            .map(|delivery| delivery.event)
            .collect()
    };
    eventually("the change is told, too", || events().len() == 2).await;
    // Long enough for a third one, which must not come.
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(events(), ["message_created", "message_updated"]);
}

#[tokio::test]
async fn a_stream_of_replies_is_in_order_within_each_conversation() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let desk = Desk::new(&simulator, &receiver.url);
    for phone in ["6281200000001", "6281200000002"] {
        desk.conversation(phone).await;
    }
    eventually("both opened", || receiver.count() == 2).await;
    let cut = FaultSpec::on_webhook(FaultTarget::ChatwootWebhook, FaultKind::Cut).times(3);
    simulator.add_fault(cut).unwrap();
    let stream = ReplyStream {
        account_id: desk.account,
        inbox_id: desk.inbox,
        per_conversation: 10,
        prefix: "balas".to_owned(),
        until_accepted: true,
        per_second: NonZeroU32::new(100),
    };
    let started = Instant::now();
    let id = simulator.start_reply_stream(stream).unwrap();
    eventually("the stream is done", || simulator.reply_stream(id).unwrap().done).await;
    assert_eq!(simulator.reply_stream(id).unwrap().accepted, 20);
    assert!(
        started.elapsed() >= Duration::from_secs(19) / 100,
        "faster than its pace"
    );
    for conversation in [1, 2] {
        let texts: Vec<String> = receiver
            .received()
            .iter()
            .map(|webhook| webhook.json())
            .filter(|body| body["event"] == "message_created" && body["conversation"]["id"] == conversation)
            .map(|body| body["content"].as_str().unwrap().to_owned())
            .collect();
        let expected: Vec<String> = (1..=10).map(|n| format!("balas v{conversation} #{n}")).collect();
        assert_eq!(texts, expected);
    }
}

#[tokio::test]
async fn a_new_start_repeats_no_id() {
    let first_id = async || {
        let simulator = Simulator::start(SimulatorConfig::for_tests().never_repeating_ids())
            .await
            .unwrap();
        let account = simulator.create_chatwoot_account(NewAccount::default());
        let inbox = NewInbox {
            account_id: account.id,
            name: "WA".to_owned(),
            webhook_url: String::new(),
            secret: None,
            lock_to_single_conversation: false,
            channel_type: None,
        };
        let id = simulator.create_chatwoot_inbox(inbox).unwrap().id;
        simulator.stop().await;
        id
    };
    let before = first_id().await;
    // As many milliseconds as the first one made ids, and then some.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(first_id().await > before);
}
