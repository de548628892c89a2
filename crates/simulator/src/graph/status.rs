//! What a status looks like, in both generations (contract 2.7).

use chrono::Utc;
use serde_json::{Value, json};

use super::errors::webhook_error;
use super::faults::GraphStatusStep;
use super::inbound::graph_user_id;
use super::state::{GraphShape, GraphState, Sent};
use super::webhook::{Part, PartValue};
use crate::signature::sha256_hex;

/// One status of a message that was sent; nothing if it is not known.
pub(super) fn status_of(
    state: &GraphState,
    id: &str,
    step: &GraphStatusStep,
    details: Option<&str>,
) -> Option<Part> {
    let sent = state.sent(id)?;
    Some(part(state, id, sent, step, details, None))
}

/// As [`status_of`], for one participant of a group.
pub(super) fn part(
    state: &GraphState,
    id: &str,
    sent: &Sent,
    step: &GraphStatusStep,
    details: Option<&str>,
    participant: Option<&str>,
) -> Part {
    let now = Utc::now().timestamp();
    let new = state.shape_of(&sent.number) == GraphShape::New;
    let failed = step.status == "failed";
    let is_user = sent.to.contains('.');
    let user = if is_user {
        sent.to.clone()
    } else {
        graph_user_id(&sent.to)
    };
    let mut status = json!({
        "id": id, "status": step.status, "timestamp": step.timestamp.unwrap_or(now).to_string(),
    });
    if !is_user {
        status["recipient_id"] = json!(sent.to);
    }
    if new && !sent.group {
        status["recipient_user_id"] = json!(user);
    }
    if sent.group {
        status["recipient_type"] = json!("group");
        if let Some(participant) = participant {
            status["recipient_participant_id"] = json!(participant);
            if new {
                status["recipient_participant_user_id"] = json!(graph_user_id(participant));
            }
        }
    }
    if let Some(data) = &sent.callback_data {
        status["biz_opaque_callback_data"] = json!(data);
    }
    if matches!(step.status.as_str(), "sent" | "delivered") {
        if !new {
            status["conversation"] = conversation(id, sent, &step.status, now);
        }
        status["pricing"] = pricing(sent);
    }
    if failed {
        status["errors"] = json!([webhook_error(step.code.unwrap_or(131_000), details)]);
    }
    let contact = (new && !failed && !sent.group).then(|| {
        let mut contact = json!({"user_id": user});
        if !is_user {
            contact["wa_id"] = json!(sent.to);
        }
        contact
    });
    Part {
        waba: state.waba_of(&sent.number),
        number: Some(sent.number.clone()),
        field: "messages".to_owned(),
        time: None,
        value: PartValue::Status(contact, status),
        item: format!("{id}:{}", step.status),
    }
}

fn conversation(id: &str, sent: &Sent, status: &str, now: i64) -> Value {
    let hash = sha256_hex(id.as_bytes());
    let mut conversation = json!({
        "id": hash.get(..32).unwrap_or_default(), "origin": {"type": sent.category},
    });
    if status == "sent" {
        conversation["expiration_timestamp"] = json!((now + 24 * 3_600).to_string());
    }
    conversation
}

fn pricing(sent: &Sent) -> Value {
    let free = sent.category == "service";
    json!({
        "billable": !free, "pricing_model": "PMP",
        "type": if free { "free_customer_service" } else { "regular" }, "category": sent.category,
    })
}
