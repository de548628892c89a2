//! What stands in our lanes.

use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, ProviderMessageId};
use messaging::events::message_received::ChatMessage;
use messaging::lanes::{NewTask, Task};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::reference::Reference;

const INCOMING_MESSAGE: &str = "incoming_message";
const STATUS: &str = "status";

/// A task of ours.
#[derive(Debug)]
pub enum Work {
    /// A person's message goes to Chatwoot.
    IncomingMessage(Box<ChatMessage>),
    /// An agent's message gets its tick, or its red mark.
    Status(StatusWork),
}

/// What became of an agent's message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusWork {
    /// Our inbox row.
    pub inbox_id: Uuid,
    /// The agent's message in Chatwoot.
    pub message_id: i64,
    /// Where it stands now.
    pub status: DeliveryStatus,
    /// Why, as a stable code.
    pub reason: Option<String>,
    /// What it is in WhatsApp, once it is there.
    pub sent_as: Option<(AccountId, ProviderMessageId)>,
}

/// A task that nobody here can read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// No such kind.
    #[error("a task of an unknown kind")]
    Kind,
    /// Not the payload of its kind.
    #[error("a task with an unreadable payload")]
    Payload(#[from] serde_json::Error),
}

/// The order within one chat, both ways.
#[must_use]
pub fn chat_lane(account: AccountId, chat: ChatId) -> String {
    format!("{account}/{chat}")
}

/// The order within one conversation of agents.
#[must_use]
pub fn conversation_lane(inbox: Uuid, conversation: i64) -> String {
    format!("conversation/{inbox}/{conversation}")
}

impl StatusWork {
    /// About the message that `reference` names.
    #[must_use]
    pub const fn new(reference: Reference, status: DeliveryStatus, reason: Option<String>) -> Self {
        let Reference { inbox_id, message_id } = reference;
        Self {
            inbox_id,
            message_id,
            status,
            reason,
            sent_as: None,
        }
    }

    /// As a task.
    ///
    /// # Errors
    /// Never, for this shape; the signature is serde's.
    pub fn task(&self, lane: String, id: Uuid) -> Result<NewTask, serde_json::Error> {
        Ok(NewTask {
            lane,
            id,
            kind: STATUS,
            payload: serde_json::to_string(self)?,
        })
    }
}

/// A person's message as a task.
///
/// # Errors
/// Never, for this shape; the signature is serde's.
pub fn incoming_task(message: &ChatMessage, id: Uuid) -> Result<NewTask, serde_json::Error> {
    let lane = chat_lane(message.account_id, message.chat_id);
    Ok(NewTask {
        lane,
        id,
        kind: INCOMING_MESSAGE,
        payload: serde_json::to_string(message)?,
    })
}

/// What a task asks for.
///
/// # Errors
/// [`Unreadable`]; such a task is for people.
pub fn read(task: &Task) -> Result<Work, Unreadable> {
    match task.kind.as_str() {
        INCOMING_MESSAGE => Ok(Work::IncomingMessage(Box::new(serde_json::from_str(
            &task.payload,
        )?))),
        STATUS => Ok(Work::Status(serde_json::from_str(&task.payload)?)),
        _ => Err(Unreadable::Kind),
    }
}
