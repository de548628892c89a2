//! Outgoing webhooks: signed, ten seconds each, five attempts, then dropped (4.6).

use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::state::{GowaDelivery, GowaDevice, GowaState, bare};
use crate::delivery::{Attempt, Webhook, answer_to, deliver};
use crate::faults::FaultTarget;
use crate::hub::{Hub, lock};
use crate::signature::hmac_sha256_hex;

/// What happened.
pub(super) struct Event<'a> {
    pub(super) name: &'a str,
    /// The envelope tells when.
    pub(super) timestamp: bool,
    /// The envelope tells the device's id.
    pub(super) session_id: bool,
    pub(super) payload: Value,
}

/// An event as it will be posted, the same bytes at every attempt.
struct Outgoing {
    event_id: u64,
    device: String,
    event: String,
    message_id: Option<String>,
    url: String,
    body: String,
    signature: String,
}

/// Sends the event in a task of its own: no order is promised.
pub(super) fn emit(hub: &Arc<Hub>, state: &mut GowaState, device: &GowaDevice, event: &Event<'_>) {
    let Some(outgoing) = prepare(state, device, event) else {
        return;
    };
    let shared = Arc::clone(hub);
    hub.spawn(async move {
        deliver(&shared, &Arc::new(outgoing)).await;
    });
}

/// The event as it would be posted; nothing if nobody is to get it. A device's own webhook replaces the one for all.
fn prepare(state: &mut GowaState, device: &GowaDevice, event: &Event<'_>) -> Option<Outgoing> {
    let own = device
        .webhook
        .clone()
        .filter(|webhook| !webhook.webhook_url.is_empty());
    let (url, secret, events) = match own {
        Some(own) => {
            let secret = if own.webhook_secret.is_empty() {
                state.settings.webhook_secret.clone()
            } else {
                own.webhook_secret
            };
            (own.webhook_url, secret, own.webhook_events)
        }
        None => (
            state.settings.webhook_url.clone(),
            state.settings.webhook_secret.clone(),
            String::new(),
        ),
    };
    let wanted = events.is_empty() || events.split(',').any(|name| name.trim() == event.name);
    if url.is_empty() || !wanted {
        return None;
    }
    state.events += 1;
    let mut body = json!({"event": event.name, "device_id": bare(&device.jid), "payload": event.payload});
    if event.session_id {
        body["session_id"] = json!(device.id);
    }
    if event.timestamp {
        body["timestamp"] = json!(Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true));
    }
    let body = body.to_string();
    Some(Outgoing {
        event_id: state.events,
        device: device.id.clone(),
        event: event.name.to_owned(),
        message_id: event.payload["id"]
            .as_str()
            .or_else(|| event.payload["ids"][0].as_str())
            .map(str::to_owned),
        url,
        signature: format!("sha256={}", hmac_sha256_hex(&secret, &[body.as_bytes()])),
        body,
    })
}

impl Webhook for Outgoing {
    const TARGET: FaultTarget = FaultTarget::GowaWebhook;

    fn pauses(hub: &Hub) -> Vec<u64> {
        lock(&hub.gowa).settings.retry_pauses_ms.clone()
    }

    async fn post(&self, hub: &Hub) -> Result<(u16, String), String> {
        let request = hub
            .wa_client
            .post(&self.url)
            .timeout(Duration::from_secs(10))
            .header("content-type", "application/json")
            .header("x-hub-signature-256", &self.signature)
            .body(self.body.clone());
        answer_to(request).await
    }

    fn note(&self, hub: &Arc<Hub>, attempt: Attempt) {
        lock(&hub.gowa).deliveries.push(|seq| GowaDelivery {
            seq,
            moment: attempt.moment,
            event_id: self.event_id,
            device: self.device.clone(),
            event: self.event.clone(),
            message_id: self.message_id.clone(),
            attempt: attempt.attempt,
            copy: attempt.copy,
            status: attempt.status,
            error: attempt.error,
            response: attempt.response,
        });
    }
}
