//! Works the lanes of the webhook relay, and publishes what it has to announce.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use database::Database;
use messaging::broker::Broker;
use messaging::cause::left_by;
use messaging::lanes::{HandleTask, LaneChoice, LaneError, Lease, Next, Task, WorkerSettings, Workers};
use messaging::outbox::{Relay, Signal};
use runtime::shutdown::Shutdown;
use serde::de::DeserializeOwned;
use trace_context::TraceContext;
use whatsapp::genfity::{Endpoint, GenfityCourtesy, InvalidEndpoint};

use super::{hook_retention, watch};
use crate::SERVICE;
use crate::config::Settings;
use crate::flows::hooks::accept::Hooks;
use crate::flows::hooks::deliver::Deliveries;
use crate::flows::hooks::mark_read::ReadMarks;
use crate::flows::hooks::{HOOK_LANES, HookErrand, READ_LANES, ReadErrand};
use crate::receivers::Receivers;
use crate::state::{Gateway, PoliciesConfirmed};

/// Sessions whose messages are marked as read at once. A mark is one short call.
const READ_CONCURRENCY: usize = 8;

/// How often it is looked whether the work may begin.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The side of the webhook relay that has no port. It works whether the relay is on or off: what was accepted before it
/// was switched off is delivered all the same.
#[derive(Debug)]
pub(crate) struct HookWork {
    db: Database,
    deliveries: Deliveries,
    marks: ReadMarks,
    workers: WorkerSettings,
    waiting: Signal,
    unread: Signal,
    retention_days: u32,
    broker: Option<(Broker, Signal)>,
    policies: PoliciesConfirmed,
}

/// Why the relay cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum HookWorkError {
    /// The client of the customers' receivers.
    #[error("the HTTP client of the receivers cannot be set up: {0}")]
    Receivers(#[from] reqwest::Error),
    /// The way to the WA server.
    #[error("WA_SERVER_URL: {0}")]
    WaServer(#[from] InvalidEndpoint),
}

impl HookWork {
    /// Puts the work together. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`HookWorkError`].
    pub(crate) fn new(settings: &Settings, gateway: &Gateway) -> Result<Self, HookWorkError> {
        let hooks = &settings.hooks;
        let broker = hooks.broker.as_ref().map(|broker| {
            let broker = Broker::new(broker.url.clone(), SERVICE, broker.topology.clone(), false);
            (broker, Signal::default())
        });
        let (busy, keys) = (gateway.db.keeping_plans(), gateway.keys.clone());
        let receivers = Receivers::new(hooks.outbound.clone(), hooks.timeout)?;
        let deliveries = Deliveries::new(
            busy.clone(),
            keys.clone(),
            receivers,
            hooks.retry,
            hooks.memory,
            broker.as_ref().map(|(_, signal)| signal.clone()),
        );
        let wa_server = GenfityCourtesy::new(&Endpoint::new(settings.wa_server.url.url().clone())?)?;
        let Hooks { waiting, unread, .. } = &gateway.hooks;
        Ok(Self {
            marks: ReadMarks::new(busy, keys, Arc::new(wa_server)),
            db: gateway.db.clone(),
            deliveries,
            workers: hooks.workers,
            waiting: waiting.clone(),
            unread: unread.clone(),
            retention_days: hooks.retention_days,
            broker,
            policies: gateway.policies.clone(),
        })
    }

    /// The way to RabbitMQ, where there is one.
    pub(crate) fn broker(&self) -> Option<Broker> {
        self.broker.as_ref().map(|(broker, _)| broker.clone())
    }

    /// Begins as soon as the database is known to keep tenants apart, and works until the end.
    pub(crate) fn start(self, shutdown: &Shutdown) {
        let starting = shutdown.clone();
        shutdown.spawn("start of the hook workers", async move {
            while !self.policies.are_confirmed() {
                if !starting.sleep(LOOK_AGAIN).await {
                    return;
                }
            }
            if !starting.has_begun() {
                self.spawn(&starting);
            }
        });
    }

    fn spawn(self, shutdown: &Shutdown) {
        let deliveries = Workers::new(
            self.db.clone(),
            Arc::new(HookLanes(self.deliveries)),
            self.workers,
            self.waiting,
        );
        let marks = WorkerSettings {
            concurrency: READ_CONCURRENCY.min(self.workers.concurrency),
            lease: self.workers.lease,
        };
        let marks = Workers::new(
            self.db.clone(),
            Arc::new(ReadLanes(self.marks)),
            marks,
            self.unread,
        );
        shutdown.spawn("watch", messaging::watch::run(self.db.clone(), shutdown.token()));
        shutdown.spawn(
            "watch of subscriptions",
            watch::run(self.db.clone(), shutdown.clone()),
        );
        shutdown.spawn(
            "hook deliveries",
            deliveries
                .choosing(LaneChoice::Only(HOOK_LANES))
                .run(shutdown.token()),
        );
        shutdown.spawn(
            "read marks",
            marks.choosing(LaneChoice::Only(READ_LANES)).run(shutdown.token()),
        );
        if let Some((broker, signal)) = self.broker {
            let relay = Relay::new(self.db.clone(), broker, signal, false);
            shutdown.spawn("outbox relay", relay.run(shutdown.token()));
        }
        shutdown.spawn(
            "hook retention",
            hook_retention::run(self.db, self.retention_days, shutdown.clone()),
        );
    }
}

#[derive(Debug)]
struct HookLanes(Deliveries);

impl HandleTask for HookLanes {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        // What is to be delivered is in the rows; a payload that cannot be read loses the request's id and no more.
        let cause = read::<HookErrand>(task)
            .map(|errand| (errand.request_id, errand.traceparent))
            .unwrap_or_default();
        within("deliver webhook", lease, task, cause, self.0.deliver(lease, task)).await
    }
}

#[derive(Debug)]
struct ReadLanes(ReadMarks);

impl HandleTask for ReadLanes {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let Some(errand) = read::<ReadErrand>(task) else {
            tracing::error!(task = %task.id, "a task cannot be read");
            return self.0.finish(lease, task, "unreadable").await;
        };
        let cause = (errand.request_id.clone(), errand.traceparent);
        within(
            "mark as read",
            lease,
            task,
            cause,
            self.0.mark(lease, task, &errand),
        )
        .await
    }
}

fn read<T: DeserializeOwned>(task: &Task) -> Option<T> {
    serde_json::from_str(&task.payload).ok()
}

/// The work on a task: its lines in the log name the customer, the session's lane and the event.
async fn within(
    name: &'static str,
    lease: &Lease,
    task: &Task,
    (request_id, place): (Option<String>, Option<TraceContext>),
    work: impl Future<Output = Result<Next, LaneError>> + Send,
) -> Result<Next, LaneError> {
    use tracing::Instrument as _;

    let work = async {
        // A line shows the innermost span alone, so this one has everything.
        let span = tracing::error_span!(
            "hook",
            request_id = messaging::cause::request_id(),
            trace_id = trace_context::current().map(|place| tracing::field::display(place.trace_id())),
            tenant = %lease.scope().tenant(),
            lane = lease.lane(),
            task = %task.id,
        );
        work.instrument(span).await
    };
    left_by(name, request_id, place, lease.scope(), work).await
}
