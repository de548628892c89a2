//! How Meta asks whether a callback address is ours: a GET with a word we agreed on, to be answered with its challenge.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Longest challenge that is repeated, in bytes. Meta's have some ten.
const MAX_CHALLENGE: usize = 256;

/// What the answer's body has to be: these bytes, as `text/plain`, and nothing around them.
///
/// Whoever asked chose it, so it goes out with `X-Content-Type-Options: nosniff` and never as HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge(String);

impl Challenge {
    /// The body.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The body.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// The question was not asked by somebody who knows our word. Answered with 403, and without the challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the verification was refused")]
pub struct Refused;

/// Reads a verification's query; any of the tokens is good. Without a token of ours nothing is.
///
/// # Errors
/// [`Refused`], and not why: a wrong token, a wrong mode, a key that is missing or came twice, no challenge or one that
/// is too long.
pub fn answer_challenge<'t>(
    query: &str,
    tokens: impl IntoIterator<Item = &'t SecretString>,
) -> Result<Challenge, Refused> {
    let (mut mode, mut challenge, mut token) = (None, None, None);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let slot = match key.as_ref() {
            "hub.mode" => &mut mode,
            "hub.challenge" => &mut challenge,
            "hub.verify_token" => &mut token,
            _ => continue,
        };
        // Two readers of a key that came twice could understand two things.
        if slot.replace(value).is_some() {
            return Err(Refused);
        }
    }
    let (Some(mode), Some(challenge), Some(token)) = (mode, challenge, token) else {
        return Err(Refused);
    };
    let known = is_known(&token, tokens);
    // What was no UTF-8 cannot be repeated byte by byte.
    let repeatable =
        (1..=MAX_CHALLENGE).contains(&challenge.len()) && !challenge.contains(char::REPLACEMENT_CHARACTER);
    if known && mode == "subscribe" && repeatable {
        Ok(Challenge(challenge.into_owned()))
    } else {
        Err(Refused)
    }
}

/// Every token is compared, over hashes: the time tells neither which one it was nor how long it is.
fn is_known<'t>(claimed: &str, tokens: impl IntoIterator<Item = &'t SecretString>) -> bool {
    let claimed = Sha256::digest(claimed.as_bytes());
    let mut known = Choice::from(0);
    for token in tokens {
        let token = token.expose_secret();
        let same = Sha256::digest(token.as_bytes())
            .as_slice()
            .ct_eq(claimed.as_slice());
        known |= same & Choice::from(u8::from(!token.is_empty()));
    }
    known.into()
}
