//! `/admin/*` and `/health` (§3).

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::fields::Fields;
use super::state::{Proxy, S3, UserRow, WaState};
use super::{Handled, error, error_with_details, events, not_found, success, success_as};
use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};

/// Shortest HMAC key the server takes.
pub(super) const HMAC_KEY_MIN: usize = 32;

pub(super) fn answer(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Answer {
    let known = matches!(
        (call.method.as_str(), path),
        ("GET" | "POST", ["users"])
            | ("GET" | "PUT" | "DELETE", ["users", _])
            | ("DELETE", ["users", _, "full"])
    );
    if !known {
        return not_found();
    }
    // The raw token: no `Bearer`.
    if call.header("authorization") != Some(hub.config.wa_admin_token.as_str()) {
        return error(401, "unauthorized");
    }
    let mut state = lock(&hub.wa);
    let answer = match (call.method.as_str(), path) {
        ("GET", ["users"]) => Ok(list(&state, None)),
        ("GET", ["users", id]) => Ok(list(&state, Some(id))),
        ("POST", _) => create(&mut state, call),
        ("PUT", ["users", id]) => edit(&mut state, call, id),
        ("DELETE", ["users", id]) => delete(&mut state, id),
        ("DELETE", ["users", id, _]) => delete_full(&mut state, id),
        _ => Ok(not_found()),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

pub(super) fn health(hub: &Arc<Hub>) -> Answer {
    let state = lock(&hub.wa);
    let connected = state.clients.values().filter(|c| c.connected).count();
    let logged_in = state.clients.values().filter(|c| c.logged_in).count();
    let moment = hub.now();
    Answer::ok(&json!({
        "status": "ok", "timestamp": moment.at, "uptime": format!("{}s", moment.at_ms / 1000),
        "active_connections": connected, "total_users": state.users.len(), "connected_users": connected,
        "logged_in_users": logged_in,
        "memory_stats": {"alloc_mb": 0, "total_alloc_mb": 0, "sys_mb": 0, "num_gc": 0},
        "goroutines": 1, "version": "1.0.5",
    }))
}

fn list(state: &WaState, id: Option<&str>) -> Answer {
    let users: Vec<Value> = state
        .users
        .iter()
        .filter(|row| id.is_none_or(|id| row.id == id))
        .map(|row| {
            let client = state.clients.get(&row.id);
            json!({
                "id": row.id, "name": row.name, "token": row.token, "webhook": row.webhook, "jid": row.jid,
                "qrcode": row.qrcode, "connected": client.is_some_and(|c| c.connected),
                "loggedIn": client.is_some_and(|c| c.logged_in), "expiration": row.expiration,
                "proxy_url": row.proxy.url, "events": row.events, "proxy_config": row.proxy.view(),
                "s3_config": row.s3.view(),
            })
        })
        .collect();
    success(Value::Array(users))
}

fn create(state: &mut WaState, call: &Call) -> Handled {
    let fields = parse(call)?;
    let token = fields.text("token")?;
    let key = fields.text("hmacKey")?;
    if !key.is_empty() && key.len() < HMAC_KEY_MIN {
        return Err(error(400, "HMAC key must be at least 32 characters long"));
    }
    let events = checked_events(&fields)?;
    if state.users.iter().any(|row| row.token == token) {
        return Err(error(409, "user with this token already exists"));
    }
    let row = UserRow {
        id: Uuid::now_v7().simple().to_string(),
        name: fields.text("name")?,
        token,
        webhook: fields.text("webhook")?,
        events,
        expiration: fields.integer("expiration")?,
        history: fields.integer("history")?,
        hmac_key: (!key.is_empty()).then_some(key),
        proxy: proxy(&fields)?.unwrap_or_default(),
        s3: s3(&fields)?.unwrap_or_default(),
        ..UserRow::default()
    };
    let data = json!({
        "id": row.id, "name": row.name, "token": row.token, "webhook": row.webhook, "expiration": row.expiration,
        "events": row.events, "proxy_config": row.proxy.view(), "s3_config": row.s3.view(),
        "hmac_key": row.hmac_key.is_some(),
    });
    state.users.push(row);
    Ok(success_as(201, data))
}

/// Empty strings and zeroes mean "not provided", so nothing can be cleared here.
fn edit(state: &mut WaState, call: &Call, id: &str) -> Handled {
    let fields = parse(call)?;
    let (name, token, webhook) = (
        fields.text("name")?,
        fields.text("token")?,
        fields.text("webhook")?,
    );
    let events = checked_events(&fields)?;
    let (expiration, history) = (fields.integer("expiration")?, fields.integer("history")?);
    let (proxy, s3) = (proxy(&fields)?, s3(&fields)?);
    let Some(row) = state.users.iter_mut().find(|row| row.id == id) else {
        return Err(error(404, "user not found"));
    };
    let texts_given = [&name, &token, &webhook, &events]
        .iter()
        .any(|text| !text.is_empty());
    if !texts_given && expiration == 0 && history == 0 && proxy.is_none() && s3.is_none() {
        return Err(error(400, "no fields to update"));
    }
    let set = |column: &mut String, value: String| {
        if !value.is_empty() {
            *column = value;
        }
    };
    set(&mut row.name, name);
    set(&mut row.token, token);
    set(&mut row.webhook, webhook);
    set(&mut row.events, events);
    if expiration != 0 {
        row.expiration = expiration;
    }
    if history != 0 {
        row.history = history;
    }
    if let Some(proxy) = proxy {
        row.proxy = proxy;
    }
    if let Some(s3) = s3 {
        row.s3 = s3;
    }
    // An old token stays valid through its cache entry until the server restarts.
    for entry in state.cache.values_mut().filter(|entry| entry.user_id == id) {
        entry.name.clone_from(&row.name);
        entry.webhook.clone_from(&row.webhook);
        entry.events.clone_from(&row.events);
    }
    Ok(Answer::ok(
        &json!({"code": 200, "message": "user updated successfully", "success": true}),
    ))
}

/// Removes the row only: the client keeps running and the cached token keeps working.
fn delete(state: &mut WaState, id: &str) -> Handled {
    let before = state.users.len();
    state.users.retain(|row| row.id != id);
    if state.users.len() == before {
        return Err(user_not_found(id));
    }
    Ok(Answer::ok(&json!({
        "code": 200, "data": {"id": id}, "details": "user deleted successfully", "success": true,
    })))
}

fn delete_full(state: &mut WaState, id: &str) -> Handled {
    let Some(place) = state.users.iter().position(|row| row.id == id) else {
        return Err(user_not_found(id));
    };
    let row = state.users.remove(place);
    state.clients.remove(id);
    state.cache.retain(|_, entry| entry.user_id != id);
    Ok(Answer::ok(&json!({
        "code": 200, "data": {"id": row.id, "name": row.name, "jid": row.jid},
        "details": "user instance removed completely", "success": true,
    })))
}

fn user_not_found(id: &str) -> Answer {
    error_with_details(404, "user not found", &format!("no user with id {id}"))
}

fn parse(call: &Call) -> Result<Fields, Answer> {
    Fields::parse(&call.body).map_err(|_| error(400, "invalid request payload"))
}

fn checked_events(fields: &Fields) -> Result<String, Answer> {
    let events = fields.text("events")?;
    let unknown = events
        .split(',')
        .map(str::trim)
        .find(|name| !name.is_empty() && !events::is_known(name));
    match unknown {
        Some(name) => Err(error_with_details(
            400,
            "invalid event type",
            &format!("invalid event: {name}"),
        )),
        None => Ok(events),
    }
}

fn proxy(fields: &Fields) -> Result<Option<Proxy>, Answer> {
    let Some(given) = fields.object("proxyConfig")? else {
        return Ok(None);
    };
    if given.flag("enabled")? != Some(true) {
        return Ok(Some(Proxy::default()));
    }
    Ok(Some(Proxy {
        enabled: true,
        url: given.text("proxyURL")?,
    }))
}

/// The admin spelling of the S3 settings, without underscores; left out, media delivery is stored as empty (§3).
fn s3(fields: &Fields) -> Result<Option<S3>, Answer> {
    let Some(given) = fields.object("s3Config")? else {
        return Ok(None);
    };
    Ok(Some(S3 {
        enabled: given.flag("enabled")?.unwrap_or_default(),
        endpoint: given.text("endpoint")?,
        region: given.text("region")?,
        bucket: given.text("bucket")?,
        path_style: given.flag("pathStyle")?.unwrap_or_default(),
        public_url: given.text("publicURL")?,
        media_delivery: given.text("mediaDelivery")?,
        retention_days: given.integer("retentionDays")?,
    }))
}
