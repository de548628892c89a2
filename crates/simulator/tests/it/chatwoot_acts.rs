//! What agents do besides writing, and how one Chatwoot differs from another (Chatwoot contract 2.2 to 2.11, 3.1).

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{
    AgentTyping, ChatwootConfigChange, ContactMerge, ConversationStatusChange, FaultKind, FaultSpec,
    FaultTarget, Reply, ReplySender, Simulator,
};

use crate::chatwoot::Desk;
use crate::receiver::Receiver;
use crate::{client, eventually, start};

const PHONE: &str = "6281200000001";

fn reply(desk: &Desk, conversation: u64) -> Reply {
    Reply {
        account_id: desk.account,
        conversation_id: conversation,
        content: "Halo".to_owned(),
        ..Reply::default()
    }
}

/// The bodies of one kind of event, in order of arrival.
fn events(receiver: &Receiver, name: &str) -> Vec<Value> {
    receiver
        .received()
        .iter()
        .map(crate::receiver::Received::json)
        .filter(|body| body["event"] == name)
        .collect()
}

#[tokio::test]
async fn retry_clears_the_error_and_deletion_takes_everything() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let desk = Desk::new(&simulator, &receiver.url);
    let conversation = desk.conversation(PHONE).await;
    let cut = FaultSpec::on_webhook(FaultTarget::ChatwootWebhook, FaultKind::Cut);
    eventually("conversation_created", || receiver.count() == 1).await;
    let fault = simulator.add_fault(cut.times(1)).unwrap();
    let id = simulator.agent_reply(&reply(&desk, conversation)).unwrap();
    let updates = || events(&receiver, "message_updated");
    eventually("marked failed", || updates().len() == 1).await;
    assert_eq!(
        updates()[0]["content_attributes"]["external_error"],
        "cut on purpose, nothing was sent"
    );
    simulator.remove_fault(fault);
    simulator.press_retry(id).unwrap();
    eventually("retried", || updates().len() == 2).await;
    assert_eq!(
        (&updates()[1]["id"], &updates()[1]["content_attributes"]),
        (&json!(id), &json!({}))
    );
    assert_eq!(simulator.chatwoot_messages(desk.account)[0].status, "sent");
    simulator.agent_deletes(id).unwrap();
    eventually("deleted", || updates().len() == 3).await;
    assert_eq!(updates()[2]["content_attributes"], json!({"deleted": true}));
    assert!(events(&receiver, "message_created").is_empty(), "it was cut");
    assert!(simulator.press_retry(id + 100).is_err());
}

#[tokio::test]
async fn statuses_typing_and_senders_are_told_as_chatwoot_tells_them() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let desk = Desk::new(&simulator, &receiver.url);
    let conversation = desk.conversation(PHONE).await;
    let mut change = ConversationStatusChange {
        account_id: desk.account,
        conversation_id: conversation,
        status: "resolved".to_owned(),
    };
    simulator.set_conversation_status(&change).unwrap();
    change.status = "nonsense".to_owned();
    simulator.set_conversation_status(&change).unwrap();
    let typing = AgentTyping {
        account_id: desk.account,
        conversation_id: conversation,
        on: true,
        private: false,
    };
    simulator.agent_types(&typing).unwrap();
    for (sender, message_type) in [
        (None, "activity"),
        (
            Some(ReplySender::AgentBot {
                name: "Bot Desa".to_owned(),
            }),
            "outgoing",
        ),
        (Some(ReplySender::Nobody), "template"),
    ] {
        simulator
            .agent_reply(&Reply {
                sender,
                message_type: Some(message_type.to_owned()),
                template_params: Some(json!({"name": "salam", "language": "id"})),
                ..reply(&desk, conversation)
            })
            .unwrap();
    }
    eventually("all told but the activity", || receiver.count() == 5).await;
    let changed = &events(&receiver, "conversation_status_changed")[0];
    assert_eq!(
        (&changed["status"], &changed["account"]["id"]),
        (&json!("resolved"), &json!(desk.account))
    );
    let typing = &events(&receiver, "conversation_typing_on")[0];
    assert_eq!(
        (
            &typing["conversation"]["inbox_id"],
            &typing["user"]["type"],
            &typing["inbox"]
        ),
        (&json!(desk.inbox), &json!("user"), &Value::Null)
    );
    let created = events(&receiver, "message_created");
    let find = |kind: &str| created.iter().find(|body| body["message_type"] == kind).unwrap();
    assert_eq!(find("outgoing")["sender"]["type"], "agent_bot");
    assert_eq!(find("template")["sender"], Value::Null);
    assert_eq!(
        find("template")["additional_attributes"]["template_params"]["name"],
        "salam"
    );
}

#[tokio::test]
async fn contacts_become_one_or_none_and_the_account_hears_of_it() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let desk = Desk::new(&simulator, "");
    let hook = json!({"webhook": {
        "url": receiver.url, "subscriptions": ["contact_created", "contact_updated"],
    }});
    assert_eq!(desk.post("/webhooks", hook).await.0, 200);
    let (first, second) = (
        desk.conversation(PHONE).await,
        desk.conversation("6281200000002").await,
    );
    let hidden = json!({"identifier": "99000011112222@lid", "custom_attributes": {"kota": "Solo"}});
    let (_, hidden) = desk.post("/contacts", hidden).await;
    let hidden = hidden["payload"]["contact"]["id"].as_u64().unwrap();
    let of = |conversation: u64| {
        let all = simulator.chatwoot_conversations(desk.account);
        all.into_iter()
            .find(|found| found.id == conversation)
            .map(|found| found.contact_id)
    };
    let (sari, budi) = (of(first).unwrap(), of(second).unwrap());
    let merge = json!({"base_contact_id": sari, "mergee_contact_id": hidden});
    let (status, merged) = desk.post("/actions/contact_merge", merge).await;
    assert_eq!(
        (
            status,
            &merged["identifier"],
            &merged["custom_attributes"]["kota"]
        ),
        (200, &json!("99000011112222@lid"), &json!("Solo"))
    );
    let other = ContactMerge {
        account_id: desk.account,
        base_contact_id: sari,
        mergee_contact_id: budi,
    };
    simulator.merge_chatwoot_contacts(&other).unwrap();
    assert_eq!(
        (of(second), simulator.chatwoot_contacts(desk.account).len()),
        (Some(sari), 1)
    );
    eventually("three made, one changed", || receiver.count() == 4).await;
    assert_eq!(
        events(&receiver, "contact_updated")[0]["account"]["id"],
        json!(desk.account)
    );
    simulator
        .delete_chatwoot_conversation(desk.account, second)
        .unwrap();
    assert_eq!(
        desk.call(Method::GET, &format!("/conversations/{second}"), Value::Null)
            .await
            .0,
        404
    );
    simulator.delete_chatwoot_contact(desk.account, sari).unwrap();
    assert_eq!(
        (of(first), simulator.chatwoot_contacts(desk.account).len()),
        (None, 0)
    );
}

fn configure(simulator: &Simulator, change: ChatwootConfigChange) {
    simulator.configure_chatwoot(change);
}

#[tokio::test]
async fn older_and_stricter_servers_can_be_had() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let desk = Desk::new(&simulator, &receiver.url);
    let hidden = desk.get(&format!("/inboxes/{}", desk.inbox)).await;
    assert_eq!(hidden.get("secret"), None);
    configure(
        &simulator,
        ChatwootConfigChange {
            shows_secrets: Some(true),
            signs: Some(false),
            account_in_conversations: Some(false),
            created_twice: Some(true),
            ..ChatwootConfigChange::default()
        },
    );
    assert_eq!(
        desk.get(&format!("/inboxes/{}", desk.inbox)).await["secret"],
        json!(desk.secret)
    );
    let conversation = desk.conversation(PHONE).await;
    let id = simulator.agent_reply(&reply(&desk, conversation)).unwrap();
    eventually("message_created came twice", || receiver.count() == 3).await;
    let received = receiver.received();
    assert!(
        received
            .iter()
            .all(|webhook| !webhook.headers.contains_key("x-chatwoot-signature"))
    );
    let created = events(&receiver, "message_created");
    assert_eq!((&created[0]["id"], &created[1]["id"]), (&json!(id), &json!(id)));
    assert_eq!(events(&receiver, "conversation_created")[0].get("account"), None);

    configure(
        &simulator,
        ChatwootConfigChange {
            blocks_private_targets: Some(true),
            created_twice: Some(false),
            ..ChatwootConfigChange::default()
        },
    );
    simulator.agent_reply(&reply(&desk, conversation)).unwrap();
    let failed = || simulator.chatwoot_messages(desk.account)[1].status == "failed";
    eventually("a private target fails", failed).await;

    configure(
        &simulator,
        ChatwootConfigChange {
            drops_underscore_headers: Some(true),
            ..ChatwootConfigChange::default()
        },
    );
    let (status, body) = desk.call(Method::GET, "/inboxes", Value::Null).await;
    assert_eq!(status, 401);
    assert!(body["errors"].is_array(), "as if nobody had come");
}

#[tokio::test]
async fn there_is_only_so_much_in_a_minute() {
    let simulator = start().await;
    let desk = Desk::new(&simulator, "");
    let conversation = desk.conversation(PHONE).await;
    configure(
        &simulator,
        ChatwootConfigChange {
            messages_per_conversation: Some(2),
            ..ChatwootConfigChange::default()
        },
    );
    let path = format!("/conversations/{conversation}/messages");
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(desk.post(&path, json!({"content": "x"})).await);
    }
    assert_eq!((statuses[0].0, statuses[1].0), (200, 200));
    assert_eq!(statuses[2], (422, json!({"error": "Too many messages"})));
    configure(
        &simulator,
        ChatwootConfigChange {
            requests_per_minute: Some(1),
            ..ChatwootConfigChange::default()
        },
    );
    let ask = async || {
        let url = format!("{}/inboxes", desk.base);
        let asked = client().get(url).header("api_access_token", &desk.token);
        let answer = asked.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask().await.0, 200);
    assert_eq!(ask().await, (429, "Retry later\n".to_owned()));
    let profile = format!("{}/chatwoot/api/v1/profile", simulator.base_url());
    configure(
        &simulator,
        ChatwootConfigChange {
            requests_per_minute: Some(0),
            ..ChatwootConfigChange::default()
        },
    );
    let own: Value = client()
        .get(profile)
        .header("api_access_token", &desk.token)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(own["accounts"][0]["id"], json!(desk.account));
}
