//! What sessions are called.

use std::fmt;
use std::str::FromStr;

/// What a session is called; its webhooks carry it as `instanceName`. 1 to 255 characters, none of them a control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionName(String);

/// A text that cannot name a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session name has 1 to 255 characters, no control characters and no blanks around it")]
pub struct InvalidSessionName;

impl SessionName {
    const MAX_LENGTH: usize = 255;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionName {
    type Err = InvalidSessionName;

    fn from_str(text: &str) -> Result<Self, InvalidSessionName> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        let plain = text.trim() == text && !text.chars().any(char::is_control);
        if fits && plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSessionName)
        }
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_and_short() {
        for right in ["desa-contoh", "Desa Contoh", "é", &"a".repeat(255)] {
            assert_eq!(right.parse::<SessionName>().unwrap().as_str(), right);
        }
        for wrong in ["", " a", "a ", "a\nb", "a\0b", &"a".repeat(256)] {
            assert_eq!(wrong.parse::<SessionName>(), Err(InvalidSessionName), "{wrong:?}");
        }
    }
}
