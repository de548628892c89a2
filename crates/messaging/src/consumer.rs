//! Taking events off a queue: one after the other, each acknowledged only when the handler has made it durable.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Consumer, ErrorKind};
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Pauses};
use crate::envelope::Envelope;
use crate::publisher::error_chain;
use crate::topology::{GovconnectQueue, Queue, Topology};

/// What the handler says about an event it could not take.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Not now: the event stays in hand and is offered again after a pause. For a database that is away.
    #[error("cannot be handled now: {0}")]
    Later(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Never: it goes to the dead-letter queue.
    #[error("cannot be handled at all: {0}")]
    Poison(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl HandleError {
    /// For causes that pass.
    pub fn later(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Later(cause.into())
    }

    /// For causes that stay.
    pub fn poison(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Poison(cause.into())
    }
}

/// Makes events durable on this side of the broker.
pub trait HandleEvent: Send + Sync {
    /// Takes one event. May be called twice with the same one; `Ok` allows the broker to forget it.
    fn handle(&self, envelope: &Envelope) -> impl Future<Output = Result<(), HandleError>> + Send;
}

/// Makes durable what others publish in shapes of their own.
pub trait HandleBody: Send + Sync {
    /// Takes one message. May be called twice with the same one; `Ok` allows the broker to forget it.
    fn handle(&self, body: &[u8]) -> impl Future<Output = Result<(), HandleError>> + Send;
}

/// Events of ours, unwrapped for a handler of events.
struct Unwrapped<'a, H>(&'a H);

impl<H: HandleEvent> HandleBody for Unwrapped<'_, H> {
    async fn handle(&self, body: &[u8]) -> Result<(), HandleError> {
        let envelope = Envelope::read(body).map_err(HandleError::poison)?;
        self.0.handle(&envelope).await?;
        metrics::counter!("kanal_events_consumed_total", "type" => envelope.kind).increment(1);
        Ok(())
    }
}

/// A queue, and what follows from whose it is.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// Ours: one consumer is active at a time, and the broker moves to the dead letters what we refuse.
    Own(Queue),
    /// Without arguments: we have to be its only consumer, or two replicas would swap the answers to one person, and
    /// what we refuse we publish to the dead letters ourselves.
    Govconnect(GovconnectQueue),
}

impl Source {
    fn name(self, topology: &Topology) -> String {
        match self {
            Self::Own(queue) => topology.queue(queue),
            Self::Govconnect(queue) => topology.govconnect_queue(queue),
        }
    }
}

/// AMQP's word for an end without an error.
const REPLY_SUCCESS: u16 = 200;
/// Deliveries that wait in this process; more would only be redelivered after a crash.
const PREFETCH: u16 = 64;
/// Longest wait for the broker's part. The library can forget an acknowledgement when the connection breaks at the same
/// moment, and whoever waits for it then waits for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long without a delivery the broker is asked whether we are still attached. Its word that a queue is gone can
/// be missed when it comes at a bad moment, and then nothing would ever be delivered again.
const SILENCE: Duration = Duration::from_secs(5);

/// The reason in a dead letter's headers.
const REASON_HEADER: &str = "x-kanal-reason";
/// How often a process that stands by looks whether the queue's reader is gone.
const STANDBY: Duration = Duration::from_secs(2);

/// Reads `queue` until `stop`, over as many connections as that takes.
pub async fn consume<H: HandleEvent>(broker: &Broker, queue: Queue, handler: &H, stop: &CancellationToken) {
    read_for_ever(broker, Source::Own(queue), &Unwrapped(handler), stop).await;
}

/// Reads one of GovConnect's queues until `stop`. Of several processes one reads, the others stand by.
pub async fn consume_govconnect<H: HandleBody>(
    broker: &Broker,
    queue: GovconnectQueue,
    handler: &H,
    stop: &CancellationToken,
) {
    read_for_ever(broker, Source::Govconnect(queue), handler, stop).await;
}

async fn read_for_ever<H: HandleBody>(
    broker: &Broker,
    source: Source,
    handler: &H,
    stop: &CancellationToken,
) {
    let mut pauses = Pauses::default();
    while !stop.is_cancelled() {
        let pause = match read(broker, source, handler, stop, &mut pauses).await {
            Ok(Ended::Stopped) => {
                broker.mark(stop.is_cancelled());
                pauses.next()
            }
            Ok(Ended::StandingBy) => {
                pauses.reset();
                STANDBY
            }
            Err(error) => {
                broker.mark(false);
                tracing::warn!(?source, error, "reading the queue was interrupted");
                pauses.next()
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Why reading ended without an error.
enum Ended {
    Stopped,
    /// Another process reads the queue.
    StandingBy,
}

async fn read<H: HandleBody>(
    broker: &Broker,
    source: Source,
    handler: &H,
    stop: &CancellationToken,
    pauses: &mut Pauses,
) -> Result<Ended, String> {
    let link = broker.link().await.map_err(|error| error_chain(&error))?;
    let name = source.name(broker.topology());
    let exclusive = matches!(source, Source::Govconnect(_));
    let began = answered(async {
        link.channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        if exclusive {
            link.channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
        }
        let options = BasicConsumeOptions {
            exclusive,
            ..BasicConsumeOptions::default()
        };
        let begun = link
            .channel
            .basic_consume(name.as_str().into(), "".into(), options, FieldTable::default())
            .await;
        match begun {
            Err(error) if exclusive && is_taken(&error) => Ok(None),
            begun => begun.map(Some),
        }
    })
    .await?;
    let Some(mut deliveries) = began else {
        return Ok(Ended::StandingBy);
    };
    let reading = Reading {
        source,
        name,
        channel: &link.channel,
        dead: broker.topology().dead_exchange(),
    };
    let ended = reading.take_all(handler, &mut deliveries, stop, pauses).await;
    // Before the consumer is dropped, which would cancel it: what is on its way to a cancelled consumer goes back to the
    // queue ahead of what was delivered earlier, and the next process would swap the two.
    let closed = answered(link.channel.close(REPLY_SUCCESS, "done".into())).await;
    drop(deliveries);
    ended.and(closed).map(|()| Ended::Stopped)
}

/// Is there another consumer that wants the queue for itself?
fn is_taken(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))
        }
        _ => false,
    }
}

/// What the broker says, or that it says nothing.
async fn answered<T>(answer: impl Future<Output = Result<T, lapin::Error>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| error_chain(&error)),
        Err(_) => Err("the broker did not answer in time".to_owned()),
    }
}

/// One channel that reads one queue.
struct Reading<'a> {
    source: Source,
    name: String,
    channel: &'a Channel,
    dead: String,
}

impl Reading<'_> {
    /// Asks the broker whether the queue is still there, read by anybody, and holds nothing that should have come.
    ///
    /// A quorum queue that is deleted and declared again at once may count our consumer as its own and bring it nothing:
    /// the broker takes the new messages' numbers for those of messages that were delivered before. A replica that stands
    /// by while another one reads a backlog begins anew now and then for nothing, which harms nobody.
    async fn check(&self) -> Result<(), String> {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = self
            .channel
            .queue_declare(self.name.as_str().into(), passive, FieldTable::default());
        let queue = answered(declared).await?;
        if queue.consumer_count() == 0 {
            return Err("the queue has forgotten its reader".to_owned());
        }
        if queue.message_count() > 0 {
            return Err("the queue holds messages and brings none".to_owned());
        }
        Ok(())
    }

    async fn take_all<H: HandleBody>(
        &self,
        handler: &H,
        deliveries: &mut Consumer,
        stop: &CancellationToken,
        pauses: &mut Pauses,
    ) -> Result<(), String> {
        loop {
            let delivery = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                delivery = deliveries.next() => delivery,
                () = tokio::time::sleep(SILENCE) => {
                    self.check().await?;
                    continue;
                }
            };
            let Some(delivery) = delivery else {
                return Err("the broker closed the channel".to_owned());
            };
            let delivery = delivery.map_err(|error| error_chain(&error))?;
            pauses.reset();
            self.take(handler, delivery, stop).await?;
        }
    }

    async fn take<H: HandleBody>(
        &self,
        handler: &H,
        delivery: Delivery,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let mut pause = Duration::from_millis(50);
        loop {
            match handler.handle(&delivery.data).await {
                Ok(()) => return answered(delivery.ack(BasicAckOptions::default())).await.map(drop),
                Err(error @ HandleError::Poison(_)) => return self.dead_letter(&delivery, &error).await,
                Err(error @ HandleError::Later(_)) => {
                    self.say_that_it_waits(&delivery, &error);
                    tokio::select! {
                        // Unacknowledged, so the broker gives it to the next process.
                        () = stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                    }
                }
            }
        }
    }

    fn say_that_it_waits(&self, delivery: &Delivery, error: &HandleError) {
        let envelope = match self.source {
            Source::Own(_) => Envelope::read(&delivery.data).ok(),
            Source::Govconnect(_) => None,
        };
        let tenant = envelope.as_ref().map(|envelope| envelope.tenant_id.as_str());
        let request_id = envelope
            .as_ref()
            .and_then(|envelope| envelope.request_id.as_deref());
        tracing::warn!(source = ?self.source, tenant, request_id, error = error_chain(error), "an event has to wait");
    }

    async fn dead_letter(&self, delivery: &Delivery, error: &HandleError) -> Result<(), String> {
        let reason = error_chain(error);
        tracing::error!(source = ?self.source, error = reason, "an event goes to the dead-letter queue");
        metrics::counter!("kanal_events_dead_lettered_total").increment(1);
        match self.source {
            Source::Own(_) => {
                let options = BasicNackOptions {
                    requeue: false,
                    ..BasicNackOptions::default()
                };
                answered(delivery.nack(options)).await.map(drop)
            }
            Source::Govconnect(_) => {
                // Safe there before it is forgotten here; cut in between, it is a dead letter twice.
                self.publish_dead(delivery, reason).await?;
                answered(delivery.ack(BasicAckOptions::default())).await.map(drop)
            }
        }
    }

    async fn publish_dead(&self, delivery: &Delivery, reason: String) -> Result<(), String> {
        let mut headers = FieldTable::default();
        headers.insert(REASON_HEADER.into(), AMQPValue::LongString(reason.into()));
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_headers(headers);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let (exchange, key) = (self.dead.as_str().into(), self.name.as_str().into());
        let confirmation = answered(async {
            let sent = self
                .channel
                .basic_publish(exchange, key, options, &delivery.data, properties)
                .await?;
            sent.await
        })
        .await?;
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            // Nothing else is published on this channel, so what came back is this.
            _ => Err("the broker did not take a dead letter".to_owned()),
        }
    }
}
