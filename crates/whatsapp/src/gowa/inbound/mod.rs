//! Webhooks, in three steps that the types enforce: bytes become [`Unverified`] (which device claims to send?), that
//! becomes [`Verified`] (one of the keys says so), and only that can be parsed.

mod content;
mod events;

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::address::{ChatAddress, Jid};
use serde_json::value::RawValue;

use super::wire;
use crate::credentials::WebhookKey;
use crate::error::{MalformedWebhook, SignatureError, Unusable};
use crate::event::{InboundEvent, Keep};
use crate::genfity::SignatureCheck;

/// The header with the signature: `sha256=` and the HMAC-SHA256 of the raw body in hexadecimal.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

const SCHEME: &str = "sha256=";
/// Longest accepted name of a device, in bytes.
const MAX_DEVICE: usize = 255;

/// A webhook whose sender has proved nothing yet. Good for finding the account it claims to come from, and no more.
pub struct Unverified {
    payload: Payload,
}

/// A webhook that its account accepts.
#[derive(Debug)]
pub struct Verified {
    payload: Payload,
    signed: bool,
}

/// The event, cut into the pieces that later steps read. All pieces share the body's memory.
struct Payload {
    /// The body as sent: what a signature covers.
    json: Bytes,
    event: String,
    /// The account's own address.
    device: Option<Jid>,
    /// The device's id.
    session_id: Option<String>,
    at: Option<DateTime<Utc>>,
    payload: Option<Bytes>,
}

impl Unverified {
    /// Reads who and what a body claims to be. Nothing in it is believed yet.
    ///
    /// # Errors
    /// [`MalformedWebhook`] when it is no webhook of this provider. Never panics, whatever the bytes.
    pub fn read(content_type: Option<&str>, body: Bytes) -> Result<Self, MalformedWebhook> {
        let essence = content_type
            .and_then(|kind| kind.split(';').next())
            .unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/json") {
            return Err(MalformedWebhook::UnsupportedContentType);
        }
        if body.is_empty() {
            return Err(MalformedWebhook::EmptyBody);
        }
        let text = std::str::from_utf8(&body).map_err(|_| MalformedWebhook::NotUtf8)?;
        let envelope = open(text)?;
        let event = envelope
            .event
            .filled()
            .ok_or(MalformedWebhook::MissingType)?
            .to_owned();
        let session_id = name(&envelope.session_id)?;
        let device = name(&envelope.device_id)?.and_then(|jid| Jid::parse(&jid).ok());
        let at = envelope.timestamp.time();
        let piece = |raw: &RawValue| body.slice_ref(raw.get().as_bytes());
        let payload = envelope.payload.map(piece);
        Ok(Self {
            payload: Payload {
                event,
                device,
                session_id,
                at,
                payload,
                json: body,
            },
        })
    }

    /// The device's id, which whoever made the device chose. A claim to be checked.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.payload.session_id.as_deref()
    }

    /// The account's own address without the device, as `628…@s.whatsapp.net`. A claim to be checked.
    #[must_use]
    pub fn own_address(&self) -> Option<ChatAddress> {
        self.payload.own_address()
    }

    /// The event's kind, as the server calls it.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.payload.event
    }

    /// The whole body, for quarantine.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.payload.text()
    }

    /// Checks the signature over the body as sent, in constant time.
    ///
    /// With keys, a signature made with any of them is required. Without keys the account is unsigned: the caller has
    /// decided so, and a signature that came anyway says nothing.
    ///
    /// # Errors
    /// [`SignatureError`] when a signature is required and is missing, unreadable or wrong.
    pub fn verify(self, signature: Option<&str>, keys: &[WebhookKey]) -> Result<Verified, SignatureError> {
        if keys.is_empty() {
            return Ok(Verified {
                payload: self.payload,
                signed: false,
            });
        }
        let signature = signature
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .ok_or(SignatureError::Missing)?;
        let hexadecimal = signature
            .get(..SCHEME.len())
            .filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
            .and_then(|_| signature.get(SCHEME.len()..))
            .filter(|rest| !rest.is_empty())
            .ok_or(SignatureError::Malformed)?;
        let mut check = SignatureCheck::new(keys);
        check.update(&self.payload.json);
        check.passes(Some(hexadecimal))?;
        Ok(Verified {
            payload: self.payload,
            signed: true,
        })
    }
}

/// The signature of a body as the server makes it: what stands in [`SIGNATURE_HEADER`].
#[must_use]
pub fn sign(key: &WebhookKey, body: &[u8]) -> String {
    format!("{SCHEME}{}", crate::genfity::sign(key, body))
}

impl Verified {
    /// The device's id.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.payload.session_id.as_deref()
    }

    /// The account's own address without the device.
    #[must_use]
    pub fn own_address(&self) -> Option<ChatAddress> {
        self.payload.own_address()
    }

    /// The event's kind, as the server calls it.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.payload.event
    }

    /// The whole body, for quarantine.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.payload.text()
    }

    /// Was a signature checked, or is the account unsigned?
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.signed
    }

    /// Says what happened, with messages from the places that are wanted. `now` stands in for times that are missing or
    /// cannot be.
    ///
    /// # Errors
    /// [`Unusable`] when the kind is known and the event lacks what makes it usable: for quarantine.
    pub fn parse_with(&self, now: DateTime<Utc>, keep: Keep) -> Result<InboundEvent, Unusable> {
        events::read(&self.payload, now, keep)
    }

    /// As [`Self::parse_with`], with conversations with one person only.
    ///
    /// # Errors
    /// As [`Self::parse_with`].
    pub fn parse(&self, now: DateTime<Utc>) -> Result<InboundEvent, Unusable> {
        self.parse_with(now, Keep::default())
    }
}

impl Payload {
    fn text(&self) -> &str {
        // Was a `str` when it was read.
        std::str::from_utf8(&self.json).unwrap_or_default()
    }

    fn own_address(&self) -> Option<ChatAddress> {
        ChatAddress::from_jid(self.device.as_ref()?)
            .ok()
            .filter(ChatAddress::is_direct)
    }
}

/// Opens the event. A list must not pass: serde would read it as an object's fields in order.
fn open(text: &str) -> Result<wire::Envelope<'_>, MalformedWebhook> {
    if !text.trim_start().starts_with('{') {
        return Err(MalformedWebhook::NotJson);
    }
    // Every field takes any value, so what is wrong with the data itself can only be a field that came twice.
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            MalformedWebhook::DuplicateField
        } else {
            MalformedWebhook::NotJson
        }
    })
}

fn name(claimed: &wire::Loose<'_>) -> Result<Option<String>, MalformedWebhook> {
    let name = claimed.filled();
    if name.is_some_and(|name| name.len() > MAX_DEVICE || name.chars().any(char::is_control)) {
        return Err(MalformedWebhook::InvalidInstance);
    }
    Ok(name.map(str::to_owned))
}

// Both hold people's words.
impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("payload", &self.payload)
            .finish()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("json", &self.json.len())
            .field("event", &self.event)
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}
