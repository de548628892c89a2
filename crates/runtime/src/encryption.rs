//! Secrets at rest: sealed under a key from the environment, with the key's id beside them so that keys can rotate.
//!
//! XChaCha20-Poly1305 with a random nonce. The row a secret belongs to is bound in as associated data: a sealed
//! value copied into another tenant's row does not open there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::config::Setting;
use crate::signing::SigningKeys;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// The keys that can open secrets; the first one also seals.
///
/// As a setting: `id:base64-of-32-bytes`, several separated by commas, newest first.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<(String, XChaCha20Poly1305)>,
    /// Keyed with the same keys: what other keys are derived with.
    deriving: Vec<Hmac<Sha256>>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|(id, _)| id))
            .finish()
    }
}

impl Setting for KeyRing {
    const EXPECTED: &'static str =
        "must be id:key pairs separated by commas, newest first, each key 32 random bytes in base64";

    fn from_text(text: &str) -> Option<Self> {
        let mut keys: Vec<(String, XChaCha20Poly1305)> = Vec::new();
        let mut deriving = Vec::new();
        for pair in text.split(',') {
            let (id, key) = pair.trim().split_once(':')?;
            let key = Key::try_from(
                BASE64
                    .decode(key)
                    .ok()
                    .filter(|key| key.len() == KEY_BYTES)?
                    .as_slice(),
            )
            .ok()?;
            let plain_id = !id.is_empty() && id.len() <= 32 && id.bytes().all(|b| b.is_ascii_alphanumeric());
            if !plain_id || keys.iter().any(|(known, _)| known == id) {
                return None;
            }
            deriving.push(<Hmac<Sha256> as KeyInit>::new_from_slice(&key).ok()?);
            keys.push((id.to_owned(), XChaCha20Poly1305::new(&key)));
        }
        (!keys.is_empty()).then_some(Self { keys, deriving })
    }
}

/// Why a sealed secret could not be used. Says nothing about the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    /// The key it was sealed under is not in the ring any more.
    #[error("sealed under a key that is not configured")]
    UnknownKey,
    /// Changed, cut or moved to another row.
    #[error("sealed secret does not open")]
    DoesNotOpen,
}

impl KeyRing {
    /// Keys for signing things of one sort, e.g. `media links`. They rotate with the ring, and tell nothing of it or
    /// of the keys for another sort.
    #[must_use]
    pub fn signing_keys(&self, purpose: &'static str) -> SigningKeys {
        let derived = self.deriving.iter().map(|mac| {
            let mut mac = mac.clone();
            mac.update(b"kanal signing key: ");
            mac.update(purpose.as_bytes());
            mac.finalize().into_bytes().into()
        });
        SigningKeys::new(derived)
    }

    /// Was this sealed under the key that seals now? What was not is to be sealed anew before its key can go.
    #[must_use]
    pub fn is_current(&self, sealed: &str) -> bool {
        let newest = self.keys.first().map(|(id, _)| id.as_str());
        sealed.split_once(':').map(|(id, _)| id) == newest
    }

    /// The ids of all keys, newest first.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.keys.iter().map(|(id, _)| id.clone()).collect()
    }

    /// The id of the key that seals now.
    #[must_use]
    pub fn newest_id(&self) -> &str {
        self.keys.first().map_or("", |(id, _)| id)
    }

    /// Seals a secret for the row that `bound_to` names, e.g. `accounts/<tenant>/<id>/token`.
    ///
    /// # Errors
    /// [`EncryptionError::DoesNotOpen`] if the cipher refuses, which it does only for absurd lengths.
    pub fn seal(&self, secret: &SecretString, bound_to: &str) -> Result<String, EncryptionError> {
        let (id, cipher) = self.keys.first().ok_or(EncryptionError::UnknownKey)?;
        let nonce = XNonce::generate();
        let payload = Payload {
            msg: secret.expose_secret().as_bytes(),
            aad: bound_to.as_bytes(),
        };
        let sealed = cipher
            .encrypt(&nonce, payload)
            .map_err(|_| EncryptionError::DoesNotOpen)?;
        let bytes: Vec<u8> = nonce.iter().copied().chain(sealed).collect();
        Ok(format!("{id}:{}", BASE64.encode(bytes)))
    }

    /// Opens what [`Self::seal`] made for the same row.
    ///
    /// # Errors
    /// [`EncryptionError`] when the key is unknown or the value was changed or moved.
    pub fn open(&self, sealed: &str, bound_to: &str) -> Result<SecretString, EncryptionError> {
        let (id, text) = sealed.split_once(':').ok_or(EncryptionError::DoesNotOpen)?;
        let (_, cipher) = self
            .keys
            .iter()
            .find(|(known, _)| known == id)
            .ok_or(EncryptionError::UnknownKey)?;
        let bytes = BASE64.decode(text).map_err(|_| EncryptionError::DoesNotOpen)?;
        let (nonce, sealed) = bytes
            .split_at_checked(NONCE_BYTES)
            .ok_or(EncryptionError::DoesNotOpen)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| EncryptionError::DoesNotOpen)?;
        let payload = Payload {
            msg: sealed,
            aad: bound_to.as_bytes(),
        };
        let plain = cipher
            .decrypt(&nonce, payload)
            .map_err(|_| EncryptionError::DoesNotOpen)?;
        String::from_utf8(plain)
            .map(SecretString::from)
            .map_err(|_| EncryptionError::DoesNotOpen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(text: &str) -> KeyRing {
        KeyRing::from_text(text).unwrap()
    }

    fn key(fill: u8) -> String {
        BASE64.encode([fill; KEY_BYTES])
    }

    #[test]
    fn a_secret_opens_only_in_its_own_row() {
        let ring = ring(&format!("a:{}", key(1)));
        let sealed = ring
            .seal(&SecretString::from("wat_token"), "accounts/t1/x")
            .unwrap();
        assert!(!sealed.contains("wat_token"));
        assert_eq!(
            ring.open(&sealed, "accounts/t1/x").unwrap().expose_secret(),
            "wat_token"
        );
        assert_eq!(
            ring.open(&sealed, "accounts/t2/x").unwrap_err(),
            EncryptionError::DoesNotOpen
        );
    }

    #[test]
    fn an_old_key_still_opens_after_rotation_and_a_dropped_one_does_not() {
        let sealed = ring(&format!("old:{}", key(1)))
            .seal(&SecretString::from("s"), "row")
            .unwrap();
        let rotated = ring(&format!("new:{},old:{}", key(2), key(1)));
        assert_eq!(rotated.open(&sealed, "row").unwrap().expose_secret(), "s");
        assert!(!rotated.is_current(&sealed) && rotated.newest_id() == "new");
        assert!(rotated.is_current(&rotated.seal(&SecretString::from("s"), "row").unwrap()));
        assert!(
            rotated
                .seal(&SecretString::from("s"), "row")
                .unwrap()
                .starts_with("new:")
        );
        let dropped = ring(&format!("new:{}", key(2)));
        assert_eq!(
            dropped.open(&sealed, "row").unwrap_err(),
            EncryptionError::UnknownKey
        );
    }

    #[test]
    fn malformed_rings_are_refused() {
        for wrong in [
            "",
            "a",
            "a:short",
            &format!(":{}", key(1)),
            &format!("a:{0},a:{0}", key(1)),
        ] {
            assert!(KeyRing::from_text(wrong).is_none(), "{wrong:?}");
        }
    }
}
