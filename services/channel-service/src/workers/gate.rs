//! The gate's own work: events off the broker, deliveries, and what grows old.

use std::sync::Arc;
use std::time::Duration;

use database::{Database, DatabaseError};
use messaging::Envelope;
use messaging::broker::Broker;
use messaging::cause::left_by;
use messaging::consumer::{HandleError, HandleEvent};
use messaging::lanes::{self, LaneChoice, WorkerSettings, Workers};
use messaging::outbox::Signal;
use messaging::topology::Queue;
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::flows::gate::deliver::{Deliveries, LANES, TELL, TellError, tell};
use crate::flows::gate::subscribers::Subscribers;
use crate::store::gate_media;

/// How often what grew old is taken away.
const SWEEP: Duration = Duration::from_secs(60 * 60);
const BATCH: i64 = 500;
/// For so long a delivery that was given up can be tried again.
const PARKED_DAYS: f64 = 30.0;

/// Takes what may be told off the queue.
struct Events {
    db: Database,
    subscribers: Subscribers,
    workers: Signal,
}

impl HandleEvent for Events {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        let scope = envelope.scope();
        let telling = tell(&self.db, &self.subscribers, envelope);
        let told = left_by(
            "tell subscribers",
            envelope.request_id.clone(),
            envelope.traceparent,
            &scope,
            telling,
        )
        .await;
        match told {
            Ok(true) => self.workers.ring(),
            Ok(false) => {}
            Err(TellError::Event(error)) => return Err(HandleError::poison(error)),
            // Whatever Postgres' trouble is, the next event would meet it too.
            Err(TellError::Database(error)) => return Err(HandleError::later(error)),
        }
        Ok(())
    }
}

/// Takes events in, delivers them and sweeps.
pub fn start(
    broker: &Broker,
    subscribers: &Subscribers,
    deliveries: Deliveries,
    settings: WorkerSettings,
    shutdown: &Shutdown,
) {
    let db = deliveries.db.clone();
    let signal = Signal::default();
    let workers = Workers::new(db.clone(), Arc::new(deliveries), settings, signal.clone())
        .choosing(LaneChoice::Only(LANES));
    shutdown.spawn("gate deliveries", workers.run(shutdown.token()));

    let events = Events {
        db: db.clone(),
        subscribers: subscribers.clone(),
        workers: signal,
    };
    let (broker, stop) = (broker.clone(), shutdown.token());
    shutdown.spawn("gate events", async move {
        messaging::consumer::consume(&broker, Queue::GateEvents, &events, &stop).await;
    });
    let sweeping = shutdown.clone();
    shutdown.spawn("gate sweep", async move {
        loop {
            if let Err(error) = sweep(&db).await {
                tracing::warn!(error = %crate::error::chain(&error), "the gate could not be swept");
            }
            if !sweeping.sleep(SWEEP).await {
                return;
            }
        }
    });
}

/// Takes away what grew old: files, deliveries that were given up, and lanes that are done.
///
/// # Errors
/// [`DatabaseError`].
pub async fn sweep(db: &Database) -> Result<(), DatabaseError> {
    loop {
        let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("sweep the gate")).await?;
        let files = gate_media::delete_aged_uploads(&mut tx, BATCH).await?;
        let parked = lanes::expire_parked(&mut tx, Some(TELL), PARKED_DAYS, BATCH).await?;
        let idle = lanes::delete_idle(&mut tx, LANES, BATCH).await?;
        tx.commit().await?;
        if parked > 0 {
            tracing::warn!(
                parked,
                "webhooks of the gate that were put aside long ago are deleted"
            );
            metrics::counter!("kanal_gate_deliveries_total", "outcome" => "forgotten")
                .increment(parked as u64);
        }
        let full = |deleted: usize| i64::try_from(deleted).unwrap_or(BATCH) >= BATCH;
        if ![files, parked, idle].into_iter().any(full) {
            return Ok(());
        }
    }
}
