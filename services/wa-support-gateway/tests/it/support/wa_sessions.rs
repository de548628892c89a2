//! What the fake WA server keeps of its users, and what may go wrong with it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::wa_server::{ADMIN_TOKEN, FakeWaServer, Seen, State, admin_users, refused, success};

/// Something that goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers with this status and does nothing.
    Status(u16),
    /// It does nothing and never answers.
    Hang,
    /// It does nothing and answers success without a word.
    Garbage,
    /// It does what it is asked and never answers.
    LostAnswer,
    /// It does what it is asked and answers when it is let go.
    Late,
    /// It answers with an empty list and does nothing.
    Nobody,
    /// It does what it is asked when it is let go, and answers then.
    Held,
    /// A connect is answered at once, and the session runs when it is let go.
    Asleep,
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    faults: Mutex<Vec<(String, String, Fault, usize)>>,
    status: Mutex<Option<Value>>,
    let_go: AtomicBool,
    asleep: Mutex<Vec<String>>,
}

impl Sessions {
    fn fault(&self, method: &str, path: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let (.., fault, left) = faults
            .iter_mut()
            .find(|(of, prefix, _, left)| of == method && path.starts_with(prefix.as_str()) && *left > 0)?;
        *left -= 1;
        Some(*fault)
    }
}

impl FakeWaServer {
    /// The next calls of this method whose path begins like this go wrong.
    pub(crate) fn fail(&self, method: &str, prefix: &str, fault: Fault, times: usize) {
        if matches!(fault, Fault::Late | Fault::Held) {
            self.state.sessions.let_go.store(false, Ordering::SeqCst);
        }
        let fault = (method.to_owned(), prefix.to_owned(), fault, times);
        self.state.sessions.faults.lock().unwrap().push(fault);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn recover(&self) {
        self.state.sessions.faults.lock().unwrap().clear();
    }

    /// Answers that are late are given now, and what is asleep wakes up.
    pub(crate) fn let_go(&self) {
        let woken: Vec<String> = self.state.sessions.asleep.lock().unwrap().drain(..).collect();
        let mut connected = self.state.connected.lock().unwrap();
        for token in woken {
            if !connected.contains(&token) {
                connected.push(token);
            }
        }
        drop(connected);
        self.state.sessions.let_go.store(true, Ordering::SeqCst);
    }

    /// A session runs that nobody here has connected.
    pub(crate) fn run(&self, token: &str) {
        self.state.connected.lock().unwrap().push(token.to_owned());
    }

    /// Does a session with this token run?
    pub(crate) fn runs(&self, token: &str) -> bool {
        let connected = self.state.connected.lock().unwrap();
        connected.iter().any(|known| known == token)
    }

    /// How often it was called like this, `METHOD /path`.
    pub(crate) fn called(&self, call: &str) -> usize {
        self.calls().iter().filter(|made| made.starts_with(call)).count()
    }

    /// The one user of this name.
    pub(crate) fn user(&self, name: &str) -> Value {
        let users: Vec<Value> = self
            .users()
            .into_iter()
            .filter(|user| user["name"] == name)
            .collect();
        assert_eq!(users.len(), 1, "{users:?}");
        users[0].clone()
    }

    /// Changes a user behind everybody's back.
    pub(crate) fn change_user(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut users = self.state.users.lock().unwrap();
        change(users.iter_mut().find(|user| user["name"] == name).unwrap());
    }

    /// What it says when it is asked for a status, whoever asks.
    pub(crate) fn say_status(&self, status: Value) {
        *self.state.sessions.status.lock().unwrap() = Some(status);
    }

    /// A user that nobody here made.
    pub(crate) fn add_user(&self, user: Value) {
        self.state.users.lock().unwrap().push(user);
    }

    /// The calls that reached it, as `METHOD /path`; whether it is up is asked at any time.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.seen()
            .iter()
            .map(|seen| format!("{} {}", seen.method, seen.target.trim_start_matches("/wa")))
            .filter(|call| call != "GET /health")
            .collect()
    }
}

pub(super) async fn answer(seen: &Seen, path: &str, state: &State) -> Option<HttpResponse> {
    let fault = state.sessions.fault(&seen.method, path);
    let hang = || tokio::time::sleep(Duration::from_secs(60));
    match fault {
        Some(Fault::Status(status)) => return Some(refused(status, "out of order: admin-s3cret")),
        Some(Fault::Garbage) => return Some(HttpResponse::Ok().body("<html>")),
        Some(Fault::Nobody) => return Some(success(&json!([]))),
        Some(Fault::Hang) => hang().await,
        Some(Fault::Held) => until_let_go(state).await,
        Some(Fault::Asleep) => {
            let token = seen.header("token").unwrap_or_default().to_owned();
            state.sessions.asleep.lock().unwrap().push(token);
            return Some(success(&json!({"details": "Connected!"})));
        }
        Some(Fault::LostAnswer | Fault::Late) | None => {}
    }
    let answer = work(seen, path, state);
    if fault == Some(Fault::LostAnswer) {
        hang().await;
    }
    if fault == Some(Fault::Late) {
        until_let_go(state).await;
    }
    answer
}

async fn until_let_go(state: &State) {
    while !state.sessions.let_go.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn work(seen: &Seen, path: &str, state: &State) -> Option<HttpResponse> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (seen.method.as_str(), segments.as_slice()) {
        (_, ["admin", "users"]) => Some(admin_users(seen, state)),
        ("PUT", ["admin", "users", id]) => Some(edit(seen, id, state)),
        ("DELETE", ["admin", "users", id, "full"]) => Some(delete(seen, id, state)),
        ("PUT", ["webhook"]) => Some(set_webhook(seen, state)),
        ("GET", ["webhook"]) => Some(webhook(seen, state)),
        ("GET", ["session", "status"]) => {
            let status = state.sessions.status.lock().unwrap();
            status.as_ref().map(success)
        }
        ("POST", ["session", "hmac", "config"]) => Some(set_key(seen, state)),
        ("POST", ["session", "history"]) => Some(set_history(seen, state)),
        ("POST", ["session", "connect"]) => Some(connect(seen, state)),
        ("POST", ["session", "disconnect" | "logout"])
            if !state.refuses_disconnects.load(Ordering::SeqCst) =>
        {
            Some(disconnect(seen, state))
        }
        _ => None,
    }
}

fn edit(seen: &Seen, id: &str, state: &State) -> HttpResponse {
    if seen.header("authorization") != Some(ADMIN_TOKEN) {
        return refused(401, "unauthorized");
    }
    let mut users = state.users.lock().unwrap();
    let Some(user) = users.iter_mut().find(|user| user["id"] == id) else {
        return refused(404, "user not found");
    };
    for (name, value) in seen.json.as_object().unwrap() {
        user[name] = value.clone();
    }
    HttpResponse::Ok().json(json!({"code": 200, "message": "user updated successfully", "success": true}))
}

fn delete(seen: &Seen, id: &str, state: &State) -> HttpResponse {
    if seen.header("authorization") != Some(ADMIN_TOKEN) {
        return refused(401, "unauthorized");
    }
    let mut users = state.users.lock().unwrap();
    let before = users.len();
    users.retain(|user| user["id"] != id);
    if users.len() == before {
        return refused(404, "user not found");
    }
    success(&json!({"id": id}))
}

fn by_token<T>(seen: &Seen, state: &State, work: impl FnOnce(&mut Value) -> T) -> Option<T> {
    let mut users = state.users.lock().unwrap();
    let token = seen.header("token")?;
    users.iter_mut().find(|user| user["token"] == token).map(work)
}

/// Without `active` the address is emptied, without events they stay: as the contract says (wa-server contract 5).
fn set_webhook(seen: &Seen, state: &State) -> HttpResponse {
    let set = by_token(seen, state, |user| {
        let url = if seen.json["active"] == true {
            seen.json["webhook"].clone()
        } else {
            json!("")
        };
        user["webhook"] = url.clone();
        let events = seen.json["events"].as_array().cloned().unwrap_or_default();
        if !events.is_empty() {
            let names: Vec<&str> = events.iter().filter_map(Value::as_str).collect();
            user["events"] = json!(names.join(","));
        }
        success(&json!({"webhook": url, "events": seen.json["events"], "active": seen.json["active"]}))
    });
    set.unwrap_or_else(|| refused(401, "unauthorized"))
}

fn webhook(seen: &Seen, state: &State) -> HttpResponse {
    let shown = by_token(seen, state, |user| {
        let events: Vec<&str> = user["events"].as_str().unwrap_or_default().split(',').collect();
        success(&json!({"webhook": user["webhook"], "subscribe": events}))
    });
    shown.unwrap_or_else(|| refused(401, "unauthorized"))
}

fn set_key(seen: &Seen, state: &State) -> HttpResponse {
    let set = by_token(seen, state, |user| {
        user["hmacKey"] = seen.json["hmac_key"].clone();
        HttpResponse::Ok().json(json!({"Details": "HMAC configuration saved successfully"}))
    });
    set.unwrap_or_else(|| refused(401, "unauthorized"))
}

/// For running sessions only.
fn set_history(seen: &Seen, state: &State) -> HttpResponse {
    let token = seen.header("token").unwrap_or_default();
    if !state.connected.lock().unwrap().iter().any(|known| known == token) {
        return refused(400, "no session");
    }
    let set = by_token(seen, state, |user| {
        user["history"] = seen.json["history"].clone();
        success(&json!({"Details": "History updated"}))
    });
    set.unwrap_or_else(|| refused(401, "unauthorized"))
}

fn connect(seen: &Seen, state: &State) -> HttpResponse {
    let token = seen.header("token").unwrap_or_default().to_owned();
    let mut connected = state.connected.lock().unwrap();
    if connected.contains(&token) {
        return refused(500, "already connected");
    }
    connected.push(token);
    success(&json!({"details": "Connected!"}))
}

fn disconnect(seen: &Seen, state: &State) -> HttpResponse {
    let token = seen.header("token").unwrap_or_default();
    let mut connected = state.connected.lock().unwrap();
    let before = connected.len();
    connected.retain(|known| known != token);
    if connected.len() == before {
        return refused(500, "no session");
    }
    success(&json!({"Details": "Disconnected"}))
}
