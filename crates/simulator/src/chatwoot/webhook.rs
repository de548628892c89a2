//! Outgoing webhooks: signed, five seconds, one attempt, and a failed message if it fails (contract 2.2 to 2.6).

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use serde_json::Value;
use uuid::Uuid;

use super::messages;
use super::payload;
use super::state::{ChatwootDelivery, ChatwootState, ConversationView, MessageView};
use crate::faults::FaultTarget;
use crate::hub::{Hub, body_start, chain, lock, milliseconds};
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
    let body = payload::message_event(state, message, event);
    let place = (message.account_id, message.inbox_id, message.conversation_id);
    prepare(state, place, Some(message.id), event, &body)
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
    let fate = lock(&hub.faults).for_event(FaultTarget::ChatwootWebhook);
    if !fate.hold.is_zero() {
        tokio::time::sleep(fate.hold).await;
    }
    let outgoing = Arc::new(outgoing);
    if fate.concurrent {
        for copy in 1..=fate.copies {
            let (shared, outgoing) = (Arc::clone(hub), Arc::clone(&outgoing));
            hub.spawn(async move {
                attempt(&shared, &outgoing, copy).await;
            });
        }
    }
    let accepted = attempt(hub, &outgoing, 0).await;
    if !fate.concurrent {
        for copy in 1..=fate.copies {
            attempt(hub, &outgoing, copy).await;
        }
    }
    accepted
}

async fn attempt(hub: &Arc<Hub>, outgoing: &Outgoing, copy: u32) -> bool {
    let fate = lock(&hub.faults).for_attempt(FaultTarget::ChatwootWebhook);
    if !fate.delay.is_zero() {
        tokio::time::sleep(fate.delay).await;
    }
    let started = Instant::now();
    let outcome = if fate.cut {
        Err("cut on purpose, nothing was sent".to_owned())
    } else {
        let answered = post(hub, outgoing).await;
        if fate.lose_answer {
            Err("sent, answer lost on purpose".to_owned())
        } else {
            answered
        }
    };
    let duration_ms = milliseconds(started);
    let moment = hub.now();
    let (status, error, response) = match outcome {
        Ok((status, response)) => (Some(status), None, response),
        Err(error) => (None, Some(error), String::new()),
    };
    let accepted = status.is_some_and(|status| (200..300).contains(&status));
    let failure = match (status, &error) {
        (Some(status), _) => format!("{status} from {}", outgoing.url),
        (None, error) => error.clone().unwrap_or_default(),
    };
    let mut state = lock(&hub.chatwoot);
    state.deliveries.push(|seq| ChatwootDelivery {
        seq,
        moment,
        delivery_id: outgoing.delivery_id.clone(),
        account_id: outgoing.account_id,
        inbox_id: outgoing.inbox_id,
        target: outgoing.target.to_owned(),
        event: outgoing.event.clone(),
        conversation_id: outgoing.conversation_id,
        message_id: outgoing.message_id,
        copy,
        status,
        error,
        duration_ms,
        response,
    });
    if !accepted {
        mark_failed(hub, &mut state, outgoing, &failure);
    }
    accepted
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

async fn post(hub: &Hub, outgoing: &Outgoing) -> Result<(u16, String), String> {
    let timestamp = Utc::now().timestamp().to_string();
    let signature = chatwoot_signature(&outgoing.secret, &timestamp, outgoing.body.as_bytes());
    let response = hub
        .chatwoot_client
        .post(&outgoing.url)
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("x-chatwoot-delivery", &outgoing.delivery_id)
        .header("x-chatwoot-timestamp", &timestamp)
        .header("x-chatwoot-signature", signature)
        .body(outgoing.body.clone())
        .send()
        .await
        .map_err(|error| chain(&error))?;
    let status = response.status().as_u16();
    let start = body_start(response).await.map_err(|error| chain(&error))?;
    Ok((status, start))
}
