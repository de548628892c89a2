//! `/webhook`, and the proxy, S3, HMAC and history settings (§5, §6).

use serde_json::{Value, json};

use super::admin::HMAC_KEY_MIN;
use super::fields::Fields;
use super::state::{Caller, Proxy, S3, WaState};
use super::{Handled, error, events, not_found, success};
use crate::http::{Answer, Call};

pub(super) fn knows(method: &str, path: &[&str]) -> bool {
    matches!(
        (method, path),
        ("GET" | "POST" | "PUT" | "DELETE", ["webhook"])
            | ("GET" | "POST" | "DELETE", ["session", "hmac" | "s3", "config"])
            | ("POST", ["session", "s3", "test"])
            | ("POST", ["session", "proxy"])
            | ("GET" | "POST", ["session", "history"])
    )
}

pub(super) fn answer(state: &mut WaState, caller: &Caller, call: &Call, path: &[&str]) -> Handled {
    match (call.method.as_str(), path) {
        ("GET", ["webhook"]) => Ok(webhook(state, caller)),
        ("POST", ["webhook"]) => set_webhook(state, caller, call),
        ("PUT", ["webhook"]) => update_webhook(state, caller, call),
        ("DELETE", ["webhook"]) => {
            store_webhook(state, caller, "", Some(""));
            Ok(success(
                json!({"Details": "Webhook and events deleted successfully"}),
            ))
        }
        ("GET", ["session", "hmac", _]) => Ok(hmac_key(state, caller)),
        ("POST", ["session", "hmac", _]) => set_hmac_key(state, caller, call),
        ("DELETE", ["session", "hmac", _]) => {
            store_hmac_key(state, caller, None);
            Ok(Answer::ok(
                &json!({"Details": "HMAC configuration deleted successfully"}),
            ))
        }
        ("GET", ["session", "s3", "config"]) => {
            let s3 = state.row(&caller.id).map(|row| row.s3.view());
            Ok(success(s3.unwrap_or(Value::Null)))
        }
        ("POST", ["session", "s3", "config"]) => set_s3(state, caller, call),
        ("DELETE", ["session", "s3", "config"]) => {
            if let Some(row) = state.row_mut(&caller.id) {
                // Only in the row: the cache entry keeps its media delivery (§6).
                row.s3 = S3 {
                    media_delivery: "base64".to_owned(),
                    ..S3::default()
                };
            }
            Ok(success(
                json!({"Details": "S3 configuration deleted successfully"}),
            ))
        }
        ("POST", ["session", "s3", _]) => test_s3(state, caller),
        ("POST", ["session", "proxy"]) => set_proxy(state, caller, call),
        ("POST", ["session", "history"]) => set_history(state, caller, call),
        ("GET", ["session", "history"]) => request_history(state, caller, call),
        _ => Ok(not_found()),
    }
}

/// `GET /webhook/events`, the only route here that asks for no token.
pub(super) fn event_names(call: &Call) -> Answer {
    if call.query("active") == Some("true") {
        return success(json!({"events": events::ACTIVE, "status": "active_only"}));
    }
    let all: Vec<&str> = events::ACTIVE.iter().chain(&events::INACTIVE).copied().collect();
    success(json!({
        "active_events": events::ACTIVE, "all_supported_events": all, "not_implemented_events": events::INACTIVE,
    }))
}

fn webhook(state: &WaState, caller: &Caller) -> Answer {
    let row = state.row(&caller.id).cloned().unwrap_or_default();
    // `[""]` when there is no subscription: the original splits an empty text.
    let subscribe: Vec<&str> = row.events.split(',').collect();
    success(json!({"webhook": row.webhook, "subscribe": subscribe}))
}

fn set_webhook(state: &mut WaState, caller: &Caller, call: &Call) -> Handled {
    let fields = Fields::parse(&call.body)?;
    let url = fields.text("webhookurl")?;
    let names = fields.texts("events")?.unwrap_or_default();
    store_webhook(state, caller, &url, listed(&names).as_deref());
    Ok(success(json!({"webhook": url})))
}

/// Other field names than POST, and without `"active":true` the webhook is emptied (§5).
fn update_webhook(state: &mut WaState, caller: &Caller, call: &Call) -> Handled {
    let fields = Fields::parse(&call.body)?;
    let active = fields.flag("active")?.unwrap_or_default();
    let url = if active {
        fields.text("webhook")?
    } else {
        String::new()
    };
    let names = fields.texts("events")?;
    let given = names.clone().unwrap_or_default();
    store_webhook(state, caller, &url, listed(&given).as_deref());
    Ok(success(
        json!({"webhook": url, "events": names, "active": active}),
    ))
}

fn listed(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| events::keep_known(names))
}

/// Without events the row keeps its list but the cache entry loses it, so delivery stops: a trap of the original (§5).
fn store_webhook(state: &mut WaState, caller: &Caller, url: &str, events: Option<&str>) {
    if let Some(row) = state.row_mut(&caller.id) {
        url.clone_into(&mut row.webhook);
        if let Some(events) = events {
            events.clone_into(&mut row.events);
        }
    }
    if let Some(entry) = state.cache.get_mut(&caller.token) {
        url.clone_into(&mut entry.webhook);
        events.unwrap_or_default().clone_into(&mut entry.events);
    }
}

/// HMAC answers are bare objects, without the envelope (§2).
fn hmac_key(state: &WaState, caller: &Caller) -> Answer {
    let configured = state.row(&caller.id).is_some_and(|row| row.hmac_key.is_some());
    Answer::ok(&json!({"hmac_key": if configured { "***" } else { "" }}))
}

fn set_hmac_key(state: &mut WaState, caller: &Caller, call: &Call) -> Handled {
    let key = Fields::parse(&call.body)?.text("hmac_key")?;
    if key.len() < HMAC_KEY_MIN {
        return Err(error(400, "HMAC key must be at least 32 characters long"));
    }
    store_hmac_key(state, caller, Some(key));
    Ok(Answer::ok(
        &json!({"Details": "HMAC configuration saved successfully"}),
    ))
}

fn store_hmac_key(state: &mut WaState, caller: &Caller, key: Option<String>) {
    if let Some(row) = state.row_mut(&caller.id) {
        row.hmac_key.clone_from(&key);
    }
    if let Some(entry) = state.cache.get_mut(&caller.token) {
        entry.hmac_key = key;
    }
}

fn set_s3(state: &mut WaState, caller: &Caller, call: &Call) -> Handled {
    let fields = Fields::parse(&call.body)?;
    let delivery = match fields.text("media_delivery")?.as_str() {
        "" => "base64".to_owned(),
        known @ ("base64" | "s3" | "both") => known.to_owned(),
        _ => return Err(error(400, "media_delivery must be 'base64', 's3', or 'both'")),
    };
    let s3 = S3 {
        enabled: fields.flag("enabled")?.unwrap_or_default(),
        endpoint: fields.text("endpoint")?,
        region: fields.text("region")?,
        bucket: fields.text("bucket")?,
        path_style: fields.flag("path_style")?.unwrap_or_default(),
        public_url: fields.text("public_url")?,
        media_delivery: delivery.clone(),
        retention_days: fields.integer("retention_days")?,
    };
    let enabled = s3.enabled;
    if let Some(row) = state.row_mut(&caller.id) {
        row.s3 = s3;
    }
    if let Some(entry) = state.cache.get_mut(&caller.token) {
        entry.media_delivery = delivery;
    }
    Ok(success(
        json!({"Details": "S3 configuration saved successfully", "Enabled": enabled}),
    ))
}

fn test_s3(state: &WaState, caller: &Caller) -> Handled {
    let s3 = state
        .row(&caller.id)
        .map(|row| row.s3.clone())
        .unwrap_or_default();
    if !s3.enabled {
        return Err(error(400, "S3 is not enabled for this user"));
    }
    Ok(success(json!({
        "Details": "S3 connection test successful", "Bucket": s3.bucket, "Region": s3.region,
    })))
}

fn set_proxy(state: &mut WaState, caller: &Caller, call: &Call) -> Handled {
    let fields = Fields::parse(&call.body)?;
    if state
        .clients
        .get(&caller.id)
        .is_some_and(|client| client.connected)
    {
        return Err(error(
            400,
            "cannot set proxy while connected. Please disconnect first",
        ));
    }
    let enabled = fields.flag("enable")?.unwrap_or_default();
    let url = if enabled {
        fields.required("proxy_url")?
    } else {
        String::new()
    };
    if let Some(row) = state.row_mut(&caller.id) {
        row.proxy = Proxy {
            enabled,
            url: url.clone(),
        };
    }
    Ok(success(
        json!({"Details": "Proxy configured successfully", "ProxyURL": url}),
    ))
}

fn set_history(state: &mut WaState, caller: &Caller, call: &Call) -> Handled {
    if !state.clients.contains_key(&caller.id) {
        return Err(error(400, "no session"));
    }
    let history = Fields::parse(&call.body)?.integer("history")?;
    if let Some(row) = state.row_mut(&caller.id) {
        row.history = history.max(0);
    }
    Ok(success(
        json!({"Details": "History configured successfully", "History": history}),
    ))
}

fn request_history(state: &WaState, caller: &Caller, call: &Call) -> Handled {
    if !state.clients.contains_key(&caller.id) {
        return Err(error(500, "no session"));
    }
    Ok(success(json!({
        "details": "History sync request Sent", "timestamp": chrono::Utc::now().timestamp(),
        "count": call.query_number("count").unwrap_or(50), "chat_jid": call.query("chat_jid").unwrap_or_default(),
        "oldest_msg_id": call.query("oldest_msg_id").unwrap_or_default(),
        "oldest_msg_from_me": call.query("oldest_msg_from_me") == Some("true"),
        "oldest_msg_timestamp": call.query_number("oldest_msg_timestamp").unwrap_or_default(),
    })))
}
