//! What Meta's webhooks tell, one update at a time.
//!
//! Words that Meta may add to at any time (events, categories, decisions) stay texts: a new one is data, not an error.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::address::{ChatAddress, PhoneNumber, UserId};
use domain::delivery::Report;
use domain::ids::{PhoneNumberId, ProviderMessageId, WabaId};
use domain::text::{RawJson, Text};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::GraphError;
use crate::error::Unusable;
use crate::event::{InboundEvent, SkipReason, UnknownEvent};

/// One thing that a webhook told: a message, a status, a notice about an account.
pub struct Update {
    /// The WhatsApp Business account it came for.
    pub waba: Option<WabaId>,
    /// The number it came for; none with what is about an account or its templates.
    pub number: Option<PhoneNumberId>,
    /// The same number as people write it. Nothing is found by it where there is [`Update::number`].
    pub display_number: Option<Text>,
    /// The same for every delivery of the same update, and no other's within its number, or account where it has no
    /// number. At most [`Update::MAX_KEY`] printable ASCII characters.
    pub key: String,
    /// What Meta calls the sort of update. Not a metric label: anybody may invent one.
    pub field: Text,
    /// What it says, or why it cannot be used: for quarantine, with [`Update::raw`].
    pub what: Result<What, Unusable>,
    /// A whole body with this one update: what is kept in quarantine can be taken in again.
    pub raw: Box<RawValue>,
}

impl Update {
    /// Longest key, in bytes.
    pub const MAX_KEY: usize = 255;
    /// Longest kept name of a field, in characters.
    pub const MAX_FIELD: usize = 64;

    /// The place other than a conversation with one person that a message was written in. For a body of several tenants:
    /// what each wants to have kept is known only after its number was looked up.
    #[must_use]
    pub fn place(&self) -> Option<SkipReason> {
        match &self.what {
            Ok(What::Event(InboundEvent::Message(message))) => match message.chat {
                ChatAddress::Group(_) => Some(SkipReason::Group),
                ChatAddress::Phone(_)
                | ChatAddress::Lid(_)
                | ChatAddress::User(_)
                | ChatAddress::Other(_)
                | ChatAddress::Visitor(_) => None,
            },
            Ok(What::Event(InboundEvent::Skipped(reason))) => Some(*reason),
            _ => None,
        }
    }
}

// The bytes hold people's words, and the key of a marketing preference their number.
impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update")
            .field("waba", &self.waba)
            .field("number", &self.number)
            .field("field", &self.field)
            .field("what", &self.what)
            .field("raw", &self.raw.get().len())
            .finish_non_exhaustive()
    }
}

/// What an update says.
#[derive(Debug)]
pub enum What {
    /// Somebody wrote, or the tenant did by hand on the phone; or a message from a place that is not kept.
    Event(InboundEvent),
    /// A message of ours went further, or failed.
    Status(Box<StatusUpdate>),
    /// A person has another number, another user id or another phone.
    Identity(Box<IdentityChange>),
    /// Something is wrong with the number or the account, and with no message in particular.
    Notice(Vec<GraphError>),
    /// Something about the account itself.
    Account(Box<AccountUpdate>),
    /// Something about a template.
    Template(Box<TemplateUpdate>),
    /// How many messages a number may send, or how it is rated.
    Quality(Box<QualityUpdate>),
    /// A person wants marketing messages no more, or again.
    Preference(Box<MarketingPreference>),
    /// A kind that is not read. Its bytes are kept.
    Unknown(UnknownEvent),
}

/// A message of ours went further, or failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusUpdate {
    /// The message.
    pub id: ProviderMessageId,
    /// What we gave the message on its way (`biz_opaque_callback_data`): the surest sign of which one it is.
    pub callback: Option<Text>,
    /// How far it came. To be merged by rank ([`domain::delivery::Progress`]), never by arrival.
    pub report: Report,
    /// When.
    pub at: DateTime<Utc>,
    /// To whom it went, as Meta writes the number: not always as we did. Nothing is found by it.
    pub recipient: Option<ChatAddress>,
    /// Meta's user id of the recipient, beside the number.
    pub recipient_user: Option<UserId>,
    /// In a group: for which member this is. `sent` and `failed` come once for the whole group, without one.
    pub participant: Option<ChatAddress>,
    /// Why it failed.
    pub errors: Vec<GraphError>,
    /// What it costs.
    pub pricing: Option<Pricing>,
    /// The conversation it is counted to; older subscriptions only.
    pub conversation: Option<Conversation>,
}

impl StatusUpdate {
    /// Longest callback data, in characters.
    pub const MAX_CALLBACK: usize = 512;
}

/// What a message costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pricing {
    /// Is it charged for?
    pub billable: Option<bool>,
    /// `CBP` or `PMP`.
    pub model: Option<Text>,
    /// `regular`, `free_customer_service`, `free_entry_point`.
    pub kind: Option<Text>,
    /// `marketing`, `utility`, `service`, …
    pub category: Option<Text>,
}

/// A conversation as Meta counts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: Option<Text>,
    /// What began it.
    pub origin: Option<Text>,
    /// When it ends; with `sent` only.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A person is not the one they were, as far as Meta can tell: a security matter.
///
/// The old conversation belongs to the old holder: it is not to be shown to the new one without being asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityChange {
    /// The notice's own id.
    pub id: ProviderMessageId,
    /// Under which address the person was known.
    pub person: ChatAddress,
    /// What changed.
    pub change: Identity,
    /// Meta's sentence for people.
    pub words: Option<Text>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What of a person changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Identity {
    /// Another phone number.
    Number {
        /// The one before.
        old: Option<PhoneNumber>,
        /// The one now; not told where it may not be shown.
        new: Option<PhoneNumber>,
        /// The user id now, where told.
        user: Option<UserId>,
    },
    /// Another user id.
    User {
        /// The one before.
        old: Option<UserId>,
        /// The one now.
        new: Option<UserId>,
    },
    /// Another phone or a new installation: the encryption keys changed.
    Keys {
        /// What the new keys hash to.
        hash: Option<Text>,
    },
}

/// Something about an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountUpdate {
    /// When, where told.
    pub at: Option<DateTime<Utc>>,
    /// What.
    pub event: AccountEvent,
}

/// What happened to an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AccountEvent {
    /// Meta warns.
    Alert(Alert),
    /// Meta looked the account through.
    Review {
        /// `APPROVED`, `REJECTED`, `PENDING`, `DEFERRED`.
        decision: Text,
    },
    /// The account changed (`account_update`).
    Changed {
        /// `DISABLED_UPDATE`, `ACCOUNT_RESTRICTION`, `PARTNER_REMOVED`, …
        event: Text,
        /// `SCHEDULE_FOR_DISABLE`, `DISABLE`, `REINSTATE`.
        ban_state: Option<Text>,
        /// From when, in English words.
        ban_date: Option<Text>,
        /// Which rule was broken.
        violation: Option<Text>,
        /// What may not be done any more.
        restrictions: Vec<Restriction>,
        /// Everything Meta said.
        details: RawJson,
    },
    /// How much the account may do.
    Capability {
        /// A tier's name or a number.
        daily_conversations: Option<Text>,
        /// How many numbers it may have.
        phone_numbers: Option<u64>,
        /// Everything Meta said.
        details: RawJson,
    },
    /// The name people see was decided on.
    DisplayName {
        /// `APPROVED`, `REJECTED`, …
        decision: Text,
        /// The name asked for.
        requested: Option<Text>,
        /// Why not.
        reason: Option<Text>,
    },
    /// A number's PIN was changed or asked for.
    Security {
        /// `PIN_CHANGED`, `PIN_RESET_REQUEST`, `PIN_REQUEST_SUCCESS`.
        event: Text,
        /// Who did it, by Meta's id.
        requester: Option<Text>,
    },
}

/// Meta's warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// `PHONE_NUMBER`, `WABA`, `BUSINESS`.
    pub entity_type: Option<Text>,
    /// Which of them, by Meta's id.
    pub entity_id: Option<Text>,
    /// `WARNING`, `CRITICAL`, `INFORMATIONAL`.
    pub severity: Option<Text>,
    /// `ACTIVE`, `NONE`.
    pub status: Option<Text>,
    /// What it is about.
    pub alert_type: Option<Text>,
    /// For people.
    pub description: Option<Text>,
}

/// Something an account may not do any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    /// `RESTRICTED_BIZ_INITIATED_MESSAGING`, …
    pub kind: Text,
    /// Until when.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Something about a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateUpdate {
    /// Meta's id of it. Larger than a `f64` holds exactly.
    pub id: Option<u64>,
    /// Its name.
    pub name: Option<Text>,
    /// Its language: `id`, `en_US`.
    pub language: Option<Text>,
    /// When, where told.
    pub at: Option<DateTime<Utc>>,
    /// What changed.
    pub change: TemplateChange,
}

/// What of a template changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TemplateChange {
    /// Whether it may be used.
    Status {
        /// `APPROVED`, `REJECTED`, `PAUSED`, …
        event: Text,
        /// `MARKETING`, `UTILITY`, `AUTHENTICATION`.
        category: Option<Text>,
        /// Why; Meta's `NONE` is none.
        reason: Option<Text>,
        /// The same in words, and what to do about it.
        explanation: Option<Text>,
        /// From when it is switched off, as Meta writes it.
        disabled_from: Option<Text>,
    },
    /// How people take it.
    Quality {
        /// Before: `GREEN`, `YELLOW`, `RED`, `UNKNOWN`.
        previous: Option<Text>,
        /// Now.
        now: Text,
    },
    /// Its words.
    Components {
        /// The words now, as Meta tells them.
        components: RawJson,
    },
    /// What it counts as.
    Category {
        /// Before.
        previous: Option<Text>,
        /// Now.
        now: Option<Text>,
        /// What Meta holds to be right, and will change it to.
        correct: Option<Text>,
        /// When that is.
        changes_at: Option<DateTime<Utc>>,
    },
}

/// How many messages a number may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityUpdate {
    /// `ONBOARDING`, `THROUGHPUT_UPGRADE`, `FLAGGED`, …
    pub event: Text,
    /// To how many people a day, as a tier's name: `TIER_1K`, `TIER_UNLIMITED`.
    pub daily_conversations: Option<Text>,
    /// The tier before; older bodies only.
    pub previous: Option<Text>,
    /// When, where told.
    pub at: Option<DateTime<Utc>>,
}

/// A person wants marketing messages no more, or again. After a stop none may be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketingPreference {
    /// The person.
    pub person: ChatAddress,
    /// Their user id beside the number.
    pub user: Option<UserId>,
    /// `marketing_messages`.
    pub category: Text,
    /// No more of it?
    pub stopped: bool,
    /// For people.
    pub detail: Option<Text>,
    /// When.
    pub at: DateTime<Utc>,
}
