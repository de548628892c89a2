//! The word by which we recognise our own messages in the statuses of all messages.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// `chatwoot:<our inbox row>:<message id in Chatwoot>`, and `:<part>:<attempt>` where these are not both the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Our inbox row.
    pub inbox_id: Uuid,
    /// The agent's message.
    pub message_id: i64,
    /// Which of the messages that it is on WhatsApp, from 0.
    pub part: i32,
    /// How often the agent had asked for it to be sent again.
    pub attempt: i32,
}

impl Reference {
    /// The first part of a message, sent for the first time.
    #[must_use]
    pub const fn of(inbox_id: Uuid, message_id: i64) -> Self {
        Self {
            inbox_id,
            message_id,
            part: 0,
            attempt: 0,
        }
    }
}

const PREFIX: &str = "chatwoot:";

/// A text that is no reference of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reference of the bridge")]
pub struct NotOurs;

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}", self.inbox_id, self.message_id)?;
        if (self.part, self.attempt) == (0, 0) {
            return Ok(());
        }
        write!(f, ":{}:{}", self.part, self.attempt)
    }
}

impl FromStr for Reference {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let mut words = text.strip_prefix(PREFIX).ok_or(NotOurs)?.split(':');
        let mut next = || words.next();
        let inbox_id = next()
            .and_then(|word| Uuid::parse_str(word).ok())
            .ok_or(NotOurs)?;
        let message_id = next().and_then(|word| word.parse().ok()).ok_or(NotOurs)?;
        let counted = |word: &str| word.parse().ok().filter(|number| *number >= 0).ok_or(NotOurs);
        let (part, attempt) = match (next(), next(), next()) {
            (None, ..) => (0, 0),
            (Some(part), Some(attempt), None) => (counted(part)?, counted(attempt)?),
            _ => return Err(NotOurs),
        };
        Ok(Self {
            inbox_id,
            message_id,
            part,
            attempt,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_and_others_are_not_ours() {
        let first = Reference::of(Uuid::now_v7(), 9001);
        // What orders of before carry.
        assert_eq!(first.to_string(), format!("chatwoot:{}:9001", first.inbox_id));
        for (part, attempt) in [(0, 0), (0, 1), (3, 0), (15, 7)] {
            let reference = Reference {
                part,
                attempt,
                ..first
            };
            assert_eq!(reference.to_string().parse(), Ok(reference));
        }
        let nil = "chatwoot:00000000-0000-0000-0000-000000000000";
        for other in [
            "",
            "api:1",
            "chatwoot:",
            "chatwoot:x:1",
            &format!("{nil}:"),
            &format!("{nil}:1:2"),
            &format!("{nil}:1:2:3:4"),
            &format!("{nil}:1:-2:3"),
            &format!("{nil}:1:x:3"),
        ] {
            assert_eq!(other.parse::<Reference>(), Err(NotOurs), "{other}");
        }
    }
}
