//! Whatever Meta, or somebody with Meta's secret, sends: no panic, and what was promised about each update holds.

use domain::message::InboundMessage;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use whatsapp::cloud::{Update, What};
use whatsapp::event::{InboundEvent, Keep};

use crate::cloud_samples::{body, change, message, names, now, shown, signed, status, value};

/// Takes a body all the way and checks what every update promises.
fn take(body: Vec<u8>) {
    let keep = Keep {
        groups: true,
        ..Keep::default()
    };
    let signed = signed(body);
    let _ = signed.updates(now());
    let Ok(updates) = signed.updates_with(now(), keep) else {
        return;
    };
    for update in updates {
        assert!(update.key.len() <= Update::MAX_KEY && !update.key.is_empty());
        assert!(update.key.bytes().all(|b| b.is_ascii_graphic()));
        assert!(update.field.as_str().chars().count() <= Update::MAX_FIELD);
        let _ = format!("{update:?}");
        if let Ok(What::Event(InboundEvent::Message(message))) = &update.what {
            stored(message);
        }
        // What is kept can be taken in again, and says the same.
        let again = crate::cloud_samples::signed(update.raw.get().to_owned())
            .updates_with(now(), keep)
            .unwrap();
        assert_eq!(again.len(), 1, "{}", update.raw);
        assert_eq!(shown(&again[0]), shown(&update), "{}", update.raw);
    }
}

/// What a database must be able to hold, and what must come back from it.
fn stored(message: &InboundMessage) {
    assert_eq!(message.chat.phone().is_some(), message.chat_phone.is_some());
    assert!(message.sent_at <= now() + chrono::TimeDelta::minutes(10));
    let stored = serde_json::to_string(message).unwrap();
    assert!(!stored.contains("\\u0000"));
    assert_eq!(serde_json::from_str::<InboundMessage>(&stored).unwrap(), *message);
    assert!(message.content.text_for_humans().as_str().chars().count() <= 65_536);
}

/// Any JSON, with keys and values that mean something now and then.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        Just(json!(1e300)),
        ".{0,20}".prop_map(Value::from),
        prop::sample::select(vec![
            "whatsapp_business_account",
            "messages",
            "text",
            "image",
            "interactive",
            "nfm_reply",
            "reaction",
            "system",
            "edit",
            "revoke",
            "order",
            "contacts",
            "location",
            "sent",
            "failed",
            "group",
            "stop",
            "628110000001",
            "ID.90812345670000000001",
            "wamid.HBgM01==",
            "1763600400",
            "a\0b",
            "",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any_key(), inner), 0..8)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "object",
        "entry",
        "id",
        "time",
        "changes",
        "field",
        "value",
        "metadata",
        "phone_number_id",
        "contacts",
        "messages",
        "message_echoes",
        "statuses",
        "errors",
        "user_actions",
        "user_preferences",
        "profile",
        "name",
        "wa_id",
        "user_id",
        "from",
        "from_user_id",
        "to",
        "group_id",
        "timestamp",
        "type",
        "text",
        "body",
        "image",
        "caption",
        "sha256",
        "location",
        "latitude",
        "longitude",
        "interactive",
        "nfm_reply",
        "response_json",
        "title",
        "button",
        "payload",
        "order",
        "product_items",
        "quantity",
        "reaction",
        "message_id",
        "emoji",
        "system",
        "edit",
        "original_message_id",
        "message",
        "revoke",
        "unsupported",
        "status",
        "recipient_id",
        "recipient_type",
        "recipient_participant_id",
        "pricing",
        "conversation",
        "context",
        "referral",
        "event",
        "code",
    ]);
    prop_oneof![3 => known.prop_map(str::to_owned), 1 => ".{0,8}"]
}

/// Every place in a JSON value, as pointers.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(inner, &format!("{here}/{key}"), found);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                places(inner, &format!("{here}/{index}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        take(bytes);
    }

    #[test]
    fn arbitrary_json_never_panics_at_any_depth(any in any_json(), kind in any_key(), field in any_key()) {
        take(any.to_string().into_bytes());
        take(json!({"object": "whatsapp_business_account", "entry": any}).to_string().into_bytes());
        take(change(&any.to_string()).into_bytes());
        take(change(&json!({"field": field, "value": any}).to_string()).into_bytes());
        take(value(&format!(r#""contacts":{any},"messages":{any},"statuses":{any},"errors":{any}"#)).into_bytes());
        take(status(&any.to_string()).into_bytes());
        let known = json!({"from": "628110000001", "id": "wamid.A==", "timestamp": "1763600400", "type": kind});
        let mut wrote = known;
        wrote[kind.as_str()] = any.clone();
        take(message(&wrote.to_string()).into_bytes());
        let reply = json!({"from": "628110000001", "id": "wamid.A==", "type": "interactive",
            "interactive": {"type": "nfm_reply", "nfm_reply": {"response_json": any.to_string()}}});
        take(message(&reply.to_string()).into_bytes());
    }

    #[test]
    fn samples_with_one_value_changed_never_panic(
        name in prop::sample::select(names()),
        place in any::<prop::sample::Index>(),
        value in any_json(),
    ) {
        let mut sample: Value = serde_json::from_str(&body(&name)).unwrap();
        let mut found = Vec::new();
        places(&sample, "", &mut found);
        *sample.pointer_mut(&found[place.index(found.len())]).unwrap() = value;
        take(sample.to_string().into_bytes());
    }

    #[test]
    fn samples_with_bytes_changed_or_cut_never_panic(
        name in prop::sample::select(names()),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut body = body(&name).into_bytes();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        take(body);
    }
}
