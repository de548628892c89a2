//! Signatures that we check ourselves later: over links that we hand out.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 32;

/// The keys that can check; the first one also signs. Made by [`crate::encryption::KeyRing::signing_keys`].
#[derive(Clone)]
pub struct SigningKeys {
    macs: Vec<Hmac<Sha256>>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys")
            .field("keys", &self.macs.len())
            .finish()
    }
}

impl SigningKeys {
    pub(crate) fn new(keys: impl Iterator<Item = [u8; 32]>) -> Self {
        Self {
            // HMAC takes keys of any length; the error cannot happen.
            macs: keys.filter_map(|key| Hmac::new_from_slice(&key).ok()).collect(),
        }
    }

    /// Signs under the newest key. `None` cannot happen: a ring has at least one key.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
        let mut mac = self.macs.first()?.clone();
        mac.update(message);
        Some(mac.finalize().into_bytes().into())
    }

    /// Did one of the keys sign this? Takes the same time whichever did, or none.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.macs.iter().fold(false, |signed, mac| {
            let mut mac = mac.clone();
            mac.update(message);
            signed | mac.verify_slice(signature).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use crate::config::Setting as _;
    use crate::encryption::KeyRing;

    fn ring(fills: &[u8]) -> KeyRing {
        let keys: Vec<String> = fills
            .iter()
            .map(|fill| format!("k{fill}:{}", BASE64.encode([*fill; 32])))
            .collect();
        KeyRing::from_text(&keys.join(",")).unwrap()
    }

    #[test]
    fn a_signature_holds_for_its_message_purpose_and_keys_only() {
        let links = ring(&[1]).signing_keys("links");
        let signature = links.sign(b"file 1").unwrap();
        assert!(links.verify(b"file 1", &signature));
        assert!(!links.verify(b"file 2", &signature));
        assert!(!links.verify(b"file 1", &signature[..31]));
        assert!(!links.verify(b"file 1", &[]));
        assert!(!ring(&[1]).signing_keys("cookies").verify(b"file 1", &signature));
        assert!(!ring(&[2]).signing_keys("links").verify(b"file 1", &signature));
    }

    #[test]
    fn what_an_older_key_signed_holds_until_that_key_is_dropped() {
        let old = ring(&[1]).signing_keys("links").sign(b"m").unwrap();
        let rotated = ring(&[2, 1]).signing_keys("links");
        assert!(rotated.verify(b"m", &old));
        assert_ne!(rotated.sign(b"m").unwrap(), old);
        assert!(!ring(&[2]).signing_keys("links").verify(b"m", &old));
    }
}
