//! What agents do besides writing, what becomes of contacts, and how the server is set up: the control plane's second half.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::control::{conversation, not_there};
use super::files::{self, ChatwootFile};
use super::settings::{ChatwootConfigChange, ChatwootSettings};
use super::state::{ChatwootState, ContactView, MessageView};
use super::{contacts, conversations, messages, webhook};
use crate::hub::{Hub, lock};
use crate::wa::control::ControlError;

/// A conversation and what is to become of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationStatusChange {
    /// Account of the conversation.
    pub account_id: u64,
    /// Its display id.
    pub conversation_id: u64,
    /// `open`, `resolved`, `pending` or `snoozed`.
    pub status: String,
}

/// An agent types, or stops.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentTyping {
    /// Account of the conversation.
    pub account_id: u64,
    /// Its display id.
    pub conversation_id: u64,
    /// Begins rather than stops.
    pub on: bool,
    /// In a note.
    #[serde(default)]
    pub private: bool,
}

/// Two contacts that are one person.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactMerge {
    /// Account of both.
    pub account_id: u64,
    /// The one that stays.
    pub base_contact_id: u64,
    /// The one that goes.
    pub mergee_contact_id: u64,
}

/// The button under a message that failed.
pub(crate) fn press_retry(hub: &Arc<Hub>, id: u64) -> Result<(), ControlError> {
    let mut state = lock(&hub.chatwoot);
    let message = message(&state, id)?;
    messages::retry(hub, &mut state, message);
    Ok(())
}

pub(crate) fn delete_message(hub: &Arc<Hub>, id: u64) -> Result<(), ControlError> {
    let mut state = lock(&hub.chatwoot);
    let message = message(&state, id)?;
    messages::delete(hub, &mut state, message);
    Ok(())
}

pub(crate) fn set_status(hub: &Arc<Hub>, change: &ConversationStatusChange) -> Result<(), ControlError> {
    let mut state = lock(&hub.chatwoot);
    let conversation = conversation(&state, change.account_id, change.conversation_id)?;
    if conversations::is_status(&change.status) {
        conversations::set_status(hub, &mut state, conversation, &change.status);
    }
    Ok(())
}

pub(crate) fn typing(hub: &Arc<Hub>, typing: &AgentTyping) -> Result<(), ControlError> {
    let state = lock(&hub.chatwoot);
    let conversation = conversation(&state, typing.account_id, typing.conversation_id)?;
    webhook::typing_event(hub, &state, &conversation, (typing.on, typing.private));
    Ok(())
}

pub(crate) fn merge(hub: &Arc<Hub>, merge: &ContactMerge) -> Result<(), ControlError> {
    let mut state = lock(&hub.chatwoot);
    let base = contact(&state, merge.account_id, merge.base_contact_id)?;
    let mergee = contact(&state, merge.account_id, merge.mergee_contact_id)?;
    if base.id != mergee.id {
        contacts::merge_contacts(hub, &mut state, base, &mergee);
    }
    Ok(())
}

pub(crate) fn delete_contact(hub: &Hub, account: u64, id: u64) -> Result<(), ControlError> {
    let mut state = lock(&hub.chatwoot);
    let contact = contact(&state, account, id)?;
    contacts::delete(&mut state, &contact);
    Ok(())
}

pub(crate) fn delete_conversation(hub: &Hub, account: u64, id: u64) -> Result<(), ControlError> {
    let mut state = lock(&hub.chatwoot);
    conversation(&state, account, id)?;
    state.forget_conversation(account, id);
    Ok(())
}

/// The file of a message's attachment, counted from 0.
pub(crate) fn file(hub: &Hub, message: u64, number: usize) -> Option<ChatwootFile> {
    let state = lock(&hub.chatwoot);
    let attachment = state.messages.get(&message)?.attachments.get(number)?;
    files::of_attachment(&state, attachment).cloned()
}

/// The picture that was put up for a contact.
pub(crate) fn avatar(hub: &Hub, account: u64, id: u64) -> Option<ChatwootFile> {
    let state = lock(&hub.chatwoot);
    files::at_address(&state, &state.contact(account, id)?.thumbnail).cloned()
}

pub(crate) fn settings(hub: &Hub) -> ChatwootSettings {
    lock(&hub.chatwoot).settings.clone()
}

pub(crate) fn configure(hub: &Hub, change: ChatwootConfigChange) -> ChatwootSettings {
    let settings = &mut lock(&hub.chatwoot).settings;
    settings.apply(change);
    settings.clone()
}

fn message(state: &ChatwootState, id: u64) -> Result<MessageView, ControlError> {
    state
        .messages
        .get(&id)
        .cloned()
        .ok_or_else(|| not_there("message", id))
}

fn contact(state: &ChatwootState, account: u64, id: u64) -> Result<ContactView, ControlError> {
    state
        .contact(account, id)
        .cloned()
        .ok_or_else(|| not_there("contact", id))
}
