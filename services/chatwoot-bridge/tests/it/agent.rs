//! What agents do besides writing, and what is none of WhatsApp's business.

use chatwoot_bridge::flows::accept_reply::Acceptance;
use domain::delivery::DeliveryStatus::{Delivered, Failed, Parked, Queued, Read, Sent, Unknown};
use serde_json::{Value, json};

use crate::desk::{CUSTOMER, Desk, Tells, reference};

fn updated(mut event: Value, attributes: Value) -> Value {
    event["event"] = json!("message_updated");
    event["content_attributes"] = attributes;
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_made_never_goes_out() {
    let desk = Desk::start().await;
    let ours = desk.chatwoot.chatwoot_messages(desk.place.chatwoot_account)[0].id;
    let ours = i64::try_from(ours).unwrap();
    // By its mark; and where a version of Chatwoot leaves the mark out, because we know what we made.
    let mut marked = desk.event(9_001, "dari HP");
    marked["source_id"] = json!("WAID:3EB0CCCC0001");
    assert_eq!(desk.take(&marked).await, Acceptance::Ignored("echo"));
    assert_eq!(desk.take(&desk.event(ours, "tanya")).await, Acceptance::Echo);
    let gone = updated(desk.event(ours, ""), json!({"deleted": true}));
    assert_eq!(desk.take(&gone).await, Acceptance::Echo);
    for (key, value) in [
        ("private", json!(true)),
        ("message_type", json!("incoming")),
        ("message_type", json!("activity")),
    ] {
        let mut event = desk.event(9_002, "catatan");
        event[key] = value;
        assert!(matches!(desk.take(&event).await, Acceptance::Ignored(_)), "{key}");
        let gone = updated(event, json!({"deleted": true}));
        assert!(matches!(desk.take(&gone).await, Acceptance::Ignored(_)), "{key}");
    }
    desk.world.work().await;
    assert!(desk.orders().await.is_empty());
    assert_eq!(
        desk.world.count("SELECT count(*) AS n FROM agent_messages").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_chatwoot_writes_by_itself_goes_out_unless_the_inbox_does_not_want_it() {
    let desk = Desk::start().await;
    let mut greeting = desk.event(9_001, "Terima kasih, kami segera membalas.");
    greeting["message_type"] = json!("template");
    greeting["sender"] = Value::Null;
    desk.sql("UPDATE inboxes SET send_automatic = false, sign_agents = true")
        .await;
    assert_eq!(desk.take(&greeting).await, Acceptance::Ignored("automatic"));
    desk.sql("UPDATE inboxes SET send_automatic = true").await;
    assert_eq!(desk.take(&greeting).await, Acceptance::Forwarded);
    assert_eq!(
        desk.take(&desk.event(9_002, "**Halo**")).await,
        Acceptance::Forwarded
    );
    desk.world.work().await;
    let orders = desk.orders().await;
    assert_eq!(orders[0]["text"], "Terima kasih, kami segera membalas.");
    assert_eq!(orders[1]["text"], "*Budi Agen*\n\n*Halo*");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_message_is_deleted_for_everyone_once() {
    let desk = Desk::start().await;
    let event = desk.event(9_001, "salah kirim");
    desk.take(&event).await;
    desk.world.work().await;
    let reference = reference(&desk.orders().await[0]);
    desk.told(&reference, Tells::that(Sent, "3EB0OUT1")).await;
    let gone = updated(event.clone(), json!({"deleted": true}));
    assert_eq!(desk.take(&gone).await, Acceptance::Forwarded);
    assert_eq!(desk.take(&gone).await, Acceptance::Repeated);
    desk.told(&reference, Tells::that(Read, "3EB0OUT1")).await;
    let orders = desk.orders().await;
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert_eq!(
        orders[1]["content"],
        json!({"kind": "revoke", "target": "3EB0OUT1"})
    );
    assert_eq!(
        (&orders[1]["to"], orders[1]["text"].as_str()),
        (&json!(CUSTOMER), Some(""))
    );
    assert!(orders[1].get("reference").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_on_its_way_is_deleted_when_it_is_there() {
    let desk = Desk::start().await;
    let event = desk.event(9_001, "salah kirim");
    desk.take(&event).await;
    desk.world.work().await;
    let reference = reference(&desk.orders().await[0]);
    assert_eq!(
        desk.take(&updated(event, json!({"deleted": "true"}))).await,
        Acceptance::Forwarded
    );
    assert_eq!(desk.orders().await.len(), 1, "nobody knows it by an id yet");
    desk.told(&reference, Tells::that(Queued, "3EB0TEMP")).await;
    assert_eq!(desk.orders().await.len(), 1);
    desk.told(&reference, Tells::that(Sent, "3EB0OUT1")).await;
    desk.told(&reference, Tells::that(Delivered, "3EB0OUT1")).await;
    let orders = desk.orders().await;
    assert_eq!(orders.len(), 2);
    assert_eq!(orders[1]["content"]["target"], "3EB0OUT1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_before_it_leaves_is_not_sent() {
    let desk = Desk::start().await;
    let [first, second] = [desk.event(9_001, "salah"), desk.event(9_002, "benar")];
    for event in [&first, &second] {
        desk.take(event).await;
    }
    let gone = updated(first.clone(), json!({"deleted": true}));
    assert_eq!(desk.take(&gone).await, Acceptance::Forwarded);
    desk.world.work().await;
    assert_eq!(desk.world.ordered_texts().await, ["benar"]);
    assert_eq!(desk.take(&first).await, Acceptance::Repeated);
    // Webhooks overtake each other: what was deleted before it came is not sent when it comes.
    let late = desk.event(9_003, "terlambat");
    let gone = updated(late.clone(), json!({"deleted": true}));
    assert_eq!(desk.take(&gone).await, Acceptance::Forwarded);
    assert_eq!(desk.take(&late).await, Acceptance::Repeated);
    desk.world.work().await;
    assert_eq!(desk.world.ordered_texts().await, ["benar"]);
    assert!(desk.shown().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_retry_button_sends_what_failed_once_more() {
    let desk = Desk::start().await;
    let (id, event, first) = desk.ordered("jawab").await;
    let failed = Tells {
        reason: Some("session_logged_out"),
        ..Tells::that(Parked, "3EB0OUT1")
    };
    desk.told(&first, failed).await;
    assert_eq!(desk.shown(), ["failed"]);

    // A change that was told of before the failure comes late: the message itself says that nobody asked.
    let free = updated(event.clone(), json!({}));
    assert_eq!(desk.take(&free).await, Acceptance::Forwarded);
    desk.world.work().await;
    assert_eq!(desk.orders().await.len(), 1);

    desk.chatwoot.press_retry(id.try_into().unwrap()).unwrap();
    for _ in 0..2 {
        assert_eq!(desk.take(&free).await, Acceptance::Forwarded);
    }
    desk.world.work().await;
    let orders = desk.orders().await;
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert_eq!(orders[1]["text"], "jawab");
    assert_ne!(orders[1]["request_id"], orders[0]["request_id"]);
    assert_eq!(reference(&orders[1]), format!("{first}:0:1"));
    assert_eq!(desk.take(&free).await, Acceptance::Ignored("nothing_failed"));

    // What is told of the first attempt counts only where it arrived.
    for status in [Failed, Sent] {
        desk.told(&first, Tells::that(status, "3EB0OUT1")).await;
    }
    assert_eq!(desk.shown(), ["failed"]);
    desk.told(&reference(&orders[1]), Tells::that(Sent, "3EB0OUT2"))
        .await;
    desk.told(&first, Tells::that(Read, "3EB0OUT1")).await;
    assert_eq!(desk.shown(), ["failed", "sent", "read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_ticks_make_no_notes() {
    let desk = Desk::start().await;
    let id = desk.written("jawab");
    desk.take(&desk.event(id, "jawab")).await;
    desk.world.work().await;
    let reference = reference(&desk.orders().await[0]);
    let before = desk.chatwoot.chatwoot_messages(desk.place.chatwoot_account).len();
    let gone = simulator::FaultKind::Status {
        status: 404,
        body: None,
        retry_after: None,
    };
    desk.chatwoot
        .add_fault(crate::world::fault(&desk.place, "PATCH", "", gone, 3))
        .unwrap();
    for status in [Sent, Delivered, Read, Unknown, Delivered, Failed] {
        desk.told(&reference, Tells::that(status, "3EB0OUT1")).await;
    }
    assert!(desk.shown().is_empty());
    let after = desk.chatwoot.chatwoot_messages(desk.place.chatwoot_account).len();
    assert_eq!(after, before, "nothing is written about a tick");
    assert_eq!(desk.world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
}
