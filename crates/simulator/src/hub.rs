//! Everything the mounts share: state, clock, HTTP clients and the tasks that run in the background.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chatwoot::state::ChatwootState;
use crate::faults::Faults;
use crate::gowa::state::GowaState;
use crate::graph::state::GraphState;
use crate::journal::Journal;
use crate::s3::S3State;
use crate::support::state::SupportState;
use crate::wa::state::WaState;
use crate::{SimulatorConfig, StartError};

/// When something happened, in two clocks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Wall clock, RFC 3339 with milliseconds, UTC.
    pub at: String,
    /// Milliseconds since the simulator started, for measuring distances.
    pub at_ms: u64,
}

/// One request one of the imitated servers got, for questions like "was it called at all".
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestEntry {
    /// Number in this journal.
    pub seq: u64,
    /// When it came in.
    #[serde(flatten)]
    pub moment: Moment,
    /// HTTP method.
    pub method: String,
    /// Whole path with mount, without query.
    pub path: String,
    /// Status answered; absent when the connection was cut.
    pub status: Option<u16>,
    /// A fault changed the outcome.
    pub faulted: bool,
}

pub(crate) struct Hub {
    pub(crate) config: SimulatorConfig,
    pub(crate) wa: Mutex<WaState>,
    pub(crate) chatwoot: Mutex<ChatwootState>,
    pub(crate) gowa: Mutex<GowaState>,
    pub(crate) graph: Mutex<GraphState>,
    pub(crate) s3: Mutex<S3State>,
    pub(crate) support: Mutex<SupportState>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) requests: Mutex<Journal<RequestEntry>>,
    pub(crate) wa_client: reqwest::Client,
    pub(crate) chatwoot_client: reqwest::Client,
    pub(crate) stopping: CancellationToken,
    started: Instant,
    runtime: Handle,
    tasks: TaskTracker,
}

impl Hub {
    pub(crate) fn new(config: SimulatorConfig) -> Result<Arc<Self>, StartError> {
        // The WA server verifies no certificates, follows up to 15 redirects and gives up after 30 s (WA contract §10).
        let wa_client = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::limited(15))
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(StartError::Client)?;
        // Certificates are not looked at here either, so that the simulator needs no CA files: it only ever talks to our
        // own services.
        let chatwoot_client = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(config.chatwoot_webhook_timeout)
            .build()
            .map_err(StartError::Client)?;
        Ok(Arc::new(Self {
            wa: Mutex::new(WaState::new(&config)),
            chatwoot: Mutex::new(ChatwootState::new(config.first_chatwoot_id)),
            gowa: Mutex::new(GowaState::new(&config)),
            graph: Mutex::new(GraphState::new(&config)),
            s3: Mutex::default(),
            support: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            wa_client,
            chatwoot_client,
            stopping: CancellationToken::new(),
            started: Instant::now(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            config,
        }))
    }

    /// Runs in the background on the runtime the simulator was started on, until it is done or the simulator stops.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tasks.spawn_on(
            async move {
                stopping.run_until_cancelled(work).await;
            },
            &self.runtime,
        );
    }

    /// Ends all background work and waits for it.
    pub(crate) async fn wind_down(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn now(&self) -> Moment {
        Moment {
            at: rfc3339(Utc::now()),
            at_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A panic elsewhere must not hide what happened before it, so a poisoned lock is entered all the same.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// An error with its causes on one line; HTTP clients hide the interesting part in the source.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The start of a response body, enough for a human to see what the receiver said.
pub(crate) async fn body_start(response: reqwest::Response) -> Result<String, reqwest::Error> {
    const KEPT: usize = 2048;
    let bytes = response.bytes().await?;
    let start = &bytes[..bytes.len().min(KEPT)];
    Ok(String::from_utf8_lossy(start).into_owned())
}
