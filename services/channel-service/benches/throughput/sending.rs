//! How fast texts go out that other services order by `POST /internal/send`: each is placed durably in its chat's lane,
//! taken by a sender, and answered when the WhatsApp server took it. Beside it, the same texts posted straight to that
//! server by the same tool on as many connections.
//!
//! Limits of accounts and tenants are set so high that they are never met. When a message began its way is part of its
//! text, and the server remembers when it took it; both go by this machine's clock, the latter in whole milliseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde::Serialize;
use serde_json::json;
use simulator::{ApiCall, Simulator};
use test_support::TestProcessDatabase;

use crate::callers::{Call, call_for, post};
use crate::measured::Measured;
use crate::service::{self, INTERNAL_KEY, Wishes};
use crate::tenants::{self, Tenant};

const TENANTS: usize = 20;
/// Chats of each tenant.
const CHATS: u64 = 50;
const CONNECTIONS: usize = 64;
/// Nothing is held back by our own limits.
const NO_LIMITS: &[(&str, &str)] = &[
    ("SEND_RATE_PER_ACCOUNT", "100000"),
    ("SEND_RATE_PER_TENANT", "100000"),
];
/// How long what was answered as queued may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    tenants: usize,
    chats: u64,
    straight: Measured,
    /// As the callers see it.
    answered: Measured,
    /// From the call until the WhatsApp server took the message.
    taken: Measured,
    ratio: f64,
}

pub(crate) async fn run(time: Duration) -> Report {
    println!("\n# sending\n\npreparing {TENANTS} tenants");
    let database = TestProcessDatabase::create().await;
    let tenants = Arc::new(tenants::prepare(&database, TENANTS).await);
    println!("\n{}", Measured::header());

    let server = tenants::server_of(&tenants).await;
    let of_all = Arc::clone(&tenants);
    let heard = call_for(time, server.addr(), CONNECTIONS, None, move |_| {
        ((), straight(&of_all))
    })
    .await;
    server.stop().await;
    let straight = Measured::new("straight", CONNECTIONS, heard.times(), heard.refused, heard.took);
    println!("{straight}");

    let server = tenants::server_of(&tenants).await;
    let wishes = Wishes {
        wa_api: Some(format!("{}/wa", server.base_url())),
        settings: NO_LIMITS,
        ..Wishes::default()
    };
    let mut service = service::start(&database, wishes).await;
    let (before, started) = (service.cpu_seconds(), Instant::now());
    let of_all = Arc::clone(&tenants);
    let heard = call_for(time, service.address(), CONNECTIONS, None, move |_| {
        ((), through_the_service(&of_all))
    })
    .await;
    let sends = all_sends(&server, heard.accepted.len()).await;
    let took = started.elapsed();
    let cpu = service.cpu_seconds() - before;
    let peak = service.peak_memory_mib();
    service.stop().await;
    server.stop().await;
    let answered =
        Measured::new("answered", CONNECTIONS, heard.times(), heard.refused, heard.took).with_cost(cpu, peak);
    println!("{answered}");
    let times = sends.iter().filter_map(on_its_way).collect();
    let taken = Measured::new("at the WhatsApp server", CONNECTIONS, times, 0, took);
    println!("{taken}");
    assert!(taken.accepted > 0, "messages arrive");

    let report = Report {
        tenants: TENANTS,
        chats: TENANTS as u64 * CHATS,
        ratio: taken.per_second / straight.per_second,
        straight,
        answered,
        taken,
    };
    println!("\nrate through the service / straight rate: {:.4}", report.ratio);
    report
}

/// Numbers no message of this run has had.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The next message: its number, its tenant, its receiver and its text.
fn next(tenants: &[Tenant]) -> (u64, &Tenant, String, String) {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let count = tenants.len() as u64;
    let tenant = &tenants[usize::try_from(n % count).unwrap()];
    let person = (6_281_400_000_000 + n / count % CHATS).to_string();
    let text = format!(
        "{} Laporan nomor {n} sudah kami terima. {}",
        microseconds(),
        "a".repeat(200)
    );
    (n, tenant, person, text)
}

/// The next message, as the service posts it.
fn straight(tenants: &[Tenant]) -> Call {
    let (n, tenant, person, text) = next(tenants);
    let body = json!({"Phone": person, "Id": format!("3EB0{n:016X}"), "Body": text});
    post(
        "/wa/chat/send/text",
        &[("token", &tenant.token)],
        body.to_string(),
    )
}

/// The next message, as it is ordered.
fn through_the_service(tenants: &[Tenant]) -> Call {
    let (_, tenant, person, text) = next(tenants);
    let body = json!({"village_id": tenant.id, "wa_user_id": person, "message": text});
    post("/internal/send", &[INTERNAL_KEY], body.to_string())
}

/// What the WhatsApp server took, when it is all there.
async fn all_sends(server: &Simulator, count: usize) -> Vec<ApiCall> {
    let started = Instant::now();
    loop {
        let sends = server.wa_sends(None);
        if sends.len() >= count || started.elapsed() > PATIENCE {
            return sends;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How long a message was on its way.
fn on_its_way(send: &ApiCall) -> Option<Duration> {
    let begun: i64 = send.text.as_deref()?.split(' ').next()?.parse().ok()?;
    let taken = DateTime::parse_from_rfc3339(&send.moment.at)
        .ok()?
        .timestamp_micros();
    // Whole milliseconds may end before the message began.
    Some(Duration::from_micros(
        u64::try_from(taken - begun).unwrap_or_default(),
    ))
}

fn microseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}
