//! The word by which we recognise our own messages in the statuses of all messages.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// `chatwoot:<our inbox row>:<message id in Chatwoot>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Our inbox row.
    pub inbox_id: Uuid,
    /// The agent's message.
    pub message_id: i64,
}

const PREFIX: &str = "chatwoot:";

/// A text that is no reference of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reference of the bridge")]
pub struct NotOurs;

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}", self.inbox_id, self.message_id)
    }
}

impl FromStr for Reference {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let (inbox, message) = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once(':'))
            .ok_or(NotOurs)?;
        let inbox_id = Uuid::parse_str(inbox).map_err(|_| NotOurs)?;
        let message_id = message.parse().map_err(|_| NotOurs)?;
        Ok(Self { inbox_id, message_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_and_others_are_not_ours() {
        let reference = Reference {
            inbox_id: Uuid::now_v7(),
            message_id: 9001,
        };
        assert_eq!(reference.to_string().parse(), Ok(reference));
        for other in [
            "",
            "api:1",
            "chatwoot:",
            "chatwoot:x:1",
            "chatwoot:00000000-0000-0000-0000-000000000000:",
        ] {
            assert_eq!(other.parse::<Reference>(), Err(NotOurs), "{other}");
        }
    }
}
