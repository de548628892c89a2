//! How many webhooks a second become durable, beside what the same Postgres takes when the same rows are written
//! straight into it by the same tool in the same run.
//!
//! Messages are unique, bodies have 1.5 kB.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use test_support::TestProcessDatabase;

use crate::callers::call_for;
use crate::measured::Measured;
use crate::service::{self, Wishes};
use crate::{straight, tenants, webhooks};

/// Rows are written straight on at most so many connections: Postgres has its limit.
const MOST_STRAIGHT: usize = 64;

/// How ingest is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// `ingest`: numbers of connections to try, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,64,128,256")]
    connections: Vec<usize>,
    /// `ingest`: tenants, each with an account and a key of its own.
    #[arg(long, default_value_t = 1_000)]
    tenants: usize,
    /// `ingest`: leave the broker away, so that nothing but ingest is measured.
    #[arg(long)]
    no_relay: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    tenants: usize,
    body_bytes: usize,
    relay: bool,
    straight: Vec<Measured>,
    ingest: Vec<Measured>,
    ratio_of_the_best: f64,
}

pub(crate) async fn run(options: &Options, time: Duration) -> Report {
    println!("\n# ingest\n\npreparing {} tenants", options.tenants);
    let database = TestProcessDatabase::create().await;
    let tenants = Arc::new(tenants::prepare(&database, options.tenants).await);

    println!("\nrows written straight, one message a transaction");
    println!("{}", Measured::header());
    let mut straight = Vec::new();
    for &connections in options.connections.iter().filter(|n| **n <= MOST_STRAIGHT) {
        let measured = straight::measure(&database, &tenants, connections, time).await;
        println!("{measured}");
        straight.push(measured);
    }

    straight::clear(&database).await;
    println!(
        "\nwebhooks accepted, each answered after its commit{}",
        if options.no_relay { " (relay off)" } else { "" }
    );
    println!("{}", Measured::header());
    let wishes = Wishes {
        broker_away: options.no_relay,
        ..Wishes::default()
    };
    let mut service = service::start(&database, wishes).await;
    let mut ingest = Vec::new();
    for &connections in &options.connections {
        let before = service.cpu_seconds();
        let of_all = Arc::clone(&tenants);
        let heard = call_for(time, service.address(), connections, None, move |_| {
            let (tenant, n) = webhooks::next(of_all.len());
            ((), webhooks::text(&of_all, tenant, n))
        })
        .await;
        let cpu = service.cpu_seconds() - before;
        let measured = Measured::new("webhooks", connections, heard.times(), heard.refused, heard.took)
            .with_cost(cpu, service.peak_memory_mib());
        println!("{measured}");
        ingest.push(measured);
    }
    service.stop().await;

    let best = |all: &[Measured]| all.iter().map(|one| one.per_second).fold(0.0, f64::max);
    let report = Report {
        tenants: options.tenants,
        body_bytes: webhooks::BODY_BYTES,
        relay: !options.no_relay,
        ratio_of_the_best: best(&ingest) / best(&straight),
        straight,
        ingest,
    };
    println!(
        "\nbest accepted rate / best straight rate: {:.2}",
        report.ratio_of_the_best
    );
    report
}
