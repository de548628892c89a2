//! A Chatwoot, mounted at `/chatwoot` (Chatwoot contract, sections 2 and 3).

mod contacts;
mod conversations;
mod inboxes;
mod messages;
mod payload;
mod webhook;

pub(crate) mod acts;
pub(crate) mod control;
pub(crate) mod files;
pub(crate) mod settings;
pub(crate) mod state;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http::{Answer, Call, object};
use crate::hub::{Hub, lock};
use crate::multipart;
use settings::Counted;
use state::ChatwootState;

/// Either outcome is an answer; the error side lets checks use `?`.
type Handled = Result<Answer, Answer>;

/// The path table, below `/chatwoot/api/v1/accounts/{a}`.
pub(crate) fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let mut state = lock(&hub.chatwoot);
    let (account, path) = match segments.as_slice() {
        ["rails", "active_storage", path @ ..] => return files::answer(&mut state, call, path),
        ["api", "v1", "accounts", account, path @ ..] => (*account, path),
        ["api", "v1", "profile"] => ("", &[][..]),
        _ => return missing(),
    };
    let requests = state.settings.requests_per_minute;
    if !state.admits(Counted::Requests, requests) {
        return Answer::text(429, "Retry later\n");
    }
    // Proxies that drop headers with underscores look exactly like this to a caller (contract 3.1).
    let dropped = state.settings.drops_underscore_headers;
    let Some(token) = call.header("api_access_token").filter(|_| !dropped) else {
        return Answer::json(
            401,
            &json!({"errors": ["You need to sign in or sign up before continuing."]}),
        );
    };
    let Some(own) = state.accounts.values().find(|account| account.token == token) else {
        return Answer::json(401, &json!({"error": "Invalid Access Token"}));
    };
    if account.is_empty() {
        return profile(own);
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
        ("GET", ["contacts", "search"]) => {
            let searches = state.settings.searches_per_minute;
            if state.admits(Counted::Searches(account), searches) {
                contacts::search(&state, &request)
            } else {
                Err(Answer::text(429, "Retry later\n"))
            }
        }
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
        ("POST", ["actions", "contact_merge"]) => contacts::merge_two(&mut state, &request),
        (_, ["webhooks", rest @ ..]) => inboxes::webhooks(&mut state, &request, rest),
        _ => Err(missing()),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

/// Whose token it is.
fn profile(account: &state::Account) -> Answer {
    Answer::ok(&json!({
        "id": account.agent_id, "name": "Budi Agen", "email": "budi@agents.example", "account_id": account.id,
        "role": "administrator",
        "accounts": [{"id": account.id, "name": account.name, "role": "administrator"}],
    }))
}

impl ChatwootState {
    /// Counts one more of something; false if that is too many for a minute.
    fn admits(&mut self, what: Counted, limit: u64) -> bool {
        let minute = Duration::from_millis(self.settings.minute_ms);
        self.counts.admits(what, limit, minute)
    }
}

/// An authenticated request to one account.
struct Request<'a> {
    hub: &'a Arc<Hub>,
    call: &'a Call,
    account: u64,
}

impl Request<'_> {
    /// The members of a JSON or multipart body, and the files of the latter.
    fn form(&self) -> Result<(Map<String, Value>, Vec<multipart::File>), Answer> {
        let content_type = self.call.header("content-type").unwrap_or_default();
        if !content_type.starts_with("multipart/form-data") {
            return Ok((self.members()?, Vec::new()));
        }
        multipart::parse(content_type, &self.call.body)
            .ok_or_else(|| Answer::json(400, &json!({"error": "bad multipart body"})))
    }

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
