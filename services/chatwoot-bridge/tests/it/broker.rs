//! The whole service with RabbitMQ, there and away, and its beginning and end.

use std::sync::Mutex;

use chatwoot_bridge::MIGRATIONS;
use chatwoot_bridge::app::RunError;
use domain::delivery::DeliveryStatus;
use domain::ids::ChatId;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use messaging::broker::Broker;
use messaging::consumer::{HandleError, HandleEvent, consume};
use messaging::events::send_requested::SendRequested;
use messaging::topology::{Queue, Topology};
use messaging::{Envelope, Publication, Publisher};
use secrecy::SecretString;
use simulator::Reply;
use tenant_isolation::policy::PolicyError;
use test_support::{
    CuttableProxy, TestDatabase, eventually, install_crypto_provider, rabbitmq_url, unique_prefix,
};
use tokio_util::sync::CancellationToken;

use crate::world::{Running, World, message, received, start_chatwoot, status};

/// Stands for channel-service: keeps the orders.
#[derive(Default)]
struct Orders(Mutex<Vec<SendRequested>>);

impl HandleEvent for Orders {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        if let Some(order) = envelope.event().map_err(HandleError::poison)? {
            self.0.lock().unwrap().push(order);
        }
        Ok(())
    }
}

pub(crate) fn broker(prefix: &str) -> Broker {
    Broker::new(
        SecretString::from(rabbitmq_url()),
        "test",
        Topology::with_prefix(prefix),
        false,
    )
}

/// Leaves nothing behind on the broker, which remembers queues until somebody deletes them.
pub(crate) async fn clean(prefix: &str) {
    let connection = Connection::connect(&rabbitmq_url(), ConnectionProperties::default())
        .await
        .unwrap();
    let (channel, topology) = (
        connection.create_channel().await.unwrap(),
        Topology::with_prefix(prefix),
    );
    for queue in Queue::ALL {
        for name in [topology.queue(queue), topology.dead_letter_queue(queue)] {
            let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
            deleted.await.unwrap();
        }
    }
    for exchange in [topology.events_exchange(), format!("{prefix}kanal.dead")] {
        let deleted = channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default());
        deleted.await.unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
}

/// An event as channel-service publishes it.
pub(crate) fn publication(broker: &Broker, envelope: &Envelope) -> Publication {
    Publication {
        exchange: broker.topology().events_exchange(),
        routing_key: envelope.kind.clone(),
        event_id: envelope.id,
        body: envelope.to_json().unwrap().into_bytes(),
    }
}

async fn publish(broker: &Broker, envelope: &Envelope) {
    Publisher::connect(broker)
        .await
        .unwrap()
        .publish(&publication(broker, envelope))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_comes_in_the_answer_goes_out_and_its_ticks_come_back() {
    let (world, chatwoot, prefix) = (
        World::start().await,
        start_chatwoot().await,
        unique_prefix("bridge"),
    );
    let running = Running::ready(world.settings(&rabbitmq_url(), &prefix)).await;
    let place = world
        .connect(
            &chatwoot,
            "desa-a",
            "default",
            &format!("{}/webhook", running.base),
        )
        .await;
    let broker = broker(&prefix);

    let question = received(
        &place,
        message(&place, ChatId::generate(), "628123450001", "3EB01", "tanya"),
    );
    publish(&broker, &question).await;
    publish(&broker, &question).await;
    eventually("the question is in Chatwoot", || async {
        (chatwoot.chatwoot_messages(place.chatwoot_account).len() == 1).then_some(())
    })
    .await;

    let reply = Reply {
        account_id: place.chatwoot_account,
        conversation_id: 1,
        content: "jawab".into(),
        ..Reply::default()
    };
    chatwoot.agent_reply(&reply).unwrap();
    let (orders, stop) = (Orders::default(), CancellationToken::new());
    let arrived = eventually("the order is on the broker", || async {
        orders.0.lock().unwrap().first().cloned()
    });
    let order = tokio::select! {
        order = arrived => order,
        () = consume(&broker, Queue::ChannelCommands, &orders, &stop) => panic!("stopped by itself"),
    };
    assert_eq!(
        (order.to.as_str(), order.text.as_str()),
        ("628123450001@s.whatsapp.net", "jawab")
    );

    let reference = order.reference.unwrap();
    for new in [
        DeliveryStatus::Sent,
        DeliveryStatus::Delivered,
        DeliveryStatus::Read,
    ] {
        publish(&broker, &status(&place, &reference, new, None)).await;
    }
    eventually("the agent sees blue ticks", || async {
        let messages = chatwoot.chatwoot_messages(place.chatwoot_account);
        messages
            .iter()
            .any(|it| it.content.as_deref() == Some("jawab") && it.status == "read")
            .then_some(())
    })
    .await;
    let (code, report) = running.readiness().await;
    assert_eq!((code, report["status"].as_str()), (200, Some("ready")));
    assert_eq!(chatwoot.chatwoot_messages(place.chatwoot_account).len(), 2);
    assert!(running.stop().await);
    clean(&prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_rabbitmq_is_away_replies_are_accepted_and_leave_later() {
    let (world, chatwoot, prefix) = (
        World::start().await,
        start_chatwoot().await,
        unique_prefix("bridge"),
    );
    let proxy = CuttableProxy::in_front_of(&rabbitmq_url(), 5672).await;
    proxy.cut();
    let running = Running::ready(world.settings(&proxy.url(&rabbitmq_url()), &prefix)).await;
    assert_eq!(running.readiness().await.1["status"], "degraded");
    let place = world
        .connect(
            &chatwoot,
            "desa-a",
            "default",
            &format!("{}/webhook", running.base),
        )
        .await;
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
    for n in 1..=3 {
        let content = format!("jawab {n}");
        let conversation_id = chatwoot.chatwoot_conversations(place.chatwoot_account)[0].id;
        let reply = Reply {
            account_id: place.chatwoot_account,
            conversation_id,
            content,
            ..Reply::default()
        };
        chatwoot.agent_reply(&reply).unwrap();
        eventually("the reply is accepted", || async {
            (world.count("SELECT count(*) AS n FROM outbox").await == n).then_some(())
        })
        .await;
    }
    proxy.restore();
    let (orders, stop, broker) = (Orders::default(), CancellationToken::new(), broker(&prefix));
    let arrived = eventually("all orders arrive", || async {
        let orders = orders.0.lock().unwrap();
        (orders.len() == 3).then(|| orders.iter().map(|order| order.text.clone()).collect::<Vec<_>>())
    });
    let texts = tokio::select! {
        texts = arrived => texts,
        () = consume(&broker, Queue::ChannelCommands, &orders, &stop) => panic!("stopped by itself"),
    };
    assert_eq!(texts, ["jawab 1", "jawab 2", "jawab 3"]);
    assert!(running.stop().await);
    clean(&prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_while_postgres_is_away_and_is_ready_when_it_comes() {
    install_crypto_provider();
    let proxy =
        CuttableProxy::in_front_of(&test_support::environment("CHATWOOT_BRIDGE_DATABASE_URL"), 5432).await;
    let world =
        World::over(TestDatabase::create_behind("chatwoot_bridge", MIGRATIONS, |url| proxy.url(url)).await);
    proxy.cut();
    let running = Running::start(world.settings("amqp://guest:guest@127.0.0.1:1/%2f", ""));
    let code = eventually("it listens", || async {
        Some(
            reqwest::get(format!("{}/health/live", running.base))
                .await
                .ok()?
                .status()
                .as_u16(),
        )
    })
    .await;
    assert_eq!(code, 200);
    assert_eq!(running.readiness().await.0, 503);
    proxy.restore();
    eventually("it is ready", || async {
        (running.readiness().await.0 == 200).then_some(())
    })
    .await;
    assert!(running.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_serve_from_a_database_that_mixes_tenants() {
    let world = World::start().await;
    world
        .sql("ALTER TABLE contacts NO FORCE ROW LEVEL SECURITY")
        .await;
    let running = Running::start(world.settings("amqp://guest:guest@127.0.0.1:1/%2f", ""));
    let Err(RunError::Unsafe(why)) = running.ended().await else {
        panic!("it serves");
    };
    assert!(matches!(*why, PolicyError::Holes(_)), "{why}");
}
