//! Webhooks, in three steps that the types enforce: bytes become [`Unverified`] (who claims to send?), that becomes
//! [`Verified`] (the account's key says so), and only that can be parsed.

mod content;
mod events;
mod form;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::value::RawValue;
use sha2::Sha256;

use super::wire;
use crate::credentials::WebhookKey;
use crate::error::{MalformedWebhook, SignatureError, Unusable};
use crate::event::{InboundEvent, Keep};
use form::Form;

/// The header with the signature (wa-server contract 10).
pub const SIGNATURE_HEADER: &str = "x-hmac-signature";

/// Longest accepted `instanceName` or `userID`, in bytes.
const MAX_INSTANCE: usize = 255;

/// A webhook whose sender has proved nothing yet. Good for finding the account it claims to come from, and no more.
pub struct Unverified {
    /// The body as sent: what a signature covers.
    body: Bytes,
    payload: Payload,
}

/// A webhook that its account accepts.
#[derive(Debug)]
pub struct Verified {
    payload: Payload,
    signed: bool,
}

/// The event object, cut into the pieces that later steps read. All pieces share the body's memory, except that in
/// form mode the decoded `jsonData` is memory of its own.
struct Payload {
    /// The event object as JSON text.
    json: Bytes,
    type_name: String,
    instance_name: Option<String>,
    session_id: Option<String>,
    event: Option<Bytes>,
    state: Option<String>,
    s3: Option<Bytes>,
    /// Base64 characters of an inlined file.
    inline_length: Option<u64>,
    mime_type: Option<String>,
    /// Why a connection failed, in the server's words.
    failure: Option<String>,
}

impl Unverified {
    /// Reads who and what a body claims to be. Nothing in it is believed yet.
    ///
    /// # Errors
    /// [`MalformedWebhook`] when it is no webhook of this provider. Never panics, whatever the bytes.
    pub fn read(content_type: Option<&str>, body: Bytes) -> Result<Self, MalformedWebhook> {
        let mode = Mode::of(content_type).ok_or(MalformedWebhook::UnsupportedContentType)?;
        if body.is_empty() {
            return Err(MalformedWebhook::EmptyBody);
        }
        let text = std::str::from_utf8(&body).map_err(|_| MalformedWebhook::NotUtf8)?;
        let payload = match mode {
            Mode::Json => Payload::from_json(&body, text)?,
            Mode::Form => {
                let Form {
                    json_data,
                    instance_name,
                    user_id,
                } = Form::read(text)?;
                let json_data = json_data.ok_or(MalformedWebhook::MissingJsonData)?;
                Payload::from_json_data(json_data, instance_name.as_deref(), user_id.as_deref())?
            }
        };
        Ok(Self { body, payload })
    }

    /// The session's name on the server. Free text there and not unique: a claim to be checked.
    #[must_use]
    pub fn instance_name(&self) -> Option<&str> {
        self.payload.instance_name.as_deref()
    }

    /// The server's own id of the session (`userID`). It is **not** the sender's number.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.payload.session_id.as_deref()
    }

    /// The event's kind, as the server calls it.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.payload.type_name
    }

    /// The event object as JSON text, for quarantine.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.payload.text()
    }

    /// Checks the signature over the body as sent, in constant time.
    ///
    /// With keys, a signature made with any of them is required (two during a rotation). Without keys the account
    /// is unsigned: the caller has decided so, and a signature that came anyway says nothing.
    ///
    /// # Errors
    /// [`SignatureError`] when a signature is required and is missing, unreadable or wrong.
    pub fn verify(self, signature: Option<&str>, keys: &[WebhookKey]) -> Result<Verified, SignatureError> {
        let mut check = SignatureCheck::new(keys);
        check.update(&self.body);
        self.verify_long(signature, check)
    }

    /// As [`Self::verify`], for a webhook whose body is not in memory: a part that does not matter was taken out of
    /// what [`Self::read`] got, and `check` has seen the body as it was sent.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_long(
        self,
        signature: Option<&str>,
        check: SignatureCheck,
    ) -> Result<Verified, SignatureError> {
        if check.macs.is_empty() {
            return Ok(Verified {
                payload: self.payload,
                signed: false,
            });
        }
        check.passes(signature).map(|proof| self.proven(proof))
    }

    /// As [`Self::verify`], for a body whose signature was checked before it was read: a stranger's body is then not
    /// even looked into.
    #[must_use]
    pub fn proven(self, _proof: SignatureProof) -> Verified {
        Verified {
            payload: self.payload,
            signed: true,
        }
    }
}

/// A signature was checked over a body and one of the keys had made it. Made by [`SignatureCheck::passes`] only.
#[derive(Debug)]
pub struct SignatureProof(());

/// The signature of a body as the server makes it: what stands in [`SIGNATURE_HEADER`].
#[must_use]
pub fn sign(key: &WebhookKey, body: &[u8]) -> String {
    let mut mac = SignatureCheck::new(std::slice::from_ref(key)).macs;
    // HMAC takes keys of any length, so there is one.
    mac.pop().map_or_else(String::new, |mut mac| {
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    })
}

/// Sees the body as it was sent, piece by piece, and then says whether a signature is one of the keys'.
pub struct SignatureCheck {
    macs: Vec<Hmac<Sha256>>,
}

impl SignatureCheck {
    /// A check with an account's keys.
    #[must_use]
    pub fn new(keys: &[WebhookKey]) -> Self {
        // HMAC takes keys of any length; the error cannot happen.
        let macs = keys
            .iter()
            .filter_map(|key| Hmac::new_from_slice(key.bytes()).ok());
        Self { macs: macs.collect() }
    }

    /// The next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        for mac in &mut self.macs {
            mac.update(piece);
        }
    }

    /// Is this the signature of what was seen, made with one of the keys? Without keys nothing is.
    ///
    /// # Errors
    /// [`SignatureError`] when it is missing, unreadable or wrong.
    pub fn passes(self, signature: Option<&str>) -> Result<SignatureProof, SignatureError> {
        let signature = signature
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .ok_or(SignatureError::Missing)?;
        let mut claimed = [0; 32];
        hex::decode_to_slice(signature, &mut claimed).map_err(|_| SignatureError::Malformed)?;
        if self.fits(&claimed) {
            Ok(SignatureProof(()))
        } else {
            Err(SignatureError::Mismatch)
        }
    }

    /// Every key is tried, so that the time does not tell which one fits.
    fn fits(self, claimed: &[u8; 32]) -> bool {
        self.macs
            .into_iter()
            .fold(false, |fits, mac| fits | mac.verify_slice(claimed).is_ok())
    }
}

impl Verified {
    /// The session's name on the server.
    #[must_use]
    pub fn instance_name(&self) -> Option<&str> {
        self.payload.instance_name.as_deref()
    }

    /// The server's own id of the session (`userID`).
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.payload.session_id.as_deref()
    }

    /// The event's kind, as the server calls it.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.payload.type_name
    }

    /// The event object as JSON text, for quarantine.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.payload.text()
    }

    /// Was a signature checked, or is the account unsigned?
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.signed
    }

    /// The file that the server inlined, in base64 without a `data:` prefix, if there is one. Scans the payload
    /// again: files are rare and copying them in the common path is not worth it.
    #[must_use]
    pub fn inline_file(&self) -> Option<Cow<'_, str>> {
        self.payload.inline_length?;
        match serde_json::from_str::<wire::InlineFile<'_>>(self.payload.text())
            .ok()?
            .base64
        {
            wire::Loose::Text(base64) => Some(base64),
            _ => None,
        }
    }

    /// Says what happened. `now` stands in for times that are missing or cannot be.
    ///
    /// # Errors
    /// [`Unusable`] when the kind is known and the event lacks what makes it usable: for quarantine.
    pub fn parse(&self, now: DateTime<Utc>) -> Result<InboundEvent, Unusable> {
        self.parse_with(now, Keep::default())
    }

    /// As [`parse`](Self::parse), with messages from the places that are wanted. Their chat is the place, and their
    /// sender the person who wrote.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with(&self, now: DateTime<Utc>, keep: Keep) -> Result<InboundEvent, Unusable> {
        events::read(&self.payload, now, keep)
    }
}

enum Mode {
    Json,
    Form,
}

impl Mode {
    fn of(content_type: Option<&str>) -> Option<Self> {
        let essence = content_type?.split(';').next()?.trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Some(Self::Form)
        } else {
            None
        }
    }
}

impl Payload {
    /// JSON mode: the body is the event object with the names merged in. The original also takes `jsonData` as a
    /// string inside a JSON body, so we do.
    fn from_json(body: &Bytes, text: &str) -> Result<Self, MalformedWebhook> {
        let envelope = open(text, MalformedWebhook::NotJson)?;
        if envelope.type_name.text().is_none() {
            if let wire::Loose::Text(json_data) = envelope.json_data {
                return Self::from_json_data(
                    json_data,
                    envelope.instance_name.text(),
                    envelope.user_id.text(),
                );
            }
            if envelope.entry.is_some_and(|entry| entry.get().starts_with('[')) {
                return Err(MalformedWebhook::CloudPayload);
            }
        }
        Self::keep(body.clone(), &envelope, None, None)
    }

    /// Form mode: the event object is a text of its own, and the form's names win over the object's.
    fn from_json_data(
        json: Cow<'_, str>,
        instance_name: Option<&str>,
        user_id: Option<&str>,
    ) -> Result<Self, MalformedWebhook> {
        let json = Bytes::from(json.into_owned());
        let text = std::str::from_utf8(&json).map_err(|_| MalformedWebhook::NotUtf8)?;
        let envelope = open(text, MalformedWebhook::JsonDataNotJson)?;
        Self::keep(json.clone(), &envelope, instance_name, user_id)
    }

    fn keep(
        json: Bytes,
        envelope: &wire::Envelope<'_>,
        instance_name: Option<&str>,
        user_id: Option<&str>,
    ) -> Result<Self, MalformedWebhook> {
        let type_name = envelope
            .type_name
            .filled()
            .ok_or(MalformedWebhook::MissingType)?
            .to_owned();
        let piece = |raw: &RawValue| json.slice_ref(raw.get().as_bytes());
        Ok(Self {
            type_name,
            instance_name: instance(instance_name, &envelope.instance_name)?,
            session_id: instance(user_id, &envelope.user_id)?,
            event: envelope.event.map(piece),
            state: envelope.state.text().map(str::to_owned),
            s3: envelope.s3.map(piece),
            // Two quotes around it; an empty string is no file.
            inline_length: envelope
                .base64
                .map(RawValue::get)
                .filter(|raw| raw.starts_with('"') && raw.len() > 2)
                .and_then(|raw| u64::try_from(raw.len() - 2).ok()),
            mime_type: envelope.mime_type.filled().map(str::to_owned),
            failure: envelope
                .error
                .filled()
                .or(envelope.reason.filled())
                .map(str::to_owned),
            json,
        })
    }

    fn text(&self) -> &str {
        // Cut from a `str` when it was made.
        std::str::from_utf8(&self.json).unwrap_or_default()
    }
}

/// Opens the event object. A list must not pass: serde would read it as an object's fields in order.
fn open(text: &str, not_json: MalformedWebhook) -> Result<wire::Envelope<'_>, MalformedWebhook> {
    if !text.trim_start().starts_with('{') {
        return Err(not_json);
    }
    // Every field takes any value, so what is wrong with the data itself can only be a field that came twice.
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            MalformedWebhook::DuplicateField
        } else {
            not_json
        }
    })
}

/// The outer name where it says something, else the inner one.
fn instance(outer: Option<&str>, inner: &wire::Loose<'_>) -> Result<Option<String>, MalformedWebhook> {
    let name = outer.filter(|name| !name.is_empty()).or(inner.filled());
    if name.is_some_and(|name| name.len() > MAX_INSTANCE || name.chars().any(char::is_control)) {
        return Err(MalformedWebhook::InvalidInstance);
    }
    Ok(name.map(str::to_owned))
}

// Both hold people's words.
impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("body", &self.body.len())
            .field("payload", &self.payload)
            .finish()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("json", &self.json.len())
            .field("instance_name", &self.instance_name)
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}
