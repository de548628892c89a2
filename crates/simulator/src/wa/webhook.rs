//! Delivery of events: who gets them, in what form, signed with what, and how often it is tried (§9, §10).

use std::sync::Arc;

use serde_json::{Map, Value};

use super::events;
use super::state::{DeliveryAttempt, WaState, WebhookFormat};
use crate::delivery::{Attempt, Webhook, answer_to, deliver};
use crate::faults::FaultTarget;
use crate::hub::{Hub, lock};
use crate::signature::{escape_html_in_json, hmac_sha256_hex};

/// An event as it will be posted, the same bytes at every attempt.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) event_id: u64,
    session: String,
    session_name: String,
    kind: String,
    message_id: Option<String>,
    state: Option<String>,
    url: String,
    content_type: &'static str,
    body: Vec<u8>,
    signature: Option<String>,
}

/// Sends the event in a task of its own, so that events of one session may overtake each other as in the original.
/// Returns its number, or nothing when nobody is to get it.
pub(super) fn emit(
    hub: &Arc<Hub>,
    state: &mut WaState,
    session: &str,
    kind: &str,
    event: Value,
    extra: Map<String, Value>,
) -> Option<u64> {
    let outgoing = prepare(state, session, kind, event, extra)?;
    let event_id = outgoing.event_id;
    send(hub, outgoing);
    Some(event_id)
}

/// Delivers in the background, with the retry schedule.
pub(super) fn send(hub: &Arc<Hub>, outgoing: Outgoing) {
    let shared = Arc::clone(hub);
    hub.spawn(async move {
        deliver(&shared, &Arc::new(outgoing)).await;
    });
}

/// The event as it would be posted; nothing if the user is not subscribed, has no webhook, has no cache entry, or is deaf.
pub(super) fn prepare(
    state: &mut WaState,
    session: &str,
    kind: &str,
    event: Value,
    extra: Map<String, Value>,
) -> Option<Outgoing> {
    if state.clients.get(session).is_some_and(|client| client.deaf) {
        return None;
    }
    let entry = state.entry_of(session)?.clone();
    if entry.webhook.is_empty() || !events::passes(&entry.events, kind) {
        return None;
    }
    state.events_emitted += 1;
    let message_id = event["Info"]["ID"]
        .as_str()
        .or_else(|| event["MessageIDs"][0].as_str())
        .map(str::to_owned);
    let receipt_state = extra.get("state").and_then(Value::as_str).map(str::to_owned);
    let mut members = extra;
    members.insert("event".to_owned(), event);
    members.insert("type".to_owned(), Value::String(kind.to_owned()));
    let (content_type, body) = match state.settings.webhook_format {
        WebhookFormat::Form => {
            let json = escape_html_in_json(&sorted(Value::Object(members), 1).to_string());
            let form = form_urlencoded::Serializer::new(String::new())
                .append_pair("instanceName", &entry.name)
                .append_pair("jsonData", &json)
                .append_pair("userID", session)
                .finish();
            ("application/x-www-form-urlencoded", form.into_bytes())
        }
        WebhookFormat::Json => {
            members.insert("instanceName".to_owned(), Value::String(entry.name.clone()));
            members.insert("userID".to_owned(), Value::String(session.to_owned()));
            // The original takes the event apart and puts it together again, which sorts the keys at every depth.
            let json = escape_html_in_json(&sorted(Value::Object(members), usize::MAX).to_string());
            ("application/json", json.into_bytes())
        }
    };
    let signature = entry.hmac_key.as_ref().map(|key| hmac_sha256_hex(key, &[&body]));
    Some(Outgoing {
        event_id: state.events_emitted,
        session: session.to_owned(),
        session_name: entry.name,
        kind: kind.to_owned(),
        message_id,
        state: receipt_state,
        url: entry.webhook,
        content_type,
        body,
        signature,
    })
}

impl Webhook for Outgoing {
    const TARGET: FaultTarget = FaultTarget::WaWebhook;

    fn pauses(hub: &Hub) -> Vec<u64> {
        lock(&hub.wa).settings.retry_delays_ms.clone()
    }

    async fn post(&self, hub: &Hub) -> Result<(u16, String), String> {
        let mut request = hub
            .wa_client
            .post(&self.url)
            .header("content-type", self.content_type)
            .body(self.body.clone());
        if let Some(signature) = &self.signature {
            request = request.header("x-hmac-signature", signature);
        }
        answer_to(request).await
    }

    fn note(&self, hub: &Arc<Hub>, attempt: Attempt) {
        lock(&hub.wa).deliveries.push(|seq| DeliveryAttempt {
            seq,
            moment: attempt.moment,
            event_id: self.event_id,
            session: self.session.clone(),
            session_name: self.session_name.clone(),
            kind: self.kind.clone(),
            message_id: self.message_id.clone(),
            state: self.state.clone(),
            attempt: attempt.attempt,
            copy: attempt.copy,
            status: attempt.status,
            error: attempt.error,
            duration_ms: attempt.duration_ms,
            response: attempt.response,
        });
    }
}

/// Sorts the keys of objects down to this depth, whatever order the JSON library keeps them in.
fn sorted(value: Value, depth: usize) -> Value {
    if depth == 0 {
        return value;
    }
    match value {
        Value::Object(members) => {
            let mut pairs: Vec<(String, Value)> = members.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(
                pairs
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value, depth - 1)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| sorted(item, depth - 1)).collect()),
        other => other,
    }
}
