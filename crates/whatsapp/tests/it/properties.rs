//! Whatever is sent: no panic, and what was promised about the result holds.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value};
use whatsapp::event::InboundEvent;
use whatsapp::genfity::Unverified;

use crate::fixtures::{FORM, JSON, form_body, json_body, names, now};

/// Takes a body all the way and checks what every result promises.
fn take(content_type: Option<&str>, body: Vec<u8>) {
    let Ok(webhook) = Unverified::read(content_type, Bytes::from(body)) else {
        return;
    };
    assert!(
        webhook
            .instance_name()
            .is_none_or(|name| !name.is_empty() && name.len() <= 255)
    );
    let _ = format!("{webhook:?}");
    let verified = webhook.verify(None, &[]).unwrap();
    let _ = verified.inline_file();
    match verified.parse(now()) {
        Ok(InboundEvent::Message(message)) => {
            assert!(message.chat.is_direct());
            assert!(message.sent_at <= now() + chrono::TimeDelta::minutes(10));
            assert_eq!(message.chat.phone(), message.chat_phone.as_ref());
            // What a database must be able to hold, and what must come back from it.
            let stored = serde_json::to_string(&message).unwrap();
            assert!(!stored.contains("\\u0000"));
            assert_eq!(
                serde_json::from_str::<domain::message::InboundMessage>(&stored).unwrap(),
                *message
            );
            assert!(message.content.text_for_humans().as_str().chars().count() <= 65_536);
        }
        Ok(InboundEvent::Receipt(receipt)) => assert!(!receipt.ids.is_empty()),
        Ok(_) | Err(_) => {}
    }
}

/// Any JSON, with keys that mean something now and then.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Eighths survive JSON exactly; a parser may be one unit off in the last place of any other fraction.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        Just(serde_json::json!(1e300)),
        ".{0,20}".prop_map(Value::from),
        prop::sample::select(vec![
            "Message",
            "ReadReceipt",
            "6281200000001@s.whatsapp.net",
            "190000000000001:3@lid",
            "3EB0C1A2B3D4E5F60718",
            "2026-02-17T09:15:04-03:00",
            "a\0b",
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
        "type",
        "event",
        "Info",
        "Message",
        "Chat",
        "ID",
        "MessageIDs",
        "Timestamp",
        "SenderAlt",
        "PushName",
        "base64",
        "s3",
        "conversation",
        "extendedTextMessage",
        "text",
        "contextInfo",
        "stanzaID",
        "quotedMessage",
        "imageMessage",
        "audioMessage",
        "locationMessage",
        "degreesLatitude",
        "degreesLongitude",
        "contactMessage",
        "contactsArrayMessage",
        "contacts",
        "reactionMessage",
        "key",
        "pollCreationMessageV3",
        "options",
        "optionName",
        "protocolMessage",
        "editedMessage",
        "message",
        "state",
        "instanceName",
        "userID",
        "messageContextInfo",
    ]);
    prop_oneof![3 => known.prop_map(str::to_owned), 1 => ".{0,8}"]
}

/// Every place in a JSON value, as pointers.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(
                    inner,
                    &format!("{here}/{}", key.replace('~', "~0").replace('/', "~1")),
                    found,
                );
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
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        take(JSON, bytes.clone());
        take(FORM, [b"jsonData=", bytes.as_slice()].concat());
        take(FORM, bytes);
    }

    #[test]
    fn arbitrary_json_never_panics(event in any_json()) {
        take(JSON, event.to_string().into_bytes());
        // The same as an event, as a message, and as what a message says, so that the depths are reached.
        for kind in ["Message", "ReadReceipt", "MessageSent", "LoggedOut", "PairSuccess", "ConnectFailure"] {
            let envelope = serde_json::json!({"type": kind, "event": event});
            take(JSON, envelope.to_string().into_bytes());
        }
        let info = serde_json::json!({"Chat": "6281200000001@s.whatsapp.net", "ID": "A1"});
        let envelope = serde_json::json!({"type": "Message", "event": {"Info": info, "Message": event}});
        take(JSON, envelope.to_string().into_bytes());
    }

    #[test]
    fn samples_with_one_value_changed_never_panic(
        name in prop::sample::select(names()),
        place in any::<prop::sample::Index>(),
        value in any_json(),
    ) {
        let mut sample: Value = serde_json::from_str(&json_body(&name)).unwrap();
        let mut found = Vec::new();
        places(&sample, "", &mut found);
        *sample.pointer_mut(&found[place.index(found.len())]).unwrap() = value;
        take(JSON, sample.to_string().into_bytes());
    }

    #[test]
    fn samples_with_bytes_changed_or_cut_never_panic(
        name in prop::sample::select(names()),
        form in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let (content_type, mut body) =
            if form { (FORM, form_body(&name).into_bytes()) } else { (JSON, json_body(&name).into_bytes()) };
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        take(content_type, body);
    }
}
