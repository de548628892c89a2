//! What is committed reaches its queues, in order; what is not committed never does.

use std::time::{Duration, Instant};

use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId};
use messaging::broker::Broker;
use messaging::events::govconnect::{MessageRetry, WhatsappMessage};
use messaging::events::message_received::{ChatMessage, ChatPartner, MessageReceived};
use messaging::outbox::{NewRow, Relay, enqueue, enqueue_group};
use messaging::topology::{Queue, Topology};
use messaging::{Envelope, Publication, PublishError, Publisher};
use secrecy::SecretString;
use serde_json::json;
use tenant_isolation::{GroupTransaction, TenantTransaction};
use test_support::{CuttableProxy, eventually, rabbitmq_url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::world::{ORDER, STATUS, Wire, World, assert_complete, by_lane, order, reference, scope, status};

fn received(number: usize) -> Envelope {
    let event = MessageReceived(ChatMessage {
        account_id: AccountId::generate(),
        chat_id: ChatId::generate(),
        partner: ChatPartner {
            address: "6281290000011@s.whatsapp.net".to_owned(),
            phone: Some("6281290000011".to_owned()),
            name: None,
        },
        place: None,
        sender: None,
        message_id: MessageId::generate(),
        provider_message_id: ProviderMessageId::parse(format!("3EB0{number}")).unwrap(),
        kind: "text".to_owned(),
        text: "jalan rusak".to_owned(),
        content: serde_json::value::to_raw_value(&serde_json::json!({"kind": "text"})).unwrap(),
        media: None,
        quoted: None,
        sent_at: "2026-03-02T02:15:04Z".parse().unwrap(),
    });
    Envelope::new(&scope("desa-satu"), &event).unwrap()
}

fn for_govconnect(number: usize) -> Envelope {
    let event = WhatsappMessage::Retry(MessageRetry {
        wa_user_id: "6281290000011".to_owned(),
        village_id: "desa-satu".to_owned(),
        message: "jalan rusak".to_owned(),
        message_id: format!("3EB0{number}"),
        is_retry: true,
        channel: "whatsapp".to_owned(),
    });
    Envelope::new(&scope("desa-satu"), &event).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_published_in_the_order_of_their_lanes_and_leave_the_table() {
    let world = World::new().await;
    let relay = world.start_relay();
    world.enqueue_lanes(3, 5).await;
    world.until_published().await;
    let bodies = world.drain(Queue::BridgeEvents).await;
    assert_eq!(bodies.len(), 15);
    assert_complete(&bodies, 3, 5);
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolled_back_transaction_publishes_nothing() {
    let world = World::new().await;
    let relay = world.start_relay();
    let mut tx = TenantTransaction::begin(world.db(), &scope("desa-satu"), "test")
        .await
        .unwrap();
    let row = NewRow {
        lane: "a".to_owned(),
        envelope: status("a", 0),
    };
    enqueue(&mut tx, vec![row]).await.unwrap();
    world.signal.ring();
    drop(tx);
    world.enqueue([("a".to_owned(), status("a", 1))]).await;
    world.until_published().await;
    let seen = by_lane(&world.drain(Queue::BridgeEvents).await);
    assert_eq!(seen["a"], [1]);
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_enqueues_for_its_tenants_and_for_nobody_else() {
    let world = World::new().await;
    let scopes = [scope("desa-satu"), scope("desa-dua")];
    let mut tx = GroupTransaction::begin(world.db(), scopes.iter().collect(), "test")
        .await
        .unwrap();
    let row = |envelope| NewRow {
        lane: "a".to_owned(),
        envelope,
    };
    enqueue_group(&mut tx, vec![row(status("a", 0))]).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = TenantTransaction::begin(world.db(), &scope("desa-dua"), "test")
        .await
        .unwrap();
    enqueue(&mut tx, vec![row(status("a", 1))]).await.unwrap_err();
    drop(tx);
    assert_eq!(world.left("%").await, 1);
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_lose_nothing_and_keep_the_order() {
    let world = World::new().await;
    let relays = [world.start_relay(), world.start_relay()];
    for _ in 0..3 {
        world.signal.ring();
    }
    world.enqueue_lanes(10, 60).await;
    world.until_published().await;
    assert_complete(&world.drain(Queue::BridgeEvents).await, 10, 60);
    // One of them leaves in order: the other goes on at once, without waiting for a lease to end.
    let [one, other] = relays;
    one.end().await;
    let started = Instant::now();
    world.enqueue([("later".to_owned(), status("later", 0))]).await;
    world.until_published().await;
    // The lease lasts five seconds, and machines are slow.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    other.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_relay_dies_in_the_middle_another_one_takes_over() {
    let world = World::new().await;
    // One deep lane is published row by row, so there is a middle.
    world.enqueue_lanes(1, 400).await;
    let dying = world.start_relay();
    let watched = world.wire.topology.queue(Queue::BridgeEvents);
    eventually("some rows are out", || async {
        let queue = world
            .wire
            .channel
            .queue_declare(
                watched.as_str().into(),
                lapin::options::QueueDeclareOptions {
                    passive: true,
                    ..Default::default()
                },
                lapin::types::FieldTable::default(),
            )
            .await
            .unwrap();
        (queue.message_count() > 20).then_some(())
    })
    .await;
    dying.kill().await;
    assert!(world.left("%").await > 0, "it was not in the middle");
    let next = world.start_relay();
    let started = Instant::now();
    world.until_published().await;
    assert!(
        started.elapsed() > Duration::from_secs(1),
        "the dead relay's lease was not waited for"
    );
    assert_complete(&world.drain(Queue::BridgeEvents).await, 1, 400);
    next.end().await;
    world.wire.clean().await;
}

/// A broker that is far away: everything it says arrives `delay` later. Returns the URL that leads through it.
async fn far_away(delay: Duration) -> String {
    let target = url::Url::parse(&rabbitmq_url()).unwrap();
    let address = (
        target.host_str().unwrap().to_owned(),
        target.port().unwrap_or(5672),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((inbound, _)) = listener.accept().await {
            let outbound = TcpStream::connect(address.clone()).await.unwrap();
            let (mut from_client, mut to_client) = inbound.into_split();
            let (mut from_broker, mut to_broker) = outbound.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_broker).await });
            tokio::spawn(async move {
                let mut chunk = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = from_broker.read(&mut chunk).await {
                    tokio::time::sleep(delay).await;
                    to_client.write_all(chunk.get(..read).unwrap()).await.unwrap();
                }
            });
        }
    });
    let mut url = target;
    url.set_port(Some(port)).unwrap();
    url.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_deep_lane_takes_longer_than_a_lease_the_other_relay_stands_by() {
    let url = far_away(Duration::from_millis(40)).await;
    let world = World::with(Wire::reached_by(&url, true).await).await;
    world.enqueue_lanes(1, 180).await;
    let started = Instant::now();
    let relays = [world.start_relay(), world.start_relay()];
    world.until_published().await;
    assert!(
        started.elapsed() > Duration::from_secs(6),
        "the lane was not deep enough"
    );
    assert_eq!(
        world.drain(Queue::BridgeEvents).await.len(),
        180,
        "both relays published"
    );
    for relay in relays {
        relay.end().await;
    }
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_to_connect_that_is_given_up_leaves_nothing_behind() {
    // Takes connections and never says a word, like a broker that froze.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://a:b@{}/x", silent.local_addr().unwrap());
    let broker = Broker::new(SecretString::from(url), "test", Topology::default(), false);
    for _ in 0..5 {
        let (accepted, connected) = tokio::join!(
            silent.accept(),
            tokio::time::timeout(Duration::from_millis(300), Publisher::connect(&broker)),
        );
        assert!(connected.is_err(), "the attempt was to hang");
        let (mut socket, _) = accepted.unwrap();
        let mut said = Vec::new();
        tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut said))
            .await
            .expect("the other end is closed")
            .unwrap();
        assert!(said.starts_with(b"AMQP"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_queue_takes_stays_while_everything_else_goes_on() {
    let world = World::new().await;
    let relay = world.start_relay();
    world.enqueue_lanes(1, 1).await;
    world.until_published().await;
    world.drain(Queue::BridgeEvents).await;
    let commands = world.wire.topology.queue(Queue::ChannelCommands);
    world.wire.delete(&commands).await;

    // More refused lanes than a batch has places, and good ones among and behind them.
    let refused = 700;
    let mixed = (0..refused).flat_map(|number| {
        let (bad, good) = (format!("{number:03} bad"), format!("{number:03} good"));
        [(bad.clone(), order(&bad, 0)), (good.clone(), status(&good, 0))]
    });
    world.enqueue(mixed).await;
    world
        .enqueue([("000 bad".to_owned(), status("000 bad", 1))])
        .await;
    world.until_left(STATUS, 1).await;
    assert_eq!(world.left(ORDER).await, refused, "an order was lost");
    // The lanes that wait do not slow the others down.
    for number in 0..5 {
        world
            .enqueue([("fresh".to_owned(), status("fresh", number))])
            .await;
        world.until_left(STATUS, 1).await;
    }
    assert_eq!(world.left(ORDER).await, refused);

    world
        .wire
        .topology
        .declare(&world.wire.channel, true)
        .await
        .unwrap();
    world.until_published().await;
    let orders = by_lane(&world.drain(Queue::ChannelCommands).await);
    assert_eq!(orders.len(), usize::try_from(refused).unwrap());
    let statuses = by_lane(&world.drain(Queue::BridgeEvents).await);
    assert_eq!(statuses["fresh"], [0, 1, 2, 3, 4]);
    assert_eq!(statuses["000 bad"], [1], "it waited behind its order");
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_knows_which_message_was_not_taken() {
    let wire = Wire::new().await;
    let mut publisher = Publisher::connect(&wire.broker).await.unwrap();
    wire.delete(&wire.topology.queue(Queue::ChannelCommands)).await;
    let publication = |envelope: &Envelope| Publication {
        exchange: wire.topology.events_exchange(),
        routing_key: envelope.kind.clone(),
        event_id: envelope.id,
        body: envelope.to_json().unwrap().into_bytes(),
    };
    let (good, bad) = (publication(&status("a", 0)), publication(&order("a", 0)));
    assert_eq!(publisher.publish(&good).await, Ok(()));
    assert_eq!(publisher.publish(&bad).await, Err(PublishError::NotTaken));
    assert_eq!(publisher.publish(&good).await, Ok(()));
    drop(publisher);
    wire.topology.declare(&wire.channel, true).await.unwrap();
    wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_no_event_waits_for_people_and_holds_up_its_lane_only() {
    let world = World::new().await;
    let relay = world.start_relay();
    let mut admin = world.test.admin().await;
    admin
        .batch_execute(
            "INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope) \
             VALUES ('desa-satu', 'lane-0', gen_random_uuid(), 'message.status_changed', 'garbage')",
        )
        .await
        .unwrap();
    world.enqueue_lanes(3, 4).await;
    world.until_left("%", 5).await;
    let seen = by_lane(&world.drain(Queue::BridgeEvents).await);
    assert_eq!(
        seen.keys().map(String::as_str).collect::<Vec<_>>(),
        ["lane-1", "lane-2"]
    );
    diesel::sql_query("DELETE FROM outbox WHERE envelope = 'garbage'")
        .execute(&mut admin)
        .await
        .unwrap();
    world.until_published().await;
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_away_rows_wait() {
    let proxy = CuttableProxy::in_front_of(&rabbitmq_url(), 5672).await;
    let world = World::with(Wire::reached_by(&proxy.url(&rabbitmq_url()), true).await).await;
    let relay = world.start_relay();
    world.enqueue_lanes(2, 3).await;
    world.until_published().await;
    assert!(world.wire.broker.is_up());
    proxy.cut();
    world.enqueue_lanes_from(2, 3, 20).await;
    eventually("the outage is noticed", || async {
        (!world.wire.broker.is_up()).then_some(())
    })
    .await;
    assert_eq!(world.left("%").await, 34);
    proxy.restore();
    world.until_published().await;
    assert!(world.wire.broker.is_up());
    assert_complete(&world.drain(Queue::BridgeEvents).await, 2, 20);
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_cut_again_and_again_costs_no_event() {
    let proxy = CuttableProxy::in_front_of(&rabbitmq_url(), 5672).await;
    let world = World::with(Wire::reached_by(&proxy.url(&rabbitmq_url()), true).await).await;
    let relay = world.start_relay();
    world.enqueue_lanes(5, 80).await;
    for pause in [60, 90, 130, 170] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.restore();
    }
    world.until_published().await;
    assert_complete(&world.drain(Queue::BridgeEvents).await, 5, 80);
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_go_out_in_order() {
    let world = World::new().await;
    world.enqueue_lanes(20, 100).await;
    let relay = world.start_relay();
    world.until_published().await;
    let bodies = world.drain(Queue::BridgeEvents).await;
    assert_eq!(bodies.len(), 2000);
    assert_complete(&bodies, 20, 100);
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_asked_to_stop_while_the_broker_is_away_stops() {
    // Takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://a:b@{}/x", silent.local_addr().unwrap());
    let world = World::with(Wire::reached_by(&url, true).await).await;
    let relay = world.start_relay();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    relay.end().await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_for_govconnect_goes_bare_to_its_exchange_and_nowhere_else() {
    let world = World::new().await;
    let relay = world.start_relay();
    world
        .enqueue([
            ("a".to_owned(), received(1)),
            ("ai:a".to_owned(), for_govconnect(1)),
            ("ai:a".to_owned(), for_govconnect(2)),
        ])
        .await;
    world.until_published().await;
    let theirs = world.wire.drain(&world.wire.topology.govconnect_ai_queue()).await;
    let theirs: Vec<serde_json::Value> = theirs
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    assert_eq!(
        theirs,
        [1, 2].map(|number| json!({
            "wa_user_id": "6281290000011", "village_id": "desa-satu", "message": "jalan rusak",
            "message_id": format!("3EB0{number}"), "is_retry": true, "channel": "whatsapp"
        }))
    );
    assert_eq!(world.drain(Queue::BridgeEvents).await.len(), 1);
    assert_eq!(world.drain(Queue::AiHandover).await.len(), 1);
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_theirs_that_is_gone_holds_up_only_what_is_for_it() {
    let world = World::new().await;
    let relay = world.start_relay();
    world.enqueue([("first".to_owned(), status("first", 0))]).await;
    world.until_published().await;
    world.drain(Queue::BridgeEvents).await;
    let theirs = world.wire.topology.govconnect_ai_queue();
    world.wire.delete(&theirs).await;
    world
        .enqueue([
            ("ai:a".to_owned(), for_govconnect(1)),
            ("a".to_owned(), status("a", 7)),
        ])
        .await;
    world.until_left("%", 1).await;
    let ours = world.drain(Queue::BridgeEvents).await;
    assert_eq!(reference(&Envelope::read(&ours[0]).unwrap()), "a/7");
    world
        .wire
        .topology
        .declare(&world.wire.channel, true)
        .await
        .unwrap();
    world.until_published().await;
    assert_eq!(world.wire.drain(&theirs).await.len(), 1);
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_govconnect_is_not_served_any_more_its_messages_hold_up_nobody() {
    let world = World::with(Wire::reached_by(&rabbitmq_url(), false).await).await;
    let (broker, stop) = (world.wire.broker.clone(), CancellationToken::new());
    let relay = Relay::new(world.db().clone(), broker, world.signal.clone(), false);
    let running = tokio::spawn(relay.run(stop.clone()));
    world
        .enqueue([
            ("a".to_owned(), for_govconnect(1)),
            ("a".to_owned(), status("a", 7)),
        ])
        .await;
    world.until_published().await;
    assert_eq!(world.drain(Queue::BridgeEvents).await.len(), 1);
    stop.cancel();
    running.await.unwrap();
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deep_lane_keeps_nobody_else_waiting() {
    let world = World::new().await;
    world.enqueue_lanes(1, 3_000).await;
    world.enqueue([("fresh".to_owned(), order("fresh", 0))]).await;
    let relay = world.start_relay();
    world.until_left(ORDER, 0).await;
    // It stood behind more rows than are read at once, and did not wait for the last batch of them.
    let left = world.left(STATUS).await;
    assert!(left > 600, "only {left} of the deep lane are left");
    relay.end().await;
    world.wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_too_large_stays_and_its_lane_goes_on() {
    let world = World::new().await;
    let mut admin = world.test.admin().await;
    admin
        .batch_execute(
            "INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope) \
             VALUES ('desa-satu', 'lane-0', gen_random_uuid(), 'message.status_changed', repeat('x', 9000000))",
        )
        .await
        .unwrap();
    world.enqueue_lanes(2, 3).await;
    let relay = world.start_relay();
    world.until_left("%", 1).await;
    let marked = diesel::sql_query("DELETE FROM outbox WHERE parked = 'too_large'")
        .execute(&mut admin)
        .await
        .unwrap();
    assert_eq!(marked, 1);
    assert_complete(&world.drain(Queue::BridgeEvents).await, 2, 3);
    relay.end().await;
    world.wire.clean().await;
}

/// Like a queue of ours whose reader is away for too long, only smaller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_queue_refuses_stays_in_order_until_there_is_room() {
    let world = World::new().await;
    let small = format!("{}.small", world.wire.topology.queue(Queue::BridgeEvents));
    let mut arguments = lapin::types::FieldTable::default();
    let text = |text: &str| lapin::types::AMQPValue::LongString(text.into());
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-max-length".into(), lapin::types::AMQPValue::LongLongInt(2));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    let channel = &world.wire.channel;
    channel
        .queue_declare(
            small.as_str().into(),
            lapin::options::QueueDeclareOptions::durable(),
            arguments,
        )
        .await
        .unwrap();
    channel
        .queue_bind(
            small.as_str().into(),
            world.wire.topology.events_exchange().into(),
            STATUS.into(),
            lapin::options::QueueBindOptions::default(),
            lapin::types::FieldTable::default(),
        )
        .await
        .unwrap();
    let relay = world.start_relay();
    world.enqueue_lanes(1, 30).await;
    eventually("it is full", || async {
        (world.wire.waiting_on(&small).await >= 2).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.left(STATUS).await > 0, "nothing was refused");
    let mut bodies = Vec::new();
    while world.left(STATUS).await > 0 {
        bodies.extend(world.wire.drain(&small).await);
    }
    bodies.extend(world.wire.drain(&small).await);
    assert_complete(&bodies, 1, 30);
    relay.end().await;
    world.wire.delete(&small).await;
    world.wire.clean().await;
}
