//! The simulator as a process: serve it, ask whether it is well, or send one message all the way round.

mod first_message;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use simulator::{Simulator, SimulatorConfig, WebhookFormat};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::first_message::FirstMessage;

/// Imitations of a WA server, a Chatwoot, a GoWA and Meta's Graph API, with faults on demand.
#[derive(Debug, Parser)]
#[command(name = "simulator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve all imitations on one port: /wa, /support, /chatwoot, /gowa, /graph, and the control plane under /_sim.
    ///
    /// The Graph API takes every token and number until the first is set up with POST /_sim/graph/numbers; what else
    /// /_sim/graph does is in docs/simulator-graph.md.
    Serve(Serve),
    /// Send one message from a phone to a person's Chatwoot and the answer back, printing every hop as it happens.
    ///
    /// The simulator, channel-service and chatwoot-bridge must be running and connected. Exits with 1 and says which hop
    /// did not happen if the message gets stuck.
    FirstMessage(FirstMessage),
    /// Exit with 0 if a simulator answers there.
    Healthcheck {
        /// Where it listens.
        #[arg(long, default_value = "http://127.0.0.1:8090")]
        url: String,
    },
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Token of the WA server's admin API. Taken from WA_ADMIN_TOKEN, or the file that WA_ADMIN_TOKEN_FILE names, if absent.
    #[arg(long)]
    wa_admin_token: Option<String>,
    /// Keys of the gateway's internal routes, `source:key` separated by commas. Taken from INTERNAL_API_KEYS if absent.
    #[arg(long)]
    support_internal_keys: Option<String>,
    /// How the WA server writes its webhooks.
    #[arg(long, value_enum, default_value_t = Format::Form)]
    webhook_format: Format,
    /// Wait before a WA webhook is tried again, in milliseconds; once per retry, in order.
    #[arg(long = "retry-delay-ms", value_name = "MS", default_values_t = [30_000, 60_000, 120_000, 240_000])]
    retry_delays_ms: Vec<u64>,
    /// Let phones confirm delivery and reading of every message by themselves.
    #[arg(long)]
    auto_receipts: bool,
    /// Make sessions wait for a scanned QR code (POST /_sim/wa/scan) instead of pairing by themselves.
    #[arg(long)]
    manual_login: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Url-encoded form with jsonData, the WA server's default.
    Form,
    /// Plain JSON.
    Json,
}

/// Cut connections are what we are for; the server below would report each as an error.
const QUIET: &str = "actix_server=warn,actix_http::h1::dispatcher=off";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    // Fails when a provider is installed already, which is just as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    start_logs();
    match Arguments::parse().command {
        Command::Serve(serve) => serve.run().await.map(|()| ExitCode::SUCCESS),
        Command::FirstMessage(message) => first_message::run(&message).await,
        Command::Healthcheck { url } => healthcheck(&url).await.map(|()| ExitCode::SUCCESS),
    }
}

/// `LOG_LEVEL` and `LOG_FORMAT` mean what they mean to the services; `RUST_LOG` says it in more detail.
fn start_logs() {
    let filter: Option<Targets> = told("RUST_LOG")
        .or_else(|| told("LOG_LEVEL").map(|level| format!("{level},{QUIET}")))
        .and_then(|directives| directives.parse().ok())
        .or_else(|| format!("info,{QUIET}").parse().ok());
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if told("LOG_FORMAT").as_deref() == Some("json") {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// What the environment says under a name; nothing is like not being there.
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Secrets come as files, named by `NAME_FILE`, as they do to the services.
fn told_or_in_file(name: &str) -> anyhow::Result<Option<String>> {
    let Some(path) = told(&format!("{name}_FILE")) else {
        return Ok(told(name));
    };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{name}_FILE names {path}, which cannot be read"))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let defaults = SimulatorConfig::default();
        let token = match self.wa_admin_token {
            Some(token) => Some(token),
            None => told_or_in_file("WA_ADMIN_TOKEN")?,
        };
        let keys = match self.support_internal_keys {
            Some(keys) => Some(keys),
            None => told_or_in_file("INTERNAL_API_KEYS")?,
        };
        let config = SimulatorConfig {
            listen: self.listen,
            wa_admin_token: token.unwrap_or(defaults.wa_admin_token.clone()),
            support_internal_keys: keys.unwrap_or(defaults.support_internal_keys.clone()),
            webhook_format: match self.webhook_format {
                Format::Form => WebhookFormat::Form,
                Format::Json => WebhookFormat::Json,
            },
            retry_delays: self
                .retry_delays_ms
                .into_iter()
                .map(Duration::from_millis)
                .collect(),
            auto_receipts: self.auto_receipts,
            auto_login: !self.manual_login,
            ..defaults
        };
        // The services' databases outlive us.
        let mut simulator = Simulator::start(config.never_repeating_ids()).await?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            address = %simulator.addr(),
            "simulator listening: /wa /support /chatwoot /gowa /graph, control plane /_sim"
        );
        tokio::select! {
            ended = simulator.wait() => return ended.context("the server ended by itself"),
            () = asked_to_stop() => {}
        }
        tracing::info!("stopping");
        simulator.stop().await;
        Ok(())
    }
}

/// Ctrl-C at a terminal, SIGTERM from a supervisor.
async fn asked_to_stop() {
    let interrupted = tokio::signal::ctrl_c();
    let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        interrupted.await.ok();
        return;
    };
    tokio::select! {
        _ = interrupted => {}
        _ = terminated.recv() => {}
    }
}

async fn healthcheck(url: &str) -> anyhow::Result<()> {
    let client = local_client(Duration::from_secs(3))?;
    let response = client.get(format!("{url}/health")).send().await?;
    response.error_for_status()?;
    Ok(())
}

/// For calls to the simulator itself, which has no TLS. Not looking at certificates spares us the machine's CA files.
fn local_client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .timeout(timeout)
        .build()
}
