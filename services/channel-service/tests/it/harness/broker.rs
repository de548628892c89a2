//! What the service tells over RabbitMQ, and what it is told there.

use std::sync::{Arc, Mutex, PoisonError};

use domain::ids::{AccountId, EventId, TenantId};
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use messaging::broker::Broker;
use messaging::events::send_requested::SendRequested;
use messaging::topology::{GovconnectQueue, Queue, Topology};
use messaging::{Envelope, Event, Publication, Publisher};
use secrecy::SecretString;
use serde_json::Value;
use tenant_isolation::TenantScope;
use test_support::eventually;
use uuid::Uuid;

use super::{Tenant, TestApp};

/// One message as it arrived on an exchange.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) routing_key: String,
    pub(crate) message_id: Option<String>,
    pub(crate) body: Value,
}

pub(super) type Arrivals = Arc<Mutex<Vec<Arrival>>>;

impl TestApp {
    /// What arrived on our exchange so far.
    pub(crate) fn events(&self) -> Vec<Arrival> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What arrived on our exchange under this key, `data` only.
    pub(crate) fn data_of(&self, routing_key: &str) -> Vec<Value> {
        self.events()
            .into_iter()
            .filter(|arrival| arrival.routing_key == routing_key)
            .map(|mut arrival| arrival.body["data"].take())
            .collect()
    }

    /// What arrived on GovConnect's exchange so far.
    pub(crate) fn govconnect(&self) -> Vec<Arrival> {
        self.govconnect
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Statuses that were announced under this reference, in order of arrival.
    pub(crate) fn statuses(&self, reference: &str) -> Vec<String> {
        self.data_of("message.status_changed")
            .into_iter()
            .filter(|data| data["reference"] == reference)
            .map(|data| data["status"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until this status was announced under this reference.
    pub(crate) async fn until_status(&self, reference: &str, status: &str) {
        eventually(&format!("{reference} is {status}"), || async {
            self.statuses(reference)
                .iter()
                .any(|known| known == status)
                .then_some(())
        })
        .await;
    }

    /// Waits until the outbox is empty, i.e. everything that was going to be published is on its queue.
    pub(crate) async fn until_published(&self) {
        eventually("the outbox is empty", || async {
            (self.count("outbox").await == 0).then_some(())
        })
        .await;
    }

    /// Takes one message off a queue.
    pub(crate) async fn take_from(&self, queue: &str) -> Option<Value> {
        let options = BasicGetOptions { no_ack: true };
        let got = self.channel.basic_get(queue.into(), options).await.unwrap()?;
        Some(serde_json::from_slice(&got.delivery.data).unwrap())
    }

    /// Publishes to GovConnect's exchange, as its services do.
    pub(crate) async fn govconnect_says(&self, key: &str, body: impl Into<Vec<u8>>) {
        let exchange = self.topology.govconnect_exchange();
        self.channel
            .basic_publish(
                exchange.as_str().into(),
                key.into(),
                lapin::options::BasicPublishOptions::default(),
                &body.into(),
                lapin::BasicProperties::default().with_delivery_mode(2),
            )
            .await
            .unwrap();
    }

    /// What the AI was handed over so far, in order.
    pub(crate) fn to_ai(&self) -> Vec<Value> {
        let arrivals = self.govconnect().into_iter();
        arrivals
            .filter(|arrival| arrival.routing_key == "whatsapp.message.received")
            .map(|arrival| arrival.body)
            .collect()
    }

    /// Waits until the AI was handed over this many messages.
    pub(crate) async fn until_to_ai(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} messages for the AI"), || async {
            Some(self.to_ai()).filter(|messages| messages.len() >= count)
        })
        .await
    }

    /// Waits for what one of GovConnect's queues brought and nobody could handle: the body and the reason.
    pub(crate) async fn govconnect_dead_letter(&self, queue: GovconnectQueue) -> (Vec<u8>, String) {
        let name = self.topology.govconnect_dead_letter_queue(queue);
        eventually("a dead letter", || async {
            let options = BasicGetOptions { no_ack: true };
            let got = self
                .channel
                .basic_get(name.as_str().into(), options)
                .await
                .unwrap()?;
            let headers = got.delivery.properties.headers().clone().unwrap();
            let reason = headers.inner().get("x-kanal-reason").unwrap();
            let reason = reason.as_long_string().unwrap().to_string();
            Some((got.delivery.data.clone(), reason))
        })
        .await
    }

    /// Waits for a message in the dead-letter queue of the orders.
    pub(crate) async fn dead_letter(&self) -> Value {
        let queue = self.topology.dead_letter_queue(Queue::ChannelCommands);
        eventually("a dead letter", || self.take_from(&queue)).await
    }

    /// Orders a text, as chatwoot-bridge does: over the broker. The reference is also the text.
    pub(crate) async fn order(&self, tenant: &Tenant, to: &str, reference: &str) -> Uuid {
        let order = order(tenant.account, to, reference);
        self.publish(&tenant.id, &order).await;
        order.request_id
    }

    pub(crate) async fn publish(&self, tenant: &str, order: &SendRequested) {
        let scope = TenantScope::of_own_event(TenantId::parse(tenant).unwrap());
        let envelope = Envelope::new(&scope, order).unwrap();
        self.publish_raw(envelope.id, envelope.to_json().unwrap().into_bytes())
            .await;
    }

    pub(crate) async fn publish_raw(&self, event_id: EventId, body: Vec<u8>) {
        let url = SecretString::from(test_support::rabbitmq_url());
        let broker = Broker::new(url, "tests", self.topology.clone(), true);
        let mut publisher = Publisher::connect(&broker).await.unwrap();
        let publication = Publication {
            exchange: self.topology.events_exchange(),
            routing_key: SendRequested::TYPE.to_owned(),
            event_id,
            body,
        };
        publisher.publish(&publication).await.unwrap();
    }
}

/// An order over the broker; the reference is also the text.
pub(crate) fn order(account: AccountId, to: &str, reference: &str) -> SendRequested {
    SendRequested {
        request_id: Uuid::now_v7(),
        account_id: account,
        to: format!("{to}@s.whatsapp.net"),
        text: reference.to_owned(),
        replaces: None,
        content: None,
        quoted: None,
        reference: Some(reference.to_owned()),
    }
}

pub(super) async fn connect(topology: &Topology) -> (Connection, Channel) {
    let amqp = Connection::connect(&test_support::rabbitmq_url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = amqp.create_channel().await.unwrap();
    topology.declare(&channel, true).await.unwrap();
    (amqp, channel)
}

/// Keeps everything that arrives on an exchange, through a queue that goes with the connection.
pub(super) async fn watch(channel: &Channel, exchange: &str) -> Arrivals {
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare("".into(), options, FieldTable::default())
        .await
        .unwrap();
    let name = queue.name().clone();
    channel
        .queue_bind(
            name.clone(),
            exchange.into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut deliveries = channel
        .basic_consume(name, "".into(), options, FieldTable::default())
        .await
        .unwrap();
    let arrivals = Arrivals::default();
    let kept = Arc::clone(&arrivals);
    tokio::spawn(async move {
        while let Some(Ok(delivery)) = deliveries.next().await {
            let arrival = Arrival {
                routing_key: delivery.routing_key.to_string(),
                message_id: delivery.properties.message_id().as_ref().map(ToString::to_string),
                body: serde_json::from_slice(&delivery.data).unwrap_or(Value::Null),
            };
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        }
    });
    arrivals
}
