//! What each answer of the Graph API means for a message (Cloud API contract 3.4 to 3.8).
//!
//! One question decides every row: can the message have gone out? Meta takes no id of ours, so what may have gone out is
//! never sent again by itself.
//!
//! | what comes | outcome | why |
//! |---|---|---|
//! | no connection | `RetryLater unreachable` | the request never left us |
//! | no answer in time, or it broke off | `Unknown timeout`, `connection_cut` | it may be sending right now |
//! | 200 with an id | `Accepted` under that id | what statuses will name |
//! | 200 without, cut, not JSON or too large | `Unknown unreadable_answer` | success was said, of what is not known |
//! | auth | `RetryLater unauthorized` | another token may come |
//! | permission | `RetryLater forbidden` | a permission may come |
//! | rate, pair | `RateLimited` in its scope | refused before anything was sent |
//! | spam | `Rejected spam_limited` | each further try makes it worse |
//! | window | `Rejected window_closed` | a template may go out instead |
//! | permanent | `Rejected`, by the code | the same bytes fail again |
//! | policy | `Rejected policy` | |
//! | transient | `Unknown server_error` | 5xx and their codes come before and after sending alike |
//! | no code: 301, 307, 308 | `RetryLater redirected` | a wrong base URL |
//! | no code: 404, 408, 413 | `Rejected not_found`, `Unknown timeout`, `Rejected too_large` | something in between speaks |
//! | no code: 502, 503, 504 | `Unknown bad_gateway`, `gateway_timeout` | |
//! | other 1xx, 3xx | `Unknown unreadable_answer` | no answer of this API |

use std::time::Duration;

use chrono::Utc;
use domain::ids::ProviderMessageId;
use serde::Deserialize;

use super::super::class::ErrorClass;
use super::super::http::{GraphFailure, Refusal};
use crate::loose::Loose;
use crate::port::{OperatorText, RateScope, RejectReason, RetryReason, SendOutcome, UnknownReason};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sent<'a> {
    #[serde(borrow)]
    messages: Vec<SentMessage<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SentMessage<'a> {
    #[serde(borrow)]
    id: Loose<'a>,
}

pub(super) fn retry(reason: RetryReason, detail: OperatorText) -> SendOutcome {
    SendOutcome::RetryLater {
        reason,
        after: None,
        detail,
    }
}

pub(super) fn judge(answer: Result<Vec<u8>, GraphFailure>) -> SendOutcome {
    match answer {
        Ok(body) => accepted(&body),
        Err(failure) => failed(failure),
    }
}

/// Success was said; believe it only when there is an id.
fn accepted(body: &[u8]) -> SendOutcome {
    let sent: Sent<'_> = serde_json::from_slice(body).unwrap_or_default();
    let id = sent.messages.first().and_then(|message| message.id.filled());
    match id.map(ProviderMessageId::parse) {
        Some(Ok(provider_message_id)) => SendOutcome::Accepted {
            provider_message_id,
            at: Utc::now(),
        },
        Some(Err(_)) | None => SendOutcome::Unknown {
            reason: UnknownReason::UnreadableAnswer,
            detail: OperatorText::of_library("success was said without an id"),
        },
    }
}

fn failed(failure: GraphFailure) -> SendOutcome {
    match failure {
        GraphFailure::Unsendable => retry(RetryReason::NotSendable, OperatorText::default()),
        GraphFailure::Unreachable(detail) => retry(RetryReason::Unreachable, detail),
        GraphFailure::NoAnswer { timeout, detail } => SendOutcome::Unknown {
            reason: if timeout {
                UnknownReason::Timeout
            } else {
                UnknownReason::ConnectionCut
            },
            detail,
        },
        GraphFailure::Unreadable(detail) => SendOutcome::Unknown {
            reason: UnknownReason::UnreadableAnswer,
            detail,
        },
        GraphFailure::Refused(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> SendOutcome {
    let wait = rate_wait(&refusal);
    let Refusal {
        status,
        code,
        subcode,
        class,
        after,
        said: detail,
    } = refusal;
    let unknown = |reason, detail| SendOutcome::Unknown { reason, detail };
    let rejected = |reason, detail| SendOutcome::Rejected { reason, detail };
    match (class, code, status) {
        (_, None, 301 | 307 | 308) => retry(RetryReason::Redirected, detail),
        (_, None, 404) => rejected(RejectReason::NotFound, detail),
        (_, None, 408) => unknown(UnknownReason::Timeout, detail),
        (_, None, 413) => rejected(RejectReason::TooLarge, detail),
        (_, None, 502 | 503) => unknown(UnknownReason::BadGateway, detail),
        (_, None, 504) => unknown(UnknownReason::GatewayTimeout, detail),
        (_, None, 100..=399) => unknown(UnknownReason::UnreadableAnswer, detail),
        (_, None, 400) => rejected(RejectReason::InvalidRequest, detail),
        (_, None, 403) => retry(RetryReason::Forbidden, detail),
        (_, None, 422) => rejected(RejectReason::Unprocessable, detail),
        (ErrorClass::Auth, ..) => SendOutcome::RetryLater {
            reason: RetryReason::Unauthorized,
            after,
            detail,
        },
        (ErrorClass::Permission, ..) => SendOutcome::RetryLater {
            reason: RetryReason::Forbidden,
            after,
            detail,
        },
        (ErrorClass::Rate(scope), ..) => SendOutcome::RateLimited {
            after: wait,
            scope,
            detail,
        },
        (ErrorClass::Pair, ..) => SendOutcome::RateLimited {
            after: wait,
            scope: RateScope::Chat,
            detail,
        },
        (ErrorClass::Spam, ..) => rejected(RejectReason::SpamLimited, detail),
        (ErrorClass::Window, ..) => rejected(RejectReason::WindowClosed, detail),
        (ErrorClass::Policy, ..) => rejected(RejectReason::Policy, detail),
        (ErrorClass::Permanent, ..) => rejected(permanent(code, subcode), detail),
        (ErrorClass::Transient { .. }, ..) => unknown(UnknownReason::ServerError, detail),
    }
}

/// What exactly will never do.
const fn permanent(code: Option<i64>, subcode: Option<i64>) -> RejectReason {
    match (code, subcode) {
        (Some(33), _) | (Some(100), Some(33)) => RejectReason::NotFound,
        (Some(130_403 | 131_021 | 131_026 | 131_030 | 131_062), _) => RejectReason::InvalidRecipient,
        (Some(131_051..=131_053), _) => RejectReason::Unprocessable,
        (Some(100 | 131_008 | 131_009 | 132_000..=132_018), _) => RejectReason::InvalidRequest,
        _ => RejectReason::Refused,
    }
}

/// How long to wait: as asked, else what Meta is known to want in the scope.
fn rate_wait(refusal: &Refusal) -> Duration {
    let seconds = match refusal.class {
        // One message in six seconds to one person.
        ErrorClass::Pair => 6,
        ErrorClass::Rate(RateScope::App) => 60,
        ErrorClass::Rate(RateScope::Business) => 5 * 60,
        // Ten in an hour.
        ErrorClass::Rate(RateScope::Flow) => 6 * 60,
        // Ten in three days.
        ErrorClass::Rate(RateScope::Registration) => 60 * 60,
        _ => 10,
    };
    refusal.after.unwrap_or(Duration::from_secs(seconds))
}

/// What a file that could not be put up means for its message, which certainly did not go out.
pub(super) fn not_uploaded(failure: GraphFailure) -> SendOutcome {
    let upload_failed = |detail| retry(RetryReason::UploadFailed, detail);
    match failure {
        GraphFailure::Unreadable(detail) => upload_failed(detail),
        other => match failed(other) {
            // Meta itself has said nothing.
            SendOutcome::Unknown {
                reason:
                    UnknownReason::Timeout
                    | UnknownReason::ConnectionCut
                    | UnknownReason::BadGateway
                    | UnknownReason::GatewayTimeout,
                detail,
            } => retry(RetryReason::UploadUnanswered, detail),
            SendOutcome::Unknown { detail, .. } => upload_failed(detail),
            SendOutcome::Accepted { .. } => upload_failed(OperatorText::default()),
            settled => settled,
        },
    }
}
