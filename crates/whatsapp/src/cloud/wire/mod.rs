//! Meta's JSON, field by field, and nothing else. Its field names live here only.
//!
//! Everything borrows from the body. Every level of an envelope stays raw until it is looked at, so that one item that
//! cannot be read costs nothing but itself.

mod account;
mod message;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use crate::loose::Loose;
pub(super) use account::*;
pub(super) use message::*;

/// Reads an object. A list must not pass: serde would read it as an object's fields in order.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str(json).ok())
        .flatten()
}

/// Reads a list, its items unread.
pub(super) fn list(json: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(json).ok()
}

/// A webhook.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) object: Loose<'a>,
    #[serde(borrow)]
    pub(super) entry: Option<&'a RawValue>,
}

/// `object` of what is about WhatsApp; an app may have other products.
pub(super) const OBJECT: &str = "whatsapp_business_account";

/// What happened to one account.
#[derive(Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) time: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) changes: Option<&'a RawValue>,
}

/// One field's news.
#[derive(Deserialize)]
pub(super) struct Change<'a> {
    #[serde(borrow)]
    pub(super) field: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) value: Option<&'a RawValue>,
}

/// `value` of the fields that have items.
#[derive(Deserialize)]
pub(super) struct Value<'a> {
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) contacts: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) messages: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) message_echoes: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) statuses: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) user_preferences: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) errors: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) user_actions: Option<&'a RawValue>,
}

/// Which number a value is about.
#[derive(Default, Deserialize)]
pub(super) struct Metadata<'a> {
    #[serde(borrow, default)]
    pub(super) display_phone_number: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) phone_number_id: Loose<'a>,
}

/// A person, beside what they wrote.
#[derive(Default, Deserialize)]
pub(super) struct Contact<'a> {
    #[serde(borrow)]
    pub(super) profile: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) wa_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) user_id: Loose<'a>,
}

/// What a person calls themselves.
#[derive(Default, Deserialize)]
pub(super) struct Profile<'a> {
    #[serde(borrow, default)]
    pub(super) name: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) username: Loose<'a>,
}

/// An error, in webhooks and in answers.
#[derive(Default, Deserialize)]
pub(super) struct Error<'a> {
    #[serde(borrow, default)]
    pub(super) code: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) error_subcode: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) title: Loose<'a>,
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) message: Loose<'a>,
    #[serde(borrow)]
    pub(super) error_data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) fbtrace_id: Loose<'a>,
}

/// What an error has to say about this time.
#[derive(Default, Deserialize)]
pub(super) struct ErrorData<'a> {
    #[serde(borrow, default)]
    pub(super) details: Loose<'a>,
}
