//! Meta told something of an account, a template, a number or a person.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::ids::{AccountId, PhoneNumberId, WabaId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::Event;

/// What sort of update it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateKind {
    /// The WhatsApp Business Account: warnings, restrictions, reviews, names, PINs.
    Account,
    /// A message template: whether it may be used, how it is taken, what it counts as.
    Template,
    /// How many messages a number may send.
    Quality,
    /// A person wants marketing messages no more, or again.
    Preference,
    /// A person has another number, user id or phone: a security matter. Chats are not joined because of it.
    Identity,
    /// Something is wrong with the number or the account, and with no message in particular.
    Notice,
}

impl UpdateKind {
    /// The name on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Template => "template",
            Self::Quality => "quality",
            Self::Preference => "preference",
            Self::Identity => "identity",
            Self::Notice => "notice",
        }
    }
}

/// An update. Each is told once to every tenant that it concerns; what several tenants share, each of them is told.
#[derive(Clone, Serialize, Deserialize)]
pub struct WhatsAppUpdate {
    /// What sort it is.
    pub kind: UpdateKind,
    /// The tenant's sender, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    /// The WhatsApp Business Account, where told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<WabaId>,
    /// The number, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_number_id: Option<PhoneNumberId>,
    /// Whom or what it is about: a person's address, a template's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What it says; its shape depends on the kind.
    pub details: Box<RawValue>,
    /// When it happened.
    pub at: DateTime<Utc>,
}

impl Event for WhatsAppUpdate {
    const TYPE: &'static str = "whatsapp.update";
    const VERSION: u16 = 1;
}

// It may name people.
impl fmt::Debug for WhatsAppUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhatsAppUpdate")
            .field("kind", &self.kind)
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}
