//! Events for URLs: accepted at once, passed on from the queue, in order, and neither lost nor sent twice.

use std::collections::BTreeSet;
use std::time::Duration;

use chatwoot_bridge::config::Settings;
use chatwoot_bridge::flows::forward::parked;
use futures_util::future::join_all;
use serde_json::json;
use test_support::eventually;

use crate::target::{
    Forwarding, Receiver, change, forwarded, message, post, put, route, that_repeats, tries,
};
use crate::world::scope;

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_comes_while_the_target_hangs() {
    let patient = |settings: &mut Settings| settings.storage.fetch_timeout = Duration::from_secs(120);
    let side = Forwarding::start(patient).await;
    side.target.answer(0);
    // Ten times as many as the target may have under way. It never answers, so these answers do not wait for it.
    for id in 1..=80 {
        side.post(&message(42, id, id)).await;
    }
    side.target.until(1).await;
    // What hangs takes no place from others.
    let other = Receiver::start();
    put(&side.world.tools, &route(43, &other.url(), &side.world.tools)).await;
    side.post(&message(43, 1, 1001)).await;
    assert_eq!(other.until_taken(1).await, [1001]);
    assert!(side.target.received().len() <= 8, "a route has eight places");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_arrived_is_held_and_shown() {
    let hasty = |settings: &mut Settings| {
        settings.storage.fetch_timeout = Duration::from_millis(400);
    };
    let side = Forwarding::start(hasty).await;
    side.target.answer(0);
    side.post(&message(42, 1, 9001)).await;
    let db = &side.world.tools.db;
    let held = eventually("the message is held", || async {
        let (held, _) = parked::parked(db, &scope("desa-a"), None, 10).await.unwrap();
        (held.len() == 1).then_some(held)
    })
    .await;
    assert!(held[0].unknown && held[0].parked, "{held:?}");
    assert_eq!(held[0].reason.as_deref(), Some("timeout"));
    assert_eq!((held[0].message_id, held[0].conversation_id), (Some(9001), 1));
    // It was posted once, and the conversation goes on without it. What is no message may be told twice.
    side.target.answer(504);
    side.post(&change(42, 1, 5)).await;
    eventually("the change is tried again", || async {
        (side.target.received().len() >= 3).then_some(())
    })
    .await;
    side.target.answer(200);
    side.until_settled().await;
    let posts = |id: i64| side.target.received().iter().filter(|one| one.id() == id).count();
    assert_eq!(posts(9001), 1);
    // Only whoever looked may send it once more, one at a time.
    let (db, desa) = (&side.world.tools.db, scope("desa-a"));
    assert_eq!(parked::replay_all(db, &desa, None).await.unwrap(), 0);
    assert!(parked::replay(db, &desa, held[0].event_id).await.unwrap());
    assert!(!parked::replay(db, &desa, held[0].event_id).await.unwrap());
    side.until_settled().await;
    assert_eq!(side.target.taken().last(), Some(&9001));

    // A route may say that twice is better than not at all.
    let other = Receiver::start();
    let daring = that_repeats(route(43, &other.url(), &side.world.tools));
    put(&side.world.tools, &daring).await;
    other.answer(502);
    side.post(&message(43, 1, 9002)).await;
    other.until(2).await;
    other.answer(200);
    assert_eq!(other.until_taken(1).await, [9002]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_accepted_is_lost() {
    let side = Forwarding::start(|settings| settings.forward.retry = tries(1_000)).await;
    side.target.answer(503);
    let ids: Vec<i64> = (1..=60).collect();
    // Told three times, all at once, over twelve conversations.
    let told = ids
        .iter()
        .chain(&ids)
        .chain(&ids)
        .map(|id| post(&side.running, message(42, id % 12 + 1, *id).to_string()));
    for answer in join_all(told).await {
        assert_eq!(answer, forwarded());
    }
    side.target.until(12).await;
    side.target.answer(200);
    side.until_settled().await;
    let taken = side.target.taken();
    assert_eq!(taken.len(), ids.len(), "{taken:?}");
    assert_eq!(
        taken.iter().copied().collect::<BTreeSet<_>>(),
        ids.into_iter().collect()
    );
    let (held, counts) = parked::parked(&side.world.tools.db, &scope("desa-a"), Some(side.route.id), 10)
        .await
        .unwrap();
    assert!(held.is_empty());
    assert_eq!(
        (counts[0].accepted, counts[0].delivered, counts[0].held),
        (60, 60, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_keeps_its_order_through_retries() {
    let side = Forwarding::start(|settings| {
        settings.forward.retry = tries(1_000);
        settings.reply_window = Duration::from_millis(1_500);
    })
    .await;
    side.target.answer(500);
    // Written one after the other, and told in any order (contract 2.4).
    let told = [3, 1, 2].map(|id| post(&side.running, message(42, 7, id).to_string()));
    for answer in join_all(told).await {
        assert_eq!(answer, forwarded());
    }
    side.post(&change(42, 7, 10)).await;
    side.post(&message(42, 7, 4)).await;
    let refused = side.target.until(3).await;
    // Whoever is the first stays the first: nothing overtakes what has to wait.
    assert!(refused.iter().all(|one| one.id() == 1), "{refused:?}");
    side.target.answer(200);
    side.until_settled().await;
    assert_eq!(side.target.taken(), [1, 2, 3, 7, 4]);
    let attempts: Vec<_> = side
        .target
        .received()
        .iter()
        .filter(|one| one.id() == 1)
        .filter_map(|one| one.header("x-kanal-attempt").map(str::to_owned))
        .collect();
    assert_eq!(attempts[..3], ["1", "2", "3"].map(str::to_owned));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_wants_is_received_and_goes_nowhere() {
    let side = Forwarding::start(|_| {}).await;
    let mut note = message(42, 1, 1);
    note["private"] = json!(true);
    let mut activity = message(42, 1, 2);
    activity["message_type"] = json!("activity");
    for event in [note, activity] {
        let answer = post(&side.running, event.to_string()).await;
        assert_eq!(answer, crate::target::only_received(), "{event}");
    }
    side.post(&message(42, 1, 3)).await;
    side.until_settled().await;
    assert_eq!(side.target.taken(), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_again_takes_no_room() {
    // Room for three of them.
    let side = Forwarding::start(|settings| settings.forward.queue_bytes = 5_000).await;
    for _ in 0..40 {
        side.post(&message(42, 1, 1)).await;
    }
    side.post(&message(42, 1, 2)).await;
    side.until_settled().await;
    assert_eq!(side.target.taken(), [1, 2]);
}
