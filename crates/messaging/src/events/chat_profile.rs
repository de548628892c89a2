//! How a person shows themselves.

use chrono::{DateTime, Utc};
use domain::ids::{AccountId, ChatId};
use serde::{Deserialize, Serialize};

use super::message_received::{ChatPartner, MediaLink};
use crate::envelope::Event;

/// The picture of the person at the other end was looked at, as the account sees it. Told when it is another one or gone,
/// and again at each look while there is one, so that whoever comes later hears of it, too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatProfile {
    /// The tenant's sender.
    pub account_id: AccountId,
    /// The conversation.
    pub chat_id: ChatId,
    /// With whom, and the name by which the person goes now.
    pub partner: ChatPartner,
    /// The picture. `None`: the person shows none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<ProfilePicture>,
    /// When it was looked at.
    pub at: DateTime<Utc>,
}

/// A picture, and where it can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfilePicture {
    /// SHA-256 of the file in hexadecimal: the same picture has the same.
    pub sha256: String,
    /// What it is, by its content: `image/jpeg`, `image/png` or `image/webp`.
    pub mime_type: String,
    /// How many bytes.
    pub size: u64,
    /// Where it lies, until another one follows.
    pub media: MediaLink,
}

impl std::fmt::Debug for ChatProfile {
    /// Ids only: names stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatProfile")
            .field("account_id", &self.account_id)
            .field("chat_id", &self.chat_id)
            .field("has_picture", &self.picture.is_some())
            .finish_non_exhaustive()
    }
}

impl Event for ChatProfile {
    const TYPE: &'static str = "chat.profile";
    const VERSION: u16 = 1;
}
