//! The load: callers that post signed events, as fast as they are answered or at a fixed rate, and how the events fare.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tokio::net::TcpStream;

use crate::service::{HANGING_ROUTE, SECRET};
use crate::sink::{NUMBER, Sink};

/// What Chatwoot tells of an agent's message.
const PAYLOAD: &str = include_str!("payload.json");
/// Conversations of each route.
const CONVERSATIONS: u64 = 20;
/// What came is waited for so long, as long as more comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// No event of any measurement is another's.
static EVENTS: AtomicU64 = AtomicU64::new(1);

/// How much is posted, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) routes: u32,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    /// Events a second; as many as are answered without one.
    pub(crate) rate: Option<u32>,
    pub(crate) first_route: u32,
}

/// Half of all took no longer, and 99 of a hundred.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
            times
                .get(place)
                .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        Self {
            p50: at(0.50),
            p99: at(0.99),
        }
    }
}

/// What one measurement gave. Times are in ms.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) accepted_per_second: f64,
    pub(crate) delivered_per_second: f64,
    refused: usize,
    lost: usize,
    accept: Percentiles,
    pub(crate) end_to_end: Percentiles,
}

impl Measured {
    pub(crate) fn header() -> String {
        format!(
            "{:<28} {:>10} {:>11} {:>8} {:>6} {:>11} {:>11} {:>11} {:>11}",
            "through the bridge",
            "accepted/s",
            "delivered/s",
            "refused",
            "lost",
            "accept p50",
            "accept p99",
            "to it p50",
            "to it p99"
        )
    }

    pub(crate) fn line(&self, name: &str) -> String {
        format!(
            "{:<28} {:>10.0} {:>11.0} {:>8} {:>6} {:>11.2} {:>11.2} {:>11.2} {:>11.2}",
            name,
            self.accepted_per_second,
            self.delivered_per_second,
            self.refused,
            self.lost,
            self.accept.p50,
            self.accept.p99,
            self.end_to_end.p50,
            self.end_to_end.p99,
        )
    }
}

/// An event that was answered well.
struct Accepted {
    number: u64,
    route: u32,
    sent: Instant,
    took: Duration,
}

impl Load {
    /// Posts to the bridge, and waits until the sink has what was accepted.
    pub(crate) async fn through(&self, bridge: SocketAddr, sink: &Sink) -> Measured {
        drop(sink.take());
        let started = Instant::now();
        let (accepted, refused) = self.post(bridge, "/webhook").await;
        let posted = started.elapsed();
        let wanted: HashMap<u64, Instant> = accepted
            .iter()
            .filter(|event| event.route != HANGING_ROUTE || !sink.hangs())
            .map(|event| (event.number, event.sent))
            .collect();
        let arrived = || sink.count(|number| wanted.contains_key(&number));
        let (mut seen, mut since) = (arrived(), Instant::now());
        while seen < wanted.len() && since.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = arrived();
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
        }
        let came: Vec<(u64, Instant)> = sink.take();
        let ended = came.iter().map(|(_, at)| *at).max().unwrap_or(started);
        let times: Vec<Duration> = came
            .iter()
            .filter_map(|(number, at)| Some(*at - *wanted.get(number)?))
            .collect();
        Measured {
            accepted_per_second: accepted.len() as f64 / posted.as_secs_f64(),
            delivered_per_second: came.len() as f64 / (ended - started).as_secs_f64(),
            refused,
            lost: wanted.len() - times.len().min(wanted.len()),
            accept: Percentiles::of(accepted.iter().map(|event| event.took).collect()),
            end_to_end: Percentiles::of(times),
        }
    }

    /// Posts to the sink itself.
    pub(crate) async fn straight_to(&self, sink: &Sink) -> Measured {
        let started = Instant::now();
        let (accepted, refused) = self.post(sink.address(), "/hook").await;
        let per_second = accepted.len() as f64 / started.elapsed().as_secs_f64();
        let times = Percentiles::of(accepted.iter().map(|event| event.took).collect());
        drop(sink.take());
        Measured {
            accepted_per_second: per_second,
            delivered_per_second: per_second,
            refused,
            lost: 0,
            accept: times,
            end_to_end: times,
        }
    }

    async fn post(&self, address: SocketAddr, path: &'static str) -> (Vec<Accepted>, usize) {
        let started = Instant::now();
        let turn = Arc::new(AtomicU64::new(0));
        let callers: Vec<_> = (0..self.connections)
            .map(|_| tokio::spawn(self.one_connection(address, path, started, Arc::clone(&turn))))
            .collect();
        let (mut accepted, mut refused) = (Vec::new(), 0);
        for caller in callers {
            let (mine, not_mine) = caller.await.unwrap();
            accepted.extend(mine);
            refused += not_mine;
        }
        (accepted, refused)
    }

    fn one_connection(
        &self,
        address: SocketAddr,
        path: &'static str,
        started: Instant,
        turn: Arc<AtomicU64>,
    ) -> impl Future<Output = (Vec<Accepted>, usize)> + Send + use<> {
        let load = *self;
        async move {
            let mut sender = connect(address).await;
            let (mut accepted, mut refused) = (Vec::new(), 0);
            loop {
                let nth = turn.fetch_add(1, Ordering::Relaxed);
                // Whoever is late is late from then on: the clock does not wait for the bridge.
                let due = load
                    .rate
                    .map(|rate| started + Duration::from_secs_f64(nth as f64 / f64::from(rate)));
                if due.unwrap_or_else(Instant::now) >= started + load.time {
                    return (accepted, refused);
                }
                if let Some(due) = due {
                    tokio::time::sleep_until(due.into()).await;
                }
                let number = EVENTS.fetch_add(1, Ordering::Relaxed);
                let span = u64::from(load.routes - load.first_route);
                let route = load.first_route + u32::try_from(number % span).unwrap_or_default();
                let request = request(path, number, route, number / span % CONVERSATIONS + 1);
                let sent = due.unwrap_or_else(Instant::now);
                sender.ready().await.unwrap();
                let response = sender.send_request(request).await.expect("an answer");
                let status = response.status();
                response.into_body().collect().await.expect("a whole answer");
                if status.is_success() {
                    accepted.push(Accepted {
                        number,
                        route,
                        sent,
                        took: sent.elapsed(),
                    });
                } else {
                    refused += 1;
                }
            }
        }
    }
}

fn request(path: &str, number: u64, route: u32, conversation: u64) -> Request<Full<Bytes>> {
    let body = PAYLOAD
        .trim_end()
        .replace("@MESSAGE@", &number.to_string())
        .replace("@INBOX@", &(route + 1).to_string())
        .replace("@CONVERSATION@", &conversation.to_string());
    let now = chrono::Utc::now().timestamp().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(now.as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    Request::post(path)
        .header("host", "bench")
        .header("content-type", "application/json")
        .header(NUMBER, number.to_string())
        .header("x-chatwoot-timestamp", now)
        .header(
            "x-chatwoot-signature",
            format!("sha256={}", hex::encode(mac.finalize().into_bytes())),
        )
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}
