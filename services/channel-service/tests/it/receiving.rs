//! Webhooks that bring messages: kept once, at the right tenant, and told to everybody who listens.

use futures_util::future::join_all;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, FaultTarget, Inbound, InboundStream, WaConfigChange, WebhookFormat};
use test_support::eventually;

use crate::ai_handover::until_handled;
use crate::harness::{TestApp, Webhook, text};

const RARA: &str = "6281290000011";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_in_either_mode_is_kept_once_and_published_in_both_shapes() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let id = app
        .post(&desa.form(&text(RARA, "3EB0F0", "lewat formulir")))
        .await
        .assert_kept();
    let second = app
        .post(&desa.json(&text(RARA, "3EB0F1", "lewat json")))
        .await
        .assert_kept();

    let messages = app
        .rows("SELECT m.*, c.address, c.unread, c.last_text, c.name, c.phone FROM messages m JOIN chats c ON c.id = m.chat_id ORDER BY m.sent_at")
        .await;
    let seen: Vec<Value> = messages
        .iter()
        .map(|row| {
            json!([
                row["tenant_id"],
                row["id"],
                row["direction"],
                row["source"],
                row["kind"],
                row["body"],
                row["status"]
            ])
        })
        .collect();
    assert_eq!(
        json!(seen),
        json!([
            [
                "desa-satu",
                id,
                "inbound",
                "webhook",
                "text",
                "lewat formulir",
                "delivered"
            ],
            [
                "desa-satu",
                second,
                "inbound",
                "webhook",
                "text",
                "lewat json",
                "delivered"
            ],
        ])
    );
    let row = &messages[1];
    assert_eq!(
        json!([
            row["address"],
            row["unread"],
            row["last_text"],
            row["name"],
            row["phone"]
        ]),
        json!([format!("{RARA}@s.whatsapp.net"), 2, "lewat json", "Rara", RARA])
    );
    assert_eq!(
        (app.count("chats").await, app.count("inbound_ledger").await),
        (1, 2)
    );

    app.until_published().await;
    let events = eventually("both events", || async {
        Some(app.events()).filter(|events| events.len() >= 2)
    })
    .await;
    let event = &events[0].body;
    assert_eq!(events[0].routing_key, "message.received");
    assert_eq!(events[0].message_id.as_deref(), event["id"].as_str());
    assert_eq!(
        json!([event["version"], event["type"], event["tenant_id"]]),
        json!([1, "message.received", "desa-satu"])
    );
    assert!(event["request_id"].is_string() && event["occurred_at"].is_string());
    assert_eq!(
        event["data"],
        json!({
            "account_id": desa.account, "chat_id": messages[0]["chat_id"], "message_id": id,
            "partner": {"address": format!("{RARA}@s.whatsapp.net"), "phone": RARA, "name": "Rara"},
            "provider_message_id": "3EB0F0", "kind": "text", "text": "lewat formulir",
            "content": {"kind": "text", "text": "lewat formulir"}, "sent_at": event["data"]["sent_at"],
        })
    );
    assert_eq!(events[1].body["data"]["text"], "lewat json");

    let queue = app.topology.govconnect_ai_queue();
    let theirs = eventually("a message for the AI", || app.take_from(&queue)).await;
    assert_eq!(
        theirs,
        json!({
            "village_id": "desa-satu", "wa_user_id": RARA, "message": "lewat formulir", "message_id": "3EB0F0",
            "received_at": theirs["received_at"], "batched_message_ids": ["3EB0F0"], "has_media": false,
            "spam_guard": {"isDuplicate": false, "supersedePrevious": false, "suppressedMessageIds": [],
                           "contextMessages": []},
        })
    );
    eventually("GovConnect's exchange has both", || async {
        (app.govconnect().len() == 2).then_some(())
    })
    .await;
    assert_eq!(app.govconnect()[0].routing_key, "whatsapp.message.received");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_of_the_contract_takes_webhooks() {
    let app = TestApp::spawn().await;
    let desa = app.unsigned_tenant("desa-satu").await;
    for (number, path) in ["/webhook", "/webhook/whatsapp", "/whatsapp", "/"]
        .iter()
        .enumerate()
    {
        let webhook = desa.json(&text(RARA, &format!("3EB0P{number}"), "halo"));
        app.post_to(path, &webhook).await.assert_kept();
    }
    assert_eq!(app.count("messages").await, 4);
    app.finish().await;
}

/// Contract channel-service 2.7, and the samples of wa-server 14: name, kind and body as stored.
const SAMPLES: [(&str, &str, &str, &str, &str); 14] = [
    (
        "c-text",
        include_str!("../../../../crates/whatsapp/tests/fixtures/c-text.json"),
        "inbound",
        "text",
        "Selamat pagi, mau tanya syarat KTP",
    ),
    (
        "c-reply-lid",
        include_str!("../../../../crates/whatsapp/tests/fixtures/c-reply-lid.json"),
        "inbound",
        "text",
        "yang ini maksudnya?",
    ),
    (
        "c-image-inline",
        include_str!("../../../../crates/whatsapp/tests/fixtures/c-image-inline.json"),
        "inbound",
        "image",
        "jalan rusak",
    ),
    (
        "c-voice-s3",
        include_str!("../../../../crates/whatsapp/tests/fixtures/c-voice-s3.json"),
        "inbound",
        "voice",
        "[voice note]",
    ),
    (
        "c-location",
        include_str!("../../../../crates/whatsapp/tests/fixtures/c-location.json"),
        "inbound",
        "location",
        "📍 Balai Desa Contoh (-5.1477, 119.4327)",
    ),
    (
        "c-reaction",
        include_str!("../../../../crates/whatsapp/tests/fixtures/c-reaction.json"),
        "inbound",
        "reaction",
        "[reaction 👍]",
    ),
    (
        "c-own",
        include_str!("../../../../crates/whatsapp/tests/fixtures/c-own.json"),
        "outbound",
        "text",
        "baik, ditunggu",
    ),
    (
        "s04",
        include_str!("../../../../crates/whatsapp/tests/fixtures/s04-document-with-caption.json"),
        "inbound",
        "document",
        "Kartu keluarga saya",
    ),
    (
        "s07",
        include_str!("../../../../crates/whatsapp/tests/fixtures/s07-contact-card.json"),
        "inbound",
        "contact",
        "👤 Contact: Pak Lurah",
    ),
    (
        "s12",
        include_str!("../../../../crates/whatsapp/tests/fixtures/s12-edited-message.json"),
        "inbound",
        "edit",
        "",
    ),
    (
        "s13",
        include_str!("../../../../crates/whatsapp/tests/fixtures/s13-message-deleted-for-everyone.json"),
        "inbound",
        "revoke",
        "[message deleted]",
    ),
    (
        "x-sticker",
        include_str!("../../../../crates/whatsapp/tests/fixtures/x-sticker.json"),
        "inbound",
        "sticker",
        "[sticker]",
    ),
    (
        "x-list-reply",
        include_str!("../../../../crates/whatsapp/tests/fixtures/x-list-reply.json"),
        "inbound",
        "interactive_reply",
        "",
    ),
    (
        "x-order",
        include_str!("../../../../crates/whatsapp/tests/fixtures/x-order.json"),
        "inbound",
        "unsupported",
        "",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_the_contract_is_kept_with_its_kind_and_text() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let mut handled = Vec::new();
    for (name, sample, direction, kind, body) in SAMPLES {
        let event: Value = serde_json::from_str(sample).unwrap();
        let id = event["event"]["Info"]["ID"].as_str().unwrap().to_owned();
        app.run_sql("DELETE FROM messages; DELETE FROM inbound_ledger")
            .await;
        app.post(&desa.json(&event)).await.assert_kept();
        let rows = app.rows("SELECT * FROM messages").await;
        assert_eq!(rows.len(), 1, "{name}");
        let row = &rows[0];
        assert_eq!(
            json!([row["provider_message_id"], row["direction"], row["kind"]]),
            json!([id, direction, kind]),
            "{name}"
        );
        if body.is_empty() {
            assert_ne!(row["body"], "", "{name}");
        } else {
            assert_eq!(row["body"], body, "{name}");
        }
        let content: Value = serde_json::from_str(row["content"].as_str().unwrap()).unwrap();
        assert!(content["kind"].is_string(), "{name}: {content}");
        if direction == "inbound" {
            handled.push(until_handled(&app, &id).await);
        }
        if name == "c-reply-lid" {
            assert_eq!(row["quoted"], "3EB0FFEEDDCCBBAA9988");
            let chat = app
                .rows("SELECT address, lid FROM chats WHERE lid IS NOT NULL")
                .await;
            assert_eq!(
                json!(chat),
                json!([{"address": format!("{RARA}@s.whatsapp.net"), "lid": "204466881133557"}])
            );
        }
    }
    app.until_published().await;
    let kinds = |key: &str| {
        app.data_of(key)
            .into_iter()
            .map(|data| data["kind"].clone())
            .collect::<Vec<_>>()
    };
    let (received, elsewhere) = eventually("all events", || async {
        let kinds = (kinds("message.received"), kinds("message.sent_elsewhere"));
        (kinds.0.len() + kinds.1.len() == SAMPLES.len()).then_some(kinds)
    })
    .await;
    assert_eq!(
        (received.len(), elsewhere),
        (SAMPLES.len() - 1, vec![json!("text")])
    );
    // Corrections, reactions and what nobody can read are nothing an AI should answer.
    let handed_over = handled
        .iter()
        .filter(|handling| **handling == "handed_over")
        .count();
    assert_eq!(handed_over, 9, "{handled:?}");
    let to_ai = || {
        app.govconnect()
            .into_iter()
            .map(|mut arrival| arrival.body["message"].take())
            .collect::<Vec<Value>>()
    };
    eventually("what an AI should answer", || async {
        (to_ai().len() >= 9).then_some(())
    })
    .await;
    // What is behind it on the same exchange tells that nothing more comes.
    app.post(&desa.json(&text("6281290000099", "3EB0LAST", "penutup")))
        .await
        .assert_kept();
    eventually("the last message", || async {
        to_ai().contains(&json!("penutup")).then_some(())
    })
    .await;
    assert_eq!(to_ai().len(), 10, "{:?}", to_ai());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_webhook_three_times_is_one_message() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let webhook = desa.form(&text(RARA, "3EB0DUP", "sekali saja"));
    app.post(&webhook).await.assert_kept();
    app.post(&webhook).await.assert_done("Duplicate message");
    // The ledger, not the history, remembers: an admin who deletes the message does not let it in again.
    app.run_sql("DELETE FROM messages").await;
    app.post(&webhook).await.assert_done("Duplicate message");
    assert_eq!(app.count("messages").await, 0);
    app.until_published().await;
    app.post(&desa.form(&text(RARA, "3EB0AFTER", "sesudahnya")))
        .await
        .assert_kept();
    eventually("the later event", || async {
        (app.events().len() >= 2).then_some(())
    })
    .await;
    assert_eq!(app.events().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_are_one_message_and_all_are_answered_200() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let webhook = desa.json(&text(RARA, "3EB0STORM", "badai"));
    let answers = join_all((0..50).map(|_| app.post(&webhook))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let named = answers
        .iter()
        .filter(|answer| answer.json()["message_id"].is_string())
        .count();
    assert_eq!(named, 1);
    assert_eq!(
        (app.count("messages").await, app.count("inbound_ledger").await),
        (1, 1)
    );
    assert_eq!(app.values("SELECT unread AS value FROM chats").await, [json!(1)]);
    app.post(&desa.json(&text(RARA, "3EB0AFTER", "sesudahnya")))
        .await
        .assert_kept();
    app.until_published().await;
    eventually("the later event", || async {
        app.data_of("message.received")
            .iter()
            .any(|data| data["provider_message_id"] == "3EB0AFTER")
            .then_some(())
    })
    .await;
    assert_eq!(app.events().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobodys_webhooks_are_quarantined_and_reach_no_tenant() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);

    let mut stranger = text(RARA, "3EB0X1", "siapa ini");
    stranger["instanceName"] = json!("desa-tiga-wa");
    app.post(&Webhook::json(&stranger))
        .await
        .assert_done("Unknown instance");
    stranger["instanceName"] = Value::Null;
    app.post(&Webhook::json(&stranger))
        .await
        .assert_done("Unknown instance");
    // The name of one and the session of another: neither is believed, whoever signed it.
    let mut mixed = text(RARA, "3EB0X2", "campur");
    mixed["instanceName"] = json!(satu.session.name);
    mixed["userID"] = json!(dua.session.id);
    for key in [&satu.key, &dua.key] {
        let webhook = Webhook::json(&mixed).signed(key.as_deref());
        app.post(&webhook).await.assert_done("Unknown instance");
    }
    let kept = app
        .rows(
            "SELECT reason, instance, body_size, encode(body, 'escape') AS body FROM quarantine ORDER BY id",
        )
        .await;
    let reasons: Vec<Value> = kept
        .iter()
        .map(|row| json!([row["reason"], row["instance"]]))
        .collect();
    assert_eq!(
        json!(reasons),
        json!([
            ["unknown_instance", "desa-tiga-wa"],
            ["unknown_instance", null],
            ["unknown_instance", "desa-satu-wa"],
            ["unknown_instance", "desa-satu-wa"],
        ])
    );
    assert!(kept[0]["body"].as_str().unwrap().contains("siapa ini"));
    for table in ["messages", "chats", "inbound_ledger", "outbox", "provider_events"] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }

    // Named by the tenant's id, and by the session alone: both lead home.
    let mut by_tenant = text(RARA, "3EB0X3", "nama desa");
    by_tenant["instanceName"] = json!("desa-satu");
    app.post(&Webhook::json(&by_tenant).signed(satu.key.as_deref()))
        .await
        .assert_kept();
    let mut by_session = text(RARA, "3EB0X4", "nomor sesi");
    by_session["userID"] = json!(satu.session.id);
    app.post(&Webhook::json(&by_session).signed(satu.key.as_deref()))
        .await
        .assert_kept();
    assert_eq!(
        app.values("SELECT DISTINCT tenant_id AS value FROM messages")
            .await,
        [json!("desa-satu")]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_duplicates_and_reordering_is_kept_whole_and_published_in_order() {
    let app = TestApp::spawn().await;
    let desa = app.live_tenant("desa-satu").await;
    for kind in [
        FaultKind::Duplicate {
            copies: 2,
            concurrent: true,
        },
        FaultKind::LostAnswer,
    ] {
        let times = if matches!(kind, FaultKind::LostAnswer) {
            10
        } else {
            40
        };
        app.simulator
            .add_fault(FaultSpec::on_webhook(FaultTarget::WaWebhook, kind).times(times))
            .unwrap();
    }
    let stream = InboundStream {
        session: desa.session.name.clone(),
        chats: 4,
        messages: 80,
        prefix: "arus".to_owned(),
        concurrency: None,
        from_base: 6_281_300_000_000,
        per_second: None,
    };
    let id = app.simulator.start_inbound_stream(stream.clone()).unwrap();
    eventually("the stream is accepted", || async {
        app.simulator.inbound_stream(id).unwrap().done.then_some(())
    })
    .await;
    app.until_published().await;
    eventually("all events", || async {
        (app.events().len() >= 80).then_some(())
    })
    .await;
    assert_eq!(app.count("messages").await, 80);
    let received = app.data_of("message.received");
    for chat in 0..4 {
        let phone = stream.phone(chat);
        let texts: Vec<&str> = received
            .iter()
            .filter(|data| data["partner"]["phone"] == phone)
            .map(|data| data["text"].as_str().unwrap())
            .collect();
        let expected: Vec<String> = (1..=20).map(|number| stream.text(chat, number)).collect();
        assert_eq!(texts, expected);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_servers_own_bytes_pass_in_both_formats() {
    let app = TestApp::spawn().await;
    let desa = app.live_tenant("desa-satu").await;
    for (format, words) in [
        (WebhookFormat::Form, "pagi & <b>siang</b> ☕ 100%"),
        (WebhookFormat::Json, "sore & <i>malam</i> 🌙 50%"),
    ] {
        app.simulator.configure_wa(WaConfigChange {
            webhook_format: Some(format),
            ..WaConfigChange::default()
        });
        let inbound = Inbound {
            session: desa.session.name.clone(),
            from: RARA.to_owned(),
            text: Some(words.to_owned()),
            lid: Some("204466881133557".to_owned()),
            ..Inbound::default()
        };
        app.simulator.inbound(&inbound).unwrap();
        eventually("it is kept", || async {
            app.values("SELECT body AS value FROM messages")
                .await
                .contains(&json!(words))
                .then_some(())
        })
        .await;
    }
    assert_eq!(app.count("chats").await, 1);
    assert!(
        app.simulator
            .wa_deliveries()
            .iter()
            .all(simulator::DeliveryAttempt::accepted)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_cannot_be_is_the_time_of_arrival() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let times = [
        json!("kemarin"),
        json!(""),
        json!(null),
        json!({"at": 1}),
        json!(-5),
        json!("0001-01-01T00:00:00Z"),
        json!("2099-01-01T00:00:00Z"),
    ];
    for (at, time) in times.iter().enumerate() {
        let id = format!("3EB0TIME{at}");
        let mut event = text("6281290000011", &id, "jam salah");
        event["event"]["Info"]["Timestamp"] = time.clone();
        let before = chrono::Utc::now().timestamp_millis();
        app.post(&desa.json(&event)).await.assert_kept();
        let after = chrono::Utc::now().timestamp_millis();
        let sent = app
            .values(&format!(
                "SELECT floor(extract(epoch FROM sent_at) * 1000)::int8 AS value FROM messages \
                 WHERE provider_message_id = '{id}'"
            ))
            .await[0]
            .as_i64()
            .unwrap();
        assert!(
            (before..=after).contains(&sent),
            "{time}: {before} {sent} {after}"
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_text_that_comes_later_stays_behind_the_newer_one() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let written = |id: &str, ago: i64| {
        let mut event = text("6281290000011", id, id);
        let at = chrono::Utc::now() - chrono::Duration::seconds(ago);
        event["event"]["Info"]["Timestamp"] = json!(at.to_rfc3339());
        event
    };
    let last = || async {
        app.rows("SELECT last_text, unread, (SELECT count(*) FROM messages) AS kept FROM chats")
            .await
            .remove(0)
    };
    for (id, ago, shown) in [
        ("3EB0MIDDLE", 60, "3EB0MIDDLE"),
        ("3EB0NEWEST", 30, "3EB0NEWEST"),
        ("3EB0OLDEST", 90, "3EB0NEWEST"),
        ("3EB0LATE", 45, "3EB0NEWEST"),
    ] {
        app.post(&desa.json(&written(id, ago))).await.assert_kept();
        assert_eq!(last().await["last_text"], shown, "after {id}");
    }
    assert_eq!(
        last().await,
        json!({"last_text": "3EB0NEWEST", "unread": 4, "kept": 4}),
        "counted and kept all the same"
    );
    app.finish().await;
}
