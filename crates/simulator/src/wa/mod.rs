//! A genfity WA server, mounted at `/wa` (WA server contract).

mod admin;
mod chat;
mod content;
mod events;
mod fields;
pub(crate) mod media;
mod phones;
mod session;
mod settings;
mod user;
mod webhook;

pub(crate) mod control;
pub(crate) mod inbound;
pub(crate) mod state;
pub(crate) mod stream;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};

/// The path table. A known path with a wrong method is an unknown path (§1): 404, never 405.
pub(crate) fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["health"]) => admin::health(hub),
        ("GET", ["_pictures", id]) => user::picture(&lock(&hub.wa), id),
        ("GET", ["webhook", "events"]) => settings::event_names(call),
        (_, ["admin", rest @ ..]) => admin::answer(hub, call, rest),
        (method, path) if is_user_route(method, path) => user_route(hub, call, path),
        _ => not_found(),
    }
}

fn is_user_route(method: &str, path: &[&str]) -> bool {
    session::knows(method, path)
        || settings::knows(method, path)
        || chat::knows(method, path)
        || user::knows(method, path)
}

fn user_route(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Answer {
    let token = call
        .header("token")
        .filter(|token| !token.is_empty())
        .or_else(|| call.query("token"))
        .unwrap_or_default()
        .to_owned();
    let mut state = lock(&hub.wa);
    // The first call with a token makes its cache entry (§9).
    let Some(caller) = state.authenticate(&token) else {
        return error(401, "unauthorized");
    };
    let method = call.method.as_str();
    let answer = if session::knows(method, path) {
        session::answer(hub, &mut state, &caller, call, path)
    } else if settings::knows(method, path) {
        settings::answer(&mut state, &caller, call, path)
    } else if chat::knows(method, path) {
        chat::answer(hub, &mut state, &caller, call, path)
    } else {
        user::answer(&mut state, &caller, call, path)
    };
    answer.unwrap_or_else(|refusal| refusal)
}

/// Either outcome is an answer; the error side lets checks use `?`.
type Handled = Result<Answer, Answer>;

/// `{"code":200,"data":…,"success":true}` (§2).
fn success(data: Value) -> Answer {
    success_as(200, data)
}

fn success_as(code: u16, data: Value) -> Answer {
    Answer::json(code, &json!({"code": code, "data": data, "success": true}))
}

/// `{"code":…,"error":"…","success":false}` with the same HTTP status (§2).
fn error(code: u16, text: &str) -> Answer {
    Answer::json(code, &json!({"code": code, "error": text, "success": false}))
}

fn error_with_details(code: u16, text: &str, details: &str) -> Answer {
    Answer::json(
        code,
        &json!({"code": code, "details": details, "error": text, "success": false}),
    )
}

fn not_found() -> Answer {
    Answer::text(404, "404 page not found\n")
}
