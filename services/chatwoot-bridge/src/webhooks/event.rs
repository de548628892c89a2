//! What every event of Chatwoot's is, read once from the raw bytes (contract 2.7 to 2.10). Only top-level fields speak of
//! the event's own message: `conversation.messages[0]` may be another one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::dedup;

/// The mark of messages that came from WhatsApp.
pub const OUR_MARK: &str = "WAID:";

/// A body that is no webhook at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON.
    #[error("the body is not JSON")]
    NotJson,
    /// JSON, but no object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}

impl Malformed {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
        }
    }
}

/// An event, as far as it matters to whom it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `event`; empty when there is none.
    pub name: String,
    /// Chatwoot's account id.
    pub account_id: Option<i64>,
    /// Chatwoot's inbox id.
    pub inbox_id: Option<i64>,
    /// The conversation's display id.
    pub conversation_id: Option<i64>,
    /// The event's own message.
    pub message_id: Option<i64>,
    /// What sort of event it is.
    pub class: Class,
    /// What two tellings of one event have in common (contract 2.2). `None`: each telling is an event.
    pub key: Option<[u8; 32]>,
}

/// What sort of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// An agent, a bot or an automation wrote to the person.
    AgentMessage,
    /// A message was deleted.
    Deleted,
    /// Something about a message changed.
    Updated,
    /// A note among agents, or somebody who types one.
    Private,
    /// The person wrote.
    Incoming,
    /// A line about the conversation.
    Activity,
    /// A message that came from WhatsApp and was marked so when it was made.
    Echo,
    /// Somebody begins or ends to type.
    Typing,
    /// Conversations, contacts, inboxes and whatever else there will be.
    Other,
}

impl Class {
    /// The stable word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentMessage => "agent_message",
            Self::Deleted => "deleted",
            Self::Updated => "updated",
            Self::Private => "private",
            Self::Incoming => "incoming",
            Self::Activity => "activity",
            Self::Echo => "echo",
            Self::Typing => "typing",
            Self::Other => "other",
        }
    }
}

/// An event as it came.
#[derive(Clone)]
pub struct Incoming {
    /// What it is.
    pub event: Event,
    /// The body, byte for byte.
    pub body: Bytes,
    /// What goes along with it: `content-type`, `x-chatwoot-*`, `traceparent`, `x-request-id`. Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The id of the request that brought it.
    pub request_id: Option<String>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("event", &self.event)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl Event {
    /// Reads a webhook's body, which came at `now`.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(body: &[u8], now: DateTime<Utc>) -> Result<Self, Malformed> {
        let top = Fields::of(body)?;
        let name = top.text("event").unwrap_or_default().into_owned();
        let conversation = top.fields("conversation");
        let is_message = matches!(name.as_str(), "message_created" | "message_updated");
        let mut event = Self {
            account_id: top.account_id(&conversation),
            inbox_id: top.inbox_id(&conversation),
            conversation_id: top.conversation_id(&name, &conversation),
            message_id: if is_message { top.id("id") } else { None },
            class: top.class(&name),
            name,
            key: None,
        };
        event.key = dedup::key(&event, &top, body, now);
        Ok(event)
    }
}

/// The fields of an object, unread: most of them are never looked at. Of one that stands there twice the last counts, as
/// everywhere.
#[derive(Default)]
pub(super) struct Fields<'a>(HashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Fields<'a> {
    fn of(body: &'a [u8]) -> Result<Self, Malformed> {
        match serde_json::from_slice(body) {
            Ok(fields) => Ok(Self(fields)),
            Err(error) if error.is_data() && is_json(body) => Err(Malformed::NotAnObject),
            Err(_) => Err(Malformed::NotJson),
        }
    }

    /// A field as it was written.
    pub(super) fn raw(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|raw| raw.get())
    }

    pub(super) fn value<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_str(self.raw(key)?).ok()
    }

    /// The fields of an object under this key; none of anything else.
    pub(super) fn fields(&self, key: &str) -> Self {
        self.raw(key)
            .filter(|raw| raw.starts_with('{'))
            .and_then(|raw| serde_json::from_str(raw).ok())
            .map(Self)
            .unwrap_or_default()
    }

    pub(super) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        let raw = self.raw(key)?;
        let plain = raw.strip_prefix('"')?.strip_suffix('"')?;
        if plain.contains('\\') {
            serde_json::from_str(raw).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(plain))
        }
    }

    pub(super) fn id(&self, key: &str) -> Option<i64> {
        self.value(key).as_ref().and_then(id)
    }

    /// Said with anything but a plain "no".
    fn is_set(&self, key: &str) -> bool {
        !matches!(self.raw(key), None | Some("null" | "false"))
    }

    fn class(&self, name: &str) -> Class {
        match name {
            "message_created" | "message_updated" => {}
            "conversation_typing_on" | "conversation_typing_off" => {
                return if self.is_set("is_private") {
                    Class::Private
                } else {
                    Class::Typing
                };
            }
            _ => return Class::Other,
        }
        // Anything but a plain "no" may be a note among agents.
        if self.is_set("private") {
            return Class::Private;
        }
        // The type is a word in webhooks and a number in nested messages; here only the word is at home.
        let kind = self.text("message_type").unwrap_or_default();
        if kind == "activity" {
            return Class::Activity;
        }
        let updated = name == "message_updated";
        if updated && self.is_deleted() {
            return Class::Deleted;
        }
        if self
            .text("source_id")
            .is_some_and(|mark| mark.starts_with(OUR_MARK))
        {
            return if kind == "incoming" {
                Class::Incoming
            } else {
                Class::Echo
            };
        }
        if updated {
            return Class::Updated;
        }
        match &*kind {
            "outgoing" | "template" => Class::AgentMessage,
            "incoming" => Class::Incoming,
            _ => Class::Other,
        }
    }

    fn is_deleted(&self) -> bool {
        let attributes = self.fields("content_attributes");
        matches!(attributes.raw("deleted"), Some("true" | "\"true\""))
    }

    /// A number in quotes is taken, as it was by the predecessor; what merely begins like one is not.
    fn inbox(&self, key: &str) -> Option<i64> {
        let value: Value = self.value(key)?;
        id(&value).or_else(|| digits(&value))
    }

    fn inbox_id(&self, conversation: &Self) -> Option<i64> {
        let nested = |outer: &str, key: &str| self.fields(outer).inbox(key);
        nested("inbox", "id")
            .or_else(|| self.inbox("inbox_id"))
            .or_else(|| conversation.inbox("inbox_id"))
            .or_else(|| nested("contact_inbox", "inbox_id"))
            .or_else(|| nested("current_conversation", "inbox_id"))
    }

    fn account_id(&self, conversation: &Self) -> Option<i64> {
        let of_first = |fields: &Self| {
            let messages: Value = fields.value("messages")?;
            messages.get(0)?.get("account_id").and_then(id)
        };
        self.fields("account")
            .id("id")
            .or_else(|| conversation.fields("account").id("id"))
            .or_else(|| of_first(self))
            .or_else(|| of_first(conversation))
    }

    fn conversation_id(&self, name: &str, conversation: &Self) -> Option<i64> {
        conversation.id("id").or_else(|| {
            if name.starts_with("conversation_") || name == "macro.executed" {
                self.id("id")
            } else {
                self.fields("current_conversation").id("id")
            }
        })
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Ids are whole positive numbers and nothing that merely begins like one.
fn id(value: &Value) -> Option<i64> {
    value.as_i64().filter(|id| *id > 0)
}

fn digits(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    let all_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| text.parse().ok().filter(|id| *id > 0))?
}
