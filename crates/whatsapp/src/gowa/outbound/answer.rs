//! What each answer of the server means (chatwoot-bridge contract 4.1 and 4.4).
//!
//! One question decides every row: can the message have gone out? The server makes the ids, so what may have gone out
//! is never sent again by itself.
//!
//! | what comes | outcome | why |
//! |---|---|---|
//! | no connection | `RetryLater unreachable` | the request never left us |
//! | no answer in time | `Unknown timeout` | it may be sending right now |
//! | connection cut, nothing or half an answer | `Unknown connection_cut` | the server may have sent before it broke |
//! | 2xx with `SUCCESS` | `Accepted` under the id it names | |
//! | other 2xx, cut, not JSON or over 64 KiB | `Unknown unreadable_answer` | success was said, of what is not known |
//! | 301, 307, 308 | `RetryLater redirected` | the router speaks, not the handler: a wrong base URL |
//! | 400 `INVALID_JID`, `DEVICE_ID_REQUIRED`, else | `Rejected invalid_recipient`, `RetryLater no_session`, `Rejected invalid_request` | nobody on WhatsApp; no device of ours; the same bytes fail again |
//! | 401 `AUTHENTICATION_ERROR`, else | `RetryLater no_session`, `unauthorized` | the device is not logged in; our user is not taken |
//! | 403 | `RetryLater forbidden` | something in between |
//! | 404 `DEVICE_NOT_FOUND`, else | `RetryLater unauthorized`, `Rejected not_found` | the device's id is its token, and it may be made again |
//! | 408 | `Unknown timeout` | the server's own deadline |
//! | 413, 422, other 4xx | `Rejected too_large`, `unprocessable`, `refused` | |
//! | 429 `WA_REACHOUT_TIMELOCK` | `RetryLater reachout_timelock`, in an hour | see [`REACHOUT_WAIT`] |
//! | other 429 | `RateLimited` | something in between, before anything is forwarded |
//! | 500 `UPLOAD_MEDIA_ERROR`, `INVALID_WA_CLI` | `RetryLater upload_failed`, `no_session` | files are put up before anything is sent; there is no client that could have sent |
//! | other 500 | `Unknown server_error` | the library fails before or after sending alike |
//! | 503 `DEVICE_MANAGER_UNAVAILABLE` or with `Retry-After` | `RetryLater unavailable` | a deliberate refusal |
//! | 502, other 503 | `Unknown bad_gateway` | proxies say so too when an answer is cut |
//! | 504 | `Unknown gateway_timeout` | WhatsApp did not answer in time |
//! | 1xx, other 3xx, other 5xx | `Unknown` | no answer this server gives |

use std::time::Duration;

use chrono::Utc;
use domain::ids::ProviderMessageId;

use super::super::endpoint::GowaEndpoint;
use super::super::wire;
use crate::answer::{Answered, Body, IdOf, broken, retry};
use crate::genfity::error_chain;
use crate::port::{OperatorText, RateScope, RejectReason, RetryReason, SendOutcome, UnknownReason};

/// The wait after a 429 that names none.
const DEFAULT_RATE_WAIT: Duration = Duration::from_secs(10);

/// WhatsApp lets the number write to nobody new for a while (its error 463), hours as a rule, and counts every further try
/// against it. The message did not go out, so it is no failure for good; and chats that exist go on, so it is no limit of
/// the account's, for which all of them would stand still. Hence an attempt that counts, and the next one in an hour, the
/// longest wait there is: with the usual eight attempts the message is tried for most of a working day and then parked,
/// where a person decides.
const REACHOUT_WAIT: Duration = Duration::from_secs(60 * 60);

pub(super) fn judge(
    answered: Answered,
    ours: &ProviderMessageId,
    id_of: IdOf,
    endpoint: &GowaEndpoint,
) -> SendOutcome {
    let Answered { status, wait, body } = answered;
    if status.is_success() {
        return judge_success(&body, ours, id_of, endpoint);
    }
    let bytes = body.whole();
    let answer: wire::Answer<'_> = serde_json::from_slice(bytes).unwrap_or_default();
    let plain = String::from_utf8_lossy(bytes);
    let detail = endpoint.keep(answer.message.filled().unwrap_or(&plain));
    let rejected = |reason| SendOutcome::Rejected {
        reason,
        detail: detail.clone(),
    };
    let unknown = |reason| SendOutcome::Unknown {
        reason,
        detail: detail.clone(),
    };
    match (status.as_u16(), answer.code.text().unwrap_or_default()) {
        (301 | 307 | 308, _) => retry(RetryReason::Redirected, detail),
        (400, "INVALID_JID") => rejected(RejectReason::InvalidRecipient),
        (400, "DEVICE_ID_REQUIRED") | (401, "AUTHENTICATION_ERROR") => retry(RetryReason::NoSession, detail),
        (400, _) => rejected(RejectReason::InvalidRequest),
        (401, _) | (404, "DEVICE_NOT_FOUND") => retry(RetryReason::Unauthorized, detail),
        (403, _) => retry(RetryReason::Forbidden, detail),
        (404, _) => rejected(RejectReason::NotFound),
        (408, _) => unknown(UnknownReason::Timeout),
        (413, _) => rejected(RejectReason::TooLarge),
        (422, _) => rejected(RejectReason::Unprocessable),
        (429, "WA_REACHOUT_TIMELOCK") => SendOutcome::RetryLater {
            reason: RetryReason::ReachoutTimelock,
            after: Some(REACHOUT_WAIT),
            detail,
        },
        (429, _) => SendOutcome::RateLimited {
            after: wait.unwrap_or(DEFAULT_RATE_WAIT),
            scope: RateScope::Number,
            detail,
        },
        (400..=499, _) => rejected(RejectReason::Refused),
        (500, "UPLOAD_MEDIA_ERROR") => retry(RetryReason::UploadFailed, detail),
        (500, "INVALID_WA_CLI") => retry(RetryReason::NoSession, detail),
        (503, "DEVICE_MANAGER_UNAVAILABLE") => unavailable(wait, detail),
        (503, _) if wait.is_some() => unavailable(wait, detail),
        (502 | 503, _) => unknown(UnknownReason::BadGateway),
        (504, _) => unknown(UnknownReason::GatewayTimeout),
        (500..=599, _) => unknown(UnknownReason::ServerError),
        _ => unknown(UnknownReason::UnreadableAnswer),
    }
}

const fn unavailable(after: Option<Duration>, detail: OperatorText) -> SendOutcome {
    SendOutcome::RetryLater {
        reason: RetryReason::Unavailable,
        after,
        detail,
    }
}

/// Success was said; believe it only when the rest can be read.
fn judge_success(body: &Body, ours: &ProviderMessageId, id_of: IdOf, endpoint: &GowaEndpoint) -> SendOutcome {
    let unreadable = |detail: &str| SendOutcome::Unknown {
        reason: UnknownReason::UnreadableAnswer,
        detail: endpoint.keep(detail),
    };
    let bytes = match body {
        Body::Whole(bytes) => bytes,
        Body::TooLarge => return unreadable("the answer is larger than 64 KiB"),
        Body::Cut(error) => {
            return SendOutcome::Unknown {
                reason: broken(error),
                detail: endpoint.keep(&error_chain(error)),
            };
        }
    };
    let said = String::from_utf8_lossy(bytes);
    let answer: wire::Answer<'_> = match serde_json::from_slice(bytes) {
        Ok(answer) => answer,
        Err(_) => return unreadable(&said),
    };
    if answer.code.text() != Some(wire::SUCCESS) {
        return unreadable(&said);
    }
    let sent: wire::Sent<'_> = answer
        .results
        .and_then(|results| serde_json::from_str(results.get()).ok())
        .unwrap_or_default();
    let theirs = sent.message_id.filled().filter(|_| id_of == IdOf::Answer);
    // It went out all the same where no id can be read; only its receipts will not be known for its own.
    let provider_message_id = theirs
        .and_then(|id| ProviderMessageId::parse(id).ok())
        .unwrap_or_else(|| ours.clone());
    SendOutcome::Accepted {
        provider_message_id,
        at: Utc::now(),
    }
}
