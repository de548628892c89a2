//! How long the dashboard's pages take, with ten thousand tenants, a million messages and a hundred thousand chats of one of
//! them, each beside a plain health request in the same run.
//!
//! The service runs as its own process over a database that is filled by SQL. A page is asked for one at a time, as one person
//! does; `first` is the very first view of it, nothing of it in anybody's memory. Machines differ and are shared: quote the
//! ratios.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot run has to say so loudly"
)]

mod visitor;

#[path = "../throughput/service.rs"]
#[expect(dead_code, reason = "the other benchmark asks for more")]
mod service;
#[path = "../throughput/tenants.rs"]
#[expect(dead_code, reason = "the other benchmark asks for more")]
mod tenants;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Serialize;
use test_support::TestProcessDatabase;
use tokio_postgres::NoTls;

use crate::service::Wishes;
use crate::visitor::Visitor;

/// The tenant with the many chats.
const LARGE: &str = "desa-0";
const EMAIL: &str = "ratna@kanal.id";
const SEED: &str = include_str!("seed.sql");

/// Measures the dashboard's pages.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many tenants there are.
    #[arg(long, default_value_t = 10_000)]
    tenants: u32,
    /// How many chats one of them has, with a message each.
    #[arg(long, default_value_t = 100_000)]
    chats: u32,
    /// How many messages there are in all.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u32,
    /// How often each page is looked at.
    #[arg(long, default_value_t = 40)]
    rounds: u32,
    /// Also write the result to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One page.
#[derive(Debug, Serialize)]
struct Measured {
    page: String,
    bytes: usize,
    first_ms: f64,
    median_ms: f64,
    p95_ms: f64,
}

#[tokio::main]
async fn main() {
    test_support::install_crypto_provider();
    let arguments = Arguments::parse();
    println!(
        "\n# pages\n\nfilling: {} tenants, {} messages, {} chats of one tenant",
        arguments.tenants, arguments.messages, arguments.chats
    );
    let database = TestProcessDatabase::create().await;
    let tenant = tenants::prepare(&database, 1).await.remove(0);
    fill(&database, &arguments, &tenant.account.to_string()).await;
    visitor::make_user(&database, EMAIL).await;
    let mut service = service::start(&database, Wishes::default()).await;
    let mut visitor = Visitor::sign_in(service.address(), EMAIL).await;

    println!(
        "\n{:<34} {:>8} {:>9} {:>10} {:>8}",
        "", "bytes", "first ms", "median ms", "p95 ms"
    );
    let mut pages = vec![];
    let mut note = |measured: Measured| {
        println!(
            "{:<34} {:>8} {:>9.1} {:>10.1} {:>8.1}",
            measured.page, measured.bytes, measured.first_ms, measured.median_ms, measured.p95_ms
        );
        pages.push(measured);
    };
    note(look(&visitor, "/health", arguments.rounds).await);
    let chat = visitor.first_chat(LARGE).await;
    let paths = [
        "/dashboard".to_owned(),
        "/dashboard/tenants".to_owned(),
        "/dashboard/tenants?q=sukamaju+77".to_owned(),
        format!("/dashboard/tenants/{LARGE}"),
        format!("/dashboard/tenants/{LARGE}/setup"),
        "/dashboard/endpoints".to_owned(),
        "/dashboard/users".to_owned(),
        "/dashboard/audit".to_owned(),
        "/dashboard/system".to_owned(),
        "/dashboard/pictures".to_owned(),
        "/dashboard/deliveries".to_owned(),
        format!("/dashboard/t/{LARGE}/chats"),
        format!("/dashboard/t/{LARGE}/chats?filter=unread"),
        format!("/dashboard/t/{LARGE}/chats/{chat}"),
        format!("/dashboard/t/{LARGE}/device"),
        format!("/dashboard/t/{LARGE}/settings"),
        format!("/dashboard/t/{LARGE}/deliveries"),
        format!("/dashboard/t/{LARGE}/pictures"),
    ];
    for path in paths {
        note(look(&visitor, &path, arguments.rounds).await);
    }
    for words in ["warga 77", "wulandari", "0812000007"] {
        note(search(&mut visitor, words, arguments.rounds).await);
    }
    note(look(&visitor, "/health", arguments.rounds).await);
    service.stop().await;

    let json = serde_json::to_string(&pages).unwrap();
    println!("\n{json}");
    if let Some(path) = arguments.json {
        std::fs::write(path, json).expect("the file can be written");
    }
}

/// By the role that owns the tables: it is about what is there, not about how it comes there.
async fn fill(database: &TestProcessDatabase, arguments: &Arguments, account: &str) {
    let (client, connection) = tokio_postgres::connect(&database.admin_url(), NoTls)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let began = Instant::now();
    let each = arguments.messages.saturating_sub(arguments.chats) / arguments.tenants.max(2);
    let filled = SEED
        .replace(":tenants", &arguments.tenants.to_string())
        .replace(":chats", &arguments.chats.to_string())
        .replace(":each", &each.to_string())
        .replace(":account", account);
    client
        .batch_execute(&filled)
        .await
        .expect("the tables can be filled");
    drop(client);
    drop(connection.await);
    println!("filled in {:.0} s", began.elapsed().as_secs_f64());
}

async fn look(visitor: &Visitor, path: &str, rounds: u32) -> Measured {
    let mut times = vec![];
    let mut bytes = 0;
    for _ in 0..rounds.max(2) {
        let began = Instant::now();
        bytes = visitor.get(path).await.len();
        times.push(began.elapsed());
    }
    measured(path.to_owned(), bytes, &mut times)
}

async fn search(visitor: &mut Visitor, words: &str, rounds: u32) -> Measured {
    visitor.learn_form(LARGE).await;
    let mut times = vec![];
    let mut bytes = 0;
    for _ in 0..rounds.max(2) {
        let began = Instant::now();
        bytes = visitor.search_chats(LARGE, words).await.len();
        times.push(began.elapsed());
    }
    measured(format!("chats, looked for {words:?}"), bytes, &mut times)
}

fn measured(page: String, bytes: usize, times: &mut [Duration]) -> Measured {
    let first = times[0];
    let rest = &mut times[1..];
    rest.sort_unstable();
    let at = |share: f64| rest[((rest.len() as f64 * share) as usize).min(rest.len() - 1)];
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    Measured {
        page,
        bytes,
        first_ms: ms(first),
        median_ms: ms(at(0.5)),
        p95_ms: ms(at(0.95)),
    }
}
