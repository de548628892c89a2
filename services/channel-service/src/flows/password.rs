//! Passwords: argon2id, a bounded number at a time, and as slow for a stranger as for somebody known.

use std::sync::LazyLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

/// Shortest and longest accepted password, in bytes. The upper bound keeps one request from hashing a novel.
pub const LENGTHS: std::ops::RangeInclusive<usize> = 10..=256;

/// Each takes 19 MiB and some tens of milliseconds of a core; more at once would only take turns.
static HASHING: Semaphore = Semaphore::const_new(2);

/// Compared with when there is nobody: the same work, and no password fits.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    argon2()
        .hash_password(b"nobody has this password")
        .map_or_else(|_| String::new(), |hash| hash.to_string())
});

/// Why a password cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("a password has 10 to 256 bytes")]
    Length,
    /// The library failed, or the process ends.
    #[error("the password cannot be hashed")]
    Hashing,
}

/// OWASP's smaller choice: 19 MiB, two passes.
fn argon2() -> Argon2<'static> {
    let params = Params::new(19_456, 2, 1, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password for keeping.
///
/// # Errors
/// [`PasswordError`].
pub async fn hash(password: &SecretString) -> Result<String, PasswordError> {
    if !LENGTHS.contains(&password.expose_secret().len()) {
        return Err(PasswordError::Length);
    }
    let password = password.clone();
    apart(move || {
        argon2()
            .hash_password(password.expose_secret().as_bytes())
            .map(|hash| hash.to_string())
            .map_err(|_| PasswordError::Hashing)
    })
    .await?
}

/// Is this the password? `None` for somebody who does not exist takes as long and is never true.
///
/// # Errors
/// [`PasswordError::Hashing`].
pub async fn verify(password: &SecretString, hash: Option<&str>) -> Result<bool, PasswordError> {
    if password.expose_secret().len() > *LENGTHS.end() {
        return Ok(false);
    }
    let (password, hash) = (password.clone(), hash.map(str::to_owned));
    apart(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        let Ok(parsed) = PasswordHash::new(&hash) else {
            return false;
        };
        let fits = argon2()
            .verify_password(password.expose_secret().as_bytes(), &parsed)
            .is_ok();
        fits && known
    })
    .await
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
    let _turn = HASHING.acquire().await.map_err(|_| PasswordError::Hashing)?;
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| PasswordError::Hashing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let password = SecretString::from("kata sandi desa");
        let kept = hash(&password).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(verify(&password, Some(&kept)).await.unwrap());
        assert!(
            !verify(&SecretString::from("kata sandi lain"), Some(&kept))
                .await
                .unwrap()
        );
        assert!(
            !verify(&SecretString::from("nobody has this password"), None)
                .await
                .unwrap()
        );
        assert_ne!(kept, hash(&password).await.unwrap(), "each hash has its own salt");
    }

    #[tokio::test]
    async fn lengths_are_bounded() {
        for wrong in ["short", &"x".repeat(257)] {
            assert!(matches!(
                hash(&SecretString::from(wrong)).await,
                Err(PasswordError::Length)
            ));
        }
    }
}
