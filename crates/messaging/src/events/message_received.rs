//! A message that belongs to a chat: one that a person sent us, or one of ours that was typed on the phone.

use chrono::{DateTime, Utc};
use domain::chat::Place;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::Event;

/// The person at the other end, as far as known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatPartner {
    /// Canonical address: `628…@s.whatsapp.net`, `…@lid`.
    pub address: String,
    /// Digits with country code, when a number is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The name the person gave themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Who wrote, in a chat of several people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatSender {
    /// Canonical address; by number where it is known.
    pub address: String,
    /// The name the person gave themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Where a message's file can be had.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaLink {
    /// A signed address of channel-service's, for our own services, good for some days. It may lead nowhere yet: the file is
    /// fetched after the message is told.
    pub url: String,
}

impl std::fmt::Debug for MediaLink {
    /// Whoever has the address may read the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaLink").finish_non_exhaustive()
    }
}

/// A message and where it stands.
#[derive(Clone, Serialize, Deserialize)]
pub struct ChatMessage {
    /// The tenant's sender.
    pub account_id: AccountId,
    /// The conversation.
    pub chat_id: ChatId,
    /// With whom. In a group, a broadcast list or the status posts: the place, which is nobody's number.
    pub partner: ChatPartner,
    /// The chat is such a place and no conversation with one person. **Not for an AI, and nothing that answers by itself.**
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Who wrote it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<ChatSender>,
    /// Our id.
    pub message_id: MessageId,
    /// The provider's id, unique within the account.
    pub provider_message_id: ProviderMessageId,
    /// `text`, `image`, `location` …
    pub kind: String,
    /// What a person would read: the text, the caption, or a placeholder such as `[image]`.
    pub text: String,
    /// The whole content, in the domain's JSON.
    pub content: Box<RawValue>,
    /// Its file. `None`: it has none, or none that will ever be handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaLink>,
    /// The provider's id of the message this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<ProviderMessageId>,
    /// When it was written, by WhatsApp's clock.
    pub sent_at: DateTime<Utc>,
}

impl std::fmt::Debug for ChatMessage {
    /// Ids only: texts and names stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatMessage")
            .field("account_id", &self.account_id)
            .field("message_id", &self.message_id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A person wrote to the tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageReceived(pub ChatMessage);

impl Event for MessageReceived {
    const TYPE: &'static str = "message.received";
    const VERSION: u16 = 1;
}

/// Somebody of the tenant wrote on the phone itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageSentElsewhere(pub ChatMessage);

impl Event for MessageSentElsewhere {
    const TYPE: &'static str = "message.sent_elsewhere";
    const VERSION: u16 = 1;
}
