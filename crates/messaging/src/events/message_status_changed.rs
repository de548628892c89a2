//! A message of ours moved along its road.

use chrono::{DateTime, Utc};
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId};
use serde::{Deserialize, Serialize};

use crate::envelope::Event;

/// The new status of an outbound message. Statuses of one message arrive in order, but may be skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageStatusChanged {
    /// The tenant's sender.
    pub account_id: AccountId,
    /// The conversation.
    pub chat_id: ChatId,
    /// Our id.
    pub message_id: MessageId,
    /// The id the provider knows it by.
    pub provider_message_id: ProviderMessageId,
    /// Where it stands now.
    pub status: DeliveryStatus,
    /// For `failed`, `parked` and `unknown`: why, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `failed`: why in the provider's own words, where it gave any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// With `parked` and `unknown`: it is not tried again by itself. An `unknown` without it still is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub put_aside: bool,
    /// What the sender asked to have repeated to it, see [`SendRequested`](super::send_requested::SendRequested).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// When it got there.
    pub at: DateTime<Utc>,
}

impl Event for MessageStatusChanged {
    const TYPE: &'static str = "message.status_changed";
    const VERSION: u16 = 1;
}
