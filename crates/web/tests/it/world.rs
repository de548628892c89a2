//! A server with routes that go wrong in every way, and a caller that sees the bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self as actix, ServiceConfig};
use actix_web::{Error, HttpRequest, HttpResponse, http::StatusCode};
use runtime::shutdown::Shutdown;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use web::health::Health;
use web::{ApiError, ErrorField, MetricsToken, ServerSettings, read_body};

/// Largest body of `/body`.
pub(crate) const LIMIT: usize = 1000;

/// What became of the calls of `/slow`.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    pub(crate) begun: Arc<AtomicUsize>,
    pub(crate) finished: Arc<AtomicUsize>,
    pub(crate) dropped: Arc<AtomicUsize>,
}

impl Calls {
    pub(crate) async fn until(&self, what: &Arc<AtomicUsize>, count: usize) {
        let waiting = async {
            while what.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .expect("happens in time");
    }
}

struct DropNote {
    calls: Calls,
    finished: bool,
}

impl Drop for DropNote {
    fn drop(&mut self) {
        let what = if self.finished {
            &self.calls.finished
        } else {
            &self.calls.dropped
        };
        what.fetch_add(1, Ordering::SeqCst);
    }
}

async fn slow(calls: actix::Data<Calls>) -> HttpResponse {
    calls.begun.fetch_add(1, Ordering::SeqCst);
    let mut note = DropNote {
        calls: calls.as_ref().clone(),
        finished: false,
    };
    tokio::time::sleep(Duration::from_millis(600)).await;
    note.finished = true;
    HttpResponse::Ok().json(json!({"slow": true}))
}

async fn body(request: HttpRequest, payload: actix::Payload) -> Result<HttpResponse, ApiError> {
    let body = read_body(&request, payload, LIMIT).await?;
    Ok(HttpResponse::Ok().json(json!({"length": body.len()})))
}

async fn teapot() -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(StatusCode::IM_A_TEAPOT, "teapot", "No coffee here").with("pots", 3))
}

async fn away() -> Result<HttpResponse, ApiError> {
    Err(ApiError::unavailable(Duration::from_millis(10)))
}

#[expect(clippy::panic, reason = "that is what it is for")]
async fn broken() -> HttpResponse {
    panic!("the secret of the house")
}

async fn number(path: actix::Path<u32>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"number": path.into_inner(), "request_id": web::request_id()}))
}

async fn doorkeeper(
    _request: ServiceRequest,
    _next: Next<impl actix_web::body::MessageBody>,
) -> Result<ServiceResponse, Error> {
    Err(ApiError::unauthorized("no_entry", "Not for you").into())
}

fn routes(config: &mut ServiceConfig) {
    config
        .route("/slow", actix::get().to(slow))
        .route("/body", actix::post().to(body))
        .route("/teapot", actix::get().to(teapot))
        .route("/away", actix::get().to(away))
        .route("/broken", actix::get().to(broken))
        .route("/number/{number}", actix::get().to(number))
        .service(
            actix::scope("/kept")
                .wrap(from_fn(doorkeeper))
                .route("/room", actix::get().to(HttpResponse::Ok)),
        );
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) calls: Calls,
    pub(crate) shutdown: Shutdown,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
}

pub(crate) fn settings() -> ServerSettings {
    ServerSettings {
        error_field: ErrorField::Error,
        health: Health::new(json!({"status": "ok", "timestamp": ""})),
        metrics: MetricsToken(None),
        workers: 1,
        cancel_when_caller_leaves: false,
    }
}

impl Server {
    pub(crate) fn start(settings: ServerSettings) -> Self {
        let listener = web::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (calls, shutdown) = (Calls::default(), Shutdown::new());
        let data = actix::Data::new(calls.clone());
        let configure = move |config: &mut ServiceConfig| {
            config.app_data(data.clone());
            routes(config);
        };
        Self {
            address,
            calls,
            serving: tokio::spawn(web::serve(listener, settings, configure, shutdown.clone())),
            shutdown,
        }
    }

    pub(crate) async fn open(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// One request over a connection of its own.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        Answer::read(&mut self.open(request).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&get(path, "Connection: close\r\n")).await
    }

    pub(crate) async fn end(self) {
        self.shutdown.begin();
        tokio::time::timeout(Duration::from_secs(10), self.serving)
            .await
            .expect("ends in time")
            .unwrap()
            .unwrap();
    }
}

pub(crate) fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read(stream: &mut TcpStream) -> Self {
        let reading = async {
            let mut bytes = Vec::new();
            loop {
                if let Some(answer) = Self::parse(&bytes) {
                    return answer;
                }
                let mut chunk = [0; 4096];
                let read = stream.read(&mut chunk).await.unwrap();
                assert!(read > 0, "cut off after {:?}", String::from_utf8_lossy(&bytes));
                bytes.extend_from_slice(chunk.get(..read).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(15), reading)
            .await
            .expect("an answer in time")
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut answer = Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_owned(),
            body: body.to_owned(),
        };
        let length: usize = answer.header("content-length")?.parse().ok()?;
        answer.body.truncate(length);
        (body.len() >= length).then_some(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}
