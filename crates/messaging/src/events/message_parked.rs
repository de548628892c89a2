//! A message of ours was put aside: nobody tries it again until somebody says so.

use chrono::{DateTime, Utc};
use domain::ids::{AccountId, ChatId, MessageId};
use serde::{Deserialize, Serialize};

use crate::envelope::Event;

/// What stands in the queue of parked messages. The message itself, and why each attempt failed, is in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageParked {
    /// The tenant's sender.
    pub account_id: AccountId,
    /// The conversation.
    pub chat_id: ChatId,
    /// Our id; what `channel-service deadletter replay` asks for.
    pub message_id: MessageId,
    /// Why, as a stable code.
    pub reason: String,
    /// When it was put aside.
    pub at: DateTime<Utc>,
}

impl Event for MessageParked {
    const TYPE: &'static str = "message.parked";
    const VERSION: u16 = 1;
}
