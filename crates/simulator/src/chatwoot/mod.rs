//! A Chatwoot, mounted at `/chatwoot` (Chatwoot contract, sections 2 and 3).

mod contacts;
mod conversations;
mod inboxes;
mod messages;
mod payload;
mod webhook;

pub(crate) mod control;
pub(crate) mod state;

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http::{Answer, Call, object};
use crate::hub::{Hub, lock};

/// Either outcome is an answer; the error side lets checks use `?`.
type Handled = Result<Answer, Answer>;

/// The path table, below `/chatwoot/api/v1/accounts/{a}`.
pub(crate) fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let ["api", "v1", "accounts", account, path @ ..] = segments.as_slice() else {
        return missing();
    };
    let mut state = lock(&hub.chatwoot);
    // Proxies that drop headers with underscores look exactly like this to a caller (contract 3.1).
    let Some(token) = call.header("api_access_token") else {
        return Answer::json(
            401,
            &json!({"errors": ["You need to sign in or sign up before continuing."]}),
        );
    };
    if !state.accounts.values().any(|account| account.token == token) {
        return Answer::json(401, &json!({"error": "Invalid Access Token"}));
    }
    let Some(account) = account.parse().ok().filter(|id| state.accounts.contains_key(id)) else {
        return missing();
    };
    if state
        .accounts
        .get(&account)
        .is_some_and(|known| known.token != token)
    {
        return Answer::json(401, &json!({"error": "You are not authorized to do this action"}));
    }
    let request = Request { hub, call, account };
    let method = call.method.as_str();
    let answer = match (method, path) {
        ("GET", ["contacts", "search"]) => contacts::search(&state, &request),
        ("POST", ["contacts", "filter"]) => contacts::filter(&state, &request),
        ("GET", ["contacts"]) => contacts::list(&state, &request),
        ("POST", ["contacts"]) => contacts::create(&mut state, &request),
        (_, ["contacts", id, rest @ ..]) => match id.parse() {
            Ok(id) => contacts::one(&mut state, &request, id, rest),
            Err(_) => Err(missing()),
        },
        ("GET", ["conversations"]) => conversations::list(&state, &request),
        ("POST", ["conversations"]) => conversations::create(&mut state, &request),
        (_, ["conversations", id, rest @ ..]) => match id.parse() {
            Ok(id) => conversations::one(&mut state, &request, id, rest),
            Err(_) => Err(missing()),
        },
        (_, ["inboxes", rest @ ..]) => inboxes::answer(&mut state, &request, rest),
        (_, ["webhooks", rest @ ..]) => inboxes::webhooks(&mut state, &request, rest),
        _ => Err(missing()),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

/// An authenticated request to one account.
struct Request<'a> {
    hub: &'a Arc<Hub>,
    call: &'a Call,
    account: u64,
}

impl Request<'_> {
    /// The members of a JSON body; an empty body has none.
    fn members(&self) -> Result<Map<String, Value>, Answer> {
        self.call.json::<Value>().map(object).map_err(|_| {
            Answer::json(
                400,
                &json!({"error": "There was a problem in the JSON you submitted"}),
            )
        })
    }
}

fn ok(body: &impl Serialize) -> Handled {
    Ok(Answer::ok(body))
}

fn missing() -> Answer {
    Answer::json(404, &json!({"error": "Resource could not be found"}))
}

/// 422 of a validation: text and the attributes it is about.
fn invalid(message: &str, attribute: &str) -> Answer {
    Answer::json(422, &json!({"message": message, "attributes": [attribute]}))
}

/// 422 of everything else.
fn unprocessable(error: &str) -> Answer {
    Answer::json(422, &json!({"error": error}))
}

/// The text of a member; absent, null and empty are all nothing.
fn text(members: &Map<String, Value>, key: &str) -> Option<String> {
    match members.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A number given as number or as text, both of which Rails takes.
fn number(members: &Map<String, Value>, key: &str) -> Option<u64> {
    match members.get(key)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn flag(members: &Map<String, Value>, key: &str) -> bool {
    match members.get(key) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text == "true" || text == "1",
        _ => false,
    }
}

/// An object given as object or, in multipart forms, as JSON text.
fn attributes(members: &Map<String, Value>, key: &str) -> Map<String, Value> {
    match members.get(key) {
        Some(Value::Object(members)) => members.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).map(object).unwrap_or_default(),
        _ => Map::new(),
    }
}
