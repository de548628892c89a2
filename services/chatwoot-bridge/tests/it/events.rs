//! What an event is, read from Chatwoot's own samples and from older shapes of them.

use chatwoot_bridge::webhooks::event::{Class, Event, Malformed};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// One sample a line, in the shape of recent versions: account 3, inbox 42, contact 880, conversation 317.
const SAMPLES: &str = include_str!("../samples/chatwoot.jsonl");

pub(crate) fn sample(name: &str) -> Value {
    let lines = SAMPLES.lines();
    let mut all = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.find(|sample| sample["sample"] == name).unwrap()["event"].take()
}

pub(crate) fn read(event: &Value) -> Event {
    read_at(event, DateTime::from_timestamp(1_767_579_300, 0).unwrap())
}

pub(crate) fn read_at(event: &Value, now: DateTime<Utc>) -> Event {
    Event::read(event.to_string().as_bytes(), now).unwrap()
}

#[test]
fn every_sample_finds_its_inbox() {
    use Class::{AgentMessage, Deleted, Echo, Incoming, Other, Private, Typing, Updated};
    // Account, inbox, conversation, message.
    let at = |message| (Some(3), Some(42), Some(317), message);
    for (name, class, ids) in [
        ("A.1", AgentMessage, at(Some(9001))),
        ("A.2", AgentMessage, at(Some(9002))),
        ("A.3", Incoming, at(Some(8999))),
        ("A.4", Private, at(Some(9003))),
        ("A.5", AgentMessage, at(Some(8998))),
        ("A.6", Deleted, at(Some(9001))),
        ("A.7", Updated, at(Some(9001))),
        ("A.9", Other, at(None)),
        ("A.10", Other, at(None)),
        ("A.11", Other, at(None)),
        ("A.12", Typing, at(None)),
        ("A.13", Other, (Some(3), None, None, None)),
        ("A.14", Other, (Some(3), None, None, None)),
        ("A.15", Other, (Some(3), Some(7), None, None)),
        ("A.16", Other, (None, None, None, None)),
    ] {
        let event = read(&sample(name));
        assert_eq!(event.class, class, "{name}");
        let found = (
            event.account_id,
            event.inbox_id,
            event.conversation_id,
            event.message_id,
        );
        assert_eq!(found, ids, "{name}");
        assert!(event.key.is_some(), "{name}");
    }
    let mut echo = sample("A.1");
    echo["source_id"] = json!("WAID:3EB0AAAA0001");
    assert_eq!(read(&echo).class, Echo);
}

#[test]
fn older_shapes_find_theirs() {
    // Without `account`: the newest message's, at the top or in the conversation.
    let mut conversation = sample("A.10");
    conversation.as_object_mut().unwrap().remove("account");
    assert_eq!(read(&conversation).account_id, Some(3));
    conversation["messages"] = json!([]);
    assert_eq!(read(&conversation).account_id, None);
    assert_eq!(read(&conversation).inbox_id, Some(42));
    let mut typing = sample("A.12");
    typing["conversation"].as_object_mut().unwrap().remove("account");
    assert_eq!(read(&typing).account_id, Some(3));
    // Along the chain.
    let mut message = sample("A.1");
    message["inbox"] = json!(null);
    assert_eq!(read(&message).inbox_id, Some(42));
    message["inbox_id"] = json!(43);
    assert_eq!(read(&message).inbox_id, Some(43));
    let by_contact_inbox = json!({"event": "x", "contact_inbox": {"inbox_id": 44}, "inbox": 7});
    assert_eq!(read(&by_contact_inbox).inbox_id, Some(44));
    let by_current = json!({"event": "x", "current_conversation": {"inbox_id": 45, "id": 9}});
    let by_current = read(&by_current);
    assert_eq!(
        (by_current.inbox_id, by_current.conversation_id),
        (Some(45), Some(9))
    );
    let run = json!({"event": "macro.executed", "id": 317, "inbox_id": 42});
    assert_eq!(read(&run).conversation_id, Some(317));
}

#[test]
fn ids_are_whole_numbers_and_what_stands_twice_counts_last() {
    for (id, found) in [
        (json!(7), Some(7)),
        (json!("7"), Some(7)),
        (json!("7zz"), None),
        (json!("abc"), None),
        (json!(""), None),
        (json!(7.5), None),
        (json!(-7), None),
        (json!(0), None),
        (json!("99999999999999999999"), None),
        (json!(true), None),
    ] {
        assert_eq!(
            read(&json!({"event": "x", "inbox_id": id})).inbox_id,
            found,
            "{id}"
        );
    }
    let twice = br#"{"event":"a","inbox_id":1,"event":"message_\u0063reated","inbox_id":2,"message_type":"outgoing","id":5}"#;
    let event = Event::read(twice, Utc::now()).unwrap();
    assert_eq!(
        (event.name.as_str(), event.inbox_id),
        ("message_created", Some(2))
    );
    assert_eq!(event.class, Class::AgentMessage);
}

#[test]
fn classes_are_read_from_the_top_and_doubt_is_private() {
    let with = |field: &str, value: Value| {
        let mut event = sample("A.1");
        event[field] = value;
        read(&event).class
    };
    assert_eq!(with("message_type", json!("incoming")), Class::Incoming);
    assert_eq!(with("message_type", json!("activity")), Class::Activity);
    assert_eq!(with("message_type", json!(1)), Class::Other);
    assert_eq!(with("private", json!(null)), Class::AgentMessage);
    assert_eq!(with("private", json!("true")), Class::Private);
    assert_eq!(with("private", json!(1)), Class::Private);
    assert_eq!(with("event", json!("message_updated")), Class::Updated);
    assert_eq!(with("event", json!("something_new")), Class::Other);
    let mut deleted = sample("A.6");
    deleted["content_attributes"] = json!({"deleted": "true"});
    assert_eq!(read(&deleted).class, Class::Deleted);
    deleted["content_attributes"] = json!({"deleted": false});
    assert_eq!(read(&deleted).class, Class::Updated);
    // What an agent deletes may have been typed on the phone; a deleted note is still a note.
    deleted["content_attributes"] = json!({"deleted": true});
    deleted["source_id"] = json!("WAID:3EB0AAAA0001");
    assert_eq!(read(&deleted).class, Class::Deleted);
    deleted["private"] = json!(true);
    assert_eq!(read(&deleted).class, Class::Private);
    let mut typing = sample("A.12");
    typing["is_private"] = json!(true);
    assert_eq!(read(&typing).class, Class::Private);
}

#[test]
fn nested_messages_are_never_read() {
    // The newest message of the conversation is another one, and says the opposite of everything.
    let mut event = sample("A.1");
    event["conversation"]["messages"] = json!([{
        "id": 1, "content": "lain", "account_id": 9, "inbox_id": 9, "conversation_id": 9, "message_type": 0,
        "private": true, "source_id": "WAID:3EB0AAAA0001", "content_attributes": {"deleted": true},
    }]);
    let read_now = read(&event);
    assert_eq!(read_now, read(&sample("A.1")));
    assert_eq!(read_now.class, Class::AgentMessage);
    assert_eq!(read_now.message_id, Some(9001));
    let mut note = sample("A.4");
    note["conversation"]["messages"][0]["private"] = json!(false);
    assert_eq!(read(&note).class, Class::Private);
}

#[test]
fn what_is_no_object_is_malformed_and_odd_fields_are_not() {
    let read = |body: &[u8]| Event::read(body, Utc::now());
    for body in ["", "x", "{", "{\"event\":", "{}x", "{\"a\":01}"] {
        assert_eq!(read(body.as_bytes()), Err(Malformed::NotJson), "{body}");
    }
    assert_eq!(read(b"{\"a\":\"\xff\"}"), Err(Malformed::NotJson));
    for body in ["null", "[]", "1", "\"x\"", " [{}] "] {
        assert_eq!(read(body.as_bytes()), Err(Malformed::NotAnObject), "{body}");
    }
    let empty = read(b"{}").unwrap();
    assert_eq!((empty.name.as_str(), empty.class), ("", Class::Other));
    let odd = json!({
        "event": 7, "inbox": [], "account": "x", "conversation": 3, "messages": {}, "id": [], "attachments": 1,
        "content_attributes": "x", "source_id": {}, "user": null,
    });
    assert_eq!(read(odd.to_string().as_bytes()).unwrap().class, Class::Other);
    let deep = format!(
        "{{\"event\":\"x\",\"inbox_id\":42,\"deep\":{}{}}}",
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    assert_eq!(read(deep.as_bytes()).unwrap().inbox_id, Some(42));
}
