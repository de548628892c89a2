//! How many webhooks a second become durable, beside what the same Postgres takes when the same rows are written
//! straight into it by the same tool in the same run.
//!
//! The service runs as its own process, release build, with signatures on; messages are unique, bodies have 1.5 kB,
//! tenants are 1,000. Everything runs on this machine's loopback. Machines differ and are shared: quote the ratio.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot run has to say so loudly"
)]

mod load;
mod service;
mod straight;
mod tenants;

use std::time::Duration;

use clap::Parser;
use serde::Serialize;

use crate::load::Measured;

/// Durable webhook ingest, measured.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Numbers of connections to try, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,64,128,256")]
    connections: Vec<usize>,
    /// Tenants, each with an account and a key of its own.
    #[arg(long, default_value_t = 1_000)]
    tenants: usize,
    /// Leave the broker away, so that nothing but ingest is measured.
    #[arg(long)]
    no_relay: bool,
    /// Also write the result to this file, as JSON.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    tenants: usize,
    body_bytes: usize,
    relay: bool,
    straight: Vec<Measured>,
    ingest: Vec<Measured>,
    ratio_of_the_best: f64,
}

#[tokio::main]
async fn main() {
    test_support::install_crypto_provider();
    let arguments = Arguments::parse();
    let time = Duration::from_secs(arguments.seconds.clamp(1, 60));
    println!("preparing {} tenants", arguments.tenants);
    let database = test_support::TestProcessDatabase::create().await;
    let tenants = std::sync::Arc::new(tenants::prepare(&database, arguments.tenants).await);

    println!("\nrows written straight, one message a transaction");
    println!("{}", Measured::header());
    let mut straight = Vec::new();
    for &connections in arguments
        .connections
        .iter()
        .filter(|connections| **connections <= 64)
    {
        let measured = straight::measure(&database, &tenants, connections, time).await;
        println!("{measured}");
        straight.push(measured);
    }

    straight::clear(&database).await;
    println!(
        "\nwebhooks accepted, each answered after its commit{}",
        if arguments.no_relay { " (relay off)" } else { "" }
    );
    println!("{}", Measured::header());
    let mut service = service::start(&database, arguments.no_relay).await;
    let mut ingest = Vec::new();
    for &connections in &arguments.connections {
        let before = service.cpu_seconds();
        let mut measured = load::measure(service.address(), &tenants, connections, time).await;
        let cpu = service.cpu_seconds() - before;
        measured.cpu_seconds_per_thousand = Some(cpu * 1000.0 / measured.accepted.max(1) as f64);
        measured.peak_memory_mib = Some(service.peak_memory_mib());
        println!("{measured}");
        ingest.push(measured);
    }
    service.stop().await;

    let best = |all: &[Measured]| all.iter().map(|one| one.per_second).fold(0.0, f64::max);
    let report = Report {
        tenants: arguments.tenants,
        body_bytes: tenants::BODY_BYTES,
        relay: !arguments.no_relay,
        ratio_of_the_best: best(&ingest) / best(&straight),
        straight,
        ingest,
    };
    println!(
        "\nbest accepted rate / best straight rate: {:.2}",
        report.ratio_of_the_best
    );
    let json = serde_json::to_string(&report).unwrap();
    println!("{json}");
    if let Some(path) = arguments.json {
        std::fs::write(path, json).expect("the file can be written");
    }
}
