//! Chatwoot's limits cost no try and no message.

use std::num::NonZeroU32;
use std::time::Duration;

use chatwoot_bridge::chatwoot::{Chatwoot, Pace};
use chatwoot_bridge::flows::Tools;
use chatwoot_bridge::workers::lanes::Lanes;
use domain::ids::ChatId;
use messaging::lanes::claim_and_work;
use simulator::{ChatwootConfigChange, FaultKind, FaultSpec};
use test_support::eventually;

use crate::world::{LANES, World, message, open_policy, received, start_chatwoot};

fn paced(world: &World, per_minute: u32) -> Lanes {
    at_pace(world, Pace::new(None, NonZeroU32::new(per_minute).unwrap()))
}

fn at_pace(world: &World, pace: Pace) -> Lanes {
    let pace = pace.on_loopback_too();
    let chatwoot = Chatwoot::new(open_policy(), Duration::from_secs(5), 8)
        .unwrap()
        .settling_in(Duration::from_millis(50))
        .paced(pace);
    Lanes {
        tools: Tools {
            chatwoot,
            ..world.tools.clone()
        },
        ..world.lanes.clone()
    }
}

async fn work(world: &World, lanes: &Lanes) {
    eventually("all lanes are done", || async {
        claim_and_work(&world.database.db, lanes, LANES).await.unwrap();
        let left = "SELECT count(*) AS n FROM lane_tasks WHERE NOT parked";
        (world.count(left).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_cost_no_try_and_no_message() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    for n in 0..20 {
        let told = message(
            &place,
            ChatId::generate(),
            &format!("6281234500{n:02}"),
            &format!("3EB0{n}"),
            "x",
        );
        world.take(&received(&place, told)).await;
    }
    // Ten calls at once, and one a second: far fewer than there is to ask.
    let slow = paced(&world, 60);
    claim_and_work(&world.database.db, &slow, LANES).await.unwrap();
    let put_back = "SELECT count(*) AS n FROM lane_tasks WHERE last_error = 'chatwoot_paced'";
    assert!(world.count(put_back).await > 0);

    // A server that says 429 is left alone by everybody, for as long as it says.
    let limited = FaultKind::Status {
        status: 429,
        body: Some("Retry later".into()),
        retry_after: Some("60".into()),
    };
    chatwoot
        .add_fault(FaultSpec::on_path("/chatwoot", limited))
        .unwrap();
    let closed = paced(&world, 60_000);
    for _ in 0..3 {
        world
            .sql("UPDATE lanes SET ready_at = now() WHERE ready_at IS NOT NULL")
            .await;
        claim_and_work(&world.database.db, &closed, LANES).await.unwrap();
    }
    // No more than were under way when it was said.
    let hits = chatwoot.faults()[0].hits;
    assert!((1..=8).contains(&hits), "{hits}");
    let failed = "SELECT count(*) AS n FROM lane_tasks WHERE failures > 0 OR parked";
    assert_eq!(world.count(failed).await, 0);

    chatwoot.clear_faults();
    world
        .sql("UPDATE lanes SET ready_at = now() WHERE ready_at IS NOT NULL")
        .await;
    work(&world, &paced(&world, 60_000)).await;
    assert_eq!(chatwoot.chatwoot_messages(place.chatwoot_account).len(), 20);
    assert_eq!(chatwoot.chatwoot_contacts(place.chatwoot_account).len(), 20);
    assert_eq!(world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_chatwoot_itself_counts_is_waited_for() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    chatwoot.configure_chatwoot(ChatwootConfigChange {
        messages_per_conversation: Some(5),
        minute_ms: Some(300),
        ..ChatwootConfigChange::default()
    });
    let chat = ChatId::generate();
    for n in 0..20 {
        let told = message(&place, chat, "628123450001", &format!("3EB0{n}"), &format!("{n}"));
        world.take(&received(&place, told)).await;
    }
    // As often as it takes, which is more often than a message may fail.
    work(&world, &world.lanes).await;
    let texts: Vec<String> = chatwoot
        .chatwoot_messages(place.chatwoot_account)
        .into_iter()
        .filter_map(|it| it.content)
        .collect();
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(texts, expected);
    assert_eq!(world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_conversation_waits_and_loses_nothing() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let chat = ChatId::generate();
    for n in 0..90 {
        let told = message(&place, chat, "628123450001", &format!("3EB0{n}"), &format!("{n}"));
        world.take(&received(&place, told)).await;
    }
    // However long it takes to say so much: nothing is added to what a conversation takes at once.
    let pace = Pace::new(None, NonZeroU32::new(60_000).unwrap());
    let lanes = at_pace(&world, pace.taking_one_after(Duration::from_secs(3_600)));
    eventually("the conversation has its fill", || async {
        claim_and_work(&world.database.db, &lanes, LANES).await.unwrap();
        let put_back = "SELECT count(*) AS n FROM lane_tasks WHERE last_error = 'chatwoot_paced'";
        (world.count(put_back).await == 1).then_some(())
    })
    .await;
    assert_eq!(chatwoot.chatwoot_messages(place.chatwoot_account).len(), 80);
    // The rest has its turn, in order.
    world
        .sql("UPDATE lanes SET ready_at = now() WHERE ready_at IS NOT NULL")
        .await;
    work(&world, &paced(&world, 60_000)).await;
    let texts: Vec<String> = chatwoot
        .chatwoot_messages(place.chatwoot_account)
        .into_iter()
        .filter_map(|it| it.content)
        .collect();
    let expected: Vec<String> = (0..90).map(|n| n.to_string()).collect();
    assert_eq!(texts, expected);
}
