//! Messages: what was said, by whom, when. No provider's field names here; adapters translate into these types.
//!
//! Everything that holds people's words may be printed with `{:?}`: texts show their length only.

mod content;
mod interactive;
mod invalid;
mod media;
mod template;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::address::{ChatAddress, Lid, PhoneNumber, UserId};
use crate::ids::ProviderMessageId;
use crate::text::{RawJson, Text};
use crate::words::words;

pub use content::{ContactCard, MessageContent};
pub use interactive::{
    AskLocation, FlowAction, FlowMode, FlowParameters, FlowPayload, Framed, InteractiveHeader,
    InteractiveMessage, ListOfRows, OneProduct, OpenFlow, OpenPage, ProductItem, ProductSection, Products,
    Reply, ReplyButton, ReplyButtons, Row, RowSection, Words,
};
pub use invalid::InvalidContent;
pub use media::{
    DownloadKeys, GraphFile, InvalidMediaId, Media, MediaId, MediaKind, MediaSource, MediaState, ServerFile,
    Sha256,
};
pub use template::{
    ButtonIndex, Currency, DateTimeWords, MediaReference, TemplateComponent, TemplateLanguage,
    TemplateMessage, TemplateParameter,
};

words! {
    /// Which way a message went, seen from the tenant.
    Direction, "direction" {
        /// A person wrote to the tenant.
        Inbound = "inbound",
        /// The tenant wrote: through us, or by hand on the phone.
        Outbound = "outbound",
    }
}

words! {
    /// Where a message came from.
    MessageSource, "message source" {
        /// A webhook of the provider, or what a webchat visitor wrote.
        Webhook = "webhook",
        /// Typed by the tenant on its own phone.
        Phone = "phone",
        /// An order of another system, such as an agent's answer in Chatwoot.
        Api = "api",
        /// The tenant's AI.
        Ai = "ai",
        /// A person of the tenant's, in the dashboard.
        Admin = "admin",
        /// A notification that no person wrote.
        System = "system",
    }
}

impl MessageSource {
    /// The name on GovConnect's wire (channel-service contract 4), which has fewer of them.
    #[must_use]
    pub const fn wire(self) -> &'static str {
        match self {
            Self::Webhook => "WA_WEBHOOK",
            Self::Ai => "AI",
            Self::Phone | Self::Admin => "ADMIN",
            Self::Api | Self::System => "SYSTEM",
        }
    }
}

words! {
    /// What sort of message it is.
    MessageKind, "message kind" {
        /// Words.
        Text = "text",
        /// A picture.
        Image = "image",
        /// A film, round video notes included.
        Video = "video",
        /// A sound file.
        Audio = "audio",
        /// A sound recorded by holding the microphone.
        Voice = "voice",
        /// A file.
        Document = "document",
        /// A sticker.
        Sticker = "sticker",
        /// A place, once or live.
        Location = "location",
        /// One or more contact cards.
        Contact = "contact",
        /// An emoji put under another message, or taken away.
        Reaction = "reaction",
        /// A question with answers to choose from.
        Poll = "poll",
        /// A vote in a poll (encrypted: who voted is known, for what is not).
        PollVote = "poll_vote",
        /// New content for an earlier message.
        Edit = "edit",
        /// An earlier message was deleted for everyone.
        Revoke = "revoke",
        /// A button or list entry was chosen.
        InteractiveReply = "interactive_reply",
        /// Words that WhatsApp approved beforehand, filled in.
        Template = "template",
        /// Words with something to press.
        Interactive = "interactive",
        /// Something we keep raw because we do not understand it.
        Unsupported = "unsupported",
    }
}

/// A message that a webhook told us about: from a person, or typed by the tenant on the phone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboundMessage {
    /// The provider's id, unique within one account.
    pub provider_message_id: ProviderMessageId,
    /// With whom the conversation is. The phone number where it is known, else the hidden id or the user id.
    pub chat: ChatAddress,
    /// The partner's number, where known.
    pub chat_phone: Option<PhoneNumber>,
    /// The partner's hidden id, where known. With `chat_phone` it teaches which LID is which number.
    pub chat_lid: Option<Lid>,
    /// Meta's user id of the partner, where known. With `chat_phone` it teaches which id is which number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_user: Option<UserId>,
    /// [`Direction::Outbound`] when it was typed on the tenant's own phone.
    pub direction: Direction,
    /// Who wrote, without the device. Not the tenant resolver's business: senders can be invented.
    pub sender: Option<ChatAddress>,
    /// The name the sender gave themselves.
    pub push_name: Option<Text>,
    /// When it was sent, as far as that can be believed: see [`believable_sent_at`].
    pub sent_at: DateTime<Utc>,
    /// What was said.
    pub content: MessageContent,
    /// The message it answers.
    pub quoted: Option<Quoted>,
    /// A text was longer than we keep and lost its end.
    pub truncated: bool,
    /// How the person came to write it, where the provider tells.
    #[serde(default, skip_serializing_if = "MessageOrigin::is_plain")]
    pub origin: MessageOrigin,
}

/// How a person came to write a message: beside the words, never instead of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MessageOrigin {
    /// It was written by somebody else and passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Forwarded>,
    /// The advertisement that was tapped, as the provider describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<RawJson>,
    /// The product it asks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductReference>,
}

impl MessageOrigin {
    /// Nothing is known: it was written in the chat.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.forwarded.is_none() && self.referral.is_none() && self.product.is_none()
    }
}

words! {
    /// How far a message was passed on.
    Forwarded, "forwarded" {
        /// From chat to chat a few times.
        Once = "once",
        /// Through so many chats that WhatsApp says so.
        Often = "often",
    }
}

/// A product of the tenant's catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductReference {
    /// The catalogue, by the provider's id.
    pub catalog_id: Option<Text>,
    /// The product, by the tenant's own id.
    pub product_id: Text,
}

impl InboundMessage {
    /// Longest kept push name, in characters.
    pub const MAX_PUSH_NAME: usize = 255;
}

/// The message that another one answers, as far as the answer tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    /// The quoted message's id.
    pub provider_message_id: ProviderMessageId,
    /// Who wrote it.
    pub participant: Option<ChatAddress>,
    /// What it said, where the answer carries it.
    pub text: Option<Text>,
}

/// When a message was sent, given what the provider claims and when it reached us.
///
/// Missing, before WhatsApp existed, or more than ten minutes ahead of our clock: then it is `now`. Order within a
/// chat hangs on this time, so a claim from next year must not stay on top for a year.
#[must_use]
pub fn believable_sent_at(claimed: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    const WHATSAPP_IS_BORN: i64 = 1_230_768_000; // 2009-01-01
    match claimed {
        Some(at) if at.timestamp() >= WHATSAPP_IS_BORN && at <= now + TimeDelta::minutes(10) => at,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for &kind in MessageKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for &source in MessageSource::ALL {
            assert_eq!(source.as_str().parse(), Ok(source));
        }
        for &direction in Direction::ALL {
            assert_eq!(direction.as_str().parse(), Ok(direction));
        }
    }

    #[test]
    fn a_time_that_cannot_be_is_now() {
        let now: DateTime<Utc> = "2026-03-02T02:15:04Z".parse().unwrap();
        for claimed in [
            "0001-01-01T00:00:00Z",
            "2099-01-01T00:00:00Z",
            "2026-03-02T02:25:05Z",
        ] {
            assert_eq!(
                believable_sent_at(Some(claimed.parse().unwrap()), now),
                now,
                "{claimed}"
            );
        }
        assert_eq!(believable_sent_at(None, now), now);
        let late = "2026-02-28T00:00:00Z".parse().unwrap();
        assert_eq!(believable_sent_at(Some(late), now), late);
    }
}
