//! The load: a number of connections, each with one request under way, for a bounded time.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use hyper::body::{Body as _, Bytes};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;

use crate::tenants::{Tenant, webhook};

/// One row of the result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    pub(crate) connections: usize,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_seconds_per_thousand: Option<f64>,
    pub(crate) peak_memory_mib: Option<f64>,
}

impl Measured {
    pub(crate) fn header() -> String {
        format!(
            "{:>11} {:>10} {:>8} {:>10} {:>9} {:>9} {:>11} {:>9}",
            "connections", "accepted", "refused", "per s", "p50 ms", "p99 ms", "CPU s/1000", "peak MiB"
        )
    }

    /// From each request's time. Sorts them.
    pub(crate) fn new(connections: usize, mut times: Vec<Duration>, refused: u64, took: Duration) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
            times
                .get(index)
                .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        Self {
            connections,
            accepted: times.len() as u64,
            refused,
            per_second: times.len() as f64 / took.as_secs_f64(),
            p50_ms: at(0.50),
            p99_ms: at(0.99),
            cpu_seconds_per_thousand: None,
            peak_memory_mib: None,
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional =
            |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
        write!(
            f,
            "{:>11} {:>10} {:>8} {:>10.0} {:>9.2} {:>9.2} {:>11} {:>9}",
            self.connections,
            self.accepted,
            self.refused,
            self.per_second,
            self.p50_ms,
            self.p99_ms,
            optional(self.cpu_seconds_per_thousand),
            optional(self.peak_memory_mib),
        )
    }
}

/// Numbers no message of this run has had.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The next message: its tenant and its number.
pub(crate) fn next(tenants: usize) -> (usize, u64) {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    (usize::try_from(n).unwrap() % tenants, n / tenants as u64)
}

pub(crate) async fn measure(
    address: SocketAddr,
    tenants: &Arc<Vec<Tenant>>,
    connections: usize,
    time: Duration,
) -> Measured {
    let started = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(one_connection(address, Arc::clone(tenants), started + time)))
        .collect();
    let (mut times, mut refused) = (Vec::new(), 0);
    for task in tasks {
        let (mine, not_mine) = task.await.unwrap();
        times.extend(mine);
        refused += not_mine;
    }
    Measured::new(connections, times, refused, started.elapsed())
}

async fn one_connection(
    address: SocketAddr,
    tenants: Arc<Vec<Tenant>>,
    end: Instant,
) -> (Vec<Duration>, u64) {
    let stream = TcpStream::connect(address).await.expect("the service listens");
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let (mut times, mut refused) = (Vec::new(), 0);
    while Instant::now() < end {
        let (tenant, n) = next(tenants.len());
        let (body, signature) = webhook(&tenants, tenant, n);
        let request = Request::post("/webhook")
            .header("host", "bench")
            .header("content-type", "application/json")
            .header("x-hmac-signature", signature)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let sent = Instant::now();
        sender.ready().await.unwrap();
        let mut response = sender.send_request(request).await.expect("an answer");
        let mut body = std::pin::pin!(response.body_mut());
        while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            frame.expect("a whole answer");
        }
        if response.status().is_success() {
            times.push(sent.elapsed());
        } else {
            refused += 1;
        }
    }
    (times, refused)
}
