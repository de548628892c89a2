//! What each answer of the server means.
//!
//! One question decides every row: can the message have gone out? The HTTP status speaks first; a text is looked at
//! only where the contract fixes it (wa-server 2 and 7.1, wa-support-gateway 8.2).
//!
//! | what comes | outcome | why |
//! |---|---|---|
//! | no connection | `RetryLater unreachable` | the request never left us |
//! | no answer in time | `Unknown timeout` | it may be sending right now |
//! | connection cut, nothing or half an answer | `Unknown connection_cut` | the server may have sent before it broke |
//! | 2xx with `success`, `code` 200 or `Details` `Sent` | `Accepted` | |
//! | other 2xx, cut, not JSON or over 64 KiB | `Unknown unreadable_answer` | success was said, of what is not known |
//! | 301, 307, 308 | `RetryLater redirected` | the router speaks, not the handler: a wrong base URL |
//! | 401 | `RetryLater unauthorized` | the token may be repaired; parked after the last try |
//! | 403 `subscription expired`, `message quota exceeded`, else | `RetryLater subscription_expired`, `quota_exceeded`, `forbidden` | a customer may renew |
//! | 400, `could not parse Phone` | `Rejected invalid_request`, `invalid_recipient` | the same bytes fail again |
//! | 404, 413, 422, other 4xx | `Rejected not_found`, `too_large`, `unprocessable`, `refused` | |
//! | 408 | `Unknown timeout` | some proxy gave up, on which side is not said |
//! | 429 | `RateLimited` | checked before anything is forwarded |
//! | 500 `no session` | `RetryLater no_session` | there is no client that could have sent |
//! | 500 `failed to upload file …` | `RetryLater upload_failed` | files are put up before anything is sent |
//! | other 500 (`error sending message: …`) and 5xx | `Unknown server_error` | the library fails before or after sending alike |
//! | 502 with code `upstream_unreachable` | `RetryLater upstream_unreachable` | our gateway says it could not connect |
//! | other 502 | `Unknown bad_gateway` | connections also break after the request |
//! | 503 with `Retry-After` | `RetryLater unavailable` | a deliberate refusal |
//! | other 503 | `Unknown bad_gateway` | proxies say so too when an answer is cut |
//! | 504 | `Unknown gateway_timeout` | |
//! | 1xx, other 3xx | `Unknown unreadable_answer` | no answer this server gives |

use std::time::Duration;

use chrono::Utc;
use domain::ids::ProviderMessageId;

use super::super::wire;
use crate::answer::{Answered, Body, IdOf, broken, retry};
use crate::credentials::SessionToken;
use crate::port::{OperatorText, RateScope, RejectReason, RetryReason, SendOutcome, UnknownReason};

/// The wait after a 429 that names none; the original gateway never does.
const DEFAULT_RATE_WAIT: Duration = Duration::from_secs(10);
/// How long the gateway blocks whom it takes for a spammer (wa-support-gateway 12).
const SPAM_BLOCK: Duration = Duration::from_secs(10 * 60);

/// An error with its causes, without the URL (the caller knows the endpoint, logs need not).
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

pub(super) fn judge(
    answered: Answered,
    ours: &ProviderMessageId,
    id_of: IdOf,
    token: &SessionToken,
) -> SendOutcome {
    let Answered { status, wait, body } = answered;
    if status.is_success() {
        return judge_success(&body, ours, id_of, token);
    }
    let bytes = body.whole();
    let answer: wire::Answer<'_> = serde_json::from_slice(bytes).unwrap_or_default();
    let plain = String::from_utf8_lossy(bytes);
    let said = answer
        .error
        .filled()
        .or(answer.message.filled())
        .unwrap_or(&plain);
    let detail = OperatorText::keep(said, token);

    let rejected = |reason| SendOutcome::Rejected {
        reason,
        detail: detail.clone(),
    };
    let unknown = |reason| SendOutcome::Unknown {
        reason,
        detail: detail.clone(),
    };
    match status.as_u16() {
        301 | 307 | 308 => retry(RetryReason::Redirected, detail),
        400 if said == "could not parse Phone" => rejected(RejectReason::InvalidRecipient),
        400 => rejected(RejectReason::InvalidRequest),
        401 => retry(RetryReason::Unauthorized, detail),
        403 => retry(forbidden(said), detail),
        404 => rejected(RejectReason::NotFound),
        408 => unknown(UnknownReason::Timeout),
        413 => rejected(RejectReason::TooLarge),
        422 => rejected(RejectReason::Unprocessable),
        429 => SendOutcome::RateLimited {
            after: wait.unwrap_or_else(|| rate_wait(said)),
            scope: RateScope::Number,
            detail,
        },
        _ if status.is_client_error() => rejected(RejectReason::Refused),
        500 if said == "no session" => retry(RetryReason::NoSession, detail),
        500 if said.starts_with("failed to upload file") => retry(RetryReason::UploadFailed, detail),
        502 if answer.code.text() == Some("upstream_unreachable") => {
            retry(RetryReason::UpstreamUnreachable, detail)
        }
        503 if wait.is_some() => SendOutcome::RetryLater {
            reason: RetryReason::Unavailable,
            after: wait,
            detail,
        },
        502 | 503 => unknown(UnknownReason::BadGateway),
        504 => unknown(UnknownReason::GatewayTimeout),
        _ if status.is_server_error() => unknown(UnknownReason::ServerError),
        _ => unknown(UnknownReason::UnreadableAnswer),
    }
}

fn forbidden(said: &str) -> RetryReason {
    match said {
        "subscription expired" => RetryReason::SubscriptionExpired,
        "message quota exceeded" => RetryReason::QuotaExceeded,
        _ => RetryReason::Forbidden,
    }
}

fn rate_wait(said: &str) -> Duration {
    match said {
        "ip blocked due to spam" | "spam detected" => SPAM_BLOCK,
        _ => DEFAULT_RATE_WAIT,
    }
}

/// Success was said; believe it only when the rest can be read.
fn judge_success(body: &Body, ours: &ProviderMessageId, id_of: IdOf, token: &SessionToken) -> SendOutcome {
    let unreadable = |detail: &str| SendOutcome::Unknown {
        reason: UnknownReason::UnreadableAnswer,
        detail: OperatorText::keep(detail, token),
    };
    let bytes = match body {
        Body::Whole(bytes) => bytes,
        Body::TooLarge => return unreadable("the answer is larger than 64 KiB"),
        Body::Cut(error) => {
            return SendOutcome::Unknown {
                reason: broken(error),
                detail: OperatorText::keep(&chain(error), token),
            };
        }
    };
    let said = String::from_utf8_lossy(bytes);
    let Ok(answer) = serde_json::from_slice::<wire::Answer<'_>>(bytes) else {
        return unreadable(&said);
    };
    let data: wire::SentData<'_> = answer
        .data
        .and_then(|data| serde_json::from_str(data.get()).ok())
        .unwrap_or_default();
    // Channel-service contract 6.2: any of the three is a yes.
    let accepted =
        answer.success.is_true() || answer.code.whole() == Some(200) || data.details.text() == Some("Sent");
    if !accepted {
        return unreadable(&said);
    }
    let theirs = data.id.filled().filter(|_| id_of == IdOf::Answer);
    let provider_message_id = theirs.and_then(|id| ProviderMessageId::parse(id).ok());
    let at = data.timestamp.time().unwrap_or_else(Utc::now);
    SendOutcome::Accepted {
        provider_message_id: provider_message_id.unwrap_or_else(|| ours.clone()),
        at,
    }
}
