//! An agent's message that is several messages on WhatsApp, and what it answers.

use chatwoot_bridge::flows::accept_reply::Acceptance;
use domain::delivery::DeliveryStatus::{Delivered, Failed, Read, Sent};
use serde_json::{Value, json};

use crate::desk::{Desk, Tells, reference};
use crate::world::FILES_URL;

fn with_files(mut event: Value, files: &[(&str, &str)]) -> Value {
    let attachment = |(file_type, name): &(&str, &str)| {
        json!({"id": 1, "file_type": file_type,
            "data_url": format!("https://chat.example/rails/active_storage/blobs/redirect/x--1/{name}")})
    };
    event["attachments"] = files.iter().map(attachment).collect();
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn words_stand_once() {
    let desk = Desk::start().await;
    let files = [
        ("image", "satu.jpg"),
        ("file", "KK%20baru.pdf"),
        ("audio", "suara.ogg"),
    ];
    let event = with_files(desk.event(9_001, "**ini** semua"), &files);
    for expected in [Acceptance::Forwarded, Acceptance::Repeated] {
        assert_eq!(desk.take(&event).await, expected);
    }
    // The neighbours keep their order, and the parts stand together.
    desk.take(&desk.event(9_000, "sebelumnya")).await;
    desk.take(&desk.event(9_002, "sesudahnya")).await;
    desk.world.work().await;
    let orders = desk.orders().await;
    let shape: Vec<(&str, Option<&str>, &str)> = orders
        .iter()
        .map(|order| {
            let content = &order["content"];
            (
                content["media_kind"].as_str().unwrap_or("words"),
                content["caption"].as_str(),
                order["text"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shape,
        [
            ("words", None, "sebelumnya"),
            ("image", Some("*ini* semua"), ""),
            ("document", None, ""),
            ("voice", None, ""),
            ("words", None, "sesudahnya"),
        ]
    );
    let link = desk.place.link;
    let references: Vec<String> = orders.iter().map(reference).collect();
    assert_eq!(
        references[1..4],
        [
            format!("chatwoot:{link}:9001"),
            format!("chatwoot:{link}:9001:1:0"),
            format!("chatwoot:{link}:9001:2:0")
        ]
    );
    let ids: std::collections::BTreeSet<&str> = orders
        .iter()
        .map(|order| order["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), orders.len(), "each order is one of its own");
    let pdf = &orders[2]["content"];
    assert_eq!(
        (&pdf["file_name"], &pdf["mime_type"]),
        (&json!("KK baru.pdf"), &json!("application/pdf"))
    );
    let source = pdf["sources"][0]["url"].as_str().unwrap();
    assert!(
        source.starts_with(&format!("{FILES_URL}/files/KK%20baru.pdf?token=")),
        "{source}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_part_is_shown_and_else_the_last() {
    let desk = Desk::start().await;
    let id = desk.written("dua");
    let event = with_files(desk.event(id, "dua"), &[("image", "a.jpg"), ("image", "b.jpg")]);
    desk.take(&event).await;
    desk.world.work().await;
    let orders = desk.orders().await;
    let [one, two] = [reference(&orders[0]), reference(&orders[1])];
    desk.told(&one, Tells::that(Read, "3EB0OUT1")).await;
    assert!(desk.shown().is_empty(), "the second one is still on its way");
    desk.told(&two, Tells::that(Sent, "3EB0OUT2")).await;
    assert_eq!(desk.shown(), ["sent"]);
    let failed = Tells {
        reason: Some("file_unreadable"),
        ..Tells::that(Failed, "3EB0OUT2")
    };
    desk.told(&two, failed).await;
    assert_eq!(desk.shown(), ["sent", "failed"]);
    assert_eq!(
        desk.last_error().as_deref(),
        Some("part 2 of 2: not delivered to WhatsApp: file unreadable")
    );
    desk.told(&two, Tells::that(Delivered, "3EB0OUT2")).await;
    desk.told(&two, Tells::that(Read, "3EB0OUT2")).await;
    assert_eq!(desk.shown(), ["sent", "failed", "delivered", "read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_deleted_message_is_deleted() {
    let desk = Desk::start().await;
    let mut event = with_files(
        desk.event(9_001, "dua"),
        &[("image", "a.jpg"), ("image", "b.jpg")],
    );
    desk.take(&event).await;
    desk.world.work().await;
    let orders = desk.orders().await;
    desk.told(&reference(&orders[0]), Tells::that(Sent, "3EB0OUT1"))
        .await;
    event["event"] = json!("message_updated");
    event["content_attributes"] = json!({"deleted": true});
    event["attachments"] = Value::Null;
    desk.take(&event).await;
    desk.told(&reference(&orders[1]), Tells::that(Sent, "3EB0OUT2"))
        .await;
    let revoked: Vec<Value> = desk
        .orders()
        .await
        .into_iter()
        .filter(|order| order["content"]["kind"] == "revoke")
        .map(|mut order| order["content"]["target"].take())
        .collect();
    assert_eq!(revoked, ["3EB0OUT1", "3EB0OUT2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_finds_what_it_answers_by_either_id() {
    let desk = Desk::start().await;
    let question = desk.chatwoot.chatwoot_messages(desk.place.chatwoot_account)[0].id;
    let quoting = |id: i64, attributes: Value| {
        let mut event = desk.event(id, "jawab");
        event["content_attributes"] = attributes;
        event
    };
    for event in [
        quoting(
            9_001,
            json!({"in_reply_to": question, "in_reply_to_external_id": null}),
        ),
        quoting(9_002, json!({"in_reply_to_external_id": "WAID:3EB01"})),
        // Which message of Chatwoot's it is counts for more than the mark.
        quoting(
            9_003,
            json!({"in_reply_to": question, "in_reply_to_external_id": "WAID:LAIN"}),
        ),
        quoting(9_004, json!({"in_reply_to": 424_242})),
        quoting(9_005, json!({"in_reply_to_external_id": "lain"})),
    ] {
        desk.take(&event).await;
    }
    desk.world.work().await;
    let quoted: Vec<Option<String>> = desk
        .orders()
        .await
        .iter()
        .map(|order| order["quoted"].as_str().map(str::to_owned))
        .collect();
    let id = Some("3EB01".to_owned());
    assert_eq!(quoted, [id.clone(), id.clone(), id, None, None]);

    // Another agent's message, which has an id only since it left; and only the first part answers.
    let first = reference(&desk.orders().await[0]);
    desk.told(&first, Tells::that(Sent, "3EB0OUT1")).await;
    let event = with_files(
        quoting(9_006, json!({"in_reply_to": 9_001})),
        &[("image", "a.jpg"), ("image", "b.jpg")],
    );
    desk.take(&event).await;
    desk.world.work().await;
    let orders = desk.orders().await;
    assert_eq!(orders[5]["quoted"], "3EB0OUT1");
    assert!(orders[6].get("quoted").is_none());
}
