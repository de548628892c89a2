//! Webhooks out: batched, written and signed as Meta does (contract 2.1, 2.2, 2.4), repeated until somebody says 200.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::state::{GraphCallback, GraphDelivery, GraphState, GraphVerification};
use crate::delivery::{Attempt, Webhook, answer_to, copies_at_once, deliver, with_retries};
use crate::faults::FaultTarget;
use crate::hub::{Hub, body_start, chain, lock};
use crate::signature::hmac_sha256_hex;

/// Most updates in one webhook.
pub(super) const MOST_UPDATES: usize = 1_000;

/// One update on its way out.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) waba: String,
    pub(super) number: Option<String>,
    pub(super) field: String,
    /// `entry[].time`.
    pub(super) time: Option<i64>,
    pub(super) value: PartValue,
    /// What the journal calls it.
    pub(super) item: String,
}

#[derive(Debug)]
pub(super) enum PartValue {
    /// Goes into `messages[]`, the contact into `contacts[]`.
    Message(Option<Value>, Value),
    /// Goes into `statuses[]`.
    Status(Option<Value>, Value),
    /// The whole `value`.
    Whole(Value),
}

/// A webhook as it will be posted, the same bytes at every attempt.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) event_id: u64,
    url: String,
    pub(super) body: String,
    signature: String,
    updates: usize,
    items: Vec<String>,
}

/// Sends the updates, those for one callback in one webhook, each in a task of its own: no order is promised. Returns the
/// webhooks' numbers; none if nobody is to get them.
pub(super) fn emit(hub: &Arc<Hub>, state: &mut GraphState, parts: Vec<Part>) -> Vec<u64> {
    let mut posts: Vec<((String, String), Vec<Part>)> = Vec::new();
    for part in parts {
        let Some(target) = target(state, &part) else {
            continue;
        };
        match posts.iter_mut().find(|(known, _)| *known == target) {
            Some((_, parts)) => parts.push(part),
            None => posts.push((target, vec![part])),
        }
    }
    let mut ids = Vec::new();
    for ((url, secret), parts) in posts {
        let updates = parts.len();
        let items = parts.iter().map(|part| part.item.clone()).collect();
        let text = as_meta_writes(&envelope(state, parts).to_string());
        ids.push(post_text(hub, state, (url, secret), text, updates, items));
    }
    ids
}

/// Sends a body as it stands to an app's callback.
pub(super) fn emit_raw(hub: &Arc<Hub>, state: &mut GraphState, app: &str, body: String) -> Option<u64> {
    let app = state.apps.get(app)?;
    let target = (app.callback.url.clone(), app.secret.clone());
    let raw = vec!["raw".to_owned()];
    (!target.0.is_empty()).then(|| post_text(hub, state, target, body, 1, raw))
}

fn post_text(
    hub: &Arc<Hub>,
    state: &mut GraphState,
    (url, secret): (String, String),
    body: String,
    updates: usize,
    items: Vec<String>,
) -> u64 {
    state.events += 1;
    let outgoing = Arc::new(Outgoing {
        event_id: state.events,
        url,
        signature: format!("sha256={}", hmac_sha256_hex(&secret, &[body.as_bytes()])),
        body,
        updates,
        items,
    });
    state.keep(Arc::clone(&outgoing));
    let shared = Arc::clone(hub);
    hub.spawn(async move {
        deliver(&shared, &outgoing).await;
    });
    state.events
}

/// Sends a webhook that was sent before once more, `copies` times, at the same time or one after another.
pub(super) fn again(hub: &Arc<Hub>, outgoing: &Arc<Outgoing>, copies: u32, concurrent: bool) {
    if concurrent {
        copies_at_once(hub, outgoing, copies);
        return;
    }
    let (shared, outgoing) = (Arc::clone(hub), Arc::clone(outgoing));
    hub.spawn(async move {
        for copy in 1..=copies {
            with_retries(&shared, outgoing.as_ref(), copy).await;
        }
    });
}

/// Address and secret. A number's callback goes before its account's, and that before the app's, for messages only.
fn target(state: &GraphState, part: &Part) -> Option<(String, String)> {
    let waba = state.wabas.get(&part.waba);
    let app = waba.map_or(super::state::DEFAULT_APP, |waba| waba.app.as_str());
    let app = state.apps.get(app)?;
    if waba.is_some_and(|waba| !waba.subscribed) {
        return None;
    }
    let follows = matches!(
        part.field.as_str(),
        "messages" | "calls" | "smb_message_echoes" | "history"
    ) || part.field.starts_with("group_");
    let number = part.number.as_ref().and_then(|number| state.numbers.get(number));
    let overridden = number
        .and_then(|number| number.callback_override.as_ref())
        .or_else(|| waba?.callback_override.as_ref())
        .filter(|_| follows);
    let url = overridden.map_or(&app.callback.url, |callback| &callback.url);
    (!url.is_empty()).then(|| (url.clone(), app.secret.clone()))
}

/// Neighbours that belong together share an entry and a change; the order of updates stays.
fn envelope(state: &GraphState, parts: Vec<Part>) -> Value {
    let mut entries: Vec<Value> = Vec::new();
    for part in parts {
        let list = match &part.value {
            PartValue::Message(..) => "messages",
            PartValue::Status(..) => "statuses",
            PartValue::Whole(_) => "",
        };
        let same_entry = entries
            .last()
            .is_some_and(|entry| entry["id"] == json!(part.waba) && entry.get("time").is_none())
            && part.time.is_none();
        if !same_entry {
            let mut entry = json!({"id": part.waba, "changes": []});
            if let Some(time) = part.time {
                entry["time"] = json!(time);
            }
            entries.push(entry);
        }
        let Some(changes) = entries
            .last_mut()
            .and_then(|entry| entry["changes"].as_array_mut())
        else {
            continue;
        };
        let number = part.number.unwrap_or_default();
        let (contact, item) = match part.value {
            PartValue::Whole(value) => {
                changes.push(json!({"field": part.field, "value": value}));
                continue;
            }
            PartValue::Message(contact, item) | PartValue::Status(contact, item) => (contact, item),
        };
        let same_change = changes.last().is_some_and(|change| {
            change["value"]["metadata"]["phone_number_id"] == json!(number)
                && change["value"][list].is_array()
        });
        if !same_change {
            changes.push(json!({"field": part.field, "value": {
                "messaging_product": "whatsapp", "metadata": metadata(state, &number), list: [],
            }}));
        }
        let Some(change) = changes.last_mut() else {
            continue;
        };
        let value = &mut change["value"];
        if let Some(contact) = contact {
            if value.get("contacts").is_none() {
                value["contacts"] = json!([]);
            }
            if let Some(contacts) = value["contacts"].as_array_mut()
                && !contacts.contains(&contact)
            {
                contacts.push(contact);
            }
        }
        if let Some(items) = value[list].as_array_mut() {
            items.push(item);
        }
    }
    json!({"object": "whatsapp_business_account", "entry": entries})
}

pub(super) fn metadata(state: &GraphState, number: &str) -> Value {
    json!({"display_phone_number": state.display_of(number), "phone_number_id": number})
}

/// JSON as Meta puts it on the wire and signs it: everything outside ASCII as `\uxxxx`, slashes escaped, too. Both stand
/// only inside strings of a JSON text.
pub(super) fn as_meta_writes(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        match c {
            '/' => text.push_str("\\/"),
            c if c.is_ascii() => text.push(c),
            c => {
                for unit in c.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text
}

impl Webhook for Outgoing {
    const TARGET: FaultTarget = FaultTarget::GraphWebhook;

    fn pauses(hub: &Hub) -> Vec<u64> {
        lock(&hub.graph).settings.retry_pauses_ms.clone()
    }

    /// Nothing else will do (contract 2.2).
    fn is_accepted(status: u16) -> bool {
        status == 200
    }

    async fn post(&self, hub: &Hub) -> Result<(u16, String), String> {
        let timeout = Duration::from_millis(lock(&hub.graph).settings.webhook_timeout_ms);
        // Meta follows no redirects, and neither does this client.
        let request = hub
            .chatwoot_client
            .post(&self.url)
            .timeout(timeout)
            .header("content-type", "application/json")
            .header("user-agent", "facebookexternalua")
            .header("x-hub-signature-256", &self.signature)
            .body(self.body.clone());
        answer_to(request).await
    }

    fn note(&self, hub: &Arc<Hub>, attempt: Attempt) {
        lock(&hub.graph).deliveries.push(|seq| GraphDelivery {
            seq,
            moment: attempt.moment,
            event_id: self.event_id,
            url: self.url.clone(),
            updates: self.updates,
            items: self.items.clone(),
            attempt: attempt.attempt,
            copy: attempt.copy,
            status: attempt.status,
            error: attempt.error,
            response: attempt.response,
        });
    }
}

/// Asks a callback whose it is (contract 1).
pub(super) async fn verify(hub: &Hub, callback: &GraphCallback) -> GraphVerification {
    let challenge = (rand::random::<u32>() | 0x4000_0000).to_string();
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("hub.mode", "subscribe")
        .append_pair("hub.challenge", &challenge)
        .append_pair("hub.verify_token", &callback.verify_token)
        .finish();
    let joint = if callback.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{joint}{query}", callback.url);
    let answered = hub.chatwoot_client.get(url).send().await;
    let mut verification = GraphVerification {
        status: None,
        verified: false,
        content_type: String::new(),
        challenge,
        answer: String::new(),
    };
    match answered {
        Ok(response) => {
            verification.status = Some(response.status().as_u16());
            let kind = response.headers().get("content-type");
            verification.content_type = kind
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            verification.answer = match body_start(response).await {
                Ok(start) => start,
                Err(error) => chain(&error),
            };
            verification.verified =
                verification.status == Some(200) && verification.answer == verification.challenge;
        }
        Err(error) => verification.answer = chain(&error),
    }
    verification
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_signed_as_they_are_written() {
        let key = super::super::state::DEFAULT_SECRET;
        let written = as_meta_writes(r#"{"object":"whatsapp_business_account","note":"äöå 😀"}"#);
        assert_eq!(
            hmac_sha256_hex(key, &[written.as_bytes()]),
            "f73ea8f01308c97a1c2f8eed61fbd4fbf40d790c2231a873557a72fa2d5973ee"
        );
        let written =
            as_meta_writes(r#"{"object":"whatsapp_business_account","note":"https://example.test/a"}"#);
        assert_eq!(
            hmac_sha256_hex(key, &[written.as_bytes()]),
            "73b722e87d4eb04903bf9b82080bc9b31d523238b100cf5cf3f5c395b63c9a88"
        );
    }
}
