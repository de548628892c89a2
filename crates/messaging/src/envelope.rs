//! The wrapper every event of ours travels in.

use chrono::{DateTime, Utc};
use domain::ids::{EventId, TenantId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tenant_isolation::TenantScope;
use trace_context::TraceContext;

/// A kind of event: its name on the wire and its shape.
pub trait Event: Serialize + DeserializeOwned {
    /// The type in the envelope, which is also the routing key. Stable.
    const TYPE: &'static str;
    /// Raised when the shape changes so that an old consumer would misread it.
    const VERSION: u16;
}

/// One event, wrapped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// Tells a second delivery from a second event.
    pub id: EventId,
    /// Version of `data`'s shape.
    pub version: u16,
    /// What happened; see [`Event::TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// To whom it happened.
    pub tenant_id: TenantId,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The id of the request that caused it, so that one message can be followed through all logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The place in a trace that it happened at. Other releases may write none, or what is not understood here.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "trace_context::lenient"
    )]
    pub traceparent: Option<TraceContext>,
    /// The event itself.
    pub data: Box<RawValue>,
}

/// Bytes that are no envelope, or an envelope whose content is not what its type promises.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEnvelope {
    /// Not our JSON. The cause names keys and positions, not values of texts.
    #[error("not an envelope of ours")]
    Shape(#[source] serde_json::Error),
    /// Made by a newer release.
    #[error("version {found} of {kind} is not known here")]
    Version {
        /// The event's type.
        kind: &'static str,
        /// The version in the envelope.
        found: u16,
    },
}

impl Envelope {
    /// Wraps an event that happens now, because of the request behind the [work in hand](crate::cause), if there is one.
    ///
    /// # Errors
    /// When the event cannot be written as JSON, which for our types means a map key that is no text.
    pub fn new<E: Event>(scope: &TenantScope, event: &E) -> Result<Self, serde_json::Error> {
        Ok(Self {
            id: EventId::generate(),
            version: E::VERSION,
            kind: E::TYPE.to_owned(),
            tenant_id: scope.tenant().clone(),
            occurred_at: Utc::now(),
            request_id: crate::cause::request_id(),
            traceparent: trace_context::current(),
            data: serde_json::value::to_raw_value(event)?,
        })
    }

    /// Notes which request caused the event.
    #[must_use]
    pub fn caused_by(mut self, request_id: Option<String>) -> Self {
        self.request_id = request_id;
        self
    }

    /// Notes at which place in a trace it happened, where that is not the work in hand.
    #[must_use]
    pub const fn traced(mut self, place: Option<TraceContext>) -> Self {
        self.traceparent = place;
        self
    }

    /// Reads an envelope off the wire.
    ///
    /// # Errors
    /// [`InvalidEnvelope::Shape`].
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        serde_json::from_slice(bytes).map_err(InvalidEnvelope::Shape)
    }

    /// The envelope as it travels.
    ///
    /// # Errors
    /// As for [`Envelope::new`].
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// The event inside, if it is of this kind.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] when the kind is right but the content is not.
    pub fn event<E: Event>(&self) -> Result<Option<E>, InvalidEnvelope> {
        if self.kind != E::TYPE {
            return Ok(None);
        }
        if self.version > E::VERSION {
            return Err(InvalidEnvelope::Version {
                kind: E::TYPE,
                found: self.version,
            });
        }
        serde_json::from_str(self.data.get())
            .map(Some)
            .map_err(InvalidEnvelope::Shape)
    }

    /// The tenant's scope, for work on this event.
    #[must_use]
    pub fn scope(&self) -> TenantScope {
        TenantScope::of_own_event(self.tenant_id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_read_with_any_trace_or_none() {
        let old = r#"{"id":"01a1fc04-ca24-7478-bdff-1753d7ca7de5","version":1,"type":"x","tenant_id":"desa",
            "occurred_at":"2026-11-29T00:00:00Z","data":{}}"#;
        let read = Envelope::read(old.as_bytes()).unwrap();
        assert_eq!(read.traceparent, None);
        assert!(!read.to_json().unwrap().contains("traceparent"));
        for odd in ["7", "null", "\"00-x\"", "{}"] {
            let odd = old.replace("\"data\"", &format!("\"traceparent\":{odd},\"data\""));
            assert_eq!(Envelope::read(odd.as_bytes()).unwrap().traceparent, None);
        }
        let place = TraceContext::root([7; 16]);
        let written = read.traced(Some(place)).to_json().unwrap();
        assert_eq!(
            Envelope::read(written.as_bytes()).unwrap().traceparent,
            Some(place)
        );
    }
}
