//! What the samples say, kind by kind.

use serde_json::{Value, json};
use whatsapp::event::InboundEvent;

use crate::fixtures::event;

/// The message of a sample, as the services will store it.
fn message(name: &str) -> Value {
    match event(name) {
        Ok(InboundEvent::Message(message)) => serde_json::to_value(message).unwrap(),
        other => panic!("{name} is no message: {other:?}"),
    }
}

/// Every key of `expected` has the same value in `actual`.
fn assert_has(name: &str, actual: &Value, expected: &Value) {
    match expected.as_object() {
        Some(keys) => {
            for (key, value) in keys {
                assert_has(&format!("{name}.{key}"), &actual[key.as_str()], value);
            }
        }
        None => assert_eq!(actual, expected, "{name}"),
    }
}

const BUDI: &str = "6281200000001@s.whatsapp.net";

#[test]
fn texts_and_addresses_are_read() {
    let table = [
        (
            "s01-text",
            json!({
                "provider_message_id": "3EB0C1A2B3D4E5F60718", "chat": BUDI, "chat_phone": "6281200000001",
                "chat_lid": "190000000000001", "direction": "inbound", "sender": BUDI, "push_name": "Budi",
                "sent_at": "2026-02-17T12:15:04Z", "quoted": null, "truncated": false,
                "content": {"kind": "text", "text": "Selamat pagi, mau tanya syarat surat domisili"},
            }),
        ),
        (
            // A hidden-id chat whose event tells the number: the number is the chat, the hidden id is kept.
            "s02-reply",
            json!({
                "chat": BUDI, "chat_phone": "6281200000001", "chat_lid": "190000000000001", "sender": BUDI,
                "content": {"kind": "text", "text": "Baik, terima kasih"},
                "quoted": {
                    "provider_message_id": "3EB0AA11BB22CC33DD44", "participant": "6281100000009@s.whatsapp.net",
                    "text": "Syaratnya KTP dan KK.",
                },
            }),
        ),
        (
            "s11-own-message-typed-on-the-phone",
            json!({
                "chat": BUDI, "chat_lid": "190000000000001", "direction": "outbound",
                "sender": "6281100000009@s.whatsapp.net",
                "content": {"kind": "text", "text": "Silakan datang besok jam 9"},
            }),
        ),
        (
            "c-text",
            json!({
                "chat": "6281290000011@s.whatsapp.net", "sent_at": "2026-03-02T02:15:04Z", "push_name": "Rara",
                "content": {"text": "Selamat pagi, mau tanya syarat KTP"},
            }),
        ),
        (
            "c-reply-lid",
            json!({
                "chat": "6281290000011@s.whatsapp.net", "chat_lid": "204466881133557",
                "content": {"text": "yang ini maksudnya?"},
                "quoted": {"provider_message_id": "3EB0FFEEDDCCBBAA9988", "text": null},
            }),
        ),
        (
            "c-own",
            json!({"direction": "outbound", "chat": "6281290000011@s.whatsapp.net"}),
        ),
        (
            // The number is unknown, and the hidden id is not taken for one.
            "x-lid-unknown-number",
            json!({
                "chat": "204466881133557@lid", "chat_phone": null, "chat_lid": "204466881133557",
                "sender": "204466881133557@lid",
            }),
        ),
        (
            // The partner's alternative address counts, not the tenant's own.
            "x-own-lid",
            json!({
                "chat": "6281290000011@s.whatsapp.net", "chat_lid": "204466881133557", "direction": "outbound",
            }),
        ),
        (
            "x-chat-with-device",
            json!({"chat": "6281290000044@s.whatsapp.net", "sender": null}),
        ),
        (
            "x-pascal-case",
            json!({"content": {"kind": "text", "text": "gaya lama"}}),
        ),
        (
            "x-quoted-image",
            json!({"quoted": {"text": "[image]", "participant": null}}),
        ),
        (
            "x-bad-time",
            json!({"sent_at": "2026-03-03T00:00:00Z", "push_name": null}),
        ),
        ("x-future-time", json!({"sent_at": "2026-03-03T00:00:00Z"})),
        ("x-nul", json!({"content": {"text": "ab"}, "push_name": "Ra ra"})),
    ];
    for (name, expected) in table {
        assert_has(name, &message(name), &expected);
    }
}

#[test]
fn files_are_read_with_the_places_to_fetch_them_best_first() {
    let keys = json!({
        "from": "whatsapp",
        "url": "https://mmg.whatsapp.net/v/t62.7117-24/Example?ccb=11-4&mms3=true",
        "direct_path": "/v/t62.7117-24/Example?ccb=11-4",
        "media_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "file_enc_sha256": "/u3erb7v3q2+796tvu/erb7v3q2+796tvu/erb7v3q0=",
        "file_sha256": "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=",
        "file_length": 14211,
    });
    let table = [
        (
            "s03-image-with-caption",
            json!({"media_kind": "image", "caption": "Foto jalan rusak RT 02", "mime_type": "image/jpeg", "size": 245_632}),
            // The sample's base64 ends in a character of three bytes.
            vec![
                json!({"from": "inline", "encoded_length": 35}),
                json!({"from": "whatsapp"}),
            ],
        ),
        (
            "s04-document-with-caption",
            json!({
                "media_kind": "document", "caption": "Kartu keluarga saya", "file_name": "KK.pdf",
                "mime_type": "application/pdf", "sha256": "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=",
            }),
            vec![json!({"from": "whatsapp", "file_length": 88_123})],
        ),
        (
            // The sender's own type, not the sniffed `application/ogg`.
            "s05-voice-note",
            json!({"media_kind": "voice", "seconds": 6, "mime_type": "audio/ogg; codecs=opus", "size": 14211}),
            vec![json!({"from": "inline"}), keys],
        ),
        (
            "c-image-inline",
            json!({"media_kind": "image", "caption": "jalan rusak"}),
            vec![
                json!({"from": "inline", "encoded_length": 32}),
                json!({"from": "whatsapp", "media_key": "AAECAw=="}),
            ],
        ),
        (
            // No media key: WhatsApp's servers are no source.
            "c-voice-s3",
            json!({"media_kind": "voice", "seconds": 4, "size": 9120}),
            vec![json!({
                "from": "s3", "url": "https://media.example.org/users/aa11/inbox/a.ogg",
                "key": "users/aa11/inbox/a.ogg", "bucket": "wa",
            })],
        ),
        (
            "x-video-note",
            json!({"media_kind": "video", "seconds": 3, "size": 991}),
            vec![json!({"from": "whatsapp"})],
        ),
        ("x-sticker", json!({"media_kind": "sticker"}), vec![]),
        (
            "x-document-plain",
            json!({"media_kind": "document", "file_name": "Surat  pengantar.pdf", "caption": null}),
            vec![],
        ),
        (
            "x-view-once-wrapped",
            json!({"media_kind": "image", "caption": "sekali"}),
            vec![],
        ),
    ];
    for (name, expected, sources) in table {
        let content = &message(name)["content"];
        assert_eq!(content["kind"], "media", "{name}");
        assert_has(name, content, &expected);
        let actual = content["sources"].as_array().unwrap();
        assert_eq!(actual.len(), sources.len(), "{name}: {actual:?}");
        for (actual, expected) in actual.iter().zip(&sources) {
            assert_has(name, actual, expected);
        }
    }
}

#[test]
fn every_other_kind_is_read() {
    let target = "3EB0FFEEDDCC";
    let table = [
        (
            "s06-location",
            json!({
                "kind": "location", "latitude": -7.797068, "longitude": 110.370529, "name": "Balai Desa Contoh",
                "address": "Jl. Merdeka 1", "live": false,
            }),
        ),
        (
            "c-location",
            json!({"kind": "location", "latitude": -5.1477, "name": "Balai Desa Contoh"}),
        ),
        (
            "x-live-location",
            json!({"kind": "location", "latitude": -5.0, "name": "di jalan", "live": true}),
        ),
        (
            "s08-reaction",
            json!({"kind": "reaction", "target": "3EB0AA11BB22CC33DD44", "emoji": "👍"}),
        ),
        (
            "c-reaction",
            json!({"kind": "reaction", "target": "3EB0FFEEDDCCBBAA9988", "emoji": "👍"}),
        ),
        (
            "x-reaction-removed",
            json!({"kind": "reaction", "target": target, "emoji": null}),
        ),
        (
            "s12-edited-message",
            json!({
                "kind": "edit", "target": "3EB0C1A2B3D4E5F60718",
                "content": {"kind": "text", "text": "Mau tanya syarat surat pindah"},
            }),
        ),
        (
            "x-edit-of-caption",
            json!({"kind": "edit", "target": target, "content": {"kind": "media", "caption": "baru"}}),
        ),
        (
            "s13-message-deleted-for-everyone",
            json!({"kind": "revoke", "target": "3EB0C1A2B3D4E5F60718"}),
        ),
        (
            "x-poll-v1",
            json!({"kind": "poll", "question": "Kapan?", "options": ["Sabtu", "Minggu"], "selectable": 0}),
        ),
        (
            "x-poll-vote-direct",
            json!({"kind": "poll_vote", "target": "3EB0B011B011"}),
        ),
        (
            "x-buttons-reply",
            json!({"kind": "interactive_reply", "id": "b1", "title": "Ya"}),
        ),
        (
            "x-list-reply",
            json!({"kind": "interactive_reply", "id": "row-1", "title": "KTP"}),
        ),
        (
            "x-template-reply",
            json!({"kind": "interactive_reply", "id": "t1", "title": "Setuju"}),
        ),
        (
            "x-interactive-reply",
            json!({"kind": "interactive_reply", "id": null, "title": "Lanjut"}),
        ),
        (
            "x-order",
            json!({"kind": "unsupported", "type_name": "orderMessage", "raw": {"orderMessage": {"orderID": "77"}}}),
        ),
        (
            "x-odd-shape",
            json!({"kind": "unsupported", "raw": {"imageMessage": "not an object"}}),
        ),
        (
            "x-location-without-degrees",
            json!({"kind": "unsupported", "type_name": "locationMessage"}),
        ),
        (
            "x-no-message",
            json!({"kind": "unsupported", "type_name": "empty", "raw": null}),
        ),
        (
            "x-empty-text",
            json!({"kind": "unsupported", "type_name": "conversation"}),
        ),
    ];
    for (name, expected) in table {
        assert_has(name, &message(name)["content"], &expected);
    }

    let cards = message("s07-contact-card")["content"]["contacts"].clone();
    assert_eq!(cards[0]["display_name"], "Pak Lurah");
    assert!(cards[0]["vcard"].as_str().unwrap().starts_with("BEGIN:VCARD\n"));
    assert_eq!(
        message("x-contacts")["content"]["contacts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        message("x-buttons-reply")["quoted"]["provider_message_id"],
        "3EB0BUTTONS"
    );
}

#[test]
fn a_long_text_is_cut_and_says_so() {
    let body = json!({
        "type": "Message",
        "event": {
            "Info": {"Chat": BUDI, "ID": "A1", "Timestamp": "2026-03-02T00:00:00Z"},
            "Message": {"conversation": "é".repeat(70_000)},
        },
    });
    let verified = crate::fixtures::accept(crate::fixtures::JSON, &body.to_string());
    let Ok(InboundEvent::Message(message)) = verified.parse(crate::fixtures::now()) else {
        panic!("no message")
    };
    assert!(message.truncated);
    assert_eq!(message.content.text_for_humans().as_str().chars().count(), 65_536);
}

#[test]
fn wrappers_without_end_are_kept_raw() {
    let mut inner = json!({"conversation": "x"});
    for _ in 0..100 {
        inner = json!({"ephemeralMessage": {"message": inner}});
    }
    let body = json!({"type": "Message", "event": {"Info": {"Chat": BUDI, "ID": "A1"}, "Message": inner}});
    let verified = crate::fixtures::accept(crate::fixtures::JSON, &body.to_string());
    let Ok(InboundEvent::Message(message)) = verified.parse(crate::fixtures::now()) else {
        panic!("no message")
    };
    assert_eq!(message.content.kind().as_str(), "unsupported");
}

#[test]
fn nothing_that_was_said_shows_in_debug() {
    for (name, words) in [
        ("s01-text", "Selamat"),
        ("s02-reply", "Syaratnya"),
        ("s03-image-with-caption", "jalan rusak"),
        ("s07-contact-card", "Lurah"),
        ("s12-edited-message", "pindah"),
        ("x-order", "orderID"),
    ] {
        assert!(crate::fixtures::json_body(name).contains(words), "{name}");
        let verified = crate::fixtures::accept(crate::fixtures::JSON, &crate::fixtures::json_body(name));
        let shown = format!("{verified:?} {:?}", event(name));
        assert!(!shown.contains(words), "{shown}");
    }
}
