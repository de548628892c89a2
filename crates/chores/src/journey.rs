//! What one service tells of an id: the shape in which `GET /internal/journeys/{id}` answers in all three. Ids, times,
//! classes and codes; never words of people or their numbers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Longest id that is looked for, in bytes.
pub const LONGEST_ID: usize = 300;

/// An id as it was typed or pasted, if it can be one.
#[must_use]
pub fn readable(id: &str) -> Option<&str> {
    let id = id.trim();
    let fits = (1..=LONGEST_ID).contains(&id.len()) && !id.chars().any(char::is_control);
    fits.then_some(id)
}

/// All that one service knows of an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which service.
    pub service: String,
    /// Where it looked.
    pub looked_in: Vec<Place>,
    /// What goes by the id, of whatever tenants.
    pub journeys: Vec<Journey>,
}

/// Where a service looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Among what.
    pub among: String,
    /// For how long that is kept.
    pub kept: String,
}

impl Place {
    /// Among what it was looked, and for how long that is kept.
    #[must_use]
    pub fn new(among: impl Into<String>, kept: impl Into<String>) -> Self {
        Self {
            among: among.into(),
            kept: kept.into(),
        }
    }
}

/// One thing that goes by an id, and what happened to it at one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journey {
    /// Which service tells it.
    pub service: String,
    /// Whose it is.
    pub tenant_id: String,
    /// What it is: `message`, `chatwoot_message`, `url_event`, `webhook`, `event`, `task`.
    pub subject: String,
    /// What goes which way, in a few words.
    pub about: String,
    /// Where it stands.
    pub state: String,
    /// Why, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// By which ids it goes. The first one is the service's own.
    pub names: Vec<Name>,
    /// What happened, oldest first.
    pub hops: Vec<Hop>,
    /// What is still to be done about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub now: Vec<String>,
}

/// An id, and of what sort it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name {
    /// Which sort.
    pub kind: NameKind,
    /// The id.
    pub id: String,
    /// Where it means one thing: the inbox of a message's number, for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

impl Name {
    /// An id that means one thing within its tenant.
    #[must_use]
    pub fn new(kind: NameKind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
            within: None,
        }
    }

    /// An id that means one thing within an inbox, or another place.
    #[must_use]
    pub fn within(kind: NameKind, id: impl Into<String>, within: impl Into<String>) -> Self {
        Self {
            within: Some(within.into()),
            ..Self::new(kind, id)
        }
    }
}

/// Sorts of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// channel-service's id of a message.
    Message,
    /// The id in WhatsApp.
    Whatsapp,
    /// The id of the order that a message was sent by.
    Order,
    /// A message's number in Chatwoot.
    Chatwoot,
    /// The request that brought it.
    Request,
    /// An event's id: of an envelope, a webhook, or what goes to a URL.
    Event,
    /// What a newer service may add.
    #[serde(other)]
    Other,
}

impl NameKind {
    /// The word in JSON and on a terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Whatsapp => "whatsapp",
            Self::Order => "order",
            Self::Chatwoot => "chatwoot",
            Self::Request => "request",
            Self::Event => "event",
            Self::Other => "other",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub what: String,
    /// What was answered, or where it stood: a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Why, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Which attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// How long the answer took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<i64>,
    /// Through which endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Hop {
    /// Something that happened, without more.
    #[must_use]
    pub fn new(at: DateTime<Utc>, what: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
            class: None,
            code: None,
            attempt: None,
            took_ms: None,
            endpoint: None,
            by: None,
        }
    }
}

/// The shape in which a service's own document describes it.
#[must_use]
pub fn schema() -> serde_json::Value {
    use serde_json::json;
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer"});
    let object = |properties: serde_json::Value, required: &[&str]| json!({"type": "object", "properties": properties, "required": required});
    let list = |items: serde_json::Value| json!({"type": "array", "items": items});
    let name = object(
        json!({"kind": text(), "id": text(), "within": text()}),
        &["kind", "id"],
    );
    let hop = object(
        json!({
            "at": {"type": "string", "format": "date-time"}, "what": text(), "class": text(), "code": text(),
            "attempt": number(), "took_ms": number(), "endpoint": text(), "by": text(),
        }),
        &["at", "what"],
    );
    let journey = object(
        json!({
            "service": text(), "tenant_id": text(), "subject": text(), "about": text(), "state": text(),
            "reason": text(), "names": list(name), "hops": list(hop), "now": list(text()),
        }),
        &[
            "service",
            "tenant_id",
            "subject",
            "about",
            "state",
            "names",
            "hops",
        ],
    );
    let place = object(json!({"among": text(), "kept": text()}), &["among", "kept"]);
    object(
        json!({"service": text(), "looked_in": list(place), "journeys": list(journey)}),
        &["service", "looked_in", "journeys"],
    )
}
