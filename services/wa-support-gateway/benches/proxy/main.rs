//! The token proxy beside nginx, in front of the same upstream on the same cores, in turns.
//!
//! nginx only passes on; the gateway also checks the token, the customer and its subscription, counts the send against
//! the quota and into the statistics. Behind it: how long ten thousand contacts take, how soon a replaced key is dead at
//! another replica, and how memory behaves. Everything runs on this machine's loopback. Machines differ and are shared: quote
//! the ratios.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot run has to say so loudly"
)]

mod contacts;
mod load;
mod memory;
mod nginx;
mod revocation;
mod service;
mod upstream;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

use crate::load::Measured;

/// The token proxy, measured beside nginx.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Numbers of connections to try, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,32,256")]
    connections: Vec<usize>,
    /// How often each is tried, nginx and the gateway in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Leave out how memory behaves.
    #[arg(long)]
    no_memory: bool,
    /// Customers, each with a session, for the memory at rest.
    #[arg(long, default_value_t = 10_000)]
    customers: usize,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    test_support::install_crypto_provider();
    let arguments = Arguments::parse();
    let time = Duration::from_secs(arguments.seconds.clamp(1, 60));
    let upstream = upstream::start().await;
    let nginx = nginx::start(upstream).await;
    let database = test_support::TestProcessDatabase::create().await;
    let mut gateway = service::start(&database, upstream).await;
    let (unlimited, session) = service::session(&database, upstream, "bench-unlimited").await;
    let (limited, _) = service::session(&database, upstream, "bench-limited").await;
    let quota =
        "UPDATE wa_support.subscriptions SET max_messages = 1000000000 WHERE tenant_id = 'bench-limited'";
    service::sql(&database, quota).await;

    println!(
        "500-byte sends, answered by the same upstream; medians of {} rounds",
        arguments.rounds
    );
    println!("{}", Measured::header());
    for &connections in &arguments.connections {
        let mut taken: [Vec<Measured>; 3] = Default::default();
        for _ in 0..arguments.rounds.clamp(1, 20) {
            let turns: [(SocketAddr, &str); 3] = [
                (nginx.address(), &unlimited),
                (gateway.address(), &unlimited),
                (gateway.address(), &limited),
            ];
            for (taken, (address, token)) in taken.iter_mut().zip(turns) {
                taken.push(load::measure(address, token, connections, time).await);
            }
        }
        let [beside, free, counted] = taken.map(load::median);
        for (name, measured) in [
            ("nginx", &beside),
            ("gateway", &free),
            ("gateway, quota", &counted),
        ] {
            println!("{}", measured.line(name, &beside));
        }
    }
    contacts::synced(&database, &gateway, upstream, ("bench-unlimited", &session)).await;
    let mut other = service::replica(&database, upstream).await;
    revocation::at_another_replica(&gateway, &other, "bench-unlimited").await;
    other.stop().await;
    if !arguments.no_memory {
        memory::streams(&gateway, &unlimited).await;
        gateway.stop().await;
        memory::at_rest(&database, upstream, arguments.customers).await;
    } else {
        gateway.stop().await;
    }
    nginx.stop().await;
}
