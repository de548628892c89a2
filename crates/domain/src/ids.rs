//! Identifiers. Each is a type of its own, so that a chat's id does not fit where an account's is asked for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an identifier. Says which kind and which rule, never the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {rule}")]
pub struct InvalidId {
    kind: &'static str,
    rule: &'static str,
}

/// One customer organisation: a village, a company, a law firm (`village_id` on GovConnect's wire).
///
/// Opaque: 1 to 100 characters of ASCII letters, digits and `. _ - : @`, so that it is safe in keys, settings
/// and logs without escaping. Cheap to clone: it goes wherever a tenant's work goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Longest accepted id, in characters.
    pub const MAX_LENGTH: usize = 100;

    /// Reads an id, refusing what could not be a tenant's.
    ///
    /// # Errors
    /// [`InvalidId`] when empty, too long or with a character outside the set.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let rule = if text.is_empty() {
            "is empty"
        } else if text.len() > Self::MAX_LENGTH {
            "is longer than 100 characters"
        } else if !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-:@".contains(&b))
        {
            "may hold only letters, digits and . _ - : @"
        } else {
            return Ok(Self(text.into()));
        };
        Err(InvalidId {
            kind: "tenant id",
            rule,
        })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id a provider gave to a message (or took from us), unique within one account only.
///
/// 1 to 255 printable ASCII characters without blanks: WhatsApp's hex ids and Meta's `wamid.…` both fit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProviderMessageId(String);

impl ProviderMessageId {
    /// Longest accepted id, in characters.
    pub const MAX_LENGTH: usize = 255;

    /// Reads an id from a provider's message.
    ///
    /// # Errors
    /// [`InvalidId`] when empty, too long or with anything but printable ASCII.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let rule = if text.is_empty() {
            "is empty"
        } else if text.len() > Self::MAX_LENGTH {
            "is longer than 255 characters"
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            "may hold only printable ASCII characters without blanks"
        } else {
            return Ok(Self(text));
        };
        Err(InvalidId {
            kind: "provider message id",
            rule,
        })
    }

    /// A fresh id in the form WhatsApp Web clients use: `3EB0` and 18 upper-case hex digits (72 random bits).
    #[must_use]
    pub fn generate() -> Self {
        let bits: u128 = rand::random();
        Self(format!("3EB0{:018X}", bits >> 56))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! digits_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Longest accepted id, in digits.
            pub const MAX_LENGTH: usize = 32;

            /// Reads 1 to 32 digits. Never a number: such ids grow past what numbers hold exactly.
            ///
            /// # Errors
            /// [`InvalidId`] when empty, too long or with anything but digits.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
                if fits && text.bytes().all(|b| b.is_ascii_digit()) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId { kind: $kind, rule: "must be 1 to 32 digits" })
                }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

digits_id!(
    /// Meta's id of a business number. Not the number itself: it is what a call to the Graph API names.
    PhoneNumberId,
    "phone number id"
);
digits_id!(
    /// Meta's id of a WhatsApp Business account, which holds numbers and templates.
    WabaId,
    "WhatsApp Business account id"
);

macro_rules! text_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                String::from(&*id.0)
            }
        }
    };
}

text_id!(TenantId);
text_id!(ProviderMessageId);
text_id!(PhoneNumberId);
text_id!(WabaId);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id. Version 7: sorted by time of birth, which keeps indexes dense.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Takes an id that was made before.
            #[must_use]
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The bare value, for the database and the wire.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| InvalidId { kind: stringify!($name), rule: "is not a UUID" })
            }
        }
    };
}

uuid_id!(
    /// A tenant's sender on an endpoint: one WhatsApp number with its session or device.
    AccountId
);
uuid_id!(
    /// The conversation of one account with one person.
    ChatId
);
uuid_id!(
    /// A message, inbound or outbound, in our own database.
    MessageId
);
uuid_id!(
    /// An event in its envelope. Consumers use it to recognise a second delivery.
    EventId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_are_safe_in_keys_and_settings() {
        assert!(TenantId::parse("clx0abc9z0000v8").is_ok());
        for wrong in ["", "a b", "a,b", "a'b", "desa\0", "é", &"x".repeat(101)] {
            assert!(TenantId::parse(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn metas_ids_are_digits_and_never_too_many() {
        assert_eq!(WabaId::parse("0").unwrap().as_str(), "0");
        assert!(PhoneNumberId::parse("110987650000222").is_ok());
        for wrong in ["", "+62", "1a", "1 ", "../1", "١", &"1".repeat(33)] {
            assert!(PhoneNumberId::parse(wrong).is_err(), "{wrong:?} was accepted");
            assert!(WabaId::parse(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn generated_message_ids_look_like_whatsapps_and_differ() {
        let (one, two) = (ProviderMessageId::generate(), ProviderMessageId::generate());
        assert_eq!(one.as_str().len(), 22);
        assert!(one.as_str().starts_with("3EB0"));
        assert!(
            one.as_str()
                .bytes()
                .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        );
        assert_ne!(one, two);
    }

    #[test]
    fn an_invalid_id_cannot_enter_through_serde() {
        assert!(serde_json::from_str::<TenantId>("\"a b\"").is_err());
        assert!(serde_json::from_str::<ProviderMessageId>("\"a\\u0000b\"").is_err());
    }
}
