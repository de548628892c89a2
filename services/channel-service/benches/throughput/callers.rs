//! Callers: a number of connections that stay open, each with one request under way, for a bounded time.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, timeout_at};

/// A request with a whole body.
pub(crate) type Call = Request<Full<Bytes>>;

/// What a number of connections heard.
pub(crate) struct Heard<K> {
    /// How long each request took that was answered 2xx, with what kind it was.
    pub(crate) accepted: Vec<(K, Duration)>,
    /// Any other answers.
    pub(crate) refused: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

impl<K> Heard<K> {
    /// The times of every request.
    pub(crate) fn times(&self) -> Vec<Duration> {
        self.accepted.iter().map(|(_, time)| *time).collect()
    }

    /// The times of the requests of some kind.
    pub(crate) fn times_of(&self, is_meant: impl Fn(&K) -> bool) -> Vec<Duration> {
        let meant = self.accepted.iter().filter(|(kind, _)| is_meant(kind));
        meant.map(|(_, time)| *time).collect()
    }
}

/// Sends what `next` makes, given the connection's number, on every connection.
///
/// With a `pace`, each connection begins one request in that time, and they take turns evenly; else the next one follows
/// the answer.
pub(crate) async fn call_for<K, F>(
    time: Duration,
    address: SocketAddr,
    connections: usize,
    pace: Option<Duration>,
    next: F,
) -> Heard<K>
where
    K: Send + 'static,
    F: Fn(usize) -> (K, Call) + Clone + Send + 'static,
{
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(address).await);
    }
    let started = Instant::now();
    let end = started + time;
    let tasks: Vec<_> = open
        .into_iter()
        .enumerate()
        .map(|(number, connection)| {
            let clock = pace.map(|pace| {
                let first = started + pace * number as u32 / connections as u32;
                tokio::time::interval_at(first, pace)
            });
            let next = next.clone();
            tokio::spawn(one_connection(connection, end, clock, move || next(number)))
        })
        .collect();
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for task in tasks {
        let (mine, not_mine) = task.await.unwrap();
        accepted.extend(mine);
        refused += not_mine;
    }
    Heard {
        accepted,
        refused,
        took: started.elapsed(),
    }
}

async fn one_connection<K>(
    mut connection: Connection,
    end: Instant,
    mut clock: Option<Interval>,
    next: impl Fn() -> (K, Call),
) -> (Vec<(K, Duration)>, u64) {
    let (mut accepted, mut refused) = (Vec::new(), 0);
    while Instant::now() < end {
        if let Some(clock) = &mut clock
            && timeout_at(end, clock.tick()).await.is_err()
        {
            break;
        }
        let (kind, call) = next();
        let sent = Instant::now();
        let (status, _) = connection.call(call).await;
        if status.is_success() {
            accepted.push((kind, sent.elapsed()));
        } else {
            refused += 1;
        }
    }
    (accepted, refused)
}

/// A connection that stays open.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// The whole answer.
    pub(crate) async fn call(&mut self, call: Call) -> (StatusCode, Bytes) {
        self.0.ready().await.unwrap();
        let response = self.0.send_request(call).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a whole answer");
        (status, body.to_bytes())
    }
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: String) -> Call {
    let mut request = Request::post(path)
        .header("host", "bench")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body))).unwrap()
}

/// A request without a body.
pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> Call {
    let mut request = Request::get(path).header("host", "bench");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}
