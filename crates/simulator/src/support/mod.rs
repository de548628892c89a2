//! A wa-support-gateway, mounted at `/support`: customers and their keys, their sessions, and the token proxy
//! (wa-support-gateway contract 3, 6, 7 and 8). Its WA server is the one mounted at `/wa`.

mod customers;
mod proxy;
mod sessions;
pub(crate) mod state;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::http::{Answer, Call};
use crate::hub::Hub;

/// Either outcome is an answer; the error side lets checks use `?`.
type Handled = Result<Answer, Answer>;

/// The path table. A known path with a wrong method is an unknown path: 404, never 405.
pub(crate) fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let answer = match segments.as_slice() {
        ["health"] if call.method == "GET" => Ok(Answer::ok(&json!({"status": "ok"}))),
        ["internal", path @ ..] => customers::answer(hub, call, path),
        ["wa", path @ ..] | ["v1", "wa", path @ ..] => proxy::answer(hub, call, path),
        ["v1", path @ ..] => sessions::answer(hub, call, path),
        _ => Err(not_found()),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

/// `{"message":"<text>"}`, this one key and nothing else (§2).
fn refusal(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"message": message}))
}

fn not_found() -> Answer {
    Answer::text(404, "404 page not found\n")
}

/// The body as an object; its content type is not looked at, and an empty body is refused (§2).
fn object(call: &Call) -> Result<Map<String, Value>, Answer> {
    match serde_json::from_slice(&call.body) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(refusal(400, "EOF")),
    }
}

/// A text that has to be there.
fn required<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, Answer> {
    fields
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| {
            let text =
                format!("Key: '{name}' Error:Field validation for '{name}' failed on the 'required' tag");
            refusal(400, &text)
        })
}

fn text(fields: &Map<String, Value>, name: &str) -> String {
    fields
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn integer(fields: &Map<String, Value>, name: &str) -> i64 {
    fields.get(name).and_then(Value::as_i64).unwrap_or_default()
}
