//! An event leaves its queue when it is durable here, and not before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use messaging::consumer::{HandleError, HandleEvent, consume};
use messaging::topology::Queue;
use messaging::{Envelope, Publication, Publisher};
use test_support::{CuttableProxy, eventually, rabbitmq_url};
use tokio_util::sync::CancellationToken;

use super::world::{Running, Wire, by_lane, reference, status};

type Answer = dyn Fn(String, usize) -> BoxFuture<'static, Result<(), HandleError>> + Send + Sync;

/// Notes each event and answers as it is told, by the event's reference and how often it was offered before.
#[derive(Clone)]
struct Notebook {
    seen: Arc<Mutex<Vec<String>>>,
    attempts: Arc<Mutex<HashMap<String, usize>>>,
    answer: Arc<Answer>,
}

impl Notebook {
    fn answering<F>(answer: impl Fn(String, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), HandleError>> + Send + 'static,
    {
        Self {
            seen: Arc::default(),
            attempts: Arc::default(),
            answer: Arc::new(move |reference, attempt| answer(reference, attempt).boxed()),
        }
    }

    fn willing() -> Self {
        Self::answering(|_, _| async { Ok(()) })
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    async fn until_seen(&self, count: usize) {
        eventually("events are handled", || async {
            (self.seen().len() >= count).then_some(())
        })
        .await;
    }
}

impl HandleEvent for Notebook {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        let reference = reference(envelope);
        self.seen.lock().unwrap().push(reference.clone());
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap();
            let attempt = attempts.entry(reference.clone()).or_default();
            *attempt += 1;
            *attempt - 1
        };
        (self.answer)(reference, attempt).await
    }
}

impl Wire {
    fn start_consumer(&self, notebook: &Notebook) -> Running {
        let (broker, notebook, stop) = (self.broker.clone(), notebook.clone(), CancellationToken::new());
        let stopping = stop.clone();
        Running {
            task: tokio::spawn(async move {
                consume(&broker, Queue::BridgeEvents, &notebook, &stopping).await;
            }),
            stop,
        }
    }

    async fn publish(&self, envelopes: impl IntoIterator<Item = Envelope>) {
        for envelope in envelopes {
            let body = envelope.to_json().unwrap().into_bytes();
            self.publish_bytes(&envelope.kind, &body).await;
        }
    }

    async fn publish_bytes(&self, key: &str, body: &[u8]) {
        self.channel
            .basic_publish(
                self.topology.events_exchange().into(),
                key.into(),
                BasicPublishOptions::default(),
                body,
                BasicProperties::default(),
            )
            .await
            .unwrap()
            .await
            .unwrap();
    }

    async fn drain_live(&self) -> Vec<Vec<u8>> {
        self.drain(&self.topology.queue(Queue::BridgeEvents)).await
    }

    async fn drain_dead(&self) -> Vec<Vec<u8>> {
        self.drain(&self.topology.dead_letter_queue(Queue::BridgeEvents))
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_has_to_wait_stays_in_hand_and_keeps_its_place() {
    let wire = Wire::new().await;
    let notebook = Notebook::answering(|reference, attempt| async move {
        if reference == "a/0" && attempt < 3 {
            return Err(HandleError::later("the database is away"));
        }
        Ok(())
    });
    let consumer = wire.start_consumer(&notebook);
    wire.publish([status("a", 0), status("a", 1)]).await;
    notebook.until_seen(5).await;
    assert_eq!(notebook.seen(), ["a/0", "a/0", "a/0", "a/0", "a/1"]);
    consumer.end().await;
    assert!(wire.drain_live().await.is_empty());
    assert!(wire.drain_dead().await.is_empty());
    wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_and_garbage_go_to_the_dead_letter_queue() {
    let wire = Wire::new().await;
    let notebook = Notebook::answering(|reference, _| async move {
        if reference == "a/1" {
            return Err(HandleError::poison("nobody knows this account"));
        }
        Ok(())
    });
    let consumer = wire.start_consumer(&notebook);
    wire.publish([status("a", 0), status("a", 1)]).await;
    wire.publish_bytes("message.received", b"\xff garbage").await;
    wire.publish([status("a", 2)]).await;
    notebook.until_seen(3).await;
    assert_eq!(notebook.seen(), ["a/0", "a/1", "a/2"]);
    // The broker moves them when it gets to it.
    let queue = wire.topology.dead_letter_queue(Queue::BridgeEvents);
    eventually("both are dead letters", || async {
        (wire.waiting_on(&queue).await == 2).then_some(())
    })
    .await;
    let dead = wire.drain_dead().await;
    assert_eq!(reference(&Envelope::read(&dead[0]).unwrap()), "a/1");
    assert_eq!(dead[1], b"\xff garbage");
    assert_eq!(dead.len(), 2);
    consumer.end().await;
    assert!(wire.drain_live().await.is_empty());
    wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_consumer_had_in_hand_comes_again() {
    let wire = Wire::new().await;
    let stuck = Notebook::answering(|_, _| std::future::pending());
    let dying = wire.start_consumer(&stuck);
    wire.publish([status("a", 0), status("a", 1)]).await;
    stuck.until_seen(1).await;
    dying.kill().await;
    let notebook = Notebook::willing();
    let next = wire.start_consumer(&notebook);
    notebook.until_seen(2).await;
    assert_eq!(notebook.seen(), ["a/0", "a/1"]);
    next.end().await;
    assert!(wire.drain_live().await.is_empty());
    wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_stops_gives_back_what_has_to_wait() {
    let wire = Wire::new().await;
    let notebook = Notebook::answering(|_, _| async { Err(HandleError::later("away")) });
    let consumer = wire.start_consumer(&notebook);
    wire.publish([status("a", 0), status("a", 1)]).await;
    notebook.until_seen(2).await;
    consumer.end().await;
    let back = wire.drain_live().await;
    assert_eq!(by_lane(&back)["a"], [0, 1]);
    wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_stops_finishes_the_event_in_hand() {
    let wire = Wire::new().await;
    let (done, finished) = std::sync::mpsc::channel();
    let notebook = Notebook::answering(move |reference, _| {
        let done = done.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            done.send(reference).unwrap();
            Ok(())
        }
    });
    let consumer = wire.start_consumer(&notebook);
    wire.publish([status("a", 0), status("a", 1)]).await;
    notebook.until_seen(1).await;
    consumer.end().await;
    assert_eq!(finished.try_iter().collect::<Vec<_>>(), ["a/0"]);
    assert_eq!(by_lane(&wire.drain_live().await)["a"], [1]);
    wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_consumers_one_reads_and_the_other_takes_over_in_order() {
    let wire = Wire::new().await;
    let notebook = Notebook::answering(|_, _| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(())
    });
    let first = wire.start_consumer(&notebook);
    wire.publish([status("a", 0)]).await;
    notebook.until_seen(1).await;
    let second = wire.start_consumer(&notebook);
    wire.publish((1..100).map(|number| status("a", number))).await;
    notebook.until_seen(50).await;
    // Both write into one notebook: with two readers neighbours would be swapped.
    first.kill().await;
    eventually("the rest comes", || async {
        notebook.seen().contains(&"a/99".to_owned()).then_some(())
    })
    .await;
    let mut seen = notebook.seen();
    let mut known = std::collections::HashSet::new();
    seen.retain(|reference| known.insert(reference.clone()));
    assert_eq!(
        seen,
        (0..100).map(|number| format!("a/{number}")).collect::<Vec<_>>()
    );
    second.end().await;
    wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_are_stopped_and_started_again_swap_nothing() {
    let wire = Wire::new().await;
    let notebook = Notebook::willing();
    // More than a consumer is given ahead, so that the broker is still sending when one stops.
    wire.publish((0..600).map(|number| status("a", number))).await;
    for round in 1..=10 {
        let consumer = wire.start_consumer(&notebook);
        notebook.until_seen(round * 50).await;
        consumer.end().await;
    }
    let consumer = wire.start_consumer(&notebook);
    eventually("the rest comes", || async {
        notebook.seen().contains(&"a/599".to_owned()).then_some(())
    })
    .await;
    let mut seen = notebook.seen();
    let mut known = std::collections::HashSet::new();
    seen.retain(|reference| known.insert(reference.clone()));
    assert_eq!(
        seen,
        (0..600).map(|number| format!("a/{number}")).collect::<Vec<_>>()
    );
    consumer.end().await;
    wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_survives_a_broker_that_goes_away() {
    let proxy = CuttableProxy::in_front_of(&rabbitmq_url(), 5672).await;
    let wire = Wire::reached_by(&proxy.url(&rabbitmq_url()), true).await;
    let notebook = Notebook::willing();
    let consumer = wire.start_consumer(&notebook);
    wire.publish([status("a", 0)]).await;
    notebook.until_seen(1).await;
    for number in 1..4 {
        proxy.cut();
        wire.publish([status("a", number)]).await;
        eventually("the outage is noticed", || async {
            (!wire.broker.is_up()).then_some(())
        })
        .await;
        proxy.restore();
        eventually("the event arrives", || async {
            notebook.seen().contains(&format!("a/{number}")).then_some(())
        })
        .await;
        assert!(wire.broker.is_up());
    }
    consumer.end().await;
    assert!(wire.drain_live().await.is_empty());
    wire.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_whose_queue_is_deleted_declares_it_again() {
    let wire = Wire::new().await;
    let notebook = Notebook::willing();
    let consumer = wire.start_consumer(&notebook);
    wire.publish([status("a", 0)]).await;
    notebook.until_seen(1).await;
    wire.delete(&wire.topology.queue(Queue::BridgeEvents)).await;
    eventually("an event arrives again", || async {
        let mut publisher = Publisher::connect(&wire.broker).await.unwrap();
        let envelope = status("a", 1);
        let publication = Publication {
            exchange: wire.topology.events_exchange(),
            routing_key: envelope.kind.clone(),
            event_id: envelope.id,
            body: envelope.to_json().unwrap().into_bytes(),
        };
        publisher.publish(&publication).await.unwrap();
        notebook.seen().contains(&"a/1".to_owned()).then_some(())
    })
    .await;
    consumer.end().await;
    wire.clean().await;
}
