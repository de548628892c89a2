//! A GoWA, mounted at `/gowa`: one logged-in device that sends texts (Chatwoot contract 4.4, 4.5). Enough to grow on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http::{Answer, Call, object};
use crate::hub::{Hub, Moment, lock};
use crate::journal::Journal;

/// One accepted `/send/message`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GowaSend {
    /// Number in this journal.
    pub seq: u64,
    /// When it was accepted.
    #[serde(flatten)]
    pub moment: Moment,
    /// The id answered.
    pub message_id: String,
    /// Receiver as given.
    pub phone: String,
    /// Text.
    pub message: String,
    /// The body as sent.
    pub body: Value,
}

#[derive(Debug, Default)]
pub(crate) struct GowaState {
    pub(crate) sends: Journal<GowaSend>,
}

const DEVICE: &str = "toko-1";
const JID: &str = "628111000001@s.whatsapp.net";

pub(crate) fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["health"]) => Answer::text(200, "OK"),
        ("GET", ["app", "status"]) => done(
            "Connection status retrieved",
            json!({"is_connected": true, "is_logged_in": true, "device_id": DEVICE, "jid": JID}),
        ),
        ("GET", ["devices"]) => done("List of devices", json!([device()])),
        ("GET", ["devices", DEVICE]) => done("Device", device()),
        ("GET", ["devices", DEVICE, "status"]) => done(
            "Device status",
            json!({"device_id": DEVICE, "is_connected": true, "is_logged_in": true}),
        ),
        ("POST", ["send", "message"]) => send(hub, call),
        _ => refused(404, "NOT_FOUND", "no such route in this imitation"),
    }
}

fn send(hub: &Arc<Hub>, call: &Call) -> Answer {
    let Ok(body) = call.json::<Value>() else {
        return refused(400, "INVALID_REQUEST", "body is not JSON");
    };
    let members = object(body.clone());
    let text = |key: &str| {
        members
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (phone, message) = (text("phone"), text("message"));
    if phone.is_empty() || phone.starts_with('0') {
        return refused(400, "VALIDATION_ERROR", "phone: cannot be blank.");
    }
    if message.is_empty() {
        return refused(400, "VALIDATION_ERROR", "message: cannot be blank.");
    }
    let message_id = format!("3EB0{:016X}", rand::random::<u64>());
    let moment = hub.now();
    let results = json!({
        "message_id": message_id, "status": format!("Message sent to {phone} (server timestamp: {})", moment.at),
    });
    lock(&hub.gowa).sends.push(|seq| GowaSend {
        seq,
        moment,
        message_id,
        phone,
        message,
        body,
    });
    done("Success", results)
}

fn device() -> Value {
    json!({
        "id": DEVICE, "phone_number": "628111000001", "display_name": "Toko", "state": "logged_in", "jid": JID,
        "created_at": "2026-01-05T02:11:39Z",
    })
}

fn done(message: &str, results: Value) -> Answer {
    Answer::ok(&json!({"code": "SUCCESS", "message": message, "results": results}))
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"code": code, "message": message}))
}
