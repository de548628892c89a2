//! Replies of one conversation leave as agents wrote them, in whatever order Chatwoot tells of them.

use std::time::Duration;

use chatwoot_bridge::flows::accept_reply::{Acceptance, Reply, Signals, accept_reply};
use chatwoot_bridge::flows::agent_parts::Written;
use chatwoot_bridge::store::inboxes;
use chatwoot_bridge::workers::lanes::Lanes;
use domain::address::ChatAddress;
use domain::ids::ChatId;
use messaging::lanes::claim_and_work;
use simulator::{FaultKind, FaultSpec, FaultTarget};
use tenant_isolation::TenantTransaction;
use test_support::eventually;

use crate::world::{LANES, Place, Running, World, message, received, start_chatwoot};

async fn accept(world: &World, place: &Place, message_id: i64, request_id: Option<&str>) -> Acceptance {
    let db = &world.database.db;
    let mut tx = TenantTransaction::begin(db, &place.scope, "test").await.unwrap();
    let inbox = inboxes::find(&mut tx, place.link).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let reply = Reply {
        message_id,
        conversation_id: 1,
        written: Written::words(&format!("jawab {message_id}")),
        to: ChatAddress::parse("628123450001@s.whatsapp.net").ok(),
    };
    let request_id = request_id.map(str::to_owned);
    accept_reply(
        &world.tools,
        &place.scope,
        &inbox,
        &reply,
        request_id,
        &Signals::default(),
    )
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_within_the_window_is_sorted() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let patient = Lanes {
        reply_window: Duration::from_secs(600),
        ..world.lanes.clone()
    };
    for id in [9003, 9001, 10_000, 9002] {
        let request = format!("req-{id}");
        assert_eq!(
            accept(&world, &place, id, Some(&request)).await,
            Acceptance::Forwarded
        );
        claim_and_work(&world.database.db, &patient, LANES).await.unwrap();
    }
    assert_eq!(accept(&world, &place, 9001, None).await, Acceptance::Repeated);
    // The window is still open, and waiting for its end is no failure.
    assert!(world.ordered_texts().await.is_empty());
    let failures = "SELECT sum(failures)::bigint AS n FROM lane_tasks WHERE kind = 'reply'";
    assert_eq!(world.count(failures).await, 0);

    world.sql("UPDATE lanes SET ready_at = now()").await;
    world.work().await;
    assert_eq!(
        world.ordered_texts().await,
        ["jawab 9001", "jawab 9002", "jawab 9003", "jawab 10000"]
    );
    let carried = "SELECT count(*) AS n FROM outbox WHERE envelope::jsonb->>'request_id' = 'req-9002' \
                   AND envelope::jsonb->'data'->>'text' = 'jawab 9002'";
    assert_eq!(world.count(carried).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_overtake_each_other_do_not_swap_replies() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let mut settings = world.settings("amqp://guest:guest@127.0.0.1:1/%2f", "");
    settings.reply_window = Duration::from_secs(4);
    let running = Running::ready(settings).await;
    let url = format!("{}/webhook", running.base);
    let place = world.connect(&chatwoot, "desa-a", "default", &url).await;
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), "628123450001", "3EB01", "tanya"),
        ))
        .await;
    eventually("the question is in Chatwoot", || async {
        (chatwoot.chatwoot_messages(place.chatwoot_account).len() == 1).then_some(())
    })
    .await;
    let reorder = FaultKind::Reorder { window_ms: 300 };
    chatwoot
        .add_fault(FaultSpec::on_webhook(FaultTarget::ChatwootWebhook, reorder))
        .unwrap();
    let texts: Vec<String> = (1..=8).map(|n| format!("jawab {n}")).collect();
    for content in &texts {
        let reply = simulator::Reply {
            account_id: place.chatwoot_account,
            conversation_id: 1,
            content: content.clone(),
            ..simulator::Reply::default()
        };
        chatwoot.agent_reply(&reply).unwrap();
    }
    let ordered = eventually("all orders stand in the outbox", || async {
        Some(world.ordered_texts().await).filter(|ordered| ordered.len() == texts.len())
    })
    .await;
    assert_eq!(ordered, texts);
    assert!(running.stop().await);
}
