//! Taking events off a queue: one after the other, each acknowledged only when the handler has made it durable.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Pauses};
use crate::envelope::Envelope;
use crate::publisher::error_chain;
use crate::topology::Queue;

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

/// Reads `queue` until `stop`, over as many connections as that takes.
pub async fn consume<H: HandleEvent>(broker: &Broker, queue: Queue, handler: &H, stop: &CancellationToken) {
    let mut pauses = Pauses::default();
    while !stop.is_cancelled() {
        match read(broker, queue, handler, stop, &mut pauses).await {
            Ok(()) => broker.mark(stop.is_cancelled()),
            Err(error) => {
                broker.mark(false);
                tracing::warn!(?queue, error, "reading the queue was interrupted");
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pauses.next()) => {}
        }
    }
}

async fn read<H: HandleEvent>(
    broker: &Broker,
    queue: Queue,
    handler: &H,
    stop: &CancellationToken,
    pauses: &mut Pauses,
) -> Result<(), String> {
    let link = broker.link().await.map_err(|error| error_chain(&error))?;
    let name = broker.topology().queue(queue);
    let mut deliveries = answered(async {
        link.channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        link.channel
            .basic_consume(name.as_str().into(), "".into(), options, arguments)
            .await
    })
    .await?;
    let from = Attached {
        channel: &link.channel,
        queue,
        name: &name,
    };
    let ended = take_all(&from, handler, &mut deliveries, stop, pauses).await;
    // Before the consumer is dropped, which would cancel it: what is on its way to a cancelled consumer goes back to the
    // queue ahead of what was delivered earlier, and the next process would swap the two.
    let closed = answered(link.channel.close(REPLY_SUCCESS, "done".into())).await;
    drop(deliveries);
    ended.and(closed)
}

/// The queue that is read, and by which channel.
struct Attached<'a> {
    channel: &'a Channel,
    queue: Queue,
    name: &'a str,
}

impl Attached<'_> {
    /// Asks the broker whether the queue is still there and read by anybody.
    async fn check(&self) -> Result<(), String> {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = self
            .channel
            .queue_declare(self.name.into(), passive, FieldTable::default());
        match answered(declared).await?.consumer_count() {
            0 => Err("the queue has forgotten its reader".to_owned()),
            _ => Ok(()),
        }
    }
}

async fn take_all<H: HandleEvent>(
    from: &Attached<'_>,
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
                from.check().await?;
                continue;
            }
        };
        let Some(delivery) = delivery else {
            return Err("the broker closed the channel".to_owned());
        };
        let delivery = delivery.map_err(|error| error_chain(&error))?;
        pauses.reset();
        take(from.queue, handler, delivery, stop).await?;
    }
}

/// What the broker says, or that it says nothing.
async fn answered<T>(answer: impl Future<Output = Result<T, lapin::Error>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| error_chain(&error)),
        Err(_) => Err("the broker did not answer in time".to_owned()),
    }
}

async fn take<H: HandleEvent>(
    queue: Queue,
    handler: &H,
    delivery: Delivery,
    stop: &CancellationToken,
) -> Result<(), String> {
    let envelope = match Envelope::read(&delivery.data) {
        Ok(envelope) => envelope,
        Err(error) => return dead_letter(queue, &delivery, &error).await,
    };
    let mut pause = Duration::from_millis(50);
    loop {
        match handler.handle(&envelope).await {
            Ok(()) => {
                metrics::counter!("kanal_events_consumed_total", "type" => envelope.kind.clone())
                    .increment(1);
                return answered(delivery.ack(BasicAckOptions::default())).await.map(drop);
            }
            Err(error @ HandleError::Poison(_)) => return dead_letter(queue, &delivery, &error).await,
            Err(error @ HandleError::Later(_)) => {
                tracing::warn!(tenant = %envelope.tenant_id, request_id = envelope.request_id, error = error_chain(&error), "an event has to wait");
                tokio::select! {
                    // Unacknowledged, so the broker gives it to the next process.
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                }
            }
        }
    }
}

async fn dead_letter(
    queue: Queue,
    delivery: &Delivery,
    error: &(dyn std::error::Error + Sync),
) -> Result<(), String> {
    tracing::error!(
        ?queue,
        error = error_chain(error),
        "an event goes to the dead-letter queue"
    );
    metrics::counter!("kanal_events_dead_lettered_total").increment(1);
    let options = BasicNackOptions {
        requeue: false,
        ..BasicNackOptions::default()
    };
    answered(delivery.nack(options)).await.map(drop)
}
