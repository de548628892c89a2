//! An answer to a send, as far as it came, whichever provider gave it. What it means is each provider's own table.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::retry::clamp_retry_after;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::port::{OperatorText, RetryReason, SendOutcome, UnknownReason};

/// Most bytes read of an answer; the servers' own are below one KiB.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest wait a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Whose id an accepted message goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdOf {
    /// The one in the answer, where there is one: it is the id of the message that receipts will name.
    Answer,
    /// Ours: the answer repeats the id of another message, the one that was edited, deleted or reacted to.
    Order,
}

/// An answer, as much of it as came.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) wait: Option<Duration>,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Whole(Vec<u8>),
    TooLarge,
    Cut(reqwest::Error),
}

impl Body {
    /// A refusal is a refusal even when its explanation is cut or too long.
    pub(crate) fn whole(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::TooLarge | Self::Cut(_) => &[],
        }
    }
}

impl Answered {
    pub(crate) async fn read(mut response: Response) -> Self {
        let status = response.status();
        let wait = asked_wait(response.headers(), Utc::now());
        let mut bytes = Vec::new();
        let body = loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > MAX_ANSWER => break Body::TooLarge,
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break Body::Whole(bytes),
                Err(error) => break Body::Cut(error),
            }
        };
        Self { status, wait, body }
    }
}

pub(crate) fn retry(reason: RetryReason, detail: OperatorText) -> SendOutcome {
    SendOutcome::RetryLater {
        reason,
        after: None,
        detail,
    }
}

/// No answer came at all.
pub(crate) fn no_answer(error: &reqwest::Error, detail: OperatorText) -> SendOutcome {
    // A timeout while connecting is both; nothing was sent, which is what counts.
    if error.is_connect() {
        retry(RetryReason::Unreachable, detail)
    } else if error.is_builder() {
        retry(RetryReason::NotSendable, detail)
    } else {
        SendOutcome::Unknown {
            reason: broken(error),
            detail,
        }
    }
}

/// How a connection broke over which the request may have gone.
pub(crate) fn broken(error: &reqwest::Error) -> UnknownReason {
    if error.is_timeout() {
        UnknownReason::Timeout
    } else {
        UnknownReason::ConnectionCut
    }
}

/// `Retry-After` in seconds or as a date, kept within one second and one hour.
pub(crate) fn asked_wait(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A date in the past means: now.
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now)
            .to_std()
            .unwrap_or_default(),
    };
    Some(clamp_retry_after(asked, LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        asked_wait(&headers, "1994-11-06T08:49:00Z".parse().unwrap())
    }

    #[test]
    fn waits_are_seconds_or_dates_within_reason() {
        for (text, seconds) in [
            ("30", Some(30)),
            ("0", Some(1)),
            ("99999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(1)),
            ("Mon, 07 Nov 1994 08:00:00 GMT", Some(3600)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(wait(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
