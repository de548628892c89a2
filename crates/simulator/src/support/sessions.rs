//! `/v1/*` (§7), behind the customer's key (§3.2).

use std::sync::Arc;

use actix_web::web::Bytes;
use serde_json::{Value, json};

use super::customers::fresh_key;
use super::state::{Customer, Session, SupportSession, SupportState};
use super::{Handled, integer, not_found, object, refusal, required, text};
use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};
use crate::wa;

pub(super) fn answer(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Handled {
    let mut state = lock(&hub.support);
    let customer = authenticate(&state, call)?;
    match (call.method.as_str(), path) {
        ("GET", ["me"]) => Ok(me(&customer)),
        ("GET", ["sessions"]) => Ok(list(&state, &customer)),
        ("POST", ["sessions"]) => create(hub, &mut state, &customer, call),
        ("DELETE", ["sessions", id]) => delete(hub, &mut state, &customer, id),
        ("GET", ["sessions", id, "settings"]) => {
            let session = own(&state, &customer, id).ok_or_else(|| refusal(404, "session not found"))?;
            Ok(Answer::ok(&json!({
                "session_id": id, "webhook_url": session.session.webhook_url, "message_stat_sent": 0,
                "message_stat_failed": 0,
            })))
        }
        _ => Err(not_found()),
    }
}

fn authenticate(state: &SupportState, call: &Call) -> Result<Customer, Answer> {
    let key = call.header("x-api-key").map(str::trim).unwrap_or_default();
    if key.is_empty() {
        return Err(refusal(401, "x-api-key is required"));
    }
    state
        .customers
        .iter()
        .find(|customer| customer.api_key == key)
        .cloned()
        .ok_or_else(|| refusal(401, "invalid api key"))
}

fn own<'a>(state: &'a SupportState, customer: &Customer, id: &str) -> Option<&'a Session> {
    state
        .sessions
        .iter()
        .find(|session| session.user_id == customer.user_id && session.session.session_id == id)
}

fn me(customer: &Customer) -> Answer {
    let subscription = &customer.subscription;
    Answer::ok(&json!({
        "user": {
            "id": customer.user_id, "source_service": customer.source, "created_by": customer.created_by,
            "status": "active", "provider_mapping": null, "created_at": customer.created_at.at,
            "updated_at": customer.updated_at.at,
        },
        "subscription": {
            "user_id": customer.user_id, "provider": subscription.provider,
            "max_sessions": subscription.max_sessions, "max_messages": subscription.max_messages,
            "expires_at": subscription.expires_at, "status": "active",
        },
    }))
}

fn list(state: &SupportState, customer: &Customer) -> Answer {
    let sessions: Vec<Value> = state
        .sessions
        .iter()
        .rev()
        .filter(|session| session.user_id == customer.user_id)
        .map(Session::wire)
        .collect();
    Answer::ok(&json!({"sessions": sessions}))
}

fn create(hub: &Arc<Hub>, state: &mut SupportState, customer: &Customer, call: &Call) -> Handled {
    let fields = object(call)?;
    let name = required(&fields, "session_name")?.to_owned();
    let most = usize::try_from(customer.subscription.max_sessions).unwrap_or(usize::MAX);
    // Counted rightly, unlike the original (W-05): a customer that has its sessions gets no more.
    if state.sessions_of(&customer.user_id).count() >= most {
        return Err(refusal(403, "session limit exceeded"));
    }
    let token = fresh_key("wat_");
    let events = match text(&fields, "events") {
        events if events.is_empty() => "Message,Connected,Disconnected,QR".to_owned(),
        events => events,
    };
    let webhook_url = text(&fields, "webhook_url");
    let user = json!({
        "name": name, "token": token, "webhook": webhook_url, "expiration": integer(&fields, "expiration_sec"),
        "events": events, "history": integer(&fields, "history"),
    });
    let made = as_admin(hub, "POST", &["admin", "users"], &user);
    if made.status != 201 {
        return Err(made);
    }
    let made: Value = serde_json::from_slice(&made.body).unwrap_or_default();
    let now = hub.now();
    state.made += 1;
    let session = Session {
        number: state.made,
        user_id: customer.user_id.clone(),
        session: SupportSession {
            session_id: made["data"]["id"].as_str().unwrap_or_default().to_owned(),
            session_name: name,
            session_token: token.clone(),
            webhook_url,
        },
        created_at: now.clone(),
        updated_at: now,
    };
    let view = session.wire();
    state.sessions.push(session);
    if fields.get("auto_connect") == Some(&Value::Bool(true)) {
        let names: Vec<&str> = events.split(',').collect();
        let body = json!({"subscribe": names});
        // The outcome is ignored.
        let _ignored = as_session(hub, "POST", &["session", "connect"], &token, &body);
    }
    Ok(Answer::json(201, &json!({"session": view})))
}

/// The WA server's answer is the answer. What it does not know any more is gone here, too.
fn delete(hub: &Arc<Hub>, state: &mut SupportState, customer: &Customer, id: &str) -> Handled {
    if own(state, customer, id).is_none() {
        return Err(refusal(403, "session not found for user"));
    }
    let answer = as_admin(hub, "DELETE", &["admin", "users", id, "full"], &json!({}));
    if (200..300).contains(&answer.status) || answer.status == 404 {
        state.sessions.retain(|session| session.session.session_id != id);
    }
    Ok(answer)
}

/// A call of the gateway's own to the WA server.
fn as_admin(hub: &Arc<Hub>, method: &str, path: &[&str], body: &Value) -> Answer {
    let header = ("authorization", hub.config.wa_admin_token.clone());
    wa::answer(hub, &own_call(method, path, header, body))
}

fn as_session(hub: &Arc<Hub>, method: &str, path: &[&str], token: &str, body: &Value) -> Answer {
    wa::answer(hub, &own_call(method, path, ("token", token.to_owned()), body))
}

fn own_call(method: &str, path: &[&str], header: (&str, String), body: &Value) -> Call {
    Call {
        method: method.to_owned(),
        path: format!("/wa/{}", path.join("/")),
        segments: path.iter().map(|&segment| segment.to_owned()).collect(),
        query: Vec::new(),
        headers: std::iter::once((header.0.to_owned(), header.1)).collect(),
        body: Bytes::from(body.to_string()),
    }
}
