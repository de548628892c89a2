//! Two chats turned out to be one person.

use chrono::{DateTime, Utc};
use domain::ids::{AccountId, ChatId};
use serde::{Deserialize, Serialize};

use crate::envelope::Event;

/// The number behind a hidden id became known: what was one chat lives on in the other. Stands behind every event of the
/// chat that is gone; none that follows names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMerged {
    /// The tenant's sender.
    pub account_id: AccountId,
    /// The chat that survives.
    pub chat_id: ChatId,
    /// With whom: the number's address.
    pub address: String,
    /// The chat that is gone.
    pub merged_chat_id: ChatId,
    /// The address it had.
    pub merged_address: String,
    /// When they became one.
    pub at: DateTime<Utc>,
}

impl Event for ChatMerged {
    const TYPE: &'static str = "chat.merged";
    const VERSION: u16 = 1;
}
