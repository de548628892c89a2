//! Where all routes lead: answers at once, notes when which event came, and hangs for one route where it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The header that carries an event's number through the bridge.
pub(crate) const NUMBER: &str = "x-chatwoot-delivery";
const NOBODY: u64 = u64::MAX;

/// A sink, and a second address of it where the one route leads that may hang.
#[derive(Clone)]
pub(crate) struct Sink(Arc<State>);

struct State {
    address: SocketAddr,
    lonely: SocketAddr,
    hanging: AtomicU64,
    came: Mutex<Vec<(u64, Instant)>>,
}

impl Sink {
    /// Listens on threads of its own, so that it is the same for whoever is measured.
    pub(crate) fn start() -> Self {
        let bind = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let (shared, lonely) = (bind(), bind());
        let sink = Self(Arc::new(State {
            address: shared.local_addr().unwrap(),
            lonely: lonely.local_addr().unwrap(),
            hanging: AtomicU64::new(NOBODY),
            came: Mutex::default(),
        }));
        for (listener, may_hang) in [(shared, false), (lonely, true)] {
            let sink = sink.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(sink.listen(listener, may_hang));
            });
        }
        sink
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Where the route with this number leads.
    pub(crate) fn url_of(&self, route: u32) -> String {
        let address = if route == crate::service::HANGING_ROUTE {
            self.0.lonely
        } else {
            self.0.address
        };
        format!("http://{address}/hook?route={route}")
    }

    pub(crate) fn hang(&self, route: u32) {
        self.0.hanging.store(route.into(), Ordering::Relaxed);
    }

    pub(crate) fn answer(&self) {
        self.0.hanging.store(NOBODY, Ordering::Relaxed);
    }

    pub(crate) fn hangs(&self) -> bool {
        self.0.hanging.load(Ordering::Relaxed) != NOBODY
    }

    /// How many of these events came since the last look.
    pub(crate) fn count(&self, is_one: impl Fn(u64) -> bool) -> usize {
        let came = self.0.came.lock().unwrap();
        came.iter().filter(|(number, _)| is_one(*number)).count()
    }

    /// What came since the last look.
    pub(crate) fn take(&self) -> Vec<(u64, Instant)> {
        std::mem::take(&mut self.0.came.lock().unwrap())
    }

    async fn listen(self, listener: std::net::TcpListener, may_hang: bool) {
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let sink = self.clone();
            let answer = service_fn(move |request| sink.clone().receive(request, may_hang));
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(serving);
        }
    }

    async fn receive(
        self,
        request: Request<Incoming>,
        may_hang: bool,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let number = request
            .headers()
            .get(NUMBER)
            .and_then(|value| value.to_str().ok());
        let number = number.and_then(|text| text.parse().ok());
        // Read to the end, as a server that uses the connection again does.
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                break;
            }
        }
        if may_hang && self.hangs() {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        if let Some(number) = number {
            self.0.came.lock().unwrap().push((number, Instant::now()));
        }
        Ok(Response::new(Full::new(Bytes::from_static(b"OK"))))
    }
}
