//! A GoWA, mounted at `/gowa` (Chatwoot contract 4).

pub(crate) mod control;
mod devices;
pub(crate) mod receiver;
mod send;
pub(crate) mod state;
mod webhook;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};
use state::GowaState;

/// The path table, in the order of the server's layers: public files, health, the Chatwoot receiver, then whoever has
/// shown user and password.
pub(crate) fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let mut state = lock(&hub.gowa);
    match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["statics", rest @ ..]) => return statics(&state, &rest.join("/")),
        ("GET", ["health"]) => return Answer::text(200, "OK"),
        ("POST", ["chatwoot", "webhook"]) if state.settings.chatwoot_enabled => {
            return receiver::answer(hub, &mut state, call, None);
        }
        ("POST", ["chatwoot", "webhook", device]) if state.settings.chatwoot_enabled => {
            return receiver::answer(hub, &mut state, call, Some(device));
        }
        _ => {}
    }
    if !may_call(&state, call) {
        return Answer::text(401, "Unauthorized");
    }
    match (call.method.as_str(), segments.as_slice()) {
        (_, ["devices", path @ ..]) => devices::answer(hub, &mut state, call, path),
        ("GET", ["app", "info"]) => done(
            "App info",
            json!({"version": "v9.2.0", "os": "Kanal", "base_path": "/gowa", "max_file_size": 52_428_800,
                   "max_video_size": 104_857_600, "max_image_size": 20_971_520,
                   "chatwoot_enabled": state.settings.chatwoot_enabled}),
        ),
        ("GET", ["chatwoot", "configs"]) => devices::chatwoot_configs(&state),
        ("GET", ["app", "devices"]) => devices::linked(&state),
        ("GET", ["app", "status"]) => match device_of(&state, call) {
            Ok(id) => devices::app_status(&state, &id),
            Err(refusal) => refusal,
        },
        ("GET", ["user", "check"]) => match device_of(&state, call) {
            Ok(_) => done("Success check user", json!({"is_on_whatsapp": true})),
            Err(refusal) => refusal,
        },
        ("GET", ["user", "avatar"]) => match device_of(&state, call) {
            Ok(_) => avatar(&state, call),
            Err(refusal) => refusal,
        },
        ("POST", ["send", ..]) | (_, ["message", ..]) => match device_of(&state, call) {
            Ok(id) => send::answer(hub, &mut state, call, &id, &segments),
            Err(refusal) => refusal,
        },
        _ => refused(404, "NOT_FOUND", "no such route in this imitation"),
    }
}

fn avatar(state: &GowaState, call: &Call) -> Answer {
    let Some(phone) = call.query("phone").filter(|phone| !phone.is_empty()) else {
        return refused(400, "VALIDATION_ERROR", "phone: cannot be blank.");
    };
    let Some((id, told)) = state.pictures.get(&state::address(phone)) else {
        return refused(500, "INTERNAL_SERVER_ERROR", "no avatar found");
    };
    let url = if told.starts_with('/') {
        format!("http://{}{told}", call.header("host").unwrap_or_default())
    } else {
        told.clone()
    };
    done(
        "Success get avatar",
        json!({"url": url, "id": id, "type": "image"}),
    )
}

fn statics(state: &GowaState, path: &str) -> Answer {
    match state.statics.get(path) {
        Some(bytes) => Answer {
            content_type: if path.ends_with(".png") {
                "image/png"
            } else {
                "application/octet-stream"
            },
            body: bytes.to_vec(),
            ..Answer::text(200, "")
        },
        None => Answer::text(404, "Not Found"),
    }
}

/// Basic authentication, where the server has users.
fn may_call(state: &GowaState, call: &Call) -> bool {
    if state.settings.basic_auth.is_empty() {
        return true;
    }
    let shown = call
        .header("authorization")
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|encoded| STANDARD.decode(encoded).ok());
    shown.is_some_and(|shown| {
        let mut users = state.settings.basic_auth.split(',');
        users.any(|user| user.as_bytes() == shown)
    })
}

/// Which device a call is for (4.2).
fn device_of(state: &GowaState, call: &Call) -> Result<String, Answer> {
    let named = call
        .header("x-device-id")
        .map(decoded)
        .filter(|name| !name.is_empty())
        .or_else(|| call.query("device_id").map(str::to_owned))
        .filter(|name| !name.is_empty());
    match named {
        Some(name) => match state.find(&name) {
            Some(device) => Ok(device.id.clone()),
            None => Err(Answer::json(
                404,
                &json!({"code": "DEVICE_NOT_FOUND", "message": "device not found; create it with POST /devices",
                        "results": {"device_id": name}}),
            )),
        },
        None => match state.devices.keys().collect::<Vec<_>>().as_slice() {
            [only] => Ok((*only).clone()),
            _ => Err(refused(
                400,
                "DEVICE_ID_REQUIRED",
                "device_id is required via X-Device-Id header or device_id query",
            )),
        },
    }
}

fn decoded(text: &str) -> String {
    form_urlencoded::parse(text.replace('+', "%2B").as_bytes())
        .next()
        .map(|(key, _)| key.into_owned())
        .unwrap_or_default()
}

fn done(message: &str, results: Value) -> Answer {
    let mut body = json!({"code": "SUCCESS", "message": message});
    if !results.is_null() {
        body["results"] = results;
    }
    Answer::ok(&body)
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"code": code, "message": message}))
}
