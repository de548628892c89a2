//! `POST /{number}/messages`: checked, limited, taken, answered, and what statuses follow.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::check::{self, Recipient, RecipientKind};
use super::errors::Refusal;
use super::faults::{Fate, GraphCall, GraphStatusStep, Seen, message_type};
use super::state::{GraphSend, GraphState, Sent};
use super::{access, overlay, status, templates, webhook};
use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};

pub(super) fn answer(
    hub: &Arc<Hub>,
    state: &mut GraphState,
    call: &Call,
    version: &str,
    number: &str,
) -> Answer {
    if let Err(refusal) = access::number(state, call, number) {
        return refusal.answer();
    }
    let Ok(body) = call.json::<Value>() else {
        return Refusal::because(100, "The request body is not valid JSON").answer();
    };
    let recipient = check::recipient(&body);
    let to = recipient.as_ref().map(|to| to.id.as_str()).unwrap_or_default();
    let fate = state.troubles.of(&Seen {
        call: GraphCall::Messages,
        number,
        recipient: to,
        message_type: message_type(&body),
    });
    if let Some(instead) = overlay::before(state, number, &fate) {
        return instead;
    }
    let taken = match take(hub, state, version, number, &body, recipient, &fate) {
        Ok(taken) => taken,
        Err(refusal) => throttled(state, number, refusal).answer(),
    };
    overlay::after(state, number, &fate, taken)
}

/// What the settings say about refusals of the limits.
fn throttled(state: &GraphState, number: &str, mut refusal: Refusal) -> Refusal {
    if matches!(refusal.code, 130_429 | 131_056) {
        refusal.status = state.settings.throttle_status;
        refusal.throttle.retry_after = state.settings.throttle_retry_after.clone();
        refusal.throttle.waba = Some(state.waba_of(number));
    }
    refusal
}

fn take(
    hub: &Arc<Hub>,
    state: &mut GraphState,
    version: &str,
    number: &str,
    body: &Value,
    recipient: Result<Recipient, Refusal>,
    fate: &Fate,
) -> Result<Answer, Refusal> {
    if body["messaging_product"] != "whatsapp" {
        return Err(Refusal {
            message: Some("(#100) The parameter messaging_product is required.".to_owned()),
            ..Refusal::new(100)
        });
    }
    if body["status"].is_string() {
        return read_mark(hub, state, version, number, body);
    }
    let mut recipient = recipient?;
    if let Some(wa_id) = state.settings.wa_ids.get(&recipient.id) {
        recipient.id.clone_from(wa_id);
    }
    check::message(body)?;
    may_send(state, number, body, &recipient)?;
    let closed = recipient.kind == RecipientKind::Phone
        && body["type"] != "template"
        && state.window_closed(number, &recipient.id);
    if closed && state.settings.window_refuses_at_once {
        return Err(Refusal::because(
            131_047,
            "Customer window closed: no inbound message within 24 h",
        ));
    }
    let id = journal(hub, state, version, number, body, &recipient.id, true);
    state.remember(
        &id,
        Sent {
            number: number.to_owned(),
            to: recipient.id.clone(),
            group: recipient.kind == RecipientKind::Group,
            callback_data: body["biz_opaque_callback_data"].as_str().map(str::to_owned),
            category: templates::category(state, number, body),
        },
    );
    schedule(hub, steps(state, body, &recipient, fate, closed), &id);
    Ok(accepted(&recipient, body, (!fate.no_id).then_some(&id)))
}

/// Registered, within the limits, with files and templates that are there.
fn may_send(state: &mut GraphState, number: &str, body: &Value, to: &Recipient) -> Result<(), Refusal> {
    let Some(row) = state.numbers.get(number) else {
        return Ok(());
    };
    if !row.registered {
        return Err(Refusal::because(133_010, "Register the number first"));
    }
    if row.display_phone_number == to.id {
        return Err(Refusal::new(131_021));
    }
    let settings = &state.settings;
    let per_second = row.per_second.unwrap_or(settings.number_per_second);
    if !state.limits.number(number, per_second) {
        return Err(Refusal::because(
            130_429,
            "Message failed to send because there were too many messages sent from this phone number in a short period \
             of time",
        ));
    }
    let refill = Duration::from_millis(settings.pair_refill_ms);
    if to.kind == RecipientKind::Phone && !state.limits.pair(number, &to.id, settings.pair_burst, refill) {
        return Err(Refusal {
            subcode: Some(2_494_055),
            ..Refusal::because(
                131_056,
                "Too many messages from this sender to one receiver in a short time.",
            )
        });
    }
    let kind = message_type(body);
    if let Some(id) = body[kind]["id"].as_str().filter(|_| is_media(kind)) {
        state.files.fits(id, number, kind)?;
    }
    if kind == "template" {
        templates::fits(state, number, &body["template"])?;
    }
    Ok(())
}

fn is_media(kind: &str) -> bool {
    matches!(kind, "image" | "video" | "audio" | "document" | "sticker")
}

/// Marked as read, perhaps typing (3.3).
fn read_mark(
    hub: &Arc<Hub>,
    state: &mut GraphState,
    version: &str,
    number: &str,
    body: &Value,
) -> Result<Answer, Refusal> {
    if body["status"] != "read" {
        return Err(Refusal::because(131_009, "Parameter status must be read"));
    }
    let message = body["message_id"].as_str().unwrap_or_default();
    if message.is_empty() {
        return Err(Refusal::because(131_008, "Parameter message_id is required"));
    }
    if !message.starts_with("wamid.") {
        return Err(Refusal::because(131_009, "Parameter message_id is not a message"));
    }
    let typing = body.get("typing_indicator");
    if typing.is_some_and(|typing| typing["type"] != "text") {
        return Err(Refusal::because(
            131_009,
            "Parameter typing_indicator['type'] must be text",
        ));
    }
    journal(hub, state, version, number, body, "", false);
    Ok(Answer::ok(&json!({"success": true})))
}

fn journal(
    hub: &Hub,
    state: &mut GraphState,
    version: &str,
    number: &str,
    body: &Value,
    to: &str,
    with_id: bool,
) -> String {
    let id = if with_id { new_wamid() } else { String::new() };
    let moment = hub.now();
    state.sends.push(|seq| GraphSend {
        seq,
        moment,
        version: version.to_owned(),
        phone_number_id: number.to_owned(),
        id: id.clone(),
        to: to.to_owned(),
        body: body.clone(),
    });
    id
}

pub(super) fn new_wamid() -> String {
    format!("wamid.{}", STANDARD.encode(rand::random::<[u8; 18]>()))
}

/// The answer of 3.4.
fn accepted(to: &Recipient, body: &Value, id: Option<&String>) -> Answer {
    let mut contact = json!({"input": to.input});
    match to.kind {
        RecipientKind::User => contact["user_id"] = json!(to.id),
        RecipientKind::Group => {}
        RecipientKind::Phone | RecipientKind::Nobody => contact["wa_id"] = json!(to.id),
    }
    let mut message = json!({});
    if let Some(id) = id {
        message["id"] = json!(id);
    }
    if body["type"] == "template" {
        message["message_status"] = json!("accepted");
    }
    if to.kind == RecipientKind::Group {
        message["group_id"] = json!(to.id);
    }
    Answer::ok(&json!({"messaging_product": "whatsapp", "contacts": [contact], "messages": [message]}))
}

/// The statuses that are to follow a message.
fn steps(
    state: &GraphState,
    body: &Value,
    to: &Recipient,
    fate: &Fate,
    closed: bool,
) -> Vec<(GraphStatusStep, Option<String>)> {
    if let Some(steps) = &fate.steps {
        return steps.iter().map(|step| (step.clone(), None)).collect();
    }
    let delay = state.settings.status_delay_ms;
    let failure = if closed {
        let details = "Customer window closed: no inbound message within 24 h";
        Some((131_047, Some(details.to_owned()), None))
    } else {
        fate.fails.clone()
    };
    if let Some((code, details, after)) = failure {
        let step = GraphStatusStep {
            status: "failed".to_owned(),
            after_ms: after.unwrap_or(delay),
            code: Some(code),
            ..GraphStatusStep::default()
        };
        return vec![(step, details)];
    }
    if to.kind == RecipientKind::Nobody {
        return Vec::new();
    }
    // Nobody confirms a reaction.
    let most = if body["type"] == "reaction" { 1 } else { usize::MAX };
    let step = |(place, status): (u64, &String)| GraphStatusStep {
        status: status.clone(),
        after_ms: delay.saturating_mul(place + 1),
        ..GraphStatusStep::default()
    };
    let statuses = state.settings.auto_statuses.iter().take(most);
    (0..)
        .zip(statuses)
        .map(|numbered| (step(numbered), None))
        .collect()
}

fn schedule(hub: &Arc<Hub>, mut steps: Vec<(GraphStatusStep, Option<String>)>, id: &str) {
    if steps.is_empty() {
        return;
    }
    steps.sort_by_key(|(step, _)| step.after_ms);
    let (shared, id) = (Arc::clone(hub), id.to_owned());
    let begun = tokio::time::Instant::now();
    hub.spawn(async move {
        for (step, details) in steps {
            tokio::time::sleep_until(begun + Duration::from_millis(step.after_ms)).await;
            let mut state = lock(&shared.graph);
            for _ in 0..=step.copies {
                let part = status::status_of(&state, &id, &step, details.as_deref());
                webhook::emit(&shared, &mut state, part.into_iter().collect());
            }
        }
    });
}
