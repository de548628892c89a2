//! What a request is answered with.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache::RedisLink;
use database::Database;
use futures_util::FutureExt as _;
use runtime::encryption::KeyRing;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
use web::BodyBudget;

use crate::api::proxy::forwarded_requests;
use crate::config::{CallerSettings, HttpSettings, WaServerSettings};
use crate::error::Error;
use crate::flows::admit::Admissions;
use crate::flows::customer_key::CustomerKeys;
use crate::flows::customers::Customers;
use crate::flows::hooks::accept::Hooks;
use crate::flows::key_guard::KeyGuard;
use crate::flows::limit::Limits;
use crate::flows::session_status::StatusNotes;
use crate::flows::sessions::Sessions;
use crate::flows::standing::Standings;
use crate::traffic::Traffic;
use crate::wa_server::{Forwarder, WaServer};

/// Shared by all requests of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) db: Database,
    pub(crate) redis: RedisLink,
    pub(crate) callers: Arc<CallerSettings>,
    pub(crate) http: Arc<HttpSettings>,
    pub(crate) customer_keys: CustomerKeys,
    pub(crate) customers: Customers,
    pub(crate) key_guard: KeyGuard,
    pub(crate) standings: Standings,
    pub(crate) admissions: Admissions,
    pub(crate) traffic: Traffic,
    pub(crate) keys: KeyRing,
    pub(crate) sessions: Sessions,
    pub(crate) status_notes: StatusNotes,
    pub(crate) forwarding: Arc<WaServerSettings>,
    pub(crate) wa_server: WaServer,
    pub(crate) body_limit: u64,
    pub(crate) hooks: Hooks,
    /// Largest webhook that is taken. `None` where there is no relay.
    pub(crate) hook_body_limit: Option<usize>,
    pub(crate) hook_bodies: BodyBudget,
    pub(crate) policies: PoliciesConfirmed,
    pub(crate) process: Handle,
}

/// What one HTTP worker keeps for itself: connections that are opened, used and closed on its own thread, so that a
/// request that needs no more than them never waits for another thread. They end with the worker, and nobody else is on
/// them; see [`Gateway::on_process`] for everything else.
#[derive(Debug)]
pub(crate) struct WorkerLinks {
    pub(crate) limits: Limits,
    pub(crate) forwarder: Forwarder,
    /// See [`forwarded_requests`].
    pub(crate) forwarded: metrics::Counter,
}

/// Whether the database was seen to keep tenants apart. Until then nobody is served.
#[derive(Debug, Clone, Default)]
pub(crate) struct PoliciesConfirmed(Arc<AtomicBool>);

impl PoliciesConfirmed {
    pub(crate) fn confirm(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn are_confirmed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Gateway {
    /// For a worker that begins.
    ///
    /// # Errors
    /// When the WA server's or Redis' address cannot be used, which is known since the service was put together.
    pub(crate) fn worker_links(&self) -> Result<WorkerLinks, Error> {
        let redis = self
            .redis
            .over_own_connection()
            .map_err(|_| Error::Internal("Redis' address cannot be used"))?;
        let forwarder = Forwarder::new(&self.forwarding);
        Ok(WorkerLinks {
            limits: self.traffic.limits.over(&redis),
            forwarded: forwarded_requests(),
            forwarder: forwarder.ok_or(Error::Internal("the WA server's address cannot be used"))?,
        })
    }

    /// Does a request's work on the runtime of the process and gives it up when the request is given up.
    ///
    /// Whatever dials has to go through here, down to the smallest probe, unless it dials over [`WorkerLinks`].
    /// Connections are pooled for all workers but
    /// live on the runtime that opened them, and an HTTP worker's ends with the worker. At the end of the process an
    /// idle worker ends at once; it would take the connection with it that another worker's slow request waits on.
    pub(crate) fn on_process<T, W>(&self, work: W) -> impl Future<Output = Result<T, Error>> + use<T, W>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let task = AbortOnDropHandle::new(self.process.spawn(work.in_current_span()));
        task.map(|done| done.unwrap_or(Err(Error::Internal("the request's task died"))))
    }

    /// As [`on_process`](Self::on_process), for work that has to come to its end also when its caller has left: what
    /// follows a commit, such as taking back what other processes have at hand, must not be left out.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        to_the_end(&self.process, work).await
    }
}

/// Does work on the runtime of the process that is finished even when nobody waits for it any more.
pub(crate) async fn to_the_end<T: Send + 'static>(
    process: &Handle,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let task = process.spawn(work.in_current_span());
    task.await
        .unwrap_or(Err(Error::Internal("the request's task died")))
}
