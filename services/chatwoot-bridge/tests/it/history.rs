//! What chats held before the inbox was connected: brought once, page by page, and with what was said on both sides.

use chatwoot_bridge::config::Kept;
use chatwoot_bridge::flows::accept_reply::{Acceptance, Signals};
use chatwoot_bridge::flows::agent_event::take_body;
use chatwoot_bridge::flows::history::{Importer, NotMet, Wish, report, wish};
use chatwoot_bridge::store::history_jobs::HistoryJob;
use chatwoot_bridge::store::inboxes;
use chatwoot_bridge::workers::retention::{Forgettable, step};
use domain::ids::ChatId;
use messaging::outbox::Signal;
use serde_json::{Value, json};
use tenant_isolation::TenantTransaction;
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
        keys: world.tools.keys.clone(),
        signal: Signal::default(),
        per_minute: 600_000,
        links_days: 90.0,
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

/// What Chatwoot tells of a message that is not a person's.
async fn told(world: &World, place: &Place, id: i64, changes: &Value) -> Acceptance {
    let db = &world.database.db;
    let mut tx = TenantTransaction::begin(db, &place.scope, "test").await.unwrap();
    let inbox = inboxes::find(&mut tx, place.link).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let mut event = json!({
        "event": "message_created", "id": id, "message_type": "outgoing", "content": "Kantor tutup.",
        "account": {"id": place.chatwoot_account}, "inbox": {"id": place.inbox},
        "sender": {"id": 1, "name": "Budi", "type": "user"},
        "conversation": {"id": 1, "contact_inbox": {"source_id": format!("{PHONE}@s.whatsapp.net")}},
    });
    for (key, value) in changes.as_object().unwrap() {
        event[key] = value.clone();
    }
    let body = event.to_string();
    let signals = Signals::default();
    take_body(
        &world.tools,
        &place.scope,
        &inbox,
        body.as_bytes(),
        None,
        &signals,
    )
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_chatwoot_says_to_imported_messages_by_itself_is_not_sent() {
    let (world, chatwoot, stub) = (World::start().await, start_chatwoot().await, ChannelStub::start());
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let chat = ChatId::generate();
    stub.history_is(vec![
        entry(&place, chat, 1, "inbound"),
        entry(&place, chat, 2, "outbound"),
    ]);
    asks(&world, &place, Wish::Start { days: None }).await.unwrap();
    ends(&world, &place, &importer(&world, &stub)).await;
    let newest = || {
        let messages = chatwoot.chatwoot_messages(place.chatwoot_account);
        i64::try_from(messages.iter().map(|it| it.id).max().unwrap()).unwrap()
    };
    let by_itself = [
        json!({"message_type": "template", "sender": null}),
        json!({"sender": null}),
        json!({"sender": {"id": 1, "name": "Bot", "type": "agent_bot"}}),
        json!({"content_attributes": {"automation_rule_id": 7}}),
    ];
    let imported = newest();
    for (n, changes) in (1..).zip(&by_itself) {
        let taken = told(&world, &place, imported + n, changes).await;
        assert_eq!(taken, Acceptance::Ignored("answers_history"), "{changes}");
    }
    assert_eq!(world.accepted_replies().await, 0);
    // An agent may write, and who writes now is answered.
    let agents = told(&world, &place, imported + 5, &json!({})).await;
    assert_eq!(agents, Acceptance::Forwarded);
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB0NOW", "halo")))
        .await;
    world.work().await;
    let live = newest();
    for (n, changes) in (10..).zip(&by_itself) {
        let taken = told(&world, &place, live + n, changes).await;
        assert_eq!(taken, Acceptance::Forwarded, "{changes}");
    }
    // What was said before that is none the better for it, when it is looked through once more.
    let again = told(&world, &place, imported, &by_itself[0]).await;
    assert!(
        matches!(again, Acceptance::Echo | Acceptance::Ignored("answers_history")),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_remembered_is_not_brought_again() {
    let (world, chatwoot, stub) = (World::start().await, start_chatwoot().await, ChannelStub::start());
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    world
        .sql("UPDATE inboxes SET created_at = now() - interval '200 days'")
        .await;
    let chat = ChatId::generate();
    let aged = |number: usize, days: i64| {
        let mut entry = entry(&place, chat, number, "inbound");
        entry["message"]["sent_at"] = json!(chrono::Utc::now() - chrono::TimeDelta::days(days));
        entry
    };
    // Before the connection, long ago and by itself, and lately.
    stub.history_is(vec![aged(1, 300), aged(2, 150), aged(3, 10)]);
    let importer = importer(&world, &stub);
    asks(&world, &place, Wish::Start { days: None }).await.unwrap();
    let first = ends(&world, &place, &importer).await;
    assert_eq!((first.seen, first.imported, first.known), (3, 2, 1));
    world
        .sql("UPDATE message_links SET created_at = now() - interval '100 days'")
        .await;
    let kept = Kept {
        links_days: 90.0,
        parked_days: 30.0,
    };
    step(&world.database.db, kept, Forgettable::MessageLinks)
        .await
        .unwrap();
    asks(&world, &place, Wish::Start { days: None }).await.unwrap();
    let second = ends(&world, &place, &importer).await;
    assert_eq!((second.imported, second.known), (0, 3));
    let marks: Vec<String> = chatwoot
        .chatwoot_messages(place.chatwoot_account)
        .into_iter()
        .filter_map(|it| it.source_id)
        .collect();
    assert_eq!(marks, ["WAID:3EB0H0001", "WAID:3EB0H0003"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_now_waits_for_few_of_its_chat() {
    let (world, chatwoot, stub) = (World::start().await, start_chatwoot().await, ChannelStub::start());
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let chat = ChatId::generate();
    stub.history_is(
        (0..12)
            .map(|number| entry(&place, chat, number, "inbound"))
            .collect(),
    );
    let importer = importer(&world, &stub);
    asks(&world, &place, Wish::Start { days: None }).await.unwrap();
    importer.round().await.unwrap();
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB0NOW", "halo")))
        .await;
    let done = ends(&world, &place, &importer).await;
    assert_eq!((done.seen, done.imported, done.known), (12, 12, 0));
    let mut expected: Vec<String> = (0..12).map(|number| format!("WAID:3EB0H{number:04}")).collect();
    expected.insert(5, "WAID:3EB0NOW".to_owned());
    let marks: Vec<String> = chatwoot
        .chatwoot_messages(place.chatwoot_account)
        .into_iter()
        .filter_map(|it| it.source_id)
        .collect();
    assert_eq!(marks, expected);
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
