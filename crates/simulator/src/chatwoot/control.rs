//! What tests and people may do to Chatwoot from outside: accounts, inboxes, and agents that answer.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::messages::{self, Draft};
use super::state::{
    AccountCreated, ChatwootDelivery, ChatwootState, ContactView, ConversationView, MessageView, StatusUpdate,
};
use super::webhook;
use crate::hub::{Hub, lock};
use crate::journal::new_stream;
use crate::multipart;
use crate::pace::Pace;
use crate::wa::control::ControlError;

/// Pause before a reply's webhook that was not accepted is posted again, where that is asked for.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// An account to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewAccount {
    /// Made up if absent.
    pub name: Option<String>,
}

/// An API inbox to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewInbox {
    /// Account it belongs to.
    pub account_id: u64,
    /// Display name.
    #[serde(default)]
    pub name: String,
    /// Where its events go; nowhere if empty.
    #[serde(default)]
    pub webhook_url: String,
    /// Signing secret; made up if absent.
    #[serde(default)]
    pub secret: Option<String>,
    /// A second conversation of a contact is never opened.
    #[serde(default)]
    pub lock_to_single_conversation: bool,
    /// `Channel::Api` if absent; another one shows the refusals for other inboxes.
    #[serde(default)]
    pub channel_type: Option<String>,
}

/// The inbox made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InboxCreated {
    /// Inbox id.
    pub id: u64,
    /// Signing secret of its webhooks.
    pub secret: String,
    /// Identifier in the public API.
    pub inbox_identifier: String,
}

/// An agent's message.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// Account of the conversation.
    pub account_id: u64,
    /// Display id of the conversation.
    pub conversation_id: u64,
    /// Text.
    pub content: String,
    /// A note among agents.
    pub private: bool,
    /// Chatwoot id of the message it quotes.
    pub in_reply_to: Option<u64>,
    /// Files that go with it. With no text the message has none.
    pub files: Vec<ReplyFile>,
    /// A place that goes with it.
    pub location: Option<ReplyLocation>,
    /// The WhatsApp template it was made of.
    pub template_params: Option<Value>,
    /// `outgoing` if absent; `template` for what the inbox says by itself, `incoming`, `activity`.
    pub message_type: Option<String>,
    /// `text` if absent.
    pub content_type: Option<String>,
    /// More of these, e.g. `items`.
    pub content_attributes: Map<String, Value>,
    /// Who wrote it; the account's agent if absent.
    pub sender: Option<ReplySender>,
}

/// A file an agent attaches.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplyFile {
    /// Its name.
    pub name: String,
    /// Its type.
    pub content_type: String,
    /// The bytes in base64.
    pub data: String,
}

impl ReplyFile {
    /// A file of these bytes.
    #[must_use]
    pub fn new(name: &str, content_type: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            content_type: content_type.to_owned(),
            data: STANDARD.encode(bytes),
        }
    }
}

/// A place an agent sends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplyLocation {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What is there.
    pub title: String,
}

/// Somebody other than the account's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReplySender {
    /// An agent of this name.
    User {
        /// The name.
        name: String,
    },
    /// A bot of this name.
    AgentBot {
        /// The name.
        name: String,
    },
    /// Messages of the system have no sender.
    Nobody,
}

/// A webhook to fire again, as a re-run job does, but under another delivery id.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redelivery {
    /// The message.
    pub message_id: u64,
}

/// Many replies at once. Reply `n` (from 1) in conversation `c` has the text `<prefix> v<c> #<n>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyStream {
    /// Account of the inbox.
    pub account_id: u64,
    /// All conversations of this inbox get replies.
    pub inbox_id: u64,
    /// Replies in each conversation.
    pub per_conversation: u64,
    /// Start of every text.
    pub prefix: String,
    /// Fire a reply's webhook again, under another delivery id, until it is accepted. Chatwoot does not do this; tests
    /// that kill the receiver and still count every reply want it.
    #[serde(default)]
    pub until_accepted: bool,
    /// How many replies are written in a second, evenly and over all conversations; as fast as their webhooks go if absent.
    #[serde(default)]
    pub per_second: Option<NonZeroU32>,
}

impl ReplyStream {
    /// The text of reply `number` (from 1) in a conversation.
    #[must_use]
    pub fn text(&self, conversation: u64, number: u64) -> String {
        format!("{} v{conversation} #{number}", self.prefix)
    }
}

/// How far a stream of replies is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyStreamProgress {
    /// Number of the stream.
    pub id: u64,
    /// Replies in all.
    pub messages: u64,
    /// Replies written.
    pub sent: u64,
    /// Replies whose webhook was answered 2xx.
    pub accepted: u64,
    /// Replies whose webhook failed for good.
    pub failed: u64,
    /// All replies are accepted or failed.
    pub done: bool,
}

pub(crate) fn add_account(hub: &Hub, new: NewAccount) -> AccountCreated {
    lock(&hub.chatwoot).add_account(new.name)
}

pub(crate) fn add_inbox(hub: &Hub, new: NewInbox) -> Result<InboxCreated, ControlError> {
    let mut state = lock(&hub.chatwoot);
    if !state.accounts.contains_key(&new.account_id) {
        return Err(not_there("account", new.account_id));
    }
    let mut inbox = state.add_inbox(new.account_id, new.name, new.webhook_url);
    if let Some(secret) = new.secret {
        inbox.secret = secret;
    }
    if let Some(channel) = new.channel_type {
        inbox.channel_type = channel;
    }
    inbox.lock_to_single_conversation = new.lock_to_single_conversation;
    let created = InboxCreated {
        id: inbox.id,
        secret: inbox.secret.clone(),
        inbox_identifier: inbox.identifier.clone(),
    };
    state.inboxes.insert(inbox.id, inbox);
    Ok(created)
}

pub(crate) fn reply(hub: &Arc<Hub>, reply: &Reply) -> Result<u64, ControlError> {
    let mut state = lock(&hub.chatwoot);
    let conversation = conversation(&state, reply.account_id, reply.conversation_id)?;
    let quoted = reply.in_reply_to.and_then(|id| state.messages.get(&id)).cloned();
    let mut draft = draft(reply)?;
    if let Some(quoted) = quoted {
        draft.content_attributes.extend(crate::http::object(json!({
            "in_reply_to": quoted.id, "in_reply_to_external_id": quoted.source_id,
        })));
    }
    Ok(messages::post(hub, &mut state, &conversation, draft).id)
}

fn draft(reply: &Reply) -> Result<Draft, ControlError> {
    let files = reply
        .files
        .iter()
        .map(|file| {
            let content = STANDARD.decode(&file.data).map_err(|_| ControlError::MediaData)?;
            Ok(multipart::File {
                field: "attachments[]".to_owned(),
                name: file.name.clone(),
                content_type: file.content_type.clone(),
                bytes: content.len(),
                content,
            })
        })
        .collect::<Result<Vec<_>, ControlError>>()?;
    let places: Vec<Value> = reply
        .location
        .iter()
        .map(|place| {
            json!({
                "file_type": "location", "coordinates_lat": place.latitude, "coordinates_long": place.longitude,
                "fallback_title": place.title, "data_url": "",
            })
        })
        .collect();
    let bare = reply.content.is_empty() && !(files.is_empty() && places.is_empty());
    let defaults = agent_draft(reply.content.clone());
    Ok(Draft {
        content: defaults.content.filter(|_| !bare),
        message_type: reply.message_type.clone().unwrap_or(defaults.message_type),
        content_type: reply.content_type.clone().unwrap_or(defaults.content_type),
        private: reply.private,
        content_attributes: reply.content_attributes.clone(),
        additional_attributes: reply
            .template_params
            .iter()
            .map(|params| ("template_params".to_owned(), params.clone()))
            .collect(),
        sender: reply.sender.clone(),
        files,
        places,
        ..Draft::default()
    })
}

pub(crate) fn redeliver(hub: &Arc<Hub>, redelivery: &Redelivery) -> Result<(), ControlError> {
    let state = lock(&hub.chatwoot);
    let message = state
        .messages
        .get(&redelivery.message_id)
        .ok_or_else(|| not_there("message", redelivery.message_id))?;
    webhook::message_event(hub, &state, message, "message_created");
    Ok(())
}

pub(crate) fn start_stream(hub: &Arc<Hub>, stream: ReplyStream) -> Result<u64, ControlError> {
    let mut state = lock(&hub.chatwoot);
    if state.inbox(stream.account_id, stream.inbox_id).is_none() {
        return Err(not_there("inbox", stream.inbox_id));
    }
    let conversations: Vec<u64> = state
        .conversations
        .values()
        .filter(|c| c.account_id == stream.account_id && c.inbox_id == stream.inbox_id)
        .map(|c| c.id)
        .collect();
    let id = new_stream(&mut state.streams, |stream| stream.done);
    let messages = conversations.len() as u64 * stream.per_conversation;
    state.streams.insert(
        id,
        ReplyStreamProgress {
            id,
            messages,
            done: messages == 0,
            ..ReplyStreamProgress::default()
        },
    );
    drop(state);
    let stream = Arc::new(stream);
    let pace = Pace::from_now(stream.per_second);
    let all = conversations.len() as u64;
    for (place, conversation) in (0..).zip(conversations) {
        let (shared, stream) = (Arc::clone(hub), Arc::clone(&stream));
        hub.spawn(async move {
            let turns = |reply: u64| pace.until_turn_of((reply - 1) * all + place);
            answer_conversation(&shared, &stream, id, conversation, turns).await;
        });
    }
    Ok(id)
}

/// The replies of one conversation, each at its turn and only after the webhook of the one before it is through.
async fn answer_conversation<T: Future<Output = ()>>(
    hub: &Arc<Hub>,
    stream: &ReplyStream,
    id: u64,
    number: u64,
    turn: impl Fn(u64) -> T,
) {
    for reply in 1..=stream.per_conversation {
        turn(reply).await;
        let message = {
            let mut state = lock(&hub.chatwoot);
            let Ok(conversation) = conversation(&state, stream.account_id, number) else {
                return;
            };
            messages::store(&mut state, &conversation, agent_draft(stream.text(number, reply)))
        };
        update(hub, id, |progress| progress.sent += 1);
        let accepted = loop {
            let outgoing = webhook::prepare_message(&lock(&hub.chatwoot), &message, "message_created");
            let mut accepted = true;
            for webhook in outgoing {
                accepted &= webhook::deliver(hub, webhook).await;
            }
            if accepted || !stream.until_accepted {
                break accepted;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        };
        update(hub, id, |progress| {
            progress.accepted += u64::from(accepted);
            progress.failed += u64::from(!accepted);
            progress.done = progress.accepted + progress.failed == progress.messages;
        });
    }
}

fn update(hub: &Hub, id: u64, change: impl FnOnce(&mut ReplyStreamProgress)) {
    if let Some(progress) = lock(&hub.chatwoot).streams.get_mut(&id) {
        change(progress);
    }
}

fn agent_draft(content: String) -> Draft {
    Draft {
        content: Some(content),
        message_type: "outgoing".to_owned(),
        content_type: "text".to_owned(),
        ..Draft::default()
    }
}

pub(crate) fn stream_progress(hub: &Hub, id: u64) -> Option<ReplyStreamProgress> {
    lock(&hub.chatwoot).streams.get(&id).cloned()
}

pub(crate) fn contacts(hub: &Hub, account: u64) -> Vec<ContactView> {
    lock(&hub.chatwoot)
        .contacts
        .values()
        .filter(|contact| contact.account_id == account)
        .cloned()
        .collect()
}

pub(crate) fn conversations(hub: &Hub, account: u64) -> Vec<ConversationView> {
    lock(&hub.chatwoot)
        .conversations
        .range((account, 0)..=(account, u64::MAX))
        .map(|(_, conversation)| conversation.clone())
        .collect()
}

/// All messages of an account in the order they were made; `after` is a message id.
pub(crate) fn messages(
    hub: &Hub,
    account: u64,
    inbox: Option<u64>,
    conversation: Option<u64>,
    after: Option<u64>,
) -> Vec<MessageView> {
    lock(&hub.chatwoot)
        .messages
        .range(after.map_or(0, |after| after + 1)..)
        .map(|(_, message)| message)
        .filter(|message| message.account_id == account)
        .filter(|message| inbox.is_none_or(|inbox| message.inbox_id == inbox))
        .filter(|message| conversation.is_none_or(|wanted| message.conversation_id == wanted))
        .cloned()
        .collect()
}

/// How many messages of one kind an account has.
pub(crate) fn count_messages(hub: &Hub, account: u64, message_type: &str) -> u64 {
    let state = lock(&hub.chatwoot);
    let messages = state.messages.values();
    messages
        .filter(|message| message.account_id == account && message.message_type == message_type)
        .count() as u64
}

pub(crate) fn deliveries(hub: &Hub, after: Option<u64>, limit: Option<usize>) -> Vec<ChatwootDelivery> {
    lock(&hub.chatwoot).deliveries.page(after, limit, |_| true)
}

pub(crate) fn status_updates(hub: &Hub, after: Option<u64>, limit: Option<usize>) -> Vec<StatusUpdate> {
    lock(&hub.chatwoot).status_updates.page(after, limit, |_| true)
}

pub(super) fn conversation(
    state: &ChatwootState,
    account: u64,
    id: u64,
) -> Result<ConversationView, ControlError> {
    state
        .conversations
        .get(&(account, id))
        .cloned()
        .ok_or_else(|| not_there("conversation", id))
}

pub(super) fn not_there(what: &'static str, id: u64) -> ControlError {
    ControlError::NotInChatwoot { what, id }
}
