//! Webhooks that were put aside: announced, listed, tried again, and deleted when they are too old.

use lapin::options::{BasicGetOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection, ConnectionProperties};
use messaging::topology::{Queue, Topology};
use serde_json::Value;
use test_support::{CuttableProxy, eventually};
use uuid::Uuid;
use wa_support_gateway::flows::hooks::parked;

use super::world::{
    COUNTS, HookedSession, KEPT, Receiver, announced, ask, broker_url, start, start_with, until_it_is,
};
use crate::support::{Gateway, scope};

const PARKED: &str = "SELECT count(*) FROM lane_tasks WHERE parked";

/// The queues of a test, gone when it is over.
struct Queues {
    topology: Topology,
    channel: Channel,
    _connection: Connection,
}

impl Queues {
    async fn look(topology: Topology) -> Self {
        let connection = Connection::connect(&broker_url(), ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        topology.declare(&channel, false).await.unwrap();
        Self {
            topology,
            channel,
            _connection: connection,
        }
    }

    /// Waits for an announcement and takes it off the queue.
    async fn next(&self) -> Value {
        let queue = self.topology.queue(Queue::ParkedWebhooks);
        assert!(queue.ends_with("wa-support-gateway.hooks.dead"));
        eventually("an announcement", || async {
            let got = self
                .channel
                .basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true })
                .await
                .unwrap()?;
            Some(serde_json::from_slice(&got.delivery.data).unwrap())
        })
        .await
    }

    async fn clean(self) {
        for queue in Queue::ALL {
            for name in [self.topology.queue(queue), self.topology.dead_letter_queue(queue)] {
                self.channel
                    .queue_delete(name.as_str().into(), QueueDeleteOptions::default())
                    .await
                    .unwrap();
            }
        }
        for exchange in [self.topology.events_exchange(), self.topology.dead_exchange()] {
            self.channel
                .exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default())
                .await
                .unwrap();
        }
    }
}

async fn park(gateway: &Gateway, receiver: &Receiver, session: &HookedSession, marks: &[&str]) {
    receiver.answer(500);
    for mark in marks {
        session.accepted(gateway, &session.event(mark)).await;
    }
    let parked = format!("{PARKED} AND tenant_id = '{}'", session.customer);
    until_it_is(gateway, &parked, &marks.len().to_string()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_aside_is_announced_when_the_broker_is_there() {
    let broker = CuttableProxy::in_front_of(&broker_url(), 5672).await;
    broker.cut();
    let mut topology = None;
    let url = broker.url(&broker_url());
    let gateway = start_with(|settings| topology = Some(announced(settings, &url))).await;
    let receiver = Receiver::start();
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    park(&gateway, &receiver, &session, &["secret-words"]).await;
    // The broker is away, and deliveries go on.
    receiver.answer(200);
    session.accepted(&gateway, &session.event("two")).await;
    eventually("the next one arrives", || async {
        (receiver.marks().last().map(String::as_str) == Some("two")).then_some(())
    })
    .await;
    assert_eq!(ask(&gateway.database, "SELECT count(*) FROM outbox").await, "1");
    broker.restore();
    let queues = Queues::look(topology.unwrap()).await;
    let announcement = queues.next().await;
    assert_eq!(announcement["type"], "webhook.parked");
    assert_eq!(announcement["tenant_id"], "desa-a");
    let data = &announcement["data"];
    assert_eq!(data["session"], session.id.to_string());
    assert_eq!(data["session_id"], session.session_id);
    assert_eq!(
        (&data["event_type"], &data["reason"], &data["attempts"]),
        (
            &Value::from("Presence"),
            &Value::from("http_500"),
            &Value::from(3)
        )
    );
    assert!(!announcement.to_string().contains("secret-words"));
    let id = ask(&gateway.database, "SELECT id FROM lane_tasks WHERE parked").await;
    assert_eq!(data["event_id"], id);
    until_it_is(&gateway, "SELECT count(*) FROM outbox", "0").await;
    receiver.stop().await;
    gateway.stop().await;
    queues.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_webhooks_are_shown_without_their_contents_and_replayed_in_order() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    let other = HookedSession::make(&gateway, "desa-b", &receiver.url()).await;
    park(&gateway, &receiver, &session, &["1", "2", "3"]).await;
    park(&gateway, &receiver, &other, &["x"]).await;
    let db = &gateway.database.db;

    let (events, counts) = parked::parked(db, &scope("desa-a"), None, 100).await.unwrap();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.parked
        && event.session == session.id
        && event.event_type == "Presence"
        && event.reason.as_deref() == Some("http_500")
        && event.failures == 2));
    assert_eq!((counts.len(), counts[0].accepted, counts[0].held), (1, 3, 3));
    let shown = serde_json::to_string(&events).unwrap();
    assert!(
        !shown.contains("mark") && !shown.contains("6281200000001"),
        "{shown}"
    );

    // Another customer's is not there.
    let id = events[1].event_id;
    assert!(parked::show(db, &scope("desa-b"), id).await.unwrap().is_none());
    assert!(!parked::replay(db, &scope("desa-b"), id).await.unwrap());
    assert!(
        parked::show(db, &scope("desa-a"), id)
            .await
            .unwrap()
            .unwrap()
            .parked
    );
    assert!(
        !parked::replay(db, &scope("desa-a"), Uuid::now_v7())
            .await
            .unwrap()
    );

    let before = receiver.received().len();
    receiver.answer(200);
    assert_eq!(
        parked::replay_all(db, &scope("desa-a"), Some(session.id))
            .await
            .unwrap(),
        3
    );
    receiver.until(before + 3).await;
    assert_eq!(receiver.marks()[before..], ["1", "2", "3"]);
    assert_eq!(receiver.received()[before].header("x-kanal-attempt"), Some("1"));
    until_it_is(&gateway, PARKED, "1").await;
    assert_eq!(parked::replay_all(db, &scope("desa-b"), None).await.unwrap(), 1);
    until_it_is(&gateway, KEPT, "0").await;
    until_it_is(&gateway, COUNTS, "4 4 0 0 0 0").await;
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_grew_too_old_is_deleted_and_counted() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    park(&gateway, &receiver, &session, &["old", "new"]).await;
    gateway
        .sql(
            "UPDATE hook_events SET received_at = now() - interval '7 days 1 hour' \
             WHERE id = (SELECT id FROM hook_events ORDER BY received_at LIMIT 1)",
        )
        .await;
    // A process that starts looks at once.
    let shutdown = super::world::beside(&gateway);
    until_it_is(&gateway, PARKED, "1").await;
    until_it_is(&gateway, "SELECT count(*) FROM hook_events", "1").await;
    let counts = ask(&gateway.database, COUNTS).await;
    assert!(counts.starts_with("2 0 0 1 1 "), "{counts}");
    receiver.answer(200);
    let replayed = parked::replay_all(&gateway.database.db, &scope("desa-a"), None).await;
    assert_eq!(replayed.unwrap(), 1);
    until_it_is(&gateway, COUNTS, "2 1 0 1 0 0").await;
    assert_eq!(receiver.marks().last().unwrap(), "new");
    shutdown.begin();
    receiver.stop().await;
    gateway.stop().await;
}
