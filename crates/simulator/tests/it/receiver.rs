//! A real HTTP server that records webhooks and answers as told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};

#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The fields of a form, in the order they came.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }
}

#[derive(Debug, Default)]
struct Inner {
    received: Vec<Received>,
    /// Statuses for the next requests; 200 when used up.
    answers: Vec<u16>,
    think: Duration,
    /// Requests being thought about, and the most there were.
    open: usize,
    most_open: usize,
}

pub(crate) struct Receiver {
    inner: Arc<Mutex<Inner>>,
    pub(crate) url: String,
    handle: ServerHandle,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let data = web::Data::from(Arc::clone(&inner));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(64 * 1024 * 1024))
                .default_service(web::to(take))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let url = format!("http://{}/webhook", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { inner, url, handle }
    }

    /// The next requests get these statuses, the ones after them 200.
    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.inner.lock().unwrap().answers = statuses.to_vec();
    }

    pub(crate) fn think(&self, time: Duration) {
        self.inner.lock().unwrap().think = time;
    }

    /// The most requests that were open at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.inner.lock().unwrap().most_open
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.inner.lock().unwrap().received.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.inner.lock().unwrap().received.len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn take(request: HttpRequest, body: Bytes, inner: web::Data<Mutex<Inner>>) -> HttpResponse {
    if request.method() == actix_web::http::Method::GET {
        return challenged(request.query_string());
    }
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let (status, think) = {
        let mut inner = inner.lock().unwrap();
        inner.received.push(Received {
            headers,
            body: body.to_vec(),
        });
        inner.open += 1;
        inner.most_open = inner.most_open.max(inner.open);
        let status = if inner.answers.is_empty() {
            200
        } else {
            inner.answers.remove(0)
        };
        (status, inner.think)
    };
    tokio::time::sleep(think).await;
    inner.lock().unwrap().open -= 1;
    HttpResponse::build(StatusCode::from_u16(status).unwrap()).body("noted")
}

/// What a callback of Meta's answers to whoever asks whose it is: the challenge, if the token is `vt-demo`.
fn challenged(query: &str) -> HttpResponse {
    let query: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    match query.get("hub.challenge") {
        Some(challenge)
            if query.get("hub.mode").is_some_and(|mode| mode == "subscribe")
                && query
                    .get("hub.verify_token")
                    .is_some_and(|token| token == "vt-demo") =>
        {
            HttpResponse::Ok()
                .content_type("text/plain")
                .body(challenge.clone())
        }
        _ => HttpResponse::Forbidden().body("no"),
    }
}
