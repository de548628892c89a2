//! Chatwoot's JSON. Versions differ, so unknown keys, missing keys and nulls are all taken (contract, reading key).

use chrono::{DateTime, Utc};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A list under `payload`.
#[derive(Deserialize)]
pub(super) struct Listed<T> {
    #[serde(default = "Vec::new")]
    pub(super) payload: Vec<T>,
}

/// One thing under `payload`.
#[derive(Deserialize)]
pub(super) struct Payload<T> {
    pub(super) payload: T,
}

/// A contact, as far as it matters here.
#[derive(Clone, Deserialize)]
pub struct Contact {
    /// Id, unique per installation.
    pub id: i64,
    /// External identifier, unique per account.
    #[serde(default)]
    pub identifier: Option<String>,
    /// What agents see.
    #[serde(default)]
    pub name: Option<String>,
    /// E.164 with its plus, unique per account.
    #[serde(default)]
    pub phone_number: Option<String>,
    /// Where its picture is shown; empty without one.
    #[serde(default)]
    thumbnail: Option<String>,
    /// The inboxes it can be reached by; absent in some answers.
    #[serde(default, deserialize_with = "null_is_default")]
    contact_inboxes: Vec<ContactInbox>,
}

/// A contact's place in an inbox.
#[derive(Clone, Deserialize)]
pub(super) struct ContactInbox {
    #[serde(default)]
    pub(super) source_id: Option<String>,
    #[serde(default)]
    pub(super) inbox: Option<InboxRef>,
}

#[derive(Clone, Deserialize)]
pub(super) struct InboxRef {
    pub(super) id: i64,
}

impl Contact {
    /// Is it reached in this inbox under this source id?
    #[must_use]
    pub fn has_source(&self, inbox_id: i64, source_id: &str) -> bool {
        self.contact_inboxes.iter().any(|place| {
            place.source_id.as_deref() == Some(source_id)
                && place.inbox.as_ref().is_some_and(|inbox| inbox.id == inbox_id)
        })
    }

    /// Does it show a picture?
    #[must_use]
    pub fn has_picture(&self) -> bool {
        self.thumbnail.as_ref().is_some_and(|address| !address.is_empty())
    }

    /// A source id under which it is reached in this inbox.
    #[must_use]
    pub fn source_in(&self, inbox_id: i64) -> Option<&str> {
        let is_here = |place: &&ContactInbox| place.inbox.as_ref().is_some_and(|inbox| inbox.id == inbox_id);
        let here = self.contact_inboxes.iter().filter(is_here);
        here.filter_map(|place| place.source_id.as_deref()).next()
    }

    /// Is it reached in this inbox at all?
    #[must_use]
    pub fn is_in(&self, inbox_id: i64) -> bool {
        let mut inboxes = self
            .contact_inboxes
            .iter()
            .filter_map(|place| place.inbox.as_ref());
        inboxes.any(|inbox| inbox.id == inbox_id)
    }
}

#[derive(Deserialize)]
pub(super) struct ContactCreated {
    pub(super) payload: ContactCreatedPayload,
}

#[derive(Deserialize)]
pub(super) struct ContactCreatedPayload {
    pub(super) contact: Contact,
}

/// A conversation.
#[derive(Clone, Deserialize)]
pub struct Conversation {
    /// Display id, unique per account only.
    pub id: i64,
    /// Its inbox.
    #[serde(default)]
    pub inbox_id: Option<i64>,
    /// `open`, `resolved`, `pending` or `snoozed`.
    #[serde(default)]
    pub status: Option<String>,
}

/// A message.
#[derive(Clone, Deserialize)]
pub struct Message {
    /// Id, unique per installation and growing.
    pub id: i64,
    /// What its creator set.
    #[serde(default)]
    pub source_id: Option<String>,
    #[serde(default)]
    created_at: Value,
    #[serde(default, deserialize_with = "null_is_default")]
    attachments: Vec<IgnoredAny>,
}

impl Message {
    /// Are there files with it?
    #[must_use]
    pub const fn has_files(&self) -> bool {
        !self.attachments.is_empty()
    }

    /// When Chatwoot stored it: unix seconds in lists, text elsewhere.
    #[must_use]
    pub fn created_at(&self) -> Option<DateTime<Utc>> {
        match &self.created_at {
            Value::Number(seconds) => DateTime::from_timestamp(seconds.as_i64()?, 0),
            Value::String(text) => DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
            _ => None,
        }
    }
}

#[derive(Serialize)]
pub(super) struct FilterBody<'a> {
    pub(super) payload: Vec<FilterCondition<'a>>,
}

#[derive(Serialize)]
pub(super) struct FilterCondition<'a> {
    pub(super) attribute_key: &'static str,
    pub(super) filter_operator: &'static str,
    pub(super) values: [&'a str; 1],
    pub(super) query_operator: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct ContactBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inbox_id: Option<i64>,
    pub(super) name: &'a str,
    pub(super) identifier: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phone_number: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ContactChangeBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identifier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phone_number: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ContactInboxBody<'a> {
    pub(super) inbox_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_id: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct ConversationBody<'a> {
    pub(super) inbox_id: i64,
    pub(super) contact_id: i64,
    /// Left out, Chatwoot would make a second contact inbox and, later, a second conversation (contract 3.3).
    pub(super) source_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct ConversationStatusBody {
    pub(super) status: &'static str,
}

#[derive(Serialize)]
pub(super) struct MessageBody<'a> {
    pub(super) content: &'a str,
    pub(super) message_type: &'static str,
    pub(super) private: bool,
    pub(super) source_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_attributes: Option<QuoteBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) external_created_at: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct QuoteBody<'a> {
    pub(super) in_reply_to_external_id: &'a str,
    /// Some versions take no notice of the external id (contract 3.4), so both are sent where both are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_reply_to: Option<i64>,
}

impl<'a> From<(&'a str, Option<i64>)> for QuoteBody<'a> {
    fn from((external, id): (&'a str, Option<i64>)) -> Self {
        Self {
            in_reply_to_external_id: external,
            in_reply_to: id,
        }
    }
}

/// The statuses an agent can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownStatus {
    /// One tick.
    Sent,
    /// Two ticks.
    Delivered,
    /// Two blue ticks.
    Read,
    /// A red mark, with the reason.
    Failed,
}

#[derive(Serialize)]
pub(super) struct StatusBody<'a> {
    pub(super) status: ShownStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) external_error: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_keys_and_nulls_are_taken() {
        let contact: Contact = serde_json::from_str(r#"{"id":7,"contact_inboxes":null,"new":{}}"#).unwrap();
        assert!(!contact.has_source(1, "x"));
        let contact: Contact =
            serde_json::from_str(r#"{"id":7,"contact_inboxes":[{"source_id":"x","inbox":{"id":1}},{}]}"#)
                .unwrap();
        assert!(contact.has_source(1, "x") && !contact.has_source(2, "x"));
    }

    #[test]
    fn a_contacts_places_and_a_messages_files_are_known() {
        let contact: Contact =
            serde_json::from_str(r#"{"id":7,"contact_inboxes":[{"source_id":"x","inbox":{"id":1}},{}]}"#)
                .unwrap();
        assert!(contact.is_in(1) && !contact.is_in(2));
        let message = |json: &str| serde_json::from_str::<Message>(json).unwrap();
        assert!(message(r#"{"id":1,"attachments":[{"id":2,"file_type":"image"}]}"#).has_files());
        assert!(!message(r#"{"id":1,"attachments":null}"#).has_files());
        assert!(!message(r#"{"id":1}"#).has_files());
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        for json in [
            r#"{"id":1,"created_at":1767579300}"#,
            r#"{"id":1,"created_at":"2026-01-05T02:15:00.000Z"}"#,
        ] {
            let message: Message = serde_json::from_str(json).unwrap();
            assert_eq!(
                message.created_at().map(|at| at.timestamp()),
                Some(1_767_579_300),
                "{json}"
            );
        }
        let message: Message = serde_json::from_str(r#"{"id":1}"#).unwrap();
        assert_eq!(message.created_at(), None);
    }
}
