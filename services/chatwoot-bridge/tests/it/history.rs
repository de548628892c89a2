//! What chats held before the inbox was connected: brought once, page by page, and with what was said on both sides.

use chatwoot_bridge::flows::history::{Importer, NotMet, Wish, report, wish};
use chatwoot_bridge::store::history_jobs::HistoryJob;
use domain::ids::ChatId;
use messaging::outbox::Signal;
use serde_json::{Value, json};
use test_support::eventually;

use crate::channel_service::ChannelStub;
use crate::operator::Office;
use crate::world::{Place, World, message, received, start_chatwoot};

const PHONE: &str = "628123450001";

/// A message of before, as channel-service tells it.
fn entry(place: &Place, chat: ChatId, number: usize, direction: &str) -> Value {
    let told = message(
        place,
        chat,
        PHONE,
        &format!("3EB0H{number:04}"),
        &format!("lama {number}"),
    );
    json!({"direction": direction, "message": told})
}

fn importer(world: &World, stub: &ChannelStub) -> Importer {
    Importer {
        db: world.database.db.clone(),
        channel: stub.service.clone(),
        signal: Signal::default(),
        per_minute: 600_000,
    }
}

async fn asks(world: &World, place: &Place, wanted: Wish) -> Result<HistoryJob, NotMet> {
    wish(&world.database.db, &place.scope, place.link, wanted).await
}

async fn job(world: &World, place: &Place) -> HistoryJob {
    let job = report(&world.database.db, &place.scope, place.link).await;
    job.unwrap().unwrap()
}

/// Goes on until the import has ended.
async fn ends(world: &World, place: &Place, importer: &Importer) -> HistoryJob {
    eventually("the import ends", || async {
        importer.round().await.unwrap();
        world.work().await;
        let job = job(world, place).await;
        (job.state == "done").then_some(job)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_comes_once_and_wakes_nobody() {
    let (world, chatwoot, stub) = (World::start().await, start_chatwoot().await, ChannelStub::start());
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let chat = ChatId::generate();
    let mut own = entry(&place, chat, 3, "outbound");
    own["reference"] = json!(format!("chatwoot:{}:77", place.link));
    let mut group = entry(&place, chat, 4, "inbound");
    group["message"]["place"] = json!("group");
    stub.history_is(vec![
        entry(&place, chat, 1, "inbound"),
        entry(&place, chat, 2, "outbound"),
        own,
        group,
        entry(&place, chat, 5, "inbound"),
    ]);
    // One of them comes by itself meanwhile.
    world
        .take(&received(
            &place,
            message(&place, chat, PHONE, "3EB0H0005", "lama 5"),
        ))
        .await;
    world.work().await;
    let importer = importer(&world, &stub);
    asks(&world, &place, Wish::Start { days: Some(30) })
        .await
        .unwrap();
    let again = asks(&world, &place, Wish::Start { days: None }).await;
    assert!(matches!(again, Err(NotMet::UnderWay)));
    let done = ends(&world, &place, &importer).await;
    assert_eq!(
        (done.seen, done.imported, done.known, done.put_aside),
        (5, 2, 3, 0)
    );
    let shown = || -> Vec<(String, String)> {
        let messages = chatwoot.chatwoot_messages(place.chatwoot_account);
        let shown = messages.into_iter();
        shown
            .map(|it| (it.message_type, it.source_id.unwrap_or_default()))
            .collect()
    };
    let one = |kind: &str, id: &str| (kind.to_owned(), format!("WAID:{id}"));
    let expected = [
        one("incoming", "3EB0H0005"),
        one("incoming", "3EB0H0001"),
        one("outgoing", "3EB0H0002"),
    ];
    assert_eq!(shown(), expected);
    assert_eq!(chatwoot.chatwoot_conversations(place.chatwoot_account).len(), 1);
    assert_eq!(
        world.count("SELECT count(*) AS n FROM outbox").await,
        0,
        "nothing goes out"
    );

    asks(&world, &place, Wish::Start { days: None }).await.unwrap();
    let done = ends(&world, &place, &importer).await;
    assert_eq!((done.imported, done.known), (0, 5));
    assert_eq!(shown(), expected, "once for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_stopped_goes_on_and_waits_for_a_service_that_is_away() {
    let (world, chatwoot, stub) = (World::start().await, start_chatwoot().await, ChannelStub::start());
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let chat = ChatId::generate();
    stub.history_is(
        (0..60)
            .map(|number| entry(&place, chat, number, "inbound"))
            .collect(),
    );
    let importer = importer(&world, &stub);
    assert!(matches!(
        asks(&world, &place, Wish::Stop).await,
        Err(NotMet::NoJob(_))
    ));
    stub.is_away(true);
    asks(&world, &place, Wish::Start { days: None }).await.unwrap();
    importer.round().await.unwrap();
    assert_eq!(
        job(&world, &place).await.reason.as_deref(),
        Some("channel_service_away")
    );
    stub.is_away(false);
    world.sql("UPDATE history_jobs SET next_at = now()").await;
    importer.round().await.unwrap();
    asks(&world, &place, Wish::Stop).await.unwrap();
    world.work().await;
    for _ in 0..3 {
        importer.round().await.unwrap();
    }
    assert_eq!(
        (stub.asked(), job(&world, &place).await.state.as_str()),
        (1, "stopped")
    );
    asks(&world, &place, Wish::Resume).await.unwrap();
    let done = ends(&world, &place, &importer).await;
    assert_eq!((done.seen, done.imported, done.reason), (60, 60, None));
    let texts: Vec<String> = chatwoot
        .chatwoot_messages(place.chatwoot_account)
        .into_iter()
        .filter_map(|it| it.source_id)
        .collect();
    let expected: Vec<String> = (0..60).map(|number| format!("WAID:3EB0H{number:04}")).collect();
    assert_eq!(texts, expected, "each once, in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_begun_that_has_nowhere_to_read_from() {
    let (office, chatwoot) = (Office::open().await, start_chatwoot().await);
    let place = office.world.connect(&chatwoot, "desa-a", "default", "").await;
    let path = format!("/admin/inboxes/{}/history", place.link);
    for action in ["start", "resume"] {
        let wanted = json!({"tenantId": "desa-a", "action": action});
        let said = office.post(&path, &wanted).await;
        assert_eq!(
            (said.status.as_u16(), &said.json()["code"]),
            (409, &json!("no_channel_service"))
        );
    }
    let begun = "SELECT count(*) AS n FROM history_jobs";
    assert_eq!(office.world.count(begun).await, 0);
}
