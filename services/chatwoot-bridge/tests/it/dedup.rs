//! One event that is told twice is one, and two events are two, however alike they look.

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use crate::events::{read, read_at, sample};
use crate::router::{Door, secret_route, signed};
use crate::world::{SECRET, World, start_chatwoot};

fn key(event: &Value) -> [u8; 32] {
    read(event).key.unwrap()
}

fn changed(event: &Value, pointer: &str, value: Value) -> Value {
    let mut event = event.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap()[field] = value;
    event
}

#[test]
fn updates_differ_by_content() {
    let update = sample("A.7");
    assert_ne!(key(&update), key(&sample("A.6")), "the same message, deleted");
    for (pointer, value) in [
        ("/content", json!("lain")),
        ("/content_attributes", json!({"external_error": "x"})),
        ("/attachments", json!([{"id": 1}])),
        ("/id", json!(9002)),
    ] {
        assert_ne!(key(&changed(&update, pointer, value)), key(&update), "{pointer}");
    }
    // The conversation's state is that of the moment of telling, and says nothing about the message.
    for (pointer, value) in [
        ("/conversation/updated_at", json!(1.5)),
        ("/conversation/status", json!("resolved")),
        ("/conversation/messages", json!([])),
    ] {
        assert_eq!(key(&changed(&update, pointer, value)), key(&update), "{pointer}");
    }
    // Attachments may come in any order, and without their links' signatures.
    let with = |list| key(&changed(&update, "/attachments", list));
    assert_eq!(
        with(json!([{"id": 1, "data_url": "a"}, {"id": 2}])),
        with(json!([{"id": 2}, {"id": 1, "data_url": "b"}]))
    );
}

#[test]
fn a_message_is_created_once_and_conversations_change_often() {
    let created = sample("A.1");
    assert_eq!(key(&changed(&created, "/content", json!("x"))), key(&created));
    assert_ne!(key(&changed(&created, "/id", json!(9002))), key(&created));
    assert_ne!(
        key(&changed(&created, "/event", json!("message_updated"))),
        key(&created)
    );

    let conversation = sample("A.11");
    for (pointer, value) in [
        ("/updated_at", json!(1_767_579_201.5)),
        ("/changed_attributes", json!(null)),
        ("/id", json!(318)),
        ("/event", json!("conversation_status_changed")),
        ("/account/id", json!(4)),
    ] {
        assert_ne!(
            key(&changed(&conversation, pointer, value)),
            key(&conversation),
            "{pointer}"
        );
    }
    assert_eq!(
        key(&changed(&conversation, "/unread_count", json!(7))),
        key(&conversation)
    );
    let contact = sample("A.14");
    assert_eq!(key(&contact), key(&contact.clone()));
    assert_ne!(key(&changed(&contact, "/name", json!("S"))), key(&contact));
}

#[test]
fn typing_is_one_event_a_second() {
    let typing = sample("A.12");
    let at = |ms: i64| {
        let start = DateTime::from_timestamp(1_767_579_300, 0).unwrap();
        read_at(&typing, start + TimeDelta::milliseconds(ms)).key.unwrap()
    };
    assert_eq!(at(0), at(999));
    assert_ne!(at(0), at(1000));
    let other = changed(&typing, "/user/id", json!(12));
    assert_ne!(key(&other), key(&typing));
    let ended = changed(&typing, "/event", json!("conversation_typing_off"));
    assert_ne!(key(&ended), key(&typing));
}

#[tokio::test(flavor = "multi_thread")]
async fn account_and_inbox_webhook_are_one() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let door = Door::open(&world).await;
    let account_secret = "account-secret-not-real";
    secret_route(&world, &place, &[], &[account_secret]).await;
    let mut event = sample("A.1");
    event["account"]["id"] = json!(place.chatwoot_account);
    event["inbox"]["id"] = json!(place.inbox);
    let body = event.to_string();
    // Two jobs of Chatwoot's: other delivery ids, other secrets, the same message.
    for (delivery, secret) in [("one", SECRET), ("two", account_secret), ("one", SECRET)] {
        let mut headers = signed(secret, &body);
        headers.push(("x-chatwoot-delivery".to_owned(), delivery.to_owned()));
        let (status, answer) = door.post("/webhook", &body, &headers).await;
        assert_eq!((status, &answer["forwarded"]), (200, &json!(true)), "{answer}");
    }
    assert_eq!(world.accepted_replies().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_words_twice_are_two() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let door = Door::open(&world).await;
    for id in [9001, 9002] {
        let mut event = sample("A.1");
        event["account"]["id"] = json!(place.chatwoot_account);
        event["inbox"]["id"] = json!(place.inbox);
        event["content"] = json!("ok");
        event["id"] = json!(id);
        let body = event.to_string();
        let (status, answer) = door.post("/webhook", &body, &signed(SECRET, &body)).await;
        assert_eq!((status, &answer["forwarded"]), (200, &json!(true)), "{answer}");
    }
    assert_eq!(world.accepted_replies().await, 2);
}
