//! A WA server that remembers every request and does a few odd things on demand.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Bytes, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const ADMIN_TOKEN: &str = "admin-s3cret";

/// A request that reached the WA server.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query, as they came over the wire.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body_length: usize,
    pub(crate) body_sha256: String,
    /// The body, if it is short and JSON.
    pub(crate) json: Value,
    /// Did the body come to its end?
    pub(crate) complete: bool,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
pub(super) struct State {
    seen: Mutex<Vec<Seen>>,
    pub(super) users: Mutex<Vec<Value>>,
    pub(super) connected: Mutex<Vec<String>>,
    abandoned: AtomicUsize,
    contacts: Mutex<(u16, String)>,
    refuses_presence: AtomicBool,
    pub(super) refuses_disconnects: AtomicBool,
    refused_marks: AtomicUsize,
    pub(super) sessions: super::wa_sessions::Sessions,
}

pub(crate) struct FakeWaServer {
    pub(super) state: Arc<State>,
    handle: ServerHandle,
    port: u16,
}

impl FakeWaServer {
    pub(crate) fn start() -> Self {
        let state = Arc::new(State::default());
        let data = Data::from(Arc::clone(&state));
        let server =
            HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(answer)))
                .workers(2)
                .h1_allow_half_closed(false)
                .disable_signals()
                .shutdown_timeout(1)
                .bind("127.0.0.1:0")
                .unwrap();
        let port = server.addrs()[0].port();
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { state, handle, port }
    }

    /// Its base URL, with a path in front as the simulator has one.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/wa/", self.port)
    }

    /// Everything that reached it.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.state.seen.lock().unwrap().clear();
    }

    /// Requests whose caller went away before the answer.
    pub(crate) fn abandoned(&self) -> usize {
        self.state.abandoned.load(Ordering::SeqCst)
    }

    /// What it answers to the question for contacts from now on.
    pub(crate) fn answer_contacts(&self, status: u16, body: impl Into<String>) {
        *self.state.contacts.lock().unwrap() = (status, body.into());
    }

    /// Shows nobody any more that somebody types.
    pub(crate) fn refuse_presence(&self) {
        self.state.refuses_presence.store(true, Ordering::SeqCst);
    }

    /// The next so many read marks are refused.
    pub(crate) fn refuse_marks(&self, many: usize) {
        self.state.refused_marks.store(many, Ordering::SeqCst);
    }

    /// The read marks that reached it.
    pub(crate) fn marks(&self) -> Vec<Seen> {
        let seen = self.seen().into_iter();
        seen.filter(|seen| seen.target.ends_with("/chat/markread"))
            .collect()
    }

    pub(crate) fn users(&self) -> Vec<Value> {
        self.state.users.lock().unwrap().clone()
    }

    /// What a user's webhooks are signed with.
    pub(crate) fn hmac_key_of(&self, session_id: &str) -> String {
        let users = self.users();
        let user = users.iter().find(|user| user["id"] == session_id).unwrap();
        user["hmacKey"].as_str().unwrap().to_owned()
    }

    /// From now on a disconnect fails, or no longer.
    pub(crate) fn refuse_disconnects(&self, refuse: bool) {
        self.state.refuses_disconnects.store(refuse, Ordering::SeqCst);
    }

    /// As after a loss of its data.
    pub(crate) fn lose_users(&self) {
        self.state.users.lock().unwrap().clear();
        self.state.connected.lock().unwrap().clear();
    }

    pub(crate) async fn stop(self) {
        self.handle.stop(false).await;
    }
}

struct Abandoned(Option<Data<State>>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            state.abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn answer(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let (mut hash, mut length, mut start, mut complete) = (Sha256::new(), 0, Vec::new(), true);
    while let Some(piece) = payload.next().await {
        let Ok(piece) = piece else {
            complete = false;
            break;
        };
        length += piece.len();
        hash.update(&piece);
        if length <= 4096 {
            start.extend_from_slice(&piece);
        }
    }
    let seen = Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect(),
        body_length: length,
        body_sha256: hex::encode(hash.finalize()),
        json: serde_json::from_slice(&start).unwrap_or(Value::Null),
        complete,
    };
    state.seen.lock().unwrap().push(seen.clone());
    let path = request.path().strip_prefix("/wa").unwrap_or(request.path());
    if let Some(answer) = super::wa_sessions::answer(&seen, path, &state).await {
        return answer;
    }
    match (request.method().as_str(), path) {
        (_, "/admin/users") => admin_users(&seen, &state),
        ("POST", _) if path.starts_with("/chat/send/") && seen.json["Body"] == "refuse" => {
            refused(500, "error sending message: refused")
        }
        ("POST", _) if path.starts_with("/chat/send/") && seen.json["Body"] == "refuse slowly" => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            refused(500, "error sending message: refused")
        }
        ("POST", "/chat/presence") if state.refuses_presence.load(Ordering::SeqCst) => refused(500, "no"),
        ("GET", "/user/contacts") => {
            let (status, body) = state.contacts.lock().unwrap().clone();
            tokio::time::sleep(Duration::from_millis(300)).await;
            HttpResponse::build(status.try_into().unwrap())
                .content_type("application/json")
                .body(body)
        }
        ("POST", "/session/disconnect") if state.refuses_disconnects.load(Ordering::SeqCst) => {
            refused(500, "try later")
        }
        (_, "/chat/send/slow") => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            success(&json!({"Details": "Sent"}))
        }
        (_, "/chat/markread")
            if state
                .refused_marks
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |many| many.checked_sub(1))
                .is_ok() =>
        {
            refused(500, "failure marking messages as read")
        }
        (_, "/chat/never") => {
            let mut abandoned = Abandoned(Some(state));
            tokio::time::sleep(Duration::from_secs(60)).await;
            abandoned.0 = None;
            success(&Value::Null)
        }
        (_, "/chat/redirect") => HttpResponse::MovedPermanently()
            .insert_header(("location", "/wa/admin/users"))
            .finish(),
        (_, "/chat/busy") => HttpResponse::TooManyRequests()
            .insert_header(("retry-after", "7"))
            .insert_header(("set-cookie", "inside=1"))
            .insert_header(("x-internal-host", "wa-api"))
            .content_type("text/plain; charset=utf-8")
            .body("slow down\n"),
        (_, "/chat/error") => HttpResponse::InternalServerError()
            .json(json!({"code": 500, "error": "already connected", "success": false})),
        (_, "/chat/download") => download(&request),
        _ => success(&json!({"target": seen.target, "token": seen.header("token")})),
    }
}

pub(super) fn success(data: &Value) -> HttpResponse {
    HttpResponse::Ok().json(json!({"code": 200, "data": data, "success": true}))
}

pub(super) fn refused(status: u16, error: &str) -> HttpResponse {
    HttpResponse::build(status.try_into().unwrap())
        .json(json!({"code": status, "error": error, "success": false}))
}

/// `?mib=20`, `&sized` for an announced length.
fn download(request: &HttpRequest) -> HttpResponse {
    let query = request.query_string();
    let mib: u64 = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("mib=")?.parse().ok())
        .unwrap();
    let pieces = (0..mib * 16).map(|number| {
        Ok::<_, std::io::Error>(Bytes::from(vec![u8::try_from(number % 251).unwrap(); 64 * 1024]))
    });
    let mut response = HttpResponse::Ok();
    if query.contains("sized") {
        response.no_chunking(mib * 1024 * 1024);
    }
    response.content_type("video/mp4").streaming(stream::iter(pieces))
}

pub(super) fn admin_users(seen: &Seen, state: &State) -> HttpResponse {
    if seen.header("authorization") != Some(ADMIN_TOKEN) {
        return refused(401, "unauthorized");
    }
    let mut users = state.users.lock().unwrap();
    if seen.method == "GET" {
        return success(&Value::Array(users.clone()));
    }
    if users.iter().any(|user| user["token"] == seen.json["token"]) {
        return refused(409, "user with this token already exists");
    }
    let mut user = seen.json.clone();
    user["id"] = json!(uuid::Uuid::now_v7().simple().to_string());
    users.push(user.clone());
    HttpResponse::Created().json(json!({"code": 201, "data": user, "success": true}))
}
