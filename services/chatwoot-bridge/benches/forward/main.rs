//! Accepting and passing on: a thousand routes of fifty tenants, all to a sink on this machine.
//!
//! The service is a process of its own; the load and the sink are this one. First as fast as it goes: how many events are
//! accepted and passed on in a second, and how long a caller waits for its answer. Then at a fixed rate: how long an event
//! takes to its target, with and without the window in which messages wait for their neighbours, and what it costs the others
//! when one target hangs. Beside it the same load without the bridge, and the same rows without anything around them. Machines
//! differ and are shared: quote the ratios.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot run has to say so loudly"
)]

mod load;
mod service;
mod sink;
mod straight;

use std::time::Duration;

use clap::Parser;

use crate::load::{Load, Measured};
use crate::service::{HANGING_ROUTE, Service};
use crate::sink::Sink;

/// Accepting events and passing them on, measured.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections of the callers.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Events a second where the rate is fixed.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Routes.
    #[arg(long, default_value_t = 1_000)]
    routes: u32,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    test_support::install_crypto_provider();
    let arguments = Arguments::parse();
    let time = Duration::from_secs(arguments.seconds.clamp(1, 120));
    let database = test_support::TestProcessDatabase::create().await;
    let sink = Sink::start();
    service::prepare(&database, &sink, arguments.routes).await;
    let load = Load {
        routes: arguments.routes,
        connections: arguments.connections,
        time,
        rate: None,
        first_route: 0,
    };

    println!("without the bridge, and without anything but the rows:");
    let straight = load.straight_to(&sink).await;
    println!(
        "  the load to the sink: {:.0} a second",
        straight.accepted_per_second
    );
    let rows = straight::insert(&database, time).await;
    println!("  rows of such bodies in groups of 256: {rows:.0} a second");

    println!("\n{}", Measured::header());
    let mut service = Service::start(&database, 1).await;
    let full = load.through(service.address(), &sink).await;
    println!("{}", full.line("as fast as it goes"));
    let paced = Load {
        rate: Some(arguments.rate),
        // The first route is the one whose target hangs later.
        first_route: 1,
        ..load
    };
    let calm = paced.through(service.address(), &sink).await;
    println!("{}", calm.line("fixed rate, window 1 ms"));
    sink.hang(HANGING_ROUTE);
    let beside = Load {
        first_route: 0,
        ..paced
    };
    let hanging = beside.through(service.address(), &sink).await;
    println!("{}", hanging.line("the same, one target hangs"));
    sink.answer();
    // What differs between two measurements of the same is no cost of a target that hangs.
    let after = paced.through(service.address(), &sink).await;
    println!("{}", after.line("the same, it answers again"));
    println!("resident memory: {:.1} MiB", service.resident_mib());
    service.stop().await;

    // Once as it is in the first seconds of a process, which has everything to look up, and once as it goes on.
    let mut service = Service::start(&database, 400).await;
    let cold = paced.through(service.address(), &sink).await;
    println!("{}", cold.line("window 400 ms, just started"));
    let windowed = paced.through(service.address(), &sink).await;
    println!("{}", windowed.line("fixed rate, window 400 ms"));
    service.stop().await;

    println!(
        "\naccepted to the bare load: {:.2}; passed on to bare rows: {:.2}; p99 to the target beside one that hangs: {:.2}, \
         once it answers again: {:.2}",
        full.accepted_per_second / straight.accepted_per_second,
        full.delivered_per_second / rows,
        hanging.end_to_end.p99 / calm.end_to_end.p99,
        after.end_to_end.p99 / calm.end_to_end.p99,
    );
}
