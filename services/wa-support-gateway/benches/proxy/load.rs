//! The load: a number of connections, each with one send under way, for a bounded time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Size of a send's body.
const BODY_BYTES: usize = 500;

/// What one measurement gave.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    connections: usize,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    refused: usize,
}

impl Measured {
    pub(crate) fn header() -> String {
        format!(
            "{:>11} {:<15} {:>9} {:>9} {:>9} {:>8} {:>12} {:>11}",
            "connections", "who", "per s", "p50 ms", "p99 ms", "refused", "rate/nginx", "p50/nginx"
        )
    }

    pub(crate) fn line(&self, name: &str, beside: &Self) -> String {
        format!(
            "{:>11} {:<15} {:>9.0} {:>9.3} {:>9.3} {:>8} {:>12.2} {:>11.2}",
            self.connections,
            name,
            self.per_second,
            self.p50_ms,
            self.p99_ms,
            self.refused,
            self.per_second / beside.per_second,
            self.p50_ms / beside.p50_ms,
        )
    }
}

/// The measurement with the middle rate.
pub(crate) fn median(mut all: Vec<Measured>) -> Measured {
    all.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    all.swap_remove(all.len() / 2)
}

pub(crate) async fn measure(
    address: SocketAddr,
    token: &str,
    connections: usize,
    time: Duration,
) -> Measured {
    let started = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(one_connection(address, token.to_owned(), started + time)))
        .collect();
    let (mut times, mut refused) = (Vec::new(), 0);
    for task in tasks {
        let (mine, not_mine) = task.await.unwrap();
        times.extend(mine);
        refused += not_mine;
    }
    let took = started.elapsed();
    times.sort_unstable();
    let at = |share: f64| {
        let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times
            .get(place)
            .map_or(f64::NAN, |time: &Duration| time.as_secs_f64() * 1000.0)
    };
    Measured {
        connections,
        per_second: times.len() as f64 / took.as_secs_f64(),
        p50_ms: at(0.50),
        p99_ms: at(0.99),
        refused,
    }
}

/// A connection of a client's.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn one_connection(address: SocketAddr, token: String, end: Instant) -> (Vec<Duration>, usize) {
    let mut sender = connect(address).await;
    let text = "a".repeat(BODY_BYTES - 38);
    let body = Bytes::from(format!(r#"{{"Phone":"6281200000001","Body":"{text}"}}"#));
    let (mut times, mut refused) = (Vec::new(), 0);
    while Instant::now() < end {
        let request = Request::post("/wa/chat/send/text")
            .header("host", "bench")
            .header("token", &token)
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))
            .unwrap();
        let sent = Instant::now();
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status();
        response.into_body().collect().await.expect("a whole answer");
        if status.is_success() {
            times.push(sent.elapsed());
        } else {
            refused += 1;
        }
    }
    (times, refused)
}
