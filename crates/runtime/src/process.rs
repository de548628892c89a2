//! The part of a service's settings that is the same for all of them, and its first and last steps.

use std::net::{IpAddr, SocketAddr};

use secrecy::SecretString;

use crate::config::{InvalidSettings, SettingsReader};
use crate::shutdown::{GRACE, Shutdown};
use crate::telemetry::{LogFormat, LogLevel, start_logs, start_metrics, tend_metrics};

/// Where a process listens and how it reports.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// Address of the HTTP server.
    pub address: SocketAddr,
    /// Threads of the HTTP server.
    pub workers: usize,
    /// Which log lines are written.
    pub log_level: LogLevel,
    /// How they look.
    pub log_format: LogFormat,
    /// Opens `/metrics`.
    pub metrics_token: Option<SecretString>,
}

impl ProcessSettings {
    /// Reads `HOST`, `PORT`, `HTTP_WORKERS`, `LOG_LEVEL`, `LOG_FORMAT` and `METRICS_TOKEN`.
    pub fn read(reader: &mut SettingsReader, default_port: &str) -> Option<Self> {
        let host: Option<IpAddr> = reader.with_default("HOST", "0.0.0.0", "Address to listen on");
        let port: Option<u16> = reader.with_default("PORT", default_port, "Port to listen on");
        let workers = reader.with_default("HTTP_WORKERS", "2", "Threads that serve HTTP");
        let log_level = reader.with_default("LOG_LEVEL", "info", "Level or filter directives of the log");
        let log_format = reader.with_default("LOG_FORMAT", "json", "`json`, or `pretty` for people");
        let metrics_token = reader.optional(
            "METRICS_TOKEN",
            "Bearer token that opens `/metrics`; without it the page does not exist",
        );
        Some(Self {
            address: SocketAddr::new(host?, port?),
            workers: workers?,
            log_level: log_level?,
            log_format: log_format?,
            metrics_token,
        })
    }
}

/// Starts logs, metrics and the wait for signals.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn start(service: &'static str, settings: &ProcessSettings) -> std::io::Result<Shutdown> {
    start_logs(&settings.log_level, settings.log_format);
    start_metrics();
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    shutdown.spawn("metrics upkeep", tend_metrics(shutdown.clone()));
    tracing::info!(service, version = env!("CARGO_PKG_VERSION"), address = %settings.address, "starting");
    Ok(shutdown)
}

/// Waits for everything that was started; true when all of it finished in time. What the server took of the grace
/// period for its open requests is gone.
pub async fn finish(service: &'static str, shutdown: &Shutdown) -> bool {
    shutdown.begin();
    let finished = shutdown.finished_within(shutdown.left_of(GRACE)).await;
    tracing::info!(service, finished, "stopped");
    finished
}

/// The exit code of a process whose settings are wrong: `EX_CONFIG` of sysexits.
pub const EXIT_CONFIG: u8 = 78;

/// The exit code of a process that cannot work with the database's schema as it is: `EX_DATAERR` of sysexits.
pub const EXIT_SCHEMA: u8 = 65;

/// Prints the answer of a command. A reader that has left (`| head`) is no failure.
pub fn print(answer: &impl std::fmt::Display) {
    use std::io::Write as _;
    drop(writeln!(std::io::stdout().lock(), "{answer}"));
}

/// Reports wrong settings before any log exists.
#[expect(
    clippy::print_stderr,
    reason = "the log is not configured yet: its settings may be among the mistakes"
)]
pub fn report(service: &str, error: &InvalidSettings) {
    eprintln!("{service} cannot start: {error}");
}
