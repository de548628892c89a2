//! The JSON of Chatwoot's objects: as its API answers, and as its webhooks carry (contract 2.8, 2.9, 3, appendix A).

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::control::ReplySender;
use super::settings::ChatwootSettings;
use super::state::{Account, ChatwootState, ContactInbox, ContactView, ConversationView, Inbox, MessageView};

/// A contact in API answers.
pub(super) fn contact(state: &ChatwootState, contact: &ContactView) -> Value {
    let links: Vec<Value> = state
        .links(contact.id)
        .map(|link| contact_inbox_summary(state, link))
        .collect();
    json!({
        "additional_attributes": contact.additional_attributes, "availability_status": "offline",
        "email": contact.email, "id": contact.id, "name": contact.name, "phone_number": contact.phone_number,
        "blocked": contact.blocked, "identifier": contact.identifier, "thumbnail": contact.thumbnail,
        "custom_attributes": contact.custom_attributes, "last_activity_at": contact.created_at,
        "created_at": contact.created_at, "contact_inboxes": links,
    })
}

pub(super) fn contact_inbox_summary(state: &ChatwootState, link: &ContactInbox) -> Value {
    let inbox = state.inboxes.get(&link.inbox_id).map(inbox_summary);
    json!({"source_id": link.source_id, "inbox": inbox})
}

fn inbox_summary(inbox: &Inbox) -> Value {
    json!({
        "id": inbox.id, "avatar_url": "", "channel_id": inbox.id, "name": inbox.name,
        "channel_type": inbox.channel_type,
    })
}

/// An inbox in API answers. Administrators see the signing secret in the settings; whether it is shown here, too, depends
/// on the release (3.6).
pub(super) fn inbox(inbox: &Inbox, settings: &ChatwootSettings) -> Value {
    let mut body = json!({
        "id": inbox.id, "avatar_url": "", "channel_id": inbox.id, "name": inbox.name,
        "channel_type": inbox.channel_type, "inbox_identifier": inbox.identifier, "webhook_url": inbox.webhook_url,
        "hmac_token": inbox.hmac_token, "hmac_mandatory": false,
        "lock_to_single_conversation": inbox.lock_to_single_conversation, "allow_messages_after_resolved": true,
    });
    if settings.shows_secrets {
        body["secret"] = json!(inbox.secret);
    }
    body
}

/// A message in API answers; `message_type` is a number here.
pub(super) fn message(state: &ChatwootState, message: &MessageView) -> Value {
    let mut body = json!({
        "id": message.id, "content": message.content, "inbox_id": message.inbox_id,
        "conversation_id": message.conversation_id, "message_type": type_number(&message.message_type),
        "content_type": message.content_type, "status": message.status,
        "content_attributes": message.content_attributes, "created_at": seconds(&message.created_at),
        "private": message.private, "source_id": message.source_id, "sender": api_sender(state, message),
    });
    if !message.attachments.is_empty() {
        body["attachments"] = json!(message.attachments);
    }
    if let Some(echo) = &message.echo_id {
        body["echo_id"] = json!(echo);
    }
    body
}

/// A conversation: the same object in API answers and inside webhooks.
pub(super) fn conversation(state: &ChatwootState, conversation: &ConversationView) -> Value {
    let link = state.contact_inboxes.get(&conversation.contact_inbox_id);
    let account = state.accounts.get(&conversation.account_id);
    let agent_is_in = state
        .newest_public(conversation.account_id, conversation.id)
        .is_some_and(|newest| newest.message_type == "outgoing");
    let assignee = account.filter(|_| agent_is_in).map(agent_card);
    let newest: Vec<Value> = state
        .newest_public(conversation.account_id, conversation.id)
        .map(|newest| message_columns(state, conversation, newest))
        .into_iter()
        .collect();
    let mut body = json!({
        "additional_attributes": conversation.additional_attributes, "can_reply": true,
        "channel": state.inboxes.get(&conversation.inbox_id).map(|inbox| inbox.channel_type.as_str()),
        "contact_inbox": link.map(contact_inbox), "id": conversation.id, "inbox_id": conversation.inbox_id,
        "messages": newest, "labels": conversation.labels,
        "meta": {
            "sender": meta_sender(state, conversation), "channel": "Channel::Api", "assignee": assignee,
            "assignee_type": assignee.as_ref().map(|_| "User"), "team": null, "hmac_verified": false,
        },
        "status": conversation.status, "custom_attributes": conversation.custom_attributes, "snoozed_until": null,
        "unread_count": conversation.unread_count, "first_reply_created_at": null, "priority": null,
        "waiting_since": if conversation.unread_count > 0 { conversation.last_activity_at } else { 0 },
        "agent_last_seen_at": 0, "contact_last_seen_at": 0, "last_activity_at": conversation.last_activity_at,
        "timestamp": conversation.last_activity_at, "created_at": conversation.created_at,
        "updated_at": micros(Utc::now()), "account_id": conversation.account_id, "account": account.map(account_card),
    });
    if !state.settings.account_in_conversations
        && let Some(members) = body.as_object_mut()
    {
        members.remove("account_id");
        members.remove("account");
    }
    body
}

/// The body of `message_created` and `message_updated`: no top-level `status`, `message_type` as a word (2.8).
pub(super) fn message_event(state: &ChatwootState, message: &MessageView, event: &str) -> Value {
    let place = (message.account_id, message.conversation_id);
    let account = state.accounts.get(&message.account_id);
    let inbox = state.inboxes.get(&message.inbox_id);
    let mut body = json!({
        "account": account.map(account_card), "additional_attributes": message.additional_attributes,
        "content_attributes": message.content_attributes, "content_type": message.content_type,
        "content": message.content, "conversation": null, "created_at": message.created_at, "id": message.id,
        "inbox": inbox.map(|inbox| json!({"id": inbox.id, "name": inbox.name})),
        "message_type": message.message_type, "private": message.private, "sender": event_sender(state, message),
        "source_id": message.source_id, "event": event,
    });
    if let Some(conversation) = state.conversations.get(&place) {
        body["conversation"] = self::conversation(state, conversation);
    }
    if !message.attachments.is_empty() {
        body["attachments"] = json!(message.attachments);
    }
    body
}

/// The body of the conversation events (2.10).
pub(super) fn conversation_event(
    state: &ChatwootState,
    conversation: &ConversationView,
    event: &str,
    changed: Option<Value>,
) -> Value {
    let mut body = self::conversation(state, conversation);
    body["event"] = json!(event);
    if let Some(changed) = changed {
        body["changed_attributes"] = changed;
    }
    body
}

/// The body of the typing events (2.10).
pub(super) fn typing_event(
    state: &ChatwootState,
    conversation: &ConversationView,
    event: &str,
    is_private: bool,
) -> Value {
    let user = state.accounts.get(&conversation.account_id).map(agent_sender);
    json!({
        "event": event, "user": user, "conversation": self::conversation(state, conversation),
        "is_private": is_private,
    })
}

/// The body of the contact events (2.10).
pub(super) fn contact_event(
    state: &ChatwootState,
    contact: &ContactView,
    event: &str,
    changed: Option<Value>,
) -> Value {
    let mut members = contact_members(contact);
    let account = state.accounts.get(&contact.account_id);
    members.insert("account".to_owned(), json!(account.map(account_card)));
    members.insert("avatar".to_owned(), json!(contact.thumbnail));
    members.insert("event".to_owned(), json!(event));
    if let Some(changed) = changed {
        members.insert("changed_attributes".to_owned(), changed);
    }
    Value::Object(members)
}

fn account_card(account: &Account) -> Value {
    json!({"id": account.id, "name": account.name})
}

fn agent_card(account: &Account) -> Value {
    json!({
        "id": account.agent_id, "name": "Budi Agen", "available_name": "Budi", "avatar_url": "", "type": "user",
        "availability_status": "online", "thumbnail": "",
    })
}

fn contact_inbox(link: &ContactInbox) -> Value {
    json!({
        "id": link.id, "contact_id": link.contact_id, "inbox_id": link.inbox_id, "source_id": link.source_id,
        "created_at": link.created_at, "updated_at": link.created_at, "hmac_verified": false,
        "pubsub_token": link.pubsub_token,
    })
}

/// Members all forms of a contact share.
fn contact_members(contact: &ContactView) -> Map<String, Value> {
    crate::http::object(json!({
        "additional_attributes": contact.additional_attributes, "custom_attributes": contact.custom_attributes,
        "email": contact.email, "id": contact.id, "identifier": contact.identifier, "name": contact.name,
        "phone_number": contact.phone_number, "thumbnail": contact.thumbnail, "blocked": contact.blocked,
    }))
}

fn meta_sender(state: &ChatwootState, conversation: &ConversationView) -> Option<Value> {
    let mut members = contact_members(state.contacts.get(&conversation.contact_id)?);
    members.insert("type".to_owned(), json!("contact"));
    Some(Value::Object(members))
}

/// The one the conversation is with, for incoming messages; the agent otherwise.
fn contact_of<'a>(state: &'a ChatwootState, message: &MessageView) -> Option<&'a ContactView> {
    let place = (message.account_id, message.conversation_id);
    let conversation = state.conversations.get(&place)?;
    state.contacts.get(&conversation.contact_id)
}

fn event_sender(state: &ChatwootState, message: &MessageView) -> Option<Value> {
    let account = state.accounts.get(&message.account_id)?;
    match message.message_type.as_str() {
        "incoming" => {
            let mut members = contact_members(contact_of(state, message)?);
            members.insert("account".to_owned(), account_card(account));
            let avatar = members["thumbnail"].clone();
            members.insert("avatar".to_owned(), avatar);
            Some(Value::Object(members))
        }
        "outgoing" => match &message.sender {
            None => Some(agent_sender(account)),
            Some(sender) => other_sender(account, sender),
        },
        _ => None,
    }
}

fn agent_sender(account: &Account) -> Value {
    json!({"id": account.agent_id, "name": "Budi Agen", "email": "budi@agents.example", "type": "user"})
}

/// Somebody else than the account's agent, as webhooks show them.
fn other_sender(account: &Account, sender: &ReplySender) -> Option<Value> {
    match sender {
        ReplySender::User { name } => Some(json!({
            "id": account.agent_id, "name": name, "email": "budi@agents.example", "type": "user",
        })),
        ReplySender::AgentBot { name } => {
            Some(json!({"id": account.agent_id, "name": name, "type": "agent_bot"}))
        }
        ReplySender::Nobody => None,
    }
}

fn api_sender(state: &ChatwootState, message: &MessageView) -> Option<Value> {
    match message.message_type.as_str() {
        "incoming" => {
            let mut members = contact_members(contact_of(state, message)?);
            members.insert("type".to_owned(), json!("contact"));
            Some(Value::Object(members))
        }
        "outgoing" => {
            let mut card = state.accounts.get(&message.account_id).map(agent_card)?;
            match &message.sender {
                None => {}
                Some(ReplySender::Nobody) => return None,
                Some(ReplySender::User { name } | ReplySender::AgentBot { name }) => {
                    card["name"] = json!(name);
                    card["available_name"] = json!(name);
                }
            }
            Some(card)
        }
        _ => None,
    }
}

/// `messages[0]` of a conversation: all columns, `message_type` as a number.
fn message_columns(state: &ChatwootState, conversation: &ConversationView, message: &MessageView) -> Value {
    let incoming = message.message_type == "incoming";
    let agent = state
        .accounts
        .get(&message.account_id)
        .map(|account| account.agent_id);
    let sender_id = if incoming {
        Some(conversation.contact_id)
    } else {
        agent
    };
    let mut body = json!({
        "id": message.id, "content": message.content, "account_id": message.account_id,
        "inbox_id": message.inbox_id, "conversation_id": message.conversation_id,
        "message_type": type_number(&message.message_type), "created_at": seconds(&message.created_at),
        "updated_at": message.updated_at, "private": message.private, "status": message.status,
        "source_id": message.source_id, "content_type": message.content_type,
        "content_attributes": message.content_attributes, "sender_type": if incoming { "Contact" } else { "User" },
        "sender_id": sender_id, "external_source_ids": {}, "additional_attributes": {},
        "processed_message_content": message.content, "sentiment": {},
        "conversation": {
            "assignee_id": agent.filter(|_| !incoming), "unread_count": conversation.unread_count,
            "last_activity_at": conversation.last_activity_at,
            "contact_inbox": {"source_id": conversation.source_id},
        },
        "sender": api_sender(state, message),
    });
    if !message.attachments.is_empty() {
        body["attachments"] = json!(message.attachments);
    }
    body
}

fn type_number(name: &str) -> u8 {
    match name {
        "incoming" => 0,
        "outgoing" => 1,
        "activity" => 2,
        _ => 3,
    }
}

fn seconds(rfc3339: &str) -> i64 {
    DateTime::parse_from_rfc3339(rfc3339)
        .map(|at| at.timestamp())
        .unwrap_or_default()
}

/// Unix seconds with a fraction, as `updated_at` of a conversation has.
fn micros(at: DateTime<Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}
