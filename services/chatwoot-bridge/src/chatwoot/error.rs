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
        /// The whole server, and not one conversation.
        whole: bool,
    },
    /// As many calls to this server are under way as may be: it was not asked.
    #[error("chatwoot is busy with other calls of ours")]
    Busy,
    /// It was asked as often as it may be for now, or said so itself: it was not asked.
    #[error("chatwoot is asked slowly")]
    Paced {
        /// Until there is room again.
        after: Duration,
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
        /// The server fails whoever asks: that is not the fault of what was asked.
        outage: bool,
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
pub enum Wait {
    /// It failed, which may happen only so often. At least this long, whatever the schedule says.
    Failed(Option<Duration>),
    /// Nothing is wrong with what was asked: longer each time, without end. At least this long.
    Deferred(Option<Duration>),
    /// So long and no longer, without end.
    Brief(Duration),
}

/// The wait for a free place at a server; the lane goes behind all others meanwhile.
const BUSY: Duration = Duration::from_millis(300);

impl ChatwootError {
    /// May the same call succeed later, without anybody changing it?
    #[must_use]
    pub const fn wait(&self) -> Option<Wait> {
        match self {
            Self::Busy => Some(Wait::Brief(BUSY)),
            Self::Resting { after } | Self::Paced { after } => Some(Wait::Brief(*after)),
            Self::RateLimited { after, whole: _ } => Some(Wait::Deferred(*after)),
            Self::NoAnswer {
                settled_in,
                outage: true,
                ..
            } => Some(Wait::Deferred(*settled_in)),
            Self::NoAnswer { settled_in, .. } => Some(Wait::Failed(*settled_in)),
            // Tokens are replaced while messages wait; only after all attempts it is somebody's business.
            Self::TokenRefused => Some(Wait::Failed(None)),
            Self::NotFound | Self::Taken | Self::Refused { .. } | Self::NotDialled(_) => None,
        }
    }

    /// The stable word for it, kept as the reason of a parked task.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Busy => "chatwoot_busy".to_owned(),
            Self::RateLimited { .. } => "chatwoot_rate_limited".to_owned(),
            Self::Paced { .. } => "chatwoot_paced".to_owned(),
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
