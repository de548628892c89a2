//! Conversations (contract 3.3).

use std::sync::Arc;

use serde_json::{Value, json};

use super::state::{ChatwootState, ContactInbox, ConversationView};
use super::{
    Handled, Request, attributes, messages, missing, number, ok, payload, text, unprocessable, webhook,
};
use crate::http::Answer;
use crate::hub::Hub;

const PAGE: usize = 25;

pub(super) fn list(state: &ChatwootState, request: &Request<'_>) -> Handled {
    let inbox = request.call.query_number("inbox_id");
    let status = request.call.query("status").unwrap_or("open");
    let mut found: Vec<&ConversationView> = state
        .conversations
        .range((request.account, 0)..=(request.account, u64::MAX))
        .map(|(_, conversation)| conversation)
        .filter(|c| inbox.is_none_or(|inbox| c.inbox_id == inbox))
        .filter(|c| status == "all" || c.status == status)
        .collect();
    found.sort_by_key(|c| std::cmp::Reverse((c.last_activity_at, c.id)));
    let page = request.call.query_number("page").unwrap_or(1).max(1);
    let skip = usize::try_from(page - 1)
        .unwrap_or(usize::MAX)
        .saturating_mul(PAGE);
    let payload: Vec<Value> = found
        .iter()
        .skip(skip)
        .take(PAGE)
        .map(|conversation| payload::conversation(state, conversation))
        .collect();
    let count = found.len();
    ok(&json!({"data": {
        "meta": {"mine_count": 0, "unassigned_count": count, "assigned_count": 0, "all_count": count},
        "payload": payload,
    }}))
}

pub(super) fn create(state: &mut ChatwootState, request: &Request<'_>) -> Handled {
    let members = request.members()?;
    let link = contact_inbox(state, request, &members)?;
    let locked = state
        .inboxes
        .get(&link.inbox_id)
        .is_some_and(|inbox| inbox.lock_to_single_conversation);
    if locked && let Some(existing) = newest_of_link(state, request.account, &link) {
        return ok(&payload::conversation(state, &existing));
    }
    let mut conversation = state.add_conversation(request.account, &link);
    conversation.custom_attributes = attributes(&members, "custom_attributes");
    conversation.additional_attributes = attributes(&members, "additional_attributes");
    if let Some(status) = text(&members, "status").filter(|status| is_status(status)) {
        conversation.status = status;
    }
    let place = (request.account, conversation.id);
    state.conversations.insert(place, conversation.clone());
    webhook::conversation_event(request.hub, state, &conversation, "conversation_created", None);
    let first = attributes(&members, "message");
    if !first.is_empty() {
        messages::create_from(state, request, &conversation, &first, Vec::new())?;
    }
    ok(&payload::conversation(state, &conversation))
}

/// Left out, `source_id` becomes a second, random link: the cause of duplicate conversations in the field (3.3).
fn contact_inbox(
    state: &mut ChatwootState,
    request: &Request<'_>,
    members: &serde_json::Map<String, Value>,
) -> Result<ContactInbox, Answer> {
    let source_id = text(members, "source_id");
    let (inbox, contact) = (number(members, "inbox_id"), number(members, "contact_id"));
    if let (Some(inbox), Some(contact)) = (inbox, contact) {
        let inbox = state.inbox(request.account, inbox).ok_or_else(missing)?.id;
        let contact = state.contact(request.account, contact).ok_or_else(missing)?.id;
        return state
            .link(contact, inbox, source_id)
            .ok_or_else(|| unprocessable("source_id should be unique"));
    }
    let source_id = source_id.ok_or_else(missing)?;
    state
        .contact_inboxes
        .values()
        .find(|link| {
            link.source_id == source_id
                && inbox.is_none_or(|inbox| link.inbox_id == inbox)
                && state.inbox(request.account, link.inbox_id).is_some()
        })
        .cloned()
        .ok_or_else(missing)
}

fn newest_of_link(state: &ChatwootState, account: u64, link: &ContactInbox) -> Option<ConversationView> {
    state
        .conversations_of_contact
        .get(&link.contact_id)?
        .iter()
        .rev()
        .filter_map(|id| state.conversations.get(&(account, *id)))
        .find(|conversation| conversation.contact_inbox_id == link.id)
        .cloned()
}

/// `/conversations/{id}` and what is below it.
pub(super) fn one(state: &mut ChatwootState, request: &Request<'_>, id: u64, path: &[&str]) -> Handled {
    let conversation = state
        .conversations
        .get(&(request.account, id))
        .ok_or_else(missing)?
        .clone();
    match (request.call.method.as_str(), path) {
        ("GET", []) => ok(&payload::conversation(state, &conversation)),
        ("DELETE", []) => {
            state.forget_conversation(request.account, id);
            Ok(Answer::json(200, &json!({})))
        }
        ("POST", ["toggle_status"]) => {
            // Without a status the button toggles between open and resolved.
            let wanted = text(&request.members()?, "status").unwrap_or_else(|| {
                let open = conversation.status == "open";
                if open {
                    "resolved".to_owned()
                } else {
                    "open".to_owned()
                }
            });
            if !is_status(&wanted) {
                return Err(unprocessable("'status' is not valid"));
            }
            set_status(request.hub, state, conversation, &wanted);
            ok(&json!({"meta": {}, "payload": {
                "success": true, "current_status": wanted, "conversation_id": id, "snoozed_until": null,
            }}))
        }
        ("POST", ["toggle_typing_status" | "update_last_seen"]) => Ok(Answer::json(200, &json!({}))),
        ("POST", ["labels"]) => {
            let labels: Vec<String> = request
                .members()?
                .get("labels")
                .and_then(|labels| serde_json::from_value(labels.clone()).ok())
                .unwrap_or_default();
            if let Some(stored) = state.conversations.get_mut(&(request.account, id)) {
                stored.labels.clone_from(&labels);
            }
            ok(&json!({"payload": labels}))
        }
        ("POST", ["custom_attributes"]) => {
            let new = attributes(&request.members()?, "custom_attributes");
            if let Some(stored) = state.conversations.get_mut(&(request.account, id)) {
                stored.custom_attributes.clone_from(&new);
            }
            ok(&json!({"custom_attributes": new}))
        }
        ("GET", ["messages"]) => messages::list(state, request, &conversation),
        ("POST", ["messages"]) => messages::create(state, request, &conversation),
        (_, ["messages", message, rest @ ..]) => {
            let message = message.parse().map_err(|_| missing())?;
            messages::one(state, request, id, message, rest)
        }
        _ => Err(missing()),
    }
}

/// Changes the status and tells the webhooks if it really changed.
pub(super) fn set_status(
    hub: &Arc<Hub>,
    state: &mut ChatwootState,
    conversation: ConversationView,
    status: &str,
) {
    if conversation.status == status {
        return;
    }
    let change = json!([{"status": {"previous_value": conversation.status, "current_value": status}}]);
    let changed = ConversationView {
        status: status.to_owned(),
        ..conversation
    };
    let place = (changed.account_id, changed.id);
    state.conversations.insert(place, changed.clone());
    let event = "conversation_status_changed";
    webhook::conversation_event(hub, state, &changed, event, Some(change));
}

pub(super) fn is_status(status: &str) -> bool {
    matches!(status, "open" | "resolved" | "pending" | "snoozed")
}
