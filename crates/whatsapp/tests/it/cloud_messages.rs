//! What Meta's fields `messages` and `smb_message_echoes` tell, one item at a time: who wrote what, how far it went, and who
//! has another number or id now.

use std::collections::HashSet;

use domain::address::ChatAddress;
use domain::message::{Direction, InboundMessage, MediaSource, MessageContent};
use serde_json::{Value, json};
use whatsapp::cloud::{Identity, Update, What};
use whatsapp::error::Unusable;
use whatsapp::event::{InboundEvent, SkipReason};

use crate::cloud_samples::{NUMBER, body, field, message, only, read, read_groups, status, value};

pub(crate) fn said(update: &Update) -> &InboundMessage {
    match &update.what {
        Ok(What::Event(InboundEvent::Message(message))) => message,
        other => panic!("{other:?}"),
    }
}

/// One message with these members besides id and time.
fn wrote(members: &str) -> InboundMessage {
    said(&only(message(&with_id(members)))).clone()
}

fn with_id(members: &str) -> String {
    format!(r#"{{"id":"wamid.X1==","timestamp":"1763600400",{members}}}"#)
}

#[test]
fn a_person_is_found_under_every_shape_and_never_by_an_empty_text() {
    let text = r#""type":"text","text":{"body":"Halo"}"#;
    let by_user = ChatAddress::parse("ID.9081@bsuid").unwrap();
    let by_phone = ChatAddress::parse("628110000001@s.whatsapp.net").unwrap();
    for (contacts, ids, chat, user) in [
        ("[]", r#""from":"628110000001""#, &by_phone, None),
        ("[]", r#""from":628110000001"#, &by_phone, None),
        (
            "[]",
            r#""from":"+628110000001","from_user_id":"ID.9081""#,
            &by_phone,
            Some("ID.9081"),
        ),
        (
            "[]",
            r#""from":"","from_user_id":"ID.9081""#,
            &by_user,
            Some("ID.9081"),
        ),
        (
            "[]",
            r#""from":"user.00ff","from_user_id":"ID.9081""#,
            &by_user,
            Some("ID.9081"),
        ),
        // One of the two ids stands beside the message only.
        (
            r#"[{"wa_id":"628110000001","user_id":"ID.9081"}]"#,
            r#""from_user_id":"ID.9081""#,
            &by_phone,
            Some("ID.9081"),
        ),
        (
            r#"[{"wa_id":"628110000001","user_id":"ID.9081"}]"#,
            r#""from":"628110000001""#,
            &by_phone,
            Some("ID.9081"),
        ),
        (
            r#"[{"wa_id":"","user_id":"ID.9081","profile":{}}]"#,
            r#""from":"","from_user_id":"ID.9081""#,
            &by_user,
            Some("ID.9081"),
        ),
        // One message, one person, and an id that only one of them has.
        (
            r#"[{"user_id":"ID.9081"}]"#,
            r#""from":"628110000001""#,
            &by_phone,
            Some("ID.9081"),
        ),
        // Another person's contact lends neither number nor id.
        (
            r#"[{"wa_id":"628119999999","user_id":"ID.1","profile":{"name":"Lain"}}]"#,
            r#""from":"628110000001""#,
            &by_phone,
            None,
        ),
        (
            r#"[{"wa_id":"628119999999","user_id":"ID.1","profile":{"name":"Lain"}}]"#,
            r#""from_user_id":"ID.9081""#,
            &by_user,
            Some("ID.9081"),
        ),
    ] {
        let update = only(value(&format!(
            r#""contacts":{contacts},"messages":[{}]"#,
            with_id(&format!("{ids},{text}"))
        )));
        let message = said(&update);
        assert_eq!(message.chat, *chat, "{contacts} {ids}");
        assert_eq!(message.chat.phone(), message.chat_phone.as_ref(), "{ids}");
        assert_eq!(
            message.chat_user.as_ref().map(|user| user.as_str()),
            user,
            "{ids}"
        );
        assert_eq!(message.sender.as_ref(), Some(chat), "{ids}");
        assert!(
            message
                .push_name
                .as_ref()
                .is_none_or(|name| name.as_str() != "Lain")
        );
    }
    for nobody in [r#""from":"""#, r#""from":"","from_user_id":"""#, r#""from":null"#] {
        let update = only(value(&format!(
            r#""contacts":[{{"wa_id":"","user_id":""}}],"messages":[{}]"#,
            with_id(&format!("{nobody},{text}"))
        )));
        assert_eq!(update.what.unwrap_err(), Unusable::Chat, "{nobody}");
    }
}

#[test]
fn times_and_ids_come_as_texts_and_as_numbers() {
    for time in ["\"1763600400\"", "1763600400", "1763600400.0"] {
        let update = only(message(&format!(
            r#"{{"from":"628110000001","id":17,"timestamp":{time},"type":"text","text":{{"body":"x"}}}}"#
        )));
        assert_eq!(said(&update).sent_at.timestamp(), 1_763_600_400, "{time}");
        assert_eq!(said(&update).provider_message_id.as_str(), "17");
    }
    let update = only(field(
        "message_template_status_update",
        &json!({"event": "APPROVED", "message_template_id": 18_446_744_073_709_551_615_u64}),
    ));
    let Ok(What::Template(template)) = update.what else {
        panic!()
    };
    assert_eq!(template.id, Some(u64::MAX));
    let update = only(field(
        "message_template_status_update",
        &json!({"event": "APPROVED", "message_template_id": "1689000000000123"}),
    ));
    let Ok(What::Template(template)) = update.what else {
        panic!()
    };
    assert_eq!(template.id, Some(1_689_000_000_000_123));
}

#[test]
fn a_nul_reaches_no_text_and_stays_in_what_is_kept() {
    let update = only(message(&with_id(
        r#""from":"628110000001","type":"text","text":{"body":"a\u0000b"}"#,
    )));
    assert_eq!(said(&update).content.text_for_humans().as_str(), "ab");
    assert!(update.raw.get().contains("a\\u0000b"));
    let unknown = wrote(r#""from":"628110000001","type":"sparkle","sparkle":{"x\u0000":"y\u0000"}"#);
    let stored = serde_json::to_string(&unknown).unwrap();
    assert!(!stored.contains("\\u0000"), "{stored}");
}

#[test]
fn an_unknown_kind_is_kept_whatever_it_is() {
    for (kind, name) in [
        (r#""type":"sparkle","sparkle":{}"#, "sparkle"),
        (r#""type":"hsm""#, "hsm"),
        (r#""type":"ephemeral""#, "ephemeral"),
        (r#""type":"unknown""#, "unknown"),
        (r#""type":"interactive""#, "interactive"),
        (
            r#""type":"interactive","interactive":{"type":"new_reply","new_reply":{}}"#,
            "interactive",
        ),
        (r#""type":"text","text":"no object""#, "text"),
        (r#""type":"text","text":{"body":""}"#, "text"),
        (r#""type":"image","image":[]"#, "image"),
        (
            r#""type":"location","location":{"latitude":91,"longitude":0}"#,
            "location",
        ),
        (
            r#""type":"location","location":{"latitude":"NaN","longitude":"0"}"#,
            "location",
        ),
        (r#""type":"contacts","contacts":[]"#, "contacts"),
        (r#""type":"reaction","reaction":{"emoji":"x"}"#, "reaction"),
        (r#""type":"order","order":{}"#, "order"),
        (
            r#""type":"edit","edit":{"original_message_id":"wamid.A=="}"#,
            "edit",
        ),
        (
            r#""type":"unsupported","errors":[{"code":131060}]"#,
            "unsupported",
        ),
        (r#""type":"unsupported","unsupported":{"type":"pin"}"#, "pin"),
        (r#""type":{}"#, "empty"),
    ] {
        let message = wrote(&format!(r#""from":"628110000001",{kind}"#));
        let MessageContent::Unsupported { type_name, raw } = &message.content else {
            panic!("{kind}: {message:?}")
        };
        assert_eq!(type_name.as_str(), name, "{kind}");
        assert_eq!(raw.as_value()["id"], "wamid.X1==", "{kind}");
    }
    for (body, name) in [
        (
            message(&with_id(
                r#""from":"628110000001","type":"system","system":{"type":"new"}"#,
            )),
            "system.new",
        ),
        (
            message(&with_id(r#""from":"628110000001","type":"request_welcome""#)),
            "request_welcome",
        ),
        (
            status(r#"{"id":"wamid.S==","status":"warning","timestamp":"1"}"#),
            "status.warning",
        ),
        (
            value(r#""user_actions":[{"action_type":"marketing_messages_link_click"}]"#),
            "user_actions",
        ),
        (value(r#""messages":[]"#), "messages"),
        (
            field("history", &json!({"history": [{"metadata": {"phase": 0}}]})),
            "history",
        ),
        (field("user_id_update", &json!({})), "user_id_update"),
        (field("something_new", &json!([1])), "something_new"),
    ] {
        let update = only(body.clone());
        let Ok(What::Unknown(unknown)) = &update.what else {
            panic!("{body}: {update:?}")
        };
        assert_eq!(unknown.type_name.as_str(), name, "{body}");
        assert_eq!(unknown.raw.get(), update.raw.get());
    }
}

#[test]
fn the_reason_beside_a_message_stays_with_it() {
    let updates = read(body("change-02-messages-errors")).unwrap();
    assert_eq!(updates.len(), 1);
    let MessageContent::Unsupported { raw, .. } = &said(&updates[0]).content else {
        panic!()
    };
    assert_eq!(raw.as_value()["errors"][0]["code"], 131_000);
    assert!(updates[0].raw.get().contains("131000"));
}

#[test]
fn a_file_is_known_by_its_id_and_its_hash_however_that_is_written() {
    let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    for (id, hash) in [
        (
            "\"1900000000000001\"",
            "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
        ),
        ("1900000000000001", hex),
    ] {
        let picture = wrote(&format!(
            r#""from":"628110000001","type":"image","image":{{"id":{id},"sha256":"{hash}"}}"#
        ));
        let media = picture.content.media().unwrap();
        let [MediaSource::Graph(file)] = media.sources.as_slice() else {
            panic!("{media:?}")
        };
        assert_eq!(file.id.as_str(), "1900000000000001");
        assert_eq!(file.sha256.unwrap().to_hex(), hex);
        assert_eq!(
            media.sha256.as_deref(),
            Some("n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=")
        );
    }
    // An id that could lead elsewhere is none, and what is no hash is not compared with.
    let odd = wrote(r#""from":"628110000001","type":"image","image":{"id":"../me","sha256":"x"}"#);
    let media = odd.content.media().unwrap();
    assert!(media.sources.is_empty() && media.sha256.is_none());
}

#[test]
fn a_form_is_read_for_people_and_kept_for_machines() {
    let form = |response: &str| {
        let response = Value::from(response).to_string();
        wrote(&format!(
            r#""from":"628110000001","type":"interactive","interactive":{{"type":"nfm_reply",
                "nfm_reply":{{"name":"flow","body":"Sent","response_json":{response}}}}}"#
        ))
    };
    let parts = |message: &InboundMessage| match &message.content {
        MessageContent::InteractiveReply {
            id: None,
            title,
            data,
        } => (
            title.as_str().to_owned(),
            data.as_ref().unwrap().as_value().clone(),
        ),
        other => panic!("{other:?}"),
    };
    let (title, data) = parts(&form(r#"{"flow_token":"ft-1","nama":"Sari","setuju":true}"#));
    assert_eq!(title, "Sent\nnama: Sari\nsetuju: true");
    assert_eq!(data["flow_token"], "ft-1");
    let (title, data) = parts(&form("not json"));
    assert_eq!((title.as_str(), data), ("Sent", json!("not json")));
    let huge = form(&format!("{{\"a\":\"{}\"}}", "x".repeat(100_000)));
    assert!(huge.truncated);
    assert!(parts(&huge).1.is_string());
    let (title, _) = parts(&form(&"[".repeat(10_000)));
    assert_eq!(title, "Sent");
}

#[test]
fn a_reaction_and_its_removal_are_two_updates_and_the_same_one_twice_is_one() {
    let reaction = |emoji: &str, time: u32| {
        only(message(&format!(
            r#"{{"from":"628110000001","id":"wamid.R==","timestamp":"{time}","type":"reaction",
                "reaction":{{"message_id":"wamid.T=="{emoji}}}}}"#
        )))
    };
    let added = reaction(r#","emoji":"\ud83d\udc4d""#, 1);
    let removed = reaction("", 2);
    assert_ne!(added.key, removed.key);
    assert_ne!(removed.key, reaction("", 3).key);
    // Both ways of writing that it was taken away.
    assert_eq!(removed.key, reaction(r#","emoji":"""#, 2).key);
    assert_eq!(added.key, reaction(r#","emoji":"👍""#, 1).key);
    for (update, emoji) in [(&added, Some("👍")), (&removed, None)] {
        let MessageContent::Reaction { target, emoji: shown } = &said(update).content else {
            panic!()
        };
        assert_eq!(
            (target.as_str(), shown.as_ref().map(|text| text.as_str())),
            ("wamid.T==", emoji)
        );
    }
}

#[test]
fn every_member_of_a_group_has_a_status_of_their_own() {
    let of = |participant: &str| {
        format!(
            r#"{{"id":"wamid.G==","status":"delivered","timestamp":"1763600150","recipient_id":"Z3JvdXA",
                "recipient_type":"group",{participant}}}"#
        )
    };
    let updates = read(status(
        &[
            of(r#""recipient_participant_id":"628110000001""#),
            of(r#""recipient_participant_id":"628110000002""#),
            of(r#""recipient_participant_user_id":"ID.1""#),
            of(r#""recipient_participant_id":"628110000001""#),
        ]
        .join(","),
    ))
    .unwrap();
    let keys: HashSet<_> = updates.iter().map(|update| &update.key).collect();
    assert_eq!((updates.len(), keys.len()), (4, 3));
    let Ok(What::Status(status)) = &updates[2].what else {
        panic!()
    };
    assert_eq!(status.participant, ChatAddress::parse("ID.1@bsuid").ok());
    assert_eq!(status.recipient, ChatAddress::parse("Z3JvdXA@g.us").ok());
}

#[test]
fn a_group_is_skipped_unless_it_is_kept() {
    let body = body("message-26-text");
    let update = only(body.clone());
    assert!(matches!(
        update.what,
        Ok(What::Event(InboundEvent::Skipped(SkipReason::Group)))
    ));
    assert_eq!(update.place(), Some(SkipReason::Group));
    let kept = read_groups(body);
    assert_eq!(said(&kept[0]).chat.as_str(), "Z3JvdXAtZXhhbXBsZS0wMDAx@g.us");
    assert_eq!(
        said(&kept[0]).sender,
        ChatAddress::parse("628110000001@s.whatsapp.net").ok()
    );
    assert_eq!(kept[0].place(), Some(SkipReason::Group));
    assert_eq!(kept[0].key, update.key);
    assert_eq!(
        only(message(&with_id(r#""from":"628110000001","type":"hsm""#))).place(),
        None
    );
}

#[test]
fn what_was_typed_on_the_phone_goes_out_and_is_nobodys_push_name() {
    let echo = |members: &str| {
        field(
            "smb_message_echoes",
            &serde_json::from_str(&format!(
                r#"{{"metadata":{{"phone_number_id":"{NUMBER}"}},
                    "contacts":[{{"profile":{{"name":"Sari"}},"wa_id":"628110000001","user_id":"ID.9081"}}],
                    "message_echoes":[{{"from":"6221550001111","id":"wamid.E==","timestamp":"1763600206",{members}}}]}}"#
            ))
            .unwrap(),
        )
    };
    for to in [
        r#""to":"628110000001""#,
        r#""to_user_id":"ID.9081""#,
        r#""to":"","to_user_id":"ID.9081""#,
    ] {
        let update = only(echo(&format!(r#"{to},"type":"text","text":{{"body":"Baik"}}"#)));
        let message = said(&update);
        assert_eq!(message.direction, Direction::Outbound);
        assert_eq!(message.chat.as_str(), "628110000001@s.whatsapp.net", "{to}");
        assert_eq!(message.chat_user.as_ref().unwrap().as_str(), "ID.9081");
        assert_eq!(
            message.sender.as_ref().unwrap().as_str(),
            "6221550001111@s.whatsapp.net"
        );
        assert_eq!(message.push_name, None);
        assert_eq!(update.key, "echo|wamid.E==");
    }
    let template = only(echo(r#""to":"628110000001","type":"template","template":{}"#));
    assert!(matches!(
        said(&template).content,
        MessageContent::Unsupported { .. }
    ));
    let nobody = only(echo(r#""to":"","type":"text","text":{"body":"x"}"#));
    // One echo and one contact: that is who it went to.
    assert_eq!(said(&nobody).chat.as_str(), "628110000001@s.whatsapp.net");
}

#[test]
fn identity_changes_are_read_under_old_and_new_names() {
    let change = |members: &str| match only(value(&format!(r#""messages":[{}]"#, with_id(members)))).what {
        Ok(What::Identity(change)) => *change,
        other => panic!("{other:?}"),
    };
    let old = change(
        r#""from":"628110000001","type":"system",
            "system":{"type":"customer_changed_number","body":"x","new_wa_id":"628110000009"}"#,
    );
    let Identity::Number {
        old: Some(from),
        new: Some(to),
        ..
    } = &old.change
    else {
        panic!("{old:?}")
    };
    assert_eq!((from.as_str(), to.as_str()), ("628110000001", "628110000009"));
    assert_eq!(old.person.as_str(), "628110000001@s.whatsapp.net");
    let hidden = change(
        r#""type":"system","from":"","system":{"type":"user_changed_user_id","user_id":"ID.2","previous_user_id":"ID.1"}"#,
    );
    assert_eq!(hidden.person.as_str(), "ID.1@bsuid");
    let unnamed = change(
        r#""type":"system","from_user_id":"ID.1","system":{"type":"user_changed_user_id","user_id":"ID.2"}"#,
    );
    assert_eq!(unnamed.person.as_str(), "ID.1@bsuid");
}
