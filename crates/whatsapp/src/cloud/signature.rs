//! Who signed a webhook: Meta signs with the secret of the app that a number is connected to.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::credentials::WebhookKey;
use crate::error::SignatureError;

/// The header with the signature: `sha256=` and the HMAC-SHA256 of the raw body in hexadecimal.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

const SCHEME: &str = "sha256=";

/// A webhook body that one of the secrets signed. Made by [`verify`] only, so that nothing unsigned is ever read.
#[derive(Clone)]
pub struct Signed {
    pub(super) body: Bytes,
    secret: usize,
}

impl Signed {
    /// The body as it was sent, for dead letters.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Which of the secrets signed it: the first fitting one's place in the list that [`verify`] was given. A body is
    /// believed about numbers of that secret's app only.
    #[must_use]
    pub const fn secret(&self) -> usize {
        self.secret
    }
}

// The body holds people's words.
impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("body", &self.body.len())
            .field("secret", &self.secret)
            .finish()
    }
}

/// Checks the signature over the body as sent, in constant time, with every secret: a current and a previous one while
/// they are changed, or those of several apps.
///
/// There is no unsigned mode: without a secret nobody's signature is good.
///
/// # Errors
/// [`SignatureError`] when it is missing, not written as Meta writes it, or nobody's. The body is looked at in the last
/// case only.
pub fn verify(body: Bytes, header: Option<&str>, secrets: &[WebhookKey]) -> Result<Signed, SignatureError> {
    let header = header
        .filter(|header| !header.is_empty() && !secrets.is_empty())
        .ok_or(SignatureError::Missing)?;
    let claimed = claimed(header)?;
    // Every secret is tried, so that the time does not tell which one fits.
    let mut fitting = None;
    for (place, secret) in secrets.iter().enumerate() {
        let fits = mac(secret, &body).is_some_and(|mac| mac.verify_slice(&claimed).is_ok());
        if fits && fitting.is_none() {
            fitting = Some(place);
        }
    }
    match fitting {
        Some(secret) => Ok(Signed { body, secret }),
        None => Err(SignatureError::Mismatch),
    }
}

/// What a header says, before anything is known of the body: whatever is not written so is nobody's, and no body is read for it.
///
/// # Errors
/// [`SignatureError::Malformed`].
pub fn check_shape(header: &str) -> Result<(), SignatureError> {
    claimed(header).map(drop)
}

fn claimed(header: &str) -> Result<[u8; 32], SignatureError> {
    let digits = header.strip_prefix(SCHEME).ok_or(SignatureError::Malformed)?;
    let mut claimed = [0; 32];
    hex::decode_to_slice(digits, &mut claimed).map_err(|_| SignatureError::Malformed)?;
    Ok(claimed)
}

/// The signature of a body as Meta makes it: what stands in [`SIGNATURE_HEADER`].
#[must_use]
pub fn sign(secret: &WebhookKey, body: &[u8]) -> String {
    mac(secret, body).map_or_else(String::new, |mac| {
        format!("{SCHEME}{}", hex::encode(mac.finalize().into_bytes()))
    })
}

fn mac(secret: &WebhookKey, body: &[u8]) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of any length, so there is one.
    let mut mac = Hmac::new_from_slice(secret.bytes()).ok()?;
    mac.update(body);
    Some(mac)
}
