//! Meta's Graph API, mounted at `/graph` (Cloud API contract): messages, files, numbers, templates, and webhooks out.
//!
//! While nothing is set up it takes messages of every number from whoever has a token. With the first number or token it
//! becomes strict: unknown tokens, foreign numbers, limits, files and templates are refused as Meta refuses them.

mod access;
mod admin;
mod check;
pub(crate) mod control;
mod errors;
pub(crate) mod faults;
pub(crate) mod inbound;
mod limits;
pub(crate) mod media;
mod overlay;
mod send;
pub(crate) mod state;
mod status;
mod templates;
mod webhook;

use std::sync::Arc;

use errors::Refusal;
use state::GraphState;

use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};

/// The version of calls that name none.
const OLDEST_VERSION: &str = "v22.0";

pub(crate) async fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let (version, path) = match segments.as_slice() {
        [version, path @ ..] if is_version(version) => (*version, path),
        path => (OLDEST_VERSION, path),
    };
    let callbacks = match (call.method.as_str(), path) {
        ("GET" | "POST" | "DELETE", [waba, "subscribed_apps"]) => Some((*waba, false)),
        ("POST", [number]) => Some((*number, true)),
        _ => None,
    };
    let mut answer = match callbacks {
        Some((object, of_number)) => {
            let instead = {
                let mut state = lock(&hub.graph);
                let passed = || Answer::text(204, "");
                let scripted = admin::scripted(&mut state, object, |_| passed());
                (scripted.status != 204).then_some(scripted)
            };
            match instead {
                Some(instead) => instead,
                None => admin::callbacks(hub, call, object, of_number).await,
            }
        }
        None => route(hub, &mut lock(&hub.graph), call, version, path),
    };
    access::tell_usage(&lock(&hub.graph), call, &mut answer);
    answer
}

fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .and_then(|version| version.split_once('.'))
        .is_some_and(|(major, minor)| major.parse::<u16>().is_ok() && minor.parse::<u16>().is_ok())
}

fn route(hub: &Arc<Hub>, state: &mut GraphState, call: &Call, version: &str, path: &[&str]) -> Answer {
    match (call.method.as_str(), path) {
        ("POST", [number, "messages"]) => send::answer(hub, state, call, version, number),
        ("POST", [number, "media"]) => media::upload(state, call, number),
        ("GET", ["whatsapp_business", "attachments", ..]) => media::download(state, call),
        ("GET", ["debug_token"]) => admin::scripted(state, "", |state| admin::debug_token(state, call)),
        ("POST", [number, what @ ("register" | "deregister")]) => admin::scripted(state, number, |state| {
            admin::register(state, call, number, *what == "register")
        }),
        (_, [waba, what @ ("phone_numbers" | "message_templates")]) => {
            admin::scripted(state, waba, |state| of_waba(state, call, waba, what))
        }
        ("GET" | "DELETE", [id]) if state.files.knows(id) => media::about(state, call, id),
        ("GET", [id]) if state.numbers.contains_key(*id) => {
            admin::scripted(state, id, |state| admin::number(state, call, id))
        }
        ("GET" | "DELETE", [id]) => media::about(state, call, id),
        _ => Refusal {
            status: Some(404),
            message: Some("Unknown path components".to_owned()),
            ..Refusal::new(2500)
        }
        .answer(),
    }
}

fn of_waba(state: &mut GraphState, call: &Call, waba: &str, what: &str) -> Answer {
    if let Err(refusal) = access::waba(state, call, waba) {
        return refusal.answer();
    }
    match (call.method.as_str(), what) {
        ("GET", "phone_numbers") => admin::numbers(state, call, waba),
        ("GET", _) => templates::list(state, call, waba),
        ("POST", "message_templates") => templates::create(state, call, waba),
        ("DELETE", "message_templates") => templates::delete(state, call, waba),
        _ => Refusal::new(131_055).answer(),
    }
}
