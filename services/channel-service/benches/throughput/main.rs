//! What channel-service carries, each time beside something simpler that is measured in the same run.
//!
//! | name | what is measured | beside |
//! |---|---|---|
//! | `ingest` | texts that become durable, at several numbers of connections | the same rows, written straight into the same Postgres |
//! | `mixed` | texts, pictures inside the webhook and receipts together | texts alone |
//! | `sending` | `POST /internal/send` until the WhatsApp server has the message | the same messages, posted straight to that server |
//! | `cloud` | what Meta posts for a thousand messages a second and 300 answers to them, bodies of a thousand updates, and whose a number is | the same rows, written straight into the same Postgres |
//! | `status` | 200 dialogs that ask where 20 sessions stand | the calls that reach the WhatsApp server |
//!
//! The service runs as its own process, release build, with signatures on, over real Postgres, Redis and RabbitMQ; the
//! WhatsApp server is the simulator, in this process. Everything runs on this machine's loopback. Machines differ and are
//! shared: quote the ratios.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot run has to say so loudly"
)]

mod callers;
mod cloud;
mod ingest;
mod measured;
mod mixed;
mod sending;
mod service;
mod status;
mod straight;
mod tenants;
mod webhooks;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measures channel-service. Without a name: everything, one after the other.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    which: Vec<Which>,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[command(flatten)]
    ingest: ingest::Options,
    /// Also write the result to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Ingest,
    Mixed,
    Sending,
    Cloud,
    Status,
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
struct Reports {
    #[serde(skip_serializing_if = "Option::is_none")]
    ingest: Option<ingest::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mixed: Option<mixed::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sending: Option<sending::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud: Option<cloud::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<status::Report>,
}

#[tokio::main]
async fn main() {
    test_support::install_crypto_provider();
    let arguments = Arguments::parse();
    let time = Duration::from_secs(arguments.seconds.clamp(1, 60));
    let wanted = |which| arguments.which.is_empty() || arguments.which.contains(&which);
    let mut reports = Reports::default();
    if wanted(Which::Ingest) {
        reports.ingest = Some(bounded(time, ingest::run(&arguments.ingest, time)).await);
    }
    if wanted(Which::Mixed) {
        reports.mixed = Some(bounded(time, mixed::run(time)).await);
    }
    if wanted(Which::Sending) {
        reports.sending = Some(bounded(time, sending::run(time)).await);
    }
    if wanted(Which::Cloud) {
        reports.cloud = Some(bounded(time, cloud::run(time)).await);
    }
    if wanted(Which::Status) {
        reports.status = Some(bounded(time, status::run(time)).await);
    }
    let json = serde_json::to_string(&reports).unwrap();
    println!("\n{json}");
    if let Some(path) = arguments.json {
        std::fs::write(path, json).expect("the file can be written");
    }
}

/// Whatever hangs, the benchmark ends: long after all measurements and waits inside `work` should be over.
async fn bounded<T>(time: Duration, work: impl Future<Output = T>) -> T {
    let longest = Duration::from_secs(180) + time * 20;
    tokio::time::timeout(longest, work)
        .await
        .expect("the measurement ends in time")
}
