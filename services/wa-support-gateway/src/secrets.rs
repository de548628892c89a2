//! Session tokens and webhook keys: how they are made, found and kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tenant_isolation::TenantScope;
use uuid::Uuid;

/// A fresh session token: `wat_` and 32 random bytes in base64url (contract §3.3).
pub(crate) fn new_session_token() -> SecretString {
    let random: [u8; 32] = rand::random();
    SecretString::from(format!("wat_{}", URL_SAFE_NO_PAD.encode(random)))
}

/// A fresh key of a customer: `gwa_` and 32 random bytes in base64url (contract §3.2).
pub(crate) fn new_customer_key() -> SecretString {
    let random: [u8; 32] = rand::random();
    SecretString::from(format!("gwa_{}", URL_SAFE_NO_PAD.encode(random)))
}

/// The first characters of a key, by which people tell keys apart; too few to guess the others from.
pub(crate) fn key_prefix(key: &SecretString) -> String {
    key.expose_secret().chars().take(8).collect()
}

/// A fresh key for signing webhooks: 32 random bytes in hex, twice what the WA server asks for.
pub(crate) fn new_hmac_key() -> SecretString {
    let random: [u8; 32] = rand::random();
    SecretString::from(hex::encode(random))
}

/// Does the token look like one that we made?
pub(crate) fn is_ours(token: &SecretString) -> bool {
    token.expose_secret().starts_with("wat_")
}

/// What a token is looked up by. Unsalted and fast is enough: the tokens are ours and random.
pub(crate) fn token_hash(token: &SecretString) -> String {
    let hash = Sha256::digest(token.expose_secret().as_bytes());
    // Made for every request, and `hex::encode` takes longer than the hash. It always fits, and is always text.
    let mut digits = [0; 64];
    let written = hex::encode_to_slice(hash, &mut digits);
    written
        .ok()
        .and_then(|()| str::from_utf8(&digits).ok())
        .unwrap_or_default()
        .to_owned()
}

/// The row and column a sealed token belongs to.
pub(crate) fn token_binding(scope: &TenantScope, session: Uuid) -> String {
    format!("sessions/{}/{session}/token", scope.tenant())
}

/// The row and column a sealed webhook key belongs to.
pub(crate) fn hmac_key_binding(scope: &TenantScope, session: Uuid) -> String {
    format!("sessions/{}/{session}/hmac_key", scope.tenant())
}

/// The row and column that the customer's own sealed webhook key belongs to.
pub(crate) fn customer_hmac_key_binding(scope: &TenantScope, session: Uuid) -> String {
    format!("sessions/{}/{session}/customer_hmac_key", scope.tenant())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_contracts_form_and_differ() {
        let (one, two) = (new_session_token(), new_session_token());
        assert_eq!(one.expose_secret().len(), 47);
        assert!(one.expose_secret().starts_with("wat_"));
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert!(new_hmac_key().expose_secret().len() >= 32);
    }

    #[test]
    fn a_token_is_found_by_the_hex_of_its_sha256() {
        assert_eq!(
            token_hash(&SecretString::from("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
