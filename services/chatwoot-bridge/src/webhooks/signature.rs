//! Chatwoot's signature (contract 2.3): HMAC-SHA256 over `<timestamp>.<raw body>`, lower-case hex.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A secret is stored, so a signature is required.
    #[error("A signature is required")]
    Missing,
    /// The timestamp is too far from now, or none.
    #[error("The signature's timestamp is not acceptable")]
    Stale,
    /// Made with another secret or over another body.
    #[error("The signature does not match")]
    Mismatch,
    /// The route asks for a token, and this is none or another one.
    #[error("The token does not match")]
    Token,
}

impl SignatureError {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "signature_missing",
            Self::Stale => "signature_stale",
            Self::Mismatch => "signature_mismatch",
            Self::Token => "token_mismatch",
        }
    }
}

/// The two headers, as far as they are there.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `X-Chatwoot-Timestamp`.
    pub timestamp: Option<&'a str>,
    /// `X-Chatwoot-Signature`.
    pub signature: Option<&'a str>,
}

/// Checks a body against the stored secrets; without any, everything is believed (servers before v4.13 do not sign).
///
/// # Errors
/// [`SignatureError`].
pub fn verify(
    secrets: &[SecretString],
    signed: Signed<'_>,
    body: &[u8],
    now: DateTime<Utc>,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    if secrets.is_empty() {
        return Ok(());
    }
    let (Some(timestamp), Some(signature)) = (signed.timestamp, signed.signature) else {
        return Err(SignatureError::Missing);
    };
    let claimed = signature
        .strip_prefix("sha256=")
        .and_then(|hex| hex::decode(hex).ok());
    let claimed = claimed.ok_or(SignatureError::Mismatch)?;
    let genuine = secrets
        .iter()
        .any(|secret| matches(secret, timestamp, body, &claimed));
    if !genuine {
        return Err(SignatureError::Mismatch);
    }
    let at: i64 = timestamp.parse().map_err(|_| SignatureError::Stale)?;
    if now.timestamp().abs_diff(at) > tolerance.as_secs() {
        return Err(SignatureError::Stale);
    }
    Ok(())
}

fn matches(secret: &SecretString, timestamp: &str, body: &[u8], claimed: &[u8]) -> bool {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return false;
    };
    // Compares in constant time.
    mac.chain_update(timestamp.as_bytes())
        .chain_update(b".")
        .chain_update(body)
        .verify_slice(claimed)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_767_225_600;
    const BODY: &[u8] = br#"{"event":"message_created","id":9001,"content":"Halo \u0026 selamat"}"#;
    const SIGNATURE: &str = "sha256=054114a3606fcc6a806537625a1edae06f0aae3cb5096fbe44fc8626f91ef905";

    fn check(
        secrets: &[&str],
        timestamp: Option<&str>,
        signature: Option<&str>,
        now: i64,
    ) -> Result<(), SignatureError> {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
        let now = DateTime::from_timestamp(now, 0).unwrap();
        verify(
            &secrets,
            Signed { timestamp, signature },
            BODY,
            now,
            Duration::from_secs(300),
        )
    }

    #[test]
    fn the_contracts_vector_matches_under_any_of_the_secrets() {
        let stamp = Some("1767225600");
        assert_eq!(
            check(&["test-secret-not-real-0001"], stamp, Some(SIGNATURE), AT),
            Ok(())
        );
        assert_eq!(
            check(
                &["other", "test-secret-not-real-0001"],
                stamp,
                Some(SIGNATURE),
                AT + 300
            ),
            Ok(())
        );
        assert_eq!(
            check(&["test-secret-not-real-0001"], stamp, Some(SIGNATURE), AT + 301),
            Err(SignatureError::Stale)
        );
        assert_eq!(
            check(&["test-secret-not-real-0001"], stamp, Some(SIGNATURE), AT - 301),
            Err(SignatureError::Stale)
        );
        assert_eq!(
            check(&["other"], stamp, Some(SIGNATURE), AT),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn without_secrets_everything_is_believed_and_with_one_nothing_is_missing() {
        assert_eq!(check(&[], None, None, AT), Ok(()));
        assert_eq!(
            check(&["s"], None, Some(SIGNATURE), AT),
            Err(SignatureError::Missing)
        );
        assert_eq!(
            check(&["s"], Some("1767225600"), None, AT),
            Err(SignatureError::Missing)
        );
        for malformed in ["", "sha256=", "sha256=zz", &SIGNATURE[7..]] {
            let refused = check(
                &["test-secret-not-real-0001"],
                Some("1767225600"),
                Some(malformed),
                AT,
            );
            assert_eq!(refused, Err(SignatureError::Mismatch), "{malformed}");
        }
    }
}
