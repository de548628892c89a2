//! What a webhook can tell us, whichever provider sent it.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::address::{ChatAddress, Jid, PhoneNumber};
use domain::ids::ProviderMessageId;
use domain::message::InboundMessage;
use domain::text::Text;
use serde_json::value::RawValue;

/// One thing that happened on WhatsApp.
#[derive(Debug)]
pub enum InboundEvent {
    /// Somebody wrote, or the tenant wrote by hand on the phone.
    Message(Box<InboundMessage>),
    /// Messages reached a phone or were read.
    Receipt(Receipt),
    /// The provider confirms a message that was sent through its API.
    Sent(SentEcho),
    /// The account's own connection changed.
    Session(SessionEvent),
    /// A message or receipt from a place that is not a conversation with one person.
    Skipped(SkipReason),
    /// A known kind that carries nothing for us (typing, presence, key exchange). Count it; its bytes are not kept,
    /// because history syncs are huge and key exchanges are secret.
    Ignored {
        /// The kind, from a closed list: safe as a metric label.
        type_name: &'static str,
    },
    /// A kind we have never heard of. Its bytes are kept.
    Unknown(UnknownEvent),
}

/// Messages went further on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The conversation, by phone number where known.
    pub chat: ChatAddress,
    /// The messages concerned. At least one.
    pub ids: Vec<ProviderMessageId>,
    /// How far they went.
    pub kind: ReceiptKind,
    /// It comes from one of the tenant's own devices.
    pub from_me: bool,
    /// When.
    pub at: DateTime<Utc>,
}

/// Sorts of receipts that WhatsApp has and that say nothing about how far a message went: they are ignored, whichever
/// provider tells of them. A sort that is neither here nor in [`ReceiptKind`] is unknown, and kept.
pub(crate) const OTHER_RECEIPTS: &[&str] = &[
    "hist_sync",
    "inactive",
    "peer_msg",
    "played-self",
    "retry",
    "sender",
    "server-error",
];

/// How far a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReceiptKind {
    /// It is on the person's phone.
    Delivered,
    /// The person opened it.
    Read,
    /// The tenant read the person's message on the phone: the chat is no longer unread.
    ReadSelf,
    /// The person played a voice note or opened a view-once message.
    Played,
}

/// A message that the provider's API accepted, told once more by webhook. Settles a send whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentEcho {
    /// The message.
    pub id: ProviderMessageId,
    /// To whom, where it can be read.
    pub chat: Option<ChatAddress>,
    /// When.
    pub at: DateTime<Utc>,
}

/// The account's own connection to WhatsApp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// It is up.
    Connected,
    /// It is down; the provider reconnects by itself.
    Disconnected,
    /// Unlinked from the phone, or refused.
    LoggedOut {
        /// Refused while connecting; only then the reason means something.
        on_connect: bool,
        /// WhatsApp's reason (401, 403, 406).
        reason: Option<i64>,
    },
    /// A new QR code waits. The code itself is not carried: it pairs whoever scans it.
    Qr,
    /// All QR codes ran out; a new connect is needed.
    QrTimeout,
    /// A phone was paired.
    PairSuccess {
        /// Its address with the device, where it can be read.
        jid: Option<Jid>,
        /// Its number.
        phone: Option<PhoneNumber>,
    },
    /// The connection could not be made.
    ConnectFailure {
        /// For operators; bounded, may hold the provider's internal addresses.
        reason: Option<Text>,
    },
}

impl SessionEvent {
    /// The stable name, for logs and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::LoggedOut { .. } => "logged_out",
            Self::Qr => "qr",
            Self::QrTimeout => "qr_timeout",
            Self::PairSuccess { .. } => "pair_success",
            Self::ConnectFailure { .. } => "connect_failure",
        }
    }
}

/// Which places besides conversations with one person a tenant wants to have kept. None, unless it says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Groups.
    pub groups: bool,
    /// Broadcast lists.
    pub broadcasts: bool,
    /// Status posts.
    pub status: bool,
}

impl Keep {
    /// Is a message from such a place wanted?
    #[must_use]
    pub const fn wants(self, place: SkipReason) -> bool {
        match place {
            SkipReason::Group => self.groups,
            SkipReason::Broadcast => self.broadcasts,
            SkipReason::Status => self.status,
            SkipReason::Newsletter | SkipReason::Bot => false,
        }
    }
}

/// Why an event is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// A group.
    Group,
    /// A broadcast list.
    Broadcast,
    /// A status post.
    Status,
    /// A channel one follows.
    Newsletter,
    /// A bot of WhatsApp's own.
    Bot,
}

impl SkipReason {
    /// The stable name, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Broadcast => "broadcast",
            Self::Status => "status",
            Self::Newsletter => "newsletter",
            Self::Bot => "bot",
        }
    }
}

/// An event of a kind we do not know, with the provider's own bytes.
#[derive(Clone)]
pub struct UnknownEvent {
    /// What the provider calls it; at most 64 characters. Not a metric label: anybody may invent one.
    pub type_name: Text,
    /// The whole payload.
    pub raw: Box<RawValue>,
}

// The bytes may hold people's words.
impl fmt::Debug for UnknownEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "UnknownEvent {{ type_name: {:?}, raw: {} bytes }}",
            self.type_name.as_str(),
            self.raw.get().len()
        )
    }
}
