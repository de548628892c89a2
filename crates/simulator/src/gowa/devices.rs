//! `/devices`: made, paired, asked about, taken away (4.5).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::receiver::GowaChatwoot;
use super::state::{GowaDevice, GowaState, GowaWebhook, bare};
use super::{done, refused};
use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};
use crate::qr;

#[derive(Deserialize)]
struct NewDevice {
    #[serde(default)]
    device_id: String,
    #[serde(flatten)]
    webhook: GowaWebhook,
}

#[derive(Deserialize)]
struct WebhookChange {
    webhook_url: Option<String>,
    #[serde(default)]
    webhook_secret: String,
    #[serde(default)]
    webhook_events: String,
    #[serde(default)]
    webhook_insecure_skip_verify: bool,
}

pub(super) fn answer(hub: &Arc<Hub>, state: &mut GowaState, call: &Call, path: &[&str]) -> Answer {
    match (call.method.as_str(), path) {
        ("GET", []) => done(
            "List devices",
            Value::Array(state.devices.values().map(view).collect()),
        ),
        ("POST", []) => add(state, call),
        (_, [id, rest @ ..]) => match state.devices.get(*id).cloned() {
            Some(device) => of_device(hub, state, call, device, rest),
            // The server says so of an unknown device, too.
            None => refused(500, "INTERNAL_SERVER_ERROR", "device not found"),
        },
        _ => refused(404, "NOT_FOUND", "no such route in this imitation"),
    }
}

fn add(state: &mut GowaState, call: &Call) -> Answer {
    let Ok(new) = call.json::<NewDevice>() else {
        return refused(400, "BAD_REQUEST", "Invalid request body");
    };
    let id = if new.device_id.is_empty() {
        uuid::Uuid::now_v7().to_string()
    } else {
        new.device_id
    };
    if state.devices.contains_key(&id) {
        return refused(500, "INTERNAL_SERVER_ERROR", "device already exists");
    }
    let webhook = (new.webhook != GowaWebhook::default()).then_some(new.webhook);
    let device = make(state, &id, webhook);
    let mut results = json!({
        "id": device.id, "display_name": "", "jid": "", "state": "disconnected", "created_at": device.created_at,
    });
    if let Some(webhook) = &device.webhook {
        merge(&mut results, &json!(webhook));
    }
    done("Device added", results)
}

pub(super) fn make(state: &mut GowaState, id: &str, webhook: Option<GowaWebhook>) -> GowaDevice {
    let device = GowaDevice {
        id: id.to_owned(),
        jid: String::new(),
        connected: false,
        logged_in: false,
        webhook,
        chatwoot: None,
        qr_path: None,
        pair_code: None,
        created_at: crate::hub::rfc3339(chrono::Utc::now()),
    };
    state.devices.insert(id.to_owned(), device.clone());
    device
}

fn of_device(
    hub: &Arc<Hub>,
    state: &mut GowaState,
    call: &Call,
    device: GowaDevice,
    path: &[&str],
) -> Answer {
    let id = device.id.as_str();
    match (call.method.as_str(), path) {
        ("GET", []) => done("Device info", view(&device)),
        ("DELETE", []) => {
            state.devices.remove(id);
            done("Device removed", Value::Null)
        }
        ("GET", ["status"]) => done(
            "Device status",
            json!({"device_id": id, "is_connected": device.connected, "is_logged_in": device.logged_in}),
        ),
        ("GET", ["login"]) => login(hub, state, call, &device),
        ("POST", ["login", "code"]) => login_with_code(hub, state, call, &device),
        ("POST", ["logout"]) => {
            if !device.logged_in {
                return refused(401, "AUTHENTICATION_ERROR", "you are not logged in");
            }
            unlink(state, id);
            done("Logout requested", Value::Null)
        }
        ("POST", ["reconnect"]) => {
            if device.jid.is_empty() {
                return refused(401, "AUTHENTICATION_ERROR", "you are not logged in");
            }
            if let Some(device) = state.devices.get_mut(id) {
                device.connected = true;
                device.logged_in = true;
            }
            done("Reconnect requested", Value::Null)
        }
        ("GET", ["webhook"]) => done("Device webhook retrieved", webhook_view(&device)),
        ("PATCH", ["webhook"]) => set_webhook(state, call, id),
        (_, ["chatwoot", "config"]) => chatwoot_config(state, call, id),
        _ => refused(404, "NOT_FOUND", "no such route in this imitation"),
    }
}

fn set_webhook(state: &mut GowaState, call: &Call, id: &str) -> Answer {
    let Ok(change) = call.json::<WebhookChange>() else {
        return refused(400, "BAD_REQUEST", "Invalid request body");
    };
    let Some(webhook_url) = change.webhook_url else {
        return refused(400, "BAD_REQUEST", "webhook_url is required");
    };
    let Some(device) = state.devices.get_mut(id) else {
        return refused(500, "INTERNAL_SERVER_ERROR", "device not found");
    };
    device.webhook = Some(GowaWebhook {
        webhook_url,
        webhook_secret: change.webhook_secret,
        webhook_events: change.webhook_events,
        webhook_insecure_skip_verify: change.webhook_insecure_skip_verify,
    });
    done("Device webhook updated", webhook_view(device))
}

/// A device's own Chatwoot inbox (4.3).
fn chatwoot_config(state: &mut GowaState, call: &Call, id: &str) -> Answer {
    let Some(device) = state.devices.get_mut(id) else {
        return refused(500, "INTERNAL_SERVER_ERROR", "device not found");
    };
    match call.method.as_str() {
        "PUT" => {
            let Ok(config) = call.json::<GowaChatwoot>() else {
                return refused(400, "BAD_REQUEST", "Invalid request body");
            };
            device.chatwoot = Some(config);
        }
        "DELETE" => device.chatwoot = None,
        "GET" => {}
        _ => return refused(404, "NOT_FOUND", "no such route in this imitation"),
    }
    done("Chatwoot config", chatwoot_view(device))
}

fn chatwoot_view(device: &GowaDevice) -> Value {
    let mut view =
        json!({"device_id": device.id, "webhook_url": format!("/gowa/chatwoot/webhook/{}", device.id)});
    if let Some(config) = &device.chatwoot {
        let shown = json!({
            "chatwoot_url": config.chatwoot_url, "account_id": config.account_id, "inbox_id": config.inbox_id,
            "enabled": config.enabled,
        });
        merge(&mut view, &shown);
    }
    view
}

pub(super) fn chatwoot_configs(state: &GowaState) -> Answer {
    let configs = state
        .devices
        .values()
        .filter(|device| device.chatwoot.is_some())
        .map(chatwoot_view)
        .collect();
    done("Chatwoot configs", Value::Array(configs))
}

/// A login shows a code and waits for somebody to scan it.
fn login(hub: &Arc<Hub>, state: &mut GowaState, call: &Call, device: &GowaDevice) -> Answer {
    if device.logged_in {
        return refused(400, "ALREADY_LOGGED_IN", "you are already logged in");
    }
    state.numbers += 1;
    let path = format!("qrcode/scan-qr-{}-{}.png", device.id, state.numbers);
    state.statics.put(&path, qr::picture(&qr::new_text()));
    if let Some(device) = state.devices.get_mut(&device.id) {
        device.connected = true;
        device.qr_path = Some(format!("statics/{path}"));
    }
    pair_by_itself(hub, state, &device.id);
    let host = call.header("host").unwrap_or("localhost");
    done(
        "Login success",
        json!({"device_id": device.id, "qr_link": format!("http://{host}/gowa/statics/{path}"), "qr_duration": 30}),
    )
}

fn login_with_code(hub: &Arc<Hub>, state: &mut GowaState, call: &Call, device: &GowaDevice) -> Answer {
    if device.logged_in {
        return refused(400, "ALREADY_LOGGED_IN", "you are already logged in");
    }
    if call.query("phone").unwrap_or_default().is_empty() {
        return refused(400, "VALIDATION_ERROR", "phone_number: cannot be blank.");
    }
    state.numbers += 1;
    let code = format!("KANA-{:04}", state.numbers % 10_000);
    if let Some(device) = state.devices.get_mut(&device.id) {
        device.connected = true;
        device.pair_code = Some(code.clone());
    }
    pair_by_itself(hub, state, &device.id);
    done(
        "Login with code started",
        json!({"device_id": device.id, "pair_code": code}),
    )
}

fn pair_by_itself(hub: &Arc<Hub>, state: &GowaState, id: &str) {
    if !state.settings.auto_login {
        return;
    }
    let (shared, id) = (Arc::clone(hub), id.to_owned());
    hub.spawn(async move {
        tokio::time::sleep(shared.config.login_delay).await;
        pair(&mut lock(&shared.gowa), &id, None);
    });
}

/// The phone has scanned or typed the code. False for a device that is gone.
pub(super) fn pair(state: &mut GowaState, id: &str, jid: Option<String>) -> bool {
    state.numbers += 1;
    let number = state.numbers;
    let Some(device) = state.devices.get_mut(id) else {
        return false;
    };
    device.jid = jid.unwrap_or_else(|| format!("62811{number:07}:1@s.whatsapp.net"));
    device.connected = true;
    device.logged_in = true;
    device.qr_path = None;
    device.pair_code = None;
    true
}

/// The phone has unlinked the device.
pub(super) fn unlink(state: &mut GowaState, id: &str) {
    if let Some(device) = state.devices.get_mut(id) {
        device.connected = false;
        device.logged_in = false;
        device.jid.clear();
    }
}

pub(super) fn linked(state: &GowaState) -> Answer {
    let devices: Vec<Value> = state
        .devices
        .values()
        .filter(|device| !device.jid.is_empty())
        .map(|device| json!({"name": "Kanal", "device": device.jid}))
        .collect();
    done("Fetch device success", Value::Array(devices))
}

pub(super) fn app_status(state: &GowaState, id: &str) -> Answer {
    match state.devices.get(id) {
        Some(device) => done(
            "Connection status retrieved",
            json!({"is_connected": device.connected, "is_logged_in": device.logged_in, "device_id": id,
                   "jid": device.jid}),
        ),
        None => refused(404, "DEVICE_NOT_FOUND", "device not found"),
    }
}

fn view(device: &GowaDevice) -> Value {
    let state = match (device.logged_in, device.connected) {
        (true, _) => "logged_in",
        (false, true) => "connected",
        (false, false) => "disconnected",
    };
    let mut view = json!({
        "id": device.id, "display_name": "", "state": state, "created_at": device.created_at,
    });
    if !device.jid.is_empty() {
        view["jid"] = json!(device.jid);
        let own = bare(&device.jid);
        view["phone_number"] = json!(own.split('@').next());
    }
    view
}

fn webhook_view(device: &GowaDevice) -> Value {
    let mut view = json!({"device_id": device.id});
    merge(&mut view, &json!(device.webhook.clone().unwrap_or_default()));
    view
}

fn merge(into: &mut Value, members: &Value) {
    for (key, value) in members.as_object().into_iter().flatten() {
        into[key.as_str()] = value.clone();
    }
}
