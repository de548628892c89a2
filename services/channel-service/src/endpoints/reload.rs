//! SIGHUP: the endpoints are read anew, without a restart.
//!
//! All or nothing: a configuration with a mistake is reported as at the start, and the one before stays.

use std::sync::Arc;
use std::time::Duration;

use runtime::config::{InvalidSettings, SettingsReader};
use runtime::shutdown::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Changes, EndpointError, Endpoints, listed};
use crate::aws_secrets;
use crate::config::EndpointsSettings;

/// Reads the settings' sources anew.
pub type ReadSettings = Arc<dyn Fn() -> SettingsReader + Send + Sync>;

/// Longest time of one reload; secrets may have to be fetched.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why everything stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The settings have mistakes.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    /// An endpoint cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The secrets did not come in time.
    #[error("the settings could not be read in time")]
    TooSlow,
}

/// Reads the endpoints anew and takes them.
///
/// # Errors
/// [`ReloadError`]; the endpoints are as before then.
pub async fn reload(endpoints: &Endpoints, read: &ReadSettings) -> Result<Changes, ReloadError> {
    let reading = async {
        let reader = read();
        let secrets = aws_secrets::fetch_for(&reader).await;
        EndpointsSettings::read(reader, &secrets)
    };
    let settings = tokio::time::timeout(PATIENCE, reading)
        .await
        .map_err(|_| ReloadError::TooSlow)??;
    Ok(endpoints.replace(&settings)?)
}

/// The SIGHUPs that reach the process. While there is none of these, one ends it.
pub struct Hangups(Signal);

impl Hangups {
    /// Catches them from now on.
    ///
    /// # Errors
    /// When the signal handler cannot be installed.
    pub fn catch() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }
}

/// Reloads at every SIGHUP until the end. Signals during a reload make one more.
pub async fn run(mut hangups: Hangups, endpoints: Endpoints, read: ReadSettings, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            signal = hangups.0.recv() => if signal.is_none() { return },
        }
        tokio::select! {
            () = shutdown.begun() => return,
            outcome = reload(&endpoints, &read) => tell(&outcome, &endpoints),
        }
    }
}

fn tell(outcome: &Result<Changes, ReloadError>, endpoints: &Endpoints) {
    match outcome {
        Ok(changes) => {
            metrics::counter!("kanal_endpoint_reloads_total", "outcome" => "taken").increment(1);
            tracing::info!(new = %listed(&changes.new), changed = %listed(&changes.changed),
                removed = %listed(&changes.removed), configured = endpoints.names().len(),
                "the endpoints were read anew");
        }
        Err(error) => {
            metrics::counter!("kanal_endpoint_reloads_total", "outcome" => "refused").increment(1);
            if let ReloadError::Settings(invalid) = error {
                for problem in &invalid.problems {
                    tracing::error!(setting = problem.name, rule = problem.rule, "a setting is wrong");
                }
            }
            tracing::error!(error = %crate::error::chain(error),
                "the endpoints were not read anew: those of before stay");
        }
    }
}
