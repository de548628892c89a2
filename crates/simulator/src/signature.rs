//! The one signing primitive all the imitated servers share: HMAC-SHA256 in lower-case hex.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Lower-case hex HMAC-SHA256 over the parts in order.
#[must_use]
pub fn hmac_sha256_hex(key: &str, parts: &[&[u8]]) -> String {
    // HMAC accepts keys of every length, so the error arm cannot be reached; an empty signature would fail loudly anyway.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    for part in parts {
        mac.update(part);
    }
    hex::encode(mac.finalize().into_bytes())
}

/// Chatwoot's `X-Chatwoot-Signature` value: `sha256=` and the HMAC over timestamp, a dot and the raw body (contract 2.3).
#[must_use]
pub fn chatwoot_signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    format!(
        "sha256={}",
        hmac_sha256_hex(secret, &[timestamp.as_bytes(), b".", body])
    )
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Escapes `<`, `>`, `&` and the two line separators the way both Go and Rails do inside JSON strings.
///
/// These characters can stand only inside strings of a JSON text, so replacing them everywhere is safe.
pub(crate) fn escape_html_in_json(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
