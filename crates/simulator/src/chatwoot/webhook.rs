//! Outgoing webhooks: signed, five seconds, one attempt, and a failed message if it fails (contract 2.2 to 2.6).

use std::net::IpAddr;
use std::sync::Arc;

use chrono::Utc;
use serde_json::Value;
use uuid::Uuid;

use super::messages;
use super::payload;
use super::state::{ChatwootDelivery, ChatwootState, ContactView, ConversationView, MessageView};
use crate::delivery::{self, Attempt, Webhook, answer_to};
use crate::faults::FaultTarget;
use crate::hub::{Hub, lock};
use crate::signature::{chatwoot_signature, escape_html_in_json};

/// One webhook on its way to one receiver.
#[derive(Debug)]
pub(super) struct Outgoing {
    delivery_id: String,
    url: String,
    secret: String,
    body: String,
    target: &'static str,
    event: String,
    account_id: u64,
    inbox_id: u64,
    conversation_id: u64,
    message_id: Option<u64>,
}

/// Fires a message event to the inbox's webhook and to the account's.
pub(super) fn message_event(hub: &Arc<Hub>, state: &ChatwootState, message: &MessageView, event: &str) {
    for outgoing in prepare_message(state, message, event) {
        send(hub, outgoing);
    }
}

/// The message event for each receiver, each with its own delivery id.
pub(super) fn prepare_message(state: &ChatwootState, message: &MessageView, event: &str) -> Vec<Outgoing> {
    // Activity is never told (2.8).
    if message.message_type == "activity" {
        return Vec::new();
    }
    let body = payload::message_event(state, message, event);
    let place = (message.account_id, message.inbox_id, message.conversation_id);
    let mut prepared = prepare(state, place, Some(message.id), event, &body);
    if state.settings.created_twice && event == "message_created" {
        prepared.extend(prepare(state, place, Some(message.id), event, &body));
    }
    prepared
}

/// Tells that the agent has begun to type, or stopped.
pub(super) fn typing_event(
    hub: &Arc<Hub>,
    state: &ChatwootState,
    conversation: &ConversationView,
    (on, is_private): (bool, bool),
) {
    let event = if on {
        "conversation_typing_on"
    } else {
        "conversation_typing_off"
    };
    let body = payload::typing_event(state, conversation, event, is_private);
    let place = (conversation.account_id, conversation.inbox_id, conversation.id);
    for outgoing in prepare(state, place, None, event, &body) {
        send(hub, outgoing);
    }
}

/// Contacts belong to no inbox: only the account's webhooks hear of them (2.2).
pub(super) fn contact_event(
    hub: &Arc<Hub>,
    state: &ChatwootState,
    contact: &ContactView,
    event: &str,
    changed: Option<Value>,
) {
    let body = payload::contact_event(state, contact, event, changed);
    for outgoing in prepare(state, (contact.account_id, 0, 0), None, event, &body) {
        send(hub, outgoing);
    }
}

pub(super) fn conversation_event(
    hub: &Arc<Hub>,
    state: &ChatwootState,
    conversation: &ConversationView,
    event: &str,
    changed: Option<Value>,
) {
    let body = payload::conversation_event(state, conversation, event, changed);
    let place = (conversation.account_id, conversation.inbox_id, conversation.id);
    for outgoing in prepare(state, place, None, event, &body) {
        send(hub, outgoing);
    }
}

fn prepare(
    state: &ChatwootState,
    (account_id, inbox_id, conversation_id): (u64, u64, u64),
    message_id: Option<u64>,
    event: &str,
    body: &Value,
) -> Vec<Outgoing> {
    let body = escape_html_in_json(&body.to_string());
    let inbox = state
        .inboxes
        .get(&inbox_id)
        .filter(|inbox| inbox.is_api() && !inbox.webhook_url.is_empty())
        .map(|inbox| ("api_inbox", inbox.webhook_url.clone(), inbox.secret.clone()));
    let accounts = state
        .webhooks
        .values()
        .filter(|hook| hook.account_id == account_id)
        .filter(|hook| hook.subscriptions.iter().any(|name| name == event))
        .map(|hook| ("account", hook.url.clone(), hook.secret.clone()));
    inbox
        .into_iter()
        .chain(accounts)
        .map(|(target, url, secret)| Outgoing {
            delivery_id: Uuid::now_v7().to_string(),
            url,
            secret,
            body: body.clone(),
            target,
            event: event.to_owned(),
            account_id,
            inbox_id,
            conversation_id,
            message_id,
        })
        .collect()
}

/// Each webhook is a job of its own, so they overtake each other.
pub(super) fn send(hub: &Arc<Hub>, outgoing: Outgoing) {
    let shared = Arc::clone(hub);
    hub.spawn(async move {
        deliver(&shared, outgoing).await;
    });
}

/// Delivers with everything that faults add to it. True if the webhook itself was accepted.
pub(super) async fn deliver(hub: &Arc<Hub>, outgoing: Outgoing) -> bool {
    delivery::deliver(hub, &Arc::new(outgoing)).await
}

impl Webhook for Outgoing {
    const TARGET: FaultTarget = FaultTarget::ChatwootWebhook;

    /// One attempt and no more.
    fn pauses(_hub: &Hub) -> Vec<u64> {
        Vec::new()
    }

    async fn post(&self, hub: &Hub) -> Result<(u16, String), String> {
        let (signs, blocks) = {
            let settings = &lock(&hub.chatwoot).settings;
            (settings.signs, settings.blocks_private_targets)
        };
        if blocks && is_private(&self.url) {
            return Err("blocked: the address is private".to_owned());
        }
        let mut request = hub
            .chatwoot_client
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header("x-chatwoot-delivery", &self.delivery_id);
        if signs {
            let timestamp = Utc::now().timestamp().to_string();
            let signature = chatwoot_signature(&self.secret, &timestamp, self.body.as_bytes());
            request = request
                .header("x-chatwoot-timestamp", &timestamp)
                .header("x-chatwoot-signature", signature);
        }
        answer_to(request.body(self.body.clone())).await
    }

    fn note(&self, hub: &Arc<Hub>, attempt: Attempt) {
        let failure = match attempt.status {
            Some(status) if Self::is_accepted(status) => None,
            Some(status) => Some(format!("{status} from {}", self.url)),
            None => Some(attempt.error.clone().unwrap_or_default()),
        };
        let mut state = lock(&hub.chatwoot);
        state.deliveries.push(|seq| ChatwootDelivery {
            seq,
            moment: attempt.moment,
            delivery_id: self.delivery_id.clone(),
            account_id: self.account_id,
            inbox_id: self.inbox_id,
            target: self.target.to_owned(),
            event: self.event.clone(),
            conversation_id: self.conversation_id,
            message_id: self.message_id,
            copy: attempt.copy,
            status: attempt.status,
            error: attempt.error,
            duration_ms: attempt.duration_ms,
            response: attempt.response,
        });
        if let Some(failure) = failure {
            mark_failed(hub, &mut state, self, &failure);
        }
    }
}

/// An address inside, as far as its text tells; names are not looked up.
fn is_private(url: &str) -> bool {
    let host = reqwest::Url::parse(url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        Err(_) => !host.contains('.'),
    }
}

/// Only the API inbox's webhook, and only for message events (2.6). The change raises `message_updated` in its turn.
fn mark_failed(hub: &Arc<Hub>, state: &mut ChatwootState, outgoing: &Outgoing, error: &str) {
    let about_message = matches!(outgoing.event.as_str(), "message_created" | "message_updated");
    if outgoing.target != "api_inbox" || !about_message {
        return;
    }
    let Some(message) = outgoing
        .message_id
        .and_then(|id| state.messages.get(&id))
        .cloned()
    else {
        return;
    };
    let failed = messages::with_status(message, "failed", Some(error.to_owned()));
    messages::store_update(hub, state, failed);
}
