//! What proves us to a provider and a provider to us. `Debug` shows none of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// The token of one session on a WhatsApp server; whoever has it can write in the tenant's name.
#[derive(Debug, Clone)]
pub struct SessionToken(SecretString);

/// The key a provider signs its webhooks with. Never empty: an empty key would accept everybody's signature.
#[derive(Debug, Clone)]
pub struct WebhookKey(SecretString);

/// User and password for HTTP Basic authentication.
#[derive(Debug, Clone)]
pub struct BasicAuth {
    user: SecretString,
    password: SecretString,
}

/// Why a text is no credential. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredential {
    /// Nothing, or longer than any provider's.
    #[error("a credential has 1 to 1024 characters")]
    Length,
    /// It would not fit into an HTTP header.
    #[error("a session token has printable ASCII characters without blanks only")]
    Characters,
    /// It is not a user and a password.
    #[error("must be `user:password` with exactly one colon")]
    NotUserAndPassword,
}

const MAX_LENGTH: usize = 1024;

fn check_length(text: &str) -> Result<(), InvalidCredential> {
    if (1..=MAX_LENGTH).contains(&text.len()) {
        Ok(())
    } else {
        Err(InvalidCredential::Length)
    }
}

impl SessionToken {
    /// Takes a token: 1 to 1024 printable ASCII characters without blanks, so that it always fits into a header.
    ///
    /// # Errors
    /// [`InvalidCredential`] says which rule was broken.
    pub fn new(token: impl Into<String>) -> Result<Self, InvalidCredential> {
        let token = token.into();
        check_length(&token)?;
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidCredential::Characters);
        }
        Ok(Self(SecretString::from(token)))
    }

    /// The token itself, for encryption and for the call. Do not log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// As a header that HTTP libraries will not print. `None` cannot happen for a token that was made by `new`.
    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.expose()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl WebhookKey {
    /// Takes a key; its UTF-8 bytes are what the provider signs with (wa-server contract 10).
    ///
    /// # Errors
    /// [`InvalidCredential::Length`] when empty or longer than 1024 bytes.
    pub fn new(key: impl Into<String>) -> Result<Self, InvalidCredential> {
        let key = key.into();
        check_length(&key)?;
        Ok(Self(SecretString::from(key)))
    }

    /// The key as it is told to a provider. Do not log it.
    pub(crate) fn text(&self) -> &str {
        self.0.expose_secret()
    }

    /// The key's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl BasicAuth {
    /// Reads `user:password`: exactly one colon, as GoWA's own configuration demands, and something on both sides.
    ///
    /// # Errors
    /// [`InvalidCredential`] says which rule was broken.
    pub fn parse(text: &str) -> Result<Self, InvalidCredential> {
        check_length(text)?;
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() && !password.contains(':') => {
                Ok(Self {
                    user: SecretString::from(user),
                    password: SecretString::from(password),
                })
            }
            _ => Err(InvalidCredential::NotUserAndPassword),
        }
    }

    /// Every way in which it could stand in what somebody says, the longest first.
    pub(crate) fn spellings(&self) -> [SecretString; 3] {
        let pair = format!("{}:{}", self.user.expose_secret(), self.password.expose_secret());
        [self.header(), SecretString::from(pair), self.password.clone()]
    }

    /// The value of the header `Authorization`. Do not log it.
    #[must_use]
    pub fn header(&self) -> SecretString {
        let pair = format!("{}:{}", self.user.expose_secret(), self.password.expose_secret());
        SecretString::from(format!("Basic {}", BASE64.encode(pair)))
    }
}

/// The same user with the same password.
impl PartialEq for BasicAuth {
    fn eq(&self, other: &Self) -> bool {
        self.user.expose_secret() == other.user.expose_secret()
            && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl Eq for BasicAuth {}

/// The same key.
impl PartialEq for WebhookKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for WebhookKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show() {
        let token = SessionToken::new("wat_secret").unwrap();
        let key = WebhookKey::new("another secret").unwrap();
        let basic = BasicAuth::parse("secret:secret2").unwrap();
        assert!(!format!("{token:?} {key:?} {basic:?} {:?}", token.to_header()).contains("secret"));
    }

    #[test]
    fn what_would_break_a_header_or_sign_for_everybody_is_refused() {
        assert!(matches!(SessionToken::new(""), Err(InvalidCredential::Length)));
        assert!(matches!(
            SessionToken::new("a\r\nb"),
            Err(InvalidCredential::Characters)
        ));
        assert!(matches!(
            SessionToken::new("é"),
            Err(InvalidCredential::Characters)
        ));
        assert!(matches!(WebhookKey::new(""), Err(InvalidCredential::Length)));
    }

    #[test]
    fn basic_authentication_is_a_user_and_a_password() {
        let header = BasicAuth::parse("Aladdin:open sesame").unwrap().header();
        assert_eq!(header.expose_secret(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for wrong in ["", "user", ":password", "user:", "a:b:c"] {
            assert!(BasicAuth::parse(wrong).is_err(), "{wrong}");
        }
    }
}
