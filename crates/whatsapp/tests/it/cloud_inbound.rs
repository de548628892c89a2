//! Meta's webhooks as whole bodies: every sample of the contract, and batches with something bad in them.

use std::collections::HashSet;

use serde_json::{Value, json};
use whatsapp::cloud::What;
use whatsapp::error::{MalformedWebhook, Unusable};
use whatsapp::event::InboundEvent;

use crate::cloud_messages::said;
use crate::cloud_samples::{NUMBER, WABA, body, names, read, read_groups, shown, value};

#[test]
fn every_sample_says_what_it_was_agreed_to() {
    let names = names();
    assert_eq!(names.len(), 47);
    insta::with_settings!({prepend_module_to_snapshot => false, snapshot_path => "../snapshots-cloud", omit_expression => true}, {
        for name in names {
            let updates: Vec<Value> = read_groups(body(&name)).iter().map(shown).collect();
            insta::assert_json_snapshot!(name, updates);
        }
    });
}

#[test]
fn no_sample_is_unusable() {
    for name in names() {
        for update in read(body(&name)).unwrap() {
            assert!(update.what.is_ok(), "{name}: {update:?}");
            assert!(update.waba.is_some(), "{name}");
        }
    }
}

#[test]
fn a_mixed_batch_is_five_units_of_two_tenants() {
    let updates = read(body("body-10-mixed")).unwrap();
    let units: Vec<_> = updates
        .iter()
        .map(|update| {
            let what = match &update.what {
                Ok(What::Event(InboundEvent::Message(_))) => "message",
                Ok(What::Status(_)) => "status",
                Ok(What::Template(_)) => "template",
                other => panic!("{other:?}"),
            };
            let number = update.number.as_ref().map(|number| number.as_str());
            (update.waba.as_ref().unwrap().as_str(), number, what)
        })
        .collect();
    assert_eq!(
        units,
        [
            (WABA, Some(NUMBER), "message"),
            (WABA, Some(NUMBER), "message"),
            (WABA, Some(NUMBER), "status"),
            ("210987650000999", None, "template"),
            ("210987650000999", Some("110987650000333"), "message"),
        ]
    );
    // Nothing of one tenant goes into what is kept of another.
    for update in &updates {
        let foreign = if update.waba.as_ref().unwrap().as_str() == WABA {
            "Agus"
        } else {
            "Sari"
        };
        assert!(!update.raw.get().contains(foreign), "{}", update.raw);
    }
}

#[test]
fn what_is_kept_of_an_update_says_the_same_alone() {
    for name in names() {
        for update in read_groups(body(&name)) {
            let again = read_groups(update.raw.get().to_owned());
            assert_eq!(again.len(), 1, "{name}");
            assert_eq!(shown(&again[0]), shown(&update), "{name}");
            assert_eq!(again[0].raw.get(), update.raw.get(), "{name}");
        }
    }
}

#[test]
fn one_poisoned_item_leaves_the_rest() {
    let good = |n: u32| {
        format!(
            r#"{{"from":"628110000001","id":"wamid.G{n}==","timestamp":"1763600300","type":"text","text":{{"body":"{n}"}}}}"#
        )
    };
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    for (poison, why) in [
        ("7", Unusable::Shape),
        ("null", Unusable::Shape),
        (r#"["628110000001","wamid.X=="]"#, Unusable::Shape),
        (r#"{"from":"628110000001","type":"text"}"#, Unusable::MessageId),
        (
            r#"{"from":"628110000001","id":"a b","type":"text"}"#,
            Unusable::MessageId,
        ),
        (
            r#"{"id":"wamid.X==","type":"text","text":{"body":"whose?"}}"#,
            Unusable::Chat,
        ),
        (
            r#"{"from":"628110000001","from":"628110000002","id":"wamid.X=="}"#,
            Unusable::Shape,
        ),
        (
            r#"{"from":"628110000001","id":"\ud800","type":"text"}"#,
            Unusable::Shape,
        ),
        (
            r#"{"group_id":"a/b","from":"628110000001","id":"wamid.X==","type":"text"}"#,
            Unusable::Chat,
        ),
        (deep.as_str(), Unusable::Shape),
    ] {
        let updates = read(value(&format!(
            r#""messages":[{},{poison},{}],"statuses":[{{"id":"wamid.S==","status":"read","timestamp":"1"}},{poison}]"#,
            good(1),
            good(2)
        )))
        .unwrap();
        assert_eq!(updates.len(), 5, "{poison}");
        for (at, words) in [(0, "1"), (2, "2")] {
            assert_eq!(said(&updates[at]).content.text_for_humans().as_str(), words);
        }
        assert!(matches!(updates[3].what, Ok(What::Status(_))), "{poison}");
        assert_eq!(updates[1].what.as_ref().err(), Some(&why), "{poison}");
        assert!(updates[1].raw.get().contains(poison), "{poison}");
        assert_eq!(updates[1].number.as_ref().unwrap().as_str(), NUMBER);
    }
}

#[test]
fn a_broken_level_costs_itself_only() {
    let good = r#"{"field":"messages","value":{"statuses":[{"id":"wamid.S==","status":"read"}]}}"#;
    for entries in [
        format!(r#"7,{{"id":"1","changes":[{good}]}}"#),
        format!(r#"{{"id":"1"}},{{"id":"1","changes":[{good}]}}"#),
        format!(r#"{{"id":"1","changes":{{}}}},{{"id":"1","changes":[{good}]}}"#),
        format!(r#"{{"id":"1","changes":[null,{good}]}}"#),
        format!(r#"{{"id":"1","changes":[{{"field":"messages"}},{good}]}}"#),
        format!(r#"{{"id":"1","changes":[{{"field":"messages","value":[]}},{good}]}}"#),
        format!(r#"{{"id":"1","changes":[{{"field":"messages","value":{{"messages":{{}}}}}},{good}]}}"#),
        format!(r#"{{"id":"1","changes":[{{"field":"account_update","value":{{}}}},{good}]}}"#),
    ] {
        let updates = read(format!(
            r#"{{"object":"whatsapp_business_account","entry":[{entries}]}}"#
        ))
        .unwrap();
        assert_eq!(updates.len(), 2, "{entries}");
        assert_eq!(
            updates[0].what.as_ref().err(),
            Some(&Unusable::Shape),
            "{entries}"
        );
        assert!(matches!(updates[1].what, Ok(What::Status(_))), "{entries}");
    }
}

#[test]
fn what_is_no_webhook_about_whatsapp_is_refused_as_a_whole() {
    for (body, error) in [
        ("", MalformedWebhook::EmptyBody),
        ("[]", MalformedWebhook::NotJson),
        ("{", MalformedWebhook::NotJson),
        ("{}", MalformedWebhook::OtherProduct),
        (r#"{"object":"page","entry":[]}"#, MalformedWebhook::OtherProduct),
        (
            r#"{"object":"whatsapp_business_account"}"#,
            MalformedWebhook::NotJson,
        ),
        (
            r#"{"object":"whatsapp_business_account","entry":{}}"#,
            MalformedWebhook::NotJson,
        ),
    ] {
        assert_eq!(read(body).unwrap_err(), error, "{body}");
    }
    assert!(
        read(r#"{"object":"whatsapp_business_account","entry":[]}"#)
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        read(&b"{\"object\":\"\xff\"}"[..]).unwrap_err(),
        MalformedWebhook::NotUtf8
    );
    let many = value(&format!(r#""statuses":[{}0]"#, "0,".repeat(10_000)));
    assert_eq!(read(many).unwrap_err(), MalformedWebhook::TooManyUpdates);
    // Few, but each would take along what stands beside all of them.
    let (long, items) = ("x".repeat(1_000_000), "0,".repeat(100));
    let amplified = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"2","time":"{long}","changes":[
            {{"field":"messages","value":{{"statuses":[{items}0]}}}}]}}]}}"#
    );
    assert_eq!(read(amplified).unwrap_err(), MalformedWebhook::TooManyUpdates);
}

#[test]
fn a_thousand_people_in_one_body_are_a_thousand_small_updates() {
    let contacts: Vec<Value> = (0..1_000)
        .map(|n| json!({"wa_id": format!("62811{n:07}"), "profile": {"name": format!("Warga {n}")}}))
        .collect();
    let messages: Vec<Value> = (0..1_000)
        .map(|n| {
            json!({"from": format!("62811{n:07}"), "id": format!("wamid.N{n}=="), "timestamp": "1763600300",
                "type": "text", "text": {"body": format!("pesan {n}")}})
        })
        .collect();
    let body = value(&format!(
        r#""contacts":{},"messages":{}"#,
        Value::from(contacts),
        Value::from(messages)
    ));
    let length = body.len();
    let updates = read(body).unwrap();
    assert_eq!(updates.len(), 1_000);
    for (n, update) in updates.iter().enumerate() {
        assert_eq!(
            said(update).push_name.as_ref().unwrap().as_str(),
            format!("Warga {n}")
        );
    }
    let kept: usize = updates.iter().map(|update| update.raw.get().len()).sum();
    assert!(kept < 4 * length, "{kept} of {length}");
    let keys: HashSet<_> = updates.iter().map(|update| &update.key).collect();
    assert_eq!(keys.len(), 1_000);
}

#[test]
fn debug_shows_nobodys_words_or_number() {
    for name in names() {
        for update in read_groups(body(&name)) {
            let shown = format!("{update:?}");
            for secret in [
                "Selamat",
                "Sari",
                "Wulandari",
                "Konfirmasi",
                "perdata",
                "Budi",
                "KTP",
            ] {
                assert!(!shown.contains(secret), "{name}: {shown}");
            }
        }
    }
}
