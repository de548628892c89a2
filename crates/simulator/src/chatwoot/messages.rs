//! Messages (contract 3.4).

use chrono::Utc;
use serde_json::{Map, Value, json};

use super::control::ReplySender;
use super::settings::Counted;
use super::state::{ChatwootState, ConversationView, MessageView, StatusUpdate};
use super::{
    Handled, Request, attributes, conversations, files, flag, invalid, missing, ok, payload, text,
    unprocessable, webhook,
};
use crate::http::Answer;
use crate::hub::{Hub, rfc3339};
use crate::multipart;

const CONTENT_LIMIT: usize = 150_000;
const ATTACHMENT_LIMIT: usize = 15;

/// The 20 newest, oldest first; `before` moves back; `after` gives up to 100 following; both up to 1000.
pub(super) fn list(state: &ChatwootState, request: &Request<'_>, conversation: &ConversationView) -> Handled {
    let (before, after) = (
        request.call.query_number("before"),
        request.call.query_number("after"),
    );
    let matching = state
        .messages_of
        .get(&(conversation.account_id, conversation.id))
        .into_iter()
        .flatten()
        .copied()
        .filter(|id| before.is_none_or(|before| *id < before))
        .filter(|id| after.is_none_or(|after| *id > after));
    let ids: Vec<u64> = match (before, after) {
        (Some(_), Some(_)) => matching.take(1000).collect(),
        (None, Some(_)) => matching.take(100).collect(),
        (_, None) => {
            let all: Vec<u64> = matching.collect();
            all[all.len().saturating_sub(20)..].to_vec()
        }
    };
    let messages: Vec<Value> = ids
        .iter()
        .filter_map(|id| state.messages.get(id))
        .map(|message| payload::message(state, message))
        .collect();
    let contact = state.contacts.get(&conversation.contact_id);
    ok(&json!({
        "meta": {
            "labels": conversation.labels, "additional_attributes": conversation.additional_attributes,
            "contact": {"payload": contact.map(|contact| payload::contact(state, contact))},
            "agent_last_seen_at": null, "assignee_last_seen_at": null,
        },
        "payload": messages,
    }))
}

/// Not idempotent: the same `source_id` twice makes two messages.
pub(super) fn create(
    state: &mut ChatwootState,
    request: &Request<'_>,
    conversation: &ConversationView,
) -> Handled {
    let (members, files) = request.form()?;
    let counted = Counted::Messages(conversation.account_id, conversation.id);
    if !state.admits(counted, state.settings.messages_per_conversation) {
        return Err(unprocessable("Too many messages"));
    }
    let message = create_from(state, request, conversation, &members, files)?;
    ok(&payload::message(state, &message))
}

pub(super) fn create_from(
    state: &mut ChatwootState,
    request: &Request<'_>,
    conversation: &ConversationView,
    members: &Map<String, Value>,
    files: Vec<multipart::File>,
) -> Result<MessageView, Answer> {
    let message_type = text(members, "message_type").unwrap_or_else(|| "outgoing".to_owned());
    if !matches!(message_type.as_str(), "incoming" | "outgoing") {
        return Err(unprocessable("Invalid message type"));
    }
    let api_inbox = state
        .inboxes
        .get(&conversation.inbox_id)
        .is_some_and(|inbox| inbox.is_api());
    if message_type == "incoming" && !api_inbox {
        return Err(unprocessable("Incoming messages are only allowed in Api inboxes"));
    }
    let content = text(members, "content");
    if content
        .as_ref()
        .is_some_and(|content| content.chars().count() > CONTENT_LIMIT)
    {
        return Err(invalid(
            "Content is too long (maximum is 150000 characters)",
            "content",
        ));
    }
    if files.len() > ATTACHMENT_LIMIT {
        return Err(invalid("Attachments is too many", "attachments"));
    }
    let mut content_attributes = attributes(members, "content_attributes");
    if let Some(at) = members.get("external_created_at") {
        content_attributes.insert("external_created_at".to_owned(), at.clone());
    }
    let draft = Draft {
        content,
        message_type,
        private: flag(members, "private"),
        content_type: text(members, "content_type").unwrap_or_else(|| "text".to_owned()),
        content_attributes,
        source_id: text(members, "source_id"),
        echo_id: text(members, "echo_id"),
        additional_attributes: members
            .get("template_params")
            .map(|params| crate::http::object(json!({"template_params": params})))
            .unwrap_or_default(),
        files,
        ..Draft::default()
    };
    let incoming = draft.message_type == "incoming";
    let message = post(request.hub, state, conversation, draft);
    // An incoming message opens a conversation that was put away.
    if incoming && matches!(conversation.status.as_str(), "resolved" | "snoozed") {
        let current = state
            .conversations
            .get(&(conversation.account_id, conversation.id))
            .cloned();
        if let Some(current) = current {
            conversations::set_status(request.hub, state, current, "open");
        }
    }
    Ok(message)
}

/// A message about to exist.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) content: Option<String>,
    pub(super) message_type: String,
    pub(super) private: bool,
    pub(super) content_type: String,
    pub(super) content_attributes: Map<String, Value>,
    pub(super) source_id: Option<String>,
    pub(super) echo_id: Option<String>,
    pub(super) additional_attributes: Map<String, Value>,
    pub(super) sender: Option<ReplySender>,
    pub(super) files: Vec<multipart::File>,
    /// Attachments that are no files; their ids are made here.
    pub(super) places: Vec<Value>,
}

/// Stores the message and fires `message_created`.
pub(super) fn post(
    hub: &std::sync::Arc<Hub>,
    state: &mut ChatwootState,
    conversation: &ConversationView,
    draft: Draft,
) -> MessageView {
    let message = store(state, conversation, draft);
    webhook::message_event(hub, state, &message, "message_created");
    message
}

/// Stores the message and tells nobody.
pub(super) fn store(state: &mut ChatwootState, conversation: &ConversationView, draft: Draft) -> MessageView {
    let id = state.next_id();
    let now = rfc3339(Utc::now());
    let account = conversation.account_id;
    let mut attachments: Vec<Value> = draft
        .files
        .into_iter()
        .map(|file| files::attachment(state, (account, id), file))
        .collect();
    for mut place in draft.places {
        place["id"] = json!(state.next_id());
        place["message_id"] = json!(id);
        place["account_id"] = json!(account);
        attachments.push(place);
    }
    let message = MessageView {
        id,
        account_id: conversation.account_id,
        inbox_id: conversation.inbox_id,
        conversation_id: conversation.id,
        content: draft.content,
        message_type: draft.message_type,
        private: draft.private,
        content_type: draft.content_type,
        content_attributes: draft.content_attributes,
        source_id: draft.source_id,
        echo_id: draft.echo_id,
        status: "sent".to_owned(),
        attachments,
        additional_attributes: draft.additional_attributes,
        sender: draft.sender,
        created_at: now.clone(),
        updated_at: now,
    };
    state.add_message(message.clone());
    message
}

/// `/conversations/{c}/messages/{id}` and what is below it.
pub(super) fn one(
    state: &mut ChatwootState,
    request: &Request<'_>,
    conversation: u64,
    id: u64,
    path: &[&str],
) -> Handled {
    let message = state
        .messages
        .get(&id)
        .filter(|message| message.account_id == request.account && message.conversation_id == conversation)
        .ok_or_else(missing)?
        .clone();
    match (request.call.method.as_str(), path) {
        ("PATCH" | "PUT", []) => update_status(state, request, message),
        ("DELETE", []) => {
            let deleted = delete(request.hub, state, message);
            ok(&payload::message(state, &deleted))
        }
        ("POST", ["retry"]) => {
            let retried = retry(request.hub, state, message);
            ok(&payload::message(state, &retried))
        }
        _ => Err(missing()),
    }
}

/// What stays of a message that was deleted: a placeholder, and nothing of what it was (2.8).
pub(super) fn delete(
    hub: &std::sync::Arc<Hub>,
    state: &mut ChatwootState,
    message: MessageView,
) -> MessageView {
    for attachment in &message.attachments {
        if let Some(id) = attachment["id"].as_u64() {
            state.files.remove(id);
        }
    }
    let deleted = MessageView {
        content: Some("This message was deleted".to_owned()),
        content_attributes: crate::http::object(json!({"deleted": true})),
        attachments: Vec::new(),
        ..message
    };
    store_update(hub, state, deleted.clone());
    deleted
}

/// The button resets the status; no second `message_created` comes of it (2.6).
pub(super) fn retry(
    hub: &std::sync::Arc<Hub>,
    state: &mut ChatwootState,
    mut message: MessageView,
) -> MessageView {
    message.status = "sent".to_owned();
    message.content_attributes.remove("external_error");
    store_update(hub, state, message.clone());
    message
}

/// API inboxes only. Unknown values and the step from read back to delivered are ignored without a word.
fn update_status(state: &mut ChatwootState, request: &Request<'_>, message: MessageView) -> Handled {
    let api_inbox = state
        .inboxes
        .get(&message.inbox_id)
        .is_some_and(|inbox| inbox.is_api());
    if !api_inbox {
        return Err(Answer::json(
            403,
            &json!({"error": "Message status update is only allowed for API inboxes"}),
        ));
    }
    let members = request.members()?;
    let status = text(&members, "status").unwrap_or_default();
    let external_error = text(&members, "external_error");
    let known = matches!(status.as_str(), "sent" | "delivered" | "read" | "failed");
    let backwards = message.status == "read" && status == "delivered";
    let applied = known && !backwards;
    let moment = request.hub.now();
    state.status_updates.push(|seq| StatusUpdate {
        seq,
        moment,
        account_id: message.account_id,
        conversation_id: message.conversation_id,
        message_id: message.id,
        status: status.clone(),
        external_error: external_error.clone(),
        previous: message.status.clone(),
        applied,
    });
    if !applied {
        return ok(&payload::message(state, &message));
    }
    let updated = with_status(message, &status, external_error);
    store_update(request.hub, state, updated.clone());
    ok(&payload::message(state, &updated))
}

/// Any status but `failed` clears the error.
pub(super) fn with_status(mut message: MessageView, status: &str, error: Option<String>) -> MessageView {
    message.status = status.to_owned();
    message.content_attributes.remove("external_error");
    if let (Some(error), "failed") = (error, status) {
        message
            .content_attributes
            .insert("external_error".to_owned(), json!(error));
    }
    message
}

/// Fires `message_updated` if anything changed; saving what is there already fires nothing, as in Rails.
pub(super) fn store_update(hub: &std::sync::Arc<Hub>, state: &mut ChatwootState, mut message: MessageView) {
    let unchanged = state.messages.get(&message.id).is_some_and(|stored| {
        stored.status == message.status
            && stored.content == message.content
            && stored.content_attributes == message.content_attributes
    });
    if unchanged {
        return;
    }
    message.updated_at = rfc3339(Utc::now());
    state.messages.insert(message.id, message.clone());
    webhook::message_event(hub, state, &message, "message_updated");
}
