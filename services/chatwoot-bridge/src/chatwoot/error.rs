//! What a failed call means, sorted by what the caller can do about it.

use std::time::Duration;

use crate::outbound_url::OutboundRefusal;

/// A call that did not end in an answer we can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChatwootError {
    /// 429, or the 422 that Chatwoot has for too many messages: nothing happened, come again later.
    #[error("chatwoot asks for patience")]
    RateLimited {
        /// What `Retry-After` said.
        after: Option<Duration>,
    },
    /// It could not be reached lately and is left alone for now: it was not asked.
    #[error("chatwoot is left alone for a while")]
    Resting {
        /// Until then.
        after: Duration,
    },
    /// No connection, a broken one, a timeout, 5xx or an answer that cannot be read. Chatwoot may or may not have
    /// done what it was asked.
    #[error("chatwoot did not answer: {what}")]
    NoAnswer {
        /// What happened, as a fixed word.
        what: &'static str,
        /// When Chatwoot has surely made up its mind, if that is later than any moment now.
        settled_in: Option<Duration>,
    },
    /// 404: the thing, or something above it, is not there.
    #[error("chatwoot does not know it")]
    NotFound,
    /// 422 because something unique has an owner already.
    #[error("chatwoot has one already")]
    Taken,
    /// 401: the token is wrong or revoked, or a proxy drops headers with underscores.
    #[error("chatwoot does not accept the token")]
    TokenRefused,
    /// Any other 4xx or a redirect: asking again will not help.
    #[error("chatwoot refused with {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The stored URL may not be dialled.
    #[error("chatwoot's address may not be dialled")]
    NotDialled(#[from] OutboundRefusal),
}

/// How to wait before the same call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// At least this long, whatever the schedule says.
    pub at_least: Option<Duration>,
    /// Is it a failure, of which there may be only so many?
    pub counts: bool,
}

impl ChatwootError {
    /// May the same call succeed later, without anybody changing it?
    #[must_use]
    pub const fn wait(&self) -> Option<Wait> {
        match self {
            Self::RateLimited { after } => Some(Wait {
                at_least: *after,
                counts: false,
            }),
            Self::Resting { after } => Some(Wait {
                at_least: Some(*after),
                counts: false,
            }),
            Self::NoAnswer { settled_in, .. } => Some(Wait {
                at_least: *settled_in,
                counts: true,
            }),
            // Tokens are replaced while messages wait; only after all attempts it is somebody's business.
            Self::TokenRefused => Some(Wait {
                at_least: None,
                counts: true,
            }),
            Self::NotFound | Self::Taken | Self::Refused { .. } | Self::NotDialled(_) => None,
        }
    }

    /// The stable word for it, kept as the reason of a parked task.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::RateLimited { .. } => "chatwoot_rate_limited".to_owned(),
            Self::Resting { .. } => "chatwoot_not_reached_lately".to_owned(),
            Self::NoAnswer { what, .. } => format!("chatwoot_no_answer_{what}"),
            Self::NotFound => "chatwoot_not_found".to_owned(),
            Self::Taken => "chatwoot_taken".to_owned(),
            Self::TokenRefused => "chatwoot_token_refused".to_owned(),
            Self::Refused { status } => format!("chatwoot_refused_{status}"),
            Self::NotDialled(_) => "chatwoot_address_not_dialled".to_owned(),
        }
    }
}
