//! A schema, queues of one's own, and a look at what is on them.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use chrono::Utc;
use database::Database;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl as _;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId, TenantId};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use messaging::broker::Broker;
use messaging::events::message_status_changed::MessageStatusChanged;
use messaging::events::send_requested::SendRequested;
use messaging::outbox::{NewRow, Relay, Signal, enqueue};
use messaging::topology::{GovconnectQueue, Queue, Topology};
use messaging::{Envelope, Event};
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};
use test_support::{TestDatabase, eventually, rabbitmq_url, unique_prefix};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/channel");

/// How long nothing must come before the broker is asked whether the queue is empty.
const SILENCE: Duration = Duration::from_millis(700);

/// Names on the broker, gone when [`Wire::clean`] is called.
pub(crate) struct Wire {
    pub(crate) broker: Broker,
    pub(crate) topology: Topology,
    pub(crate) channel: Channel,
    prefix: String,
    connection: Connection,
}

impl Wire {
    pub(crate) async fn new() -> Self {
        Self::reached_by(&rabbitmq_url(), true).await
    }

    /// The service goes by `url`; the test itself looks at the broker directly.
    pub(crate) async fn reached_by(url: &str, govconnect: bool) -> Self {
        let prefix = unique_prefix("messaging");
        let topology = Topology::with_prefix(&prefix);
        let broker = Broker::new(SecretString::from(url), "test", topology.clone(), govconnect);
        let connection = Connection::connect(&rabbitmq_url(), ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        topology.declare(&channel, govconnect).await.unwrap();
        Self {
            broker,
            topology,
            channel,
            prefix,
            connection,
        }
    }

    pub(crate) async fn delete(&self, queue: &str) {
        self.channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await
            .unwrap();
    }

    /// Every message on `queue`, taken off it, once nothing more comes.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<Vec<u8>> {
        let channel = self.connection.create_channel().await.unwrap();
        let mut deliveries = channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        let (mut bodies, started) = (Vec::new(), Instant::now());
        loop {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{queue} does not fall silent"
            );
            match tokio::time::timeout(SILENCE, deliveries.next()).await {
                Ok(delivery) => {
                    let delivery = delivery.unwrap().unwrap();
                    delivery.ack(BasicAckOptions::default()).await.unwrap();
                    bodies.push(delivery.data);
                }
                Err(_) if self.waiting_on(queue).await == 0 => break,
                Err(_) => {}
            }
        }
        channel.close(200, "done".into()).await.unwrap();
        bodies
    }

    /// Messages on the queue that are in nobody's hand.
    pub(crate) async fn waiting_on(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = self
            .channel
            .queue_declare(queue.into(), passive, FieldTable::default());
        declared.await.unwrap().message_count()
    }

    pub(crate) async fn clean(self) {
        for queue in Queue::ALL {
            self.delete(&self.topology.queue(queue)).await;
            self.delete(&self.topology.dead_letter_queue(queue)).await;
        }
        for queue in GovconnectQueue::ALL {
            self.delete(&self.topology.govconnect_queue(queue)).await;
            self.delete(&self.topology.govconnect_dead_letter_queue(queue))
                .await;
        }
        self.delete(&self.topology.govconnect_ai_queue()).await;
        let dead = format!("{}kanal.dead", self.prefix);
        for exchange in [
            self.topology.events_exchange(),
            self.topology.govconnect_exchange(),
            dead,
        ] {
            self.channel
                .exchange_delete(exchange.into(), ExchangeDeleteOptions::default())
                .await
                .unwrap();
        }
        self.connection.close(200, "done".into()).await.unwrap();
    }
}

pub(crate) fn scope(tenant: &str) -> TenantScope {
    TenantScope::named_by_operator(TenantId::parse(tenant).unwrap())
}

/// An event for [`Queue::BridgeEvents`] that says which it is.
pub(crate) fn status(lane: &str, number: usize) -> Envelope {
    let event = MessageStatusChanged {
        account_id: AccountId::generate(),
        chat_id: ChatId::generate(),
        message_id: MessageId::generate(),
        provider_message_id: ProviderMessageId::parse("3EB0").unwrap(),
        status: DeliveryStatus::Sent,
        reason: None,
        detail: None,
        put_aside: false,
        reference: Some(format!("{lane}/{number}")),
        at: Utc::now(),
    };
    Envelope::new(&scope("desa-satu"), &event).unwrap()
}

/// An event for [`Queue::ChannelCommands`].
pub(crate) fn order(lane: &str, number: usize) -> Envelope {
    let event = SendRequested {
        request_id: uuid::Uuid::now_v7(),
        account_id: AccountId::generate(),
        to: "6281290000011@s.whatsapp.net".to_owned(),
        text: "halo".to_owned(),
        content: None,
        quoted: None,
        reference: Some(format!("{lane}/{number}")),
        replaces: None,
    };
    Envelope::new(&scope("desa-satu"), &event).unwrap()
}

/// `lane/number` of such an event.
pub(crate) fn reference(envelope: &Envelope) -> String {
    let data: serde_json::Value = serde_json::from_str(envelope.data.get()).unwrap();
    data["reference"].as_str().unwrap().to_owned()
}

/// The numbers seen per lane, in the order of first sight. A second sight has to be the same event.
pub(crate) fn by_lane(bodies: &[Vec<u8>]) -> BTreeMap<String, Vec<usize>> {
    let (mut events, mut references) = (HashSet::new(), HashSet::new());
    let mut lanes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for body in bodies {
        let envelope = Envelope::read(body).unwrap();
        let reference = reference(&envelope);
        if !events.insert(envelope.id) {
            continue;
        }
        assert!(
            references.insert(reference.clone()),
            "{reference} came as two events"
        );
        let (lane, number) = reference.rsplit_once('/').unwrap();
        lanes
            .entry(lane.to_owned())
            .or_default()
            .push(number.parse().unwrap());
    }
    lanes
}

/// All of `lanes` lanes with all of their events in order.
pub(crate) fn assert_complete(bodies: &[Vec<u8>], lanes: usize, each: usize) {
    let seen = by_lane(bodies);
    assert_eq!(seen.len(), lanes);
    for (lane, numbers) in seen {
        assert_eq!(numbers, (0..each).collect::<Vec<_>>(), "{lane}");
    }
}

/// An outbox and the wire it leads to.
pub(crate) struct World {
    pub(crate) test: TestDatabase,
    pub(crate) wire: Wire,
    pub(crate) signal: Signal,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Wire::new().await).await
    }

    pub(crate) async fn with(wire: Wire) -> Self {
        Self {
            test: TestDatabase::create("channel", MIGRATIONS).await,
            wire,
            signal: Signal::default(),
        }
    }

    pub(crate) fn db(&self) -> &Database {
        &self.test.db
    }

    pub(crate) async fn enqueue(&self, rows: impl IntoIterator<Item = (String, Envelope)>) {
        let mut tx = TenantTransaction::begin(self.db(), &scope("desa-satu"), "test")
            .await
            .unwrap();
        let rows = rows
            .into_iter()
            .map(|(lane, envelope)| NewRow { lane, envelope })
            .collect();
        enqueue(&mut tx, rows).await.unwrap();
        tx.commit().await.unwrap();
        self.signal.ring();
    }

    /// `each` events in each of `lanes` lanes, the lanes mixed.
    pub(crate) async fn enqueue_lanes(&self, lanes: usize, each: usize) {
        self.enqueue_lanes_from(lanes, 0, each).await;
    }

    /// As [`Self::enqueue_lanes`], beginning with number `first`.
    pub(crate) async fn enqueue_lanes_from(&self, lanes: usize, first: usize, end: usize) {
        let rows = (first..end).flat_map(|number| {
            (0..lanes).map(move |lane| {
                let lane = format!("lane-{lane}");
                let envelope = status(&lane, number);
                (lane, envelope)
            })
        });
        self.enqueue(rows).await;
    }

    pub(crate) fn relay(&self) -> Relay {
        Relay::new(
            self.db().clone(),
            self.wire.broker.clone(),
            self.signal.clone(),
            true,
        )
    }

    pub(crate) fn start_relay(&self) -> Running {
        let stop = CancellationToken::new();
        Running {
            task: tokio::spawn(self.relay().run(stop.clone())),
            stop,
        }
    }

    /// Rows of a kind that are still in the outbox; every kind with `%`.
    pub(crate) async fn left(&self, kind: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            count: i64,
        }
        diesel::sql_query("SELECT count(*) AS count FROM outbox WHERE event_type LIKE $1")
            .bind::<diesel::sql_types::Text, _>(kind)
            .get_result::<Count>(&mut self.test.admin().await)
            .await
            .unwrap()
            .count
    }

    pub(crate) async fn until_published(&self) {
        self.until_left("%", 0).await;
    }

    pub(crate) async fn until_left<T: Into<i64>>(&self, kind: &str, count: T) {
        let count = count.into();
        eventually("the outbox shrinks", || async {
            (self.left(kind).await == count).then_some(())
        })
        .await;
    }

    pub(crate) async fn drain(&self, queue: Queue) -> Vec<Vec<u8>> {
        self.wire.drain(&self.wire.topology.queue(queue)).await
    }
}

/// A worker in the background.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<()>,
    pub(crate) stop: CancellationToken,
}

impl Running {
    /// Asks it to end and waits until it has.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.task)
            .await
            .expect("ends in time")
            .unwrap();
    }

    /// Takes it away without a word.
    pub(crate) async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

/// The names the outbox table uses.
pub(crate) const STATUS: &str = MessageStatusChanged::TYPE;
pub(crate) const ORDER: &str = SendRequested::TYPE;
