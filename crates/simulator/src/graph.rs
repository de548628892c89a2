//! Meta's Graph API, mounted at `/graph`: accepts messages of a phone number (Cloud API contract). Enough to grow on.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http::{Answer, Call};
use crate::hub::{Hub, Moment, lock};
use crate::journal::Journal;

/// One accepted `POST /{version}/{phone_number_id}/messages`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GraphSend {
    /// Number in this journal.
    pub seq: u64,
    /// When it was accepted.
    #[serde(flatten)]
    pub moment: Moment,
    /// API version in the path.
    pub version: String,
    /// Sender in the path.
    pub phone_number_id: String,
    /// The id answered; empty for read marks, which have none.
    pub id: String,
    /// The body as sent.
    pub body: Value,
}

#[derive(Debug, Default)]
pub(crate) struct GraphState {
    pub(crate) sends: Journal<GraphSend>,
}

pub(crate) fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), segments.as_slice()) {
        ("POST", [version, number, "messages"]) => send(hub, call, version, number),
        _ => problem(404, 2500, "Unknown path components"),
    }
}

fn send(hub: &Arc<Hub>, call: &Call, version: &str, number: &str) -> Answer {
    let authorized = call
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_some_and(|token| !token.is_empty());
    if !authorized {
        return problem(401, 190, "Invalid OAuth access token - Cannot parse access token");
    }
    let Ok(body) = call.json::<Value>() else {
        return problem(400, 100, "Invalid parameter");
    };
    if body["messaging_product"] != "whatsapp" {
        return problem(400, 100, "(#100) The parameter messaging_product is required.");
    }
    let read_mark = body["status"] == "read";
    let to = body["to"].as_str().unwrap_or_default().to_owned();
    if !read_mark && to.is_empty() {
        return problem(400, 100, "(#100) The parameter to is required.");
    }
    let id = if read_mark {
        String::new()
    } else {
        format!("wamid.{}", STANDARD.encode(rand::random::<[u8; 18]>()))
    };
    let moment = hub.now();
    lock(&hub.graph).sends.push(|seq| GraphSend {
        seq,
        moment,
        version: version.to_owned(),
        phone_number_id: number.to_owned(),
        id: id.clone(),
        body,
    });
    if read_mark {
        return Answer::ok(&json!({"success": true}));
    }
    let wa_id = to.trim_start_matches('+');
    Answer::ok(&json!({
        "messaging_product": "whatsapp", "contacts": [{"input": to, "wa_id": wa_id}], "messages": [{"id": id}],
    }))
}

fn problem(status: u16, code: u32, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": {
            "message": message, "type": "OAuthException", "code": code, "fbtrace_id": "AbCdEfGhIjKlMnOpQrStUv",
        }}),
    )
}
