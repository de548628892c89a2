//! What Chatwoot told while nobody listened is found by looking.

use chatwoot_bridge::flows::accept_reply::Signals;
use chatwoot_bridge::flows::reconcile::Reconciler;
use chatwoot_bridge::webhooks::book::RouteBook;
use chrono::TimeDelta;
use domain::delivery::DeliveryStatus;
use simulator::Reply;

use crate::desk::{Desk, Tells};

fn reconciler(desk: &Desk) -> Reconciler {
    let tools = desk.world.tools.clone();
    let book = RouteBook::new(tools.db.clone());
    Reconciler {
        under_way: TimeDelta::zero(),
        ..Reconciler::new(tools, book, Signals::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_was_told_is_found_and_done_once() {
    let desk = Desk::start().await;
    let reconciler = reconciler(&desk);
    assert_eq!(
        reconciler.round().await.unwrap(),
        0,
        "what people wrote is none of it"
    );
    for n in 1..=25 {
        desk.written(&format!("jawab {n}"));
    }
    let note = Reply {
        account_id: desk.place.chatwoot_account,
        conversation_id: 1,
        content: "catatan".into(),
        private: true,
        ..Reply::default()
    };
    desk.chatwoot.agent_reply(&note).unwrap();
    // Those of before the inbox was connected are none of ours.
    desk.world
        .sql("UPDATE routes SET created_at = now() + interval '1 hour'")
        .await;
    assert_eq!(reconciler.round().await.unwrap(), 0);
    desk.world
        .sql("UPDATE routes SET created_at = now() - interval '1 hour'")
        .await;
    assert_eq!(reconciler.round().await.unwrap(), 25);
    assert_eq!(reconciler.round().await.unwrap(), 0, "once");
    desk.world.work().await;
    let texts: Vec<String> = (1..=25).map(|n| format!("jawab {n}")).collect();
    assert_eq!(desk.world.ordered_texts().await, texts);
    let orders = desk.orders().await;
    assert_eq!(orders[0]["to"], crate::desk::CUSTOMER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_of_the_button_and_a_deletion_are_found_too() {
    let desk = Desk::start().await;
    let reconciler = reconciler(&desk);
    let id = desk.written("jawab");
    reconciler.round().await.unwrap();
    desk.world.work().await;
    let reference = desk.orders().await[0]["reference"].as_str().unwrap().to_owned();
    let failed = Tells {
        reason: Some("not_on_whatsapp"),
        ..Tells::that(DeliveryStatus::Failed, "3EB0A")
    };
    desk.told(&reference, failed).await;
    desk.world.work().await;
    reconciler.round().await.unwrap();
    desk.world.work().await;
    assert_eq!(
        desk.orders().await.len(),
        1,
        "it failed, and nobody asked for it again"
    );
    let id = u64::try_from(id).unwrap();
    desk.chatwoot.press_retry(id).unwrap();
    for _ in 0..2 {
        reconciler.round().await.unwrap();
        desk.world.work().await;
    }
    let orders = desk.orders().await;
    assert_eq!(orders.len(), 2, "once more");
    let again = orders[1]["reference"].as_str().unwrap().to_owned();
    desk.told(&again, Tells::that(DeliveryStatus::Sent, "3EB0B"))
        .await;
    desk.world.work().await;
    desk.chatwoot.agent_deletes(id).unwrap();
    for _ in 0..2 {
        reconciler.round().await.unwrap();
        desk.world.work().await;
    }
    let orders = desk.orders().await;
    assert_eq!(
        (orders.len(), &orders[2]["content"]["kind"]),
        (3, &serde_json::json!("revoke"))
    );
}
