//! What strangers can send to the webhook: never a panic, and nothing accepted that is no agent's reply.

use std::time::Duration;

use chatwoot_bridge::flows::agent_event::{Wish, read};
use chatwoot_bridge::webhooks::event::{Class, Event};
use chatwoot_bridge::webhooks::signature::{Signed, verify};
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use simulator::chatwoot_signature;

const AT: i64 = 1_767_225_600;
const SECRET: &str = "test-secret-not-real-0001";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(AT, 0).unwrap()
}

fn check(timestamp: Option<&str>, signature: Option<&str>, body: &[u8]) -> bool {
    let secrets = [SecretString::from("another"), SecretString::from(SECRET)];
    let signed = Signed { timestamp, signature };
    verify(&secrets, signed, body, now(), Duration::from_secs(300)).is_ok()
}

/// Any JSON, with the words that mean something here more often than chance would have them.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("message_created".to_owned()),
        Just("outgoing".to_owned()),
        Just("incoming".to_owned()),
        Just("WAID:3EB0".to_owned()),
        Just("628123450001@s.whatsapp.net".to_owned()),
        Just("123@g.us".to_owned()),
        ".{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_key(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    let known = vec![
        "id",
        "inbox_id",
        "account",
        "account_id",
        "messages",
        "meta",
        "sender",
        "contact_inbox",
        "source_id",
        "phone_number",
        "identifier",
    ];
    prop_oneof![prop::sample::select(known).prop_map(str::to_owned), ".{0,6}"]
}

fn genuine() -> Map<String, Value> {
    let event = json!({
        "event": "message_created", "id": 9001, "message_type": "outgoing", "private": false,
        "content": "Halo kak", "source_id": null, "attachments": [], "account": {"id": 3}, "inbox": {"id": 42},
        "conversation": {"id": 317, "contact_inbox": {"source_id": "628123450001@s.whatsapp.net"}},
    });
    event.as_object().unwrap().clone()
}

/// A genuine event with some of its members replaced or taken away.
fn any_event() -> impl Strategy<Value = Map<String, Value>> {
    let keys: Vec<String> = genuine().keys().cloned().collect();
    let change = (prop::sample::select(keys), prop::option::of(any_json()));
    prop::collection::vec(change, 0..4).prop_map(|changes| {
        let mut event = genuine();
        for (key, value) in changes {
            match value {
                Some(value) => drop(event.insert(key, value)),
                None => drop(event.remove(&key)),
            }
        }
        event
    })
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(read(&body));
        drop(Event::read(&body, now()));
    }

    #[test]
    fn an_event_is_what_it_says_however_it_is_written(event in any_event()) {
        let event = Value::Object(event);
        let compact = Event::read(event.to_string().as_bytes(), now()).unwrap();
        let spread = serde_json::to_string_pretty(&event).unwrap();
        let mut spread = Event::read(spread.as_bytes(), now()).unwrap();
        if compact.message_id.is_none() {
            // Known by its bytes alone.
            spread.key = compact.key;
        }
        prop_assert_eq!(&compact, &spread);
        if let Wish::Send(reply) = read(event.to_string().as_bytes()) {
            prop_assert_eq!(compact.class, Class::AgentMessage);
            prop_assert_eq!(compact.message_id, Some(reply.message_id));
            prop_assert_eq!(compact.conversation_id, Some(reply.conversation_id));
        }
    }

    #[test]
    fn only_replies_to_people_become_replies(event in any_event()) {
        let body = Value::Object(event.clone()).to_string();
        if let Wish::Send(reply) = read(body.as_bytes()) {
            prop_assert_eq!(&event["event"], "message_created");
            prop_assert!(matches!(event["message_type"].as_str(), Some("outgoing" | "template")));
            prop_assert!(matches!(event.get("private"), None | Some(Value::Null | Value::Bool(false))));
            let mark = event.get("source_id").and_then(Value::as_str).unwrap_or_default();
            prop_assert!(!mark.starts_with("WAID:"));
            prop_assert_eq!(event["id"].as_i64(), Some(reply.message_id));
            prop_assert_eq!(event["conversation"]["id"].as_i64(), Some(reply.conversation_id));
            for id in [reply.message_id, reply.conversation_id] {
                prop_assert!(id > 0);
            }
            prop_assert!(reply.to.is_none_or(|to| to.is_direct()));
        }
    }

    #[test]
    fn no_signature_is_right_by_chance(
        timestamp in prop::option::of(prop_oneof![Just(AT.to_string()), ".{0,20}"]),
        signature in prop::option::of(prop_oneof!["sha256=[0-9a-f]{0,80}", ".{0,80}"]),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        prop_assert!(!check(timestamp.as_deref(), signature.as_deref(), &body));
    }

    #[test]
    fn the_right_one_is_believed_for_its_own_body_and_time_only(
        body in prop::collection::vec(any::<u8>(), 1..60),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        later in 1..300_i64,
    ) {
        let stamp = AT.to_string();
        let signature = chatwoot_signature(SECRET, &stamp, &body);
        prop_assert!(check(Some(&stamp), Some(&signature), &body));
        let mut changed = body.clone();
        changed[place.index(body.len())] ^= 1 << bit;
        prop_assert!(!check(Some(&stamp), Some(&signature), &changed));
        prop_assert!(!check(Some(&(AT + later).to_string()), Some(&signature), &body));
        let cut = &signature[..signature.len() - 1 - place.index(signature.len() - 1)];
        prop_assert!(!check(Some(&stamp), Some(cut), &body));
    }
}
