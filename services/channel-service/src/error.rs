//! What can go wrong while a request is answered, and what the caller reads of it. The only place that knows both.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use database::DatabaseError;
use web::ApiError;
use whatsapp::error::{MalformedWebhook, SignatureError};
use whatsapp::session::FailureReason;

use crate::flows::register_account::RegisterError;
use crate::flows::session::{AssignError, SessionError};

use crate::api::village;
use crate::flows::chat::ChatError;
use crate::flows::ingest_message::IngestError;
use crate::flows::route_account::WebhookKeysError;
use crate::store::tenant_move::InFlight;

/// A request that was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// As much is waiting as we allow, or the service is not open yet.
    #[error("too much is waiting")]
    Overloaded,
    /// The tenant has as many unusable events as it may have.
    #[error("the tenant has too many unusable events")]
    KeptTooMany,
    /// The body is no webhook.
    #[error(transparent)]
    Malformed(#[from] MalformedWebhook),
    /// The body was not signed by the account's server.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A sealed secret does not open: a key is missing from the configuration.
    #[error(transparent)]
    Encryption(#[from] runtime::encryption::EncryptionError),
    /// The object store failed.
    #[error("the object store failed")]
    Storage(#[source] crate::media::StorageError),
    /// Something about a session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Something about a device.
    #[error(transparent)]
    Device(SessionError),
    /// Decided where it happened.
    #[error("{0}")]
    Api(#[from] ApiError),
}

/// Long enough for a failover or a burst to pass, short enough that a provider's first retry succeeds.
const COME_BACK: Duration = Duration::from_secs(2);

/// What is said of a device's session in words of HTTP: there is no old client that reads them otherwise.
fn device(error: &SessionError) -> ApiError {
    let (status, code, text) = match error {
        SessionError::LimitReached => (
            StatusCode::CONFLICT,
            "device_limit",
            "The village has as many devices as it may have",
        ),
        SessionError::Provider(failure) => return of_device(failure.reason, failure.said.as_str()),
        SessionError::Maker(error) => (
            StatusCode::BAD_GATEWAY,
            "gateway_failed",
            error.said().unwrap_or("WhatsApp gateway is not available"),
        ),
        other => return session(other),
    };
    ApiError::new(status, code, text.to_owned()).with("success", false)
}

/// A provider did not do what was asked of a device.
pub(crate) fn of_device(reason: FailureReason, said: &str) -> ApiError {
    let status = match reason {
        FailureReason::NoSession
        | FailureReason::NotConnected
        | FailureReason::NotLoggedIn
        | FailureReason::AlreadyLoggedIn
        | FailureReason::Refused => StatusCode::CONFLICT,
        FailureReason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        FailureReason::UnknownToken
        | FailureReason::NotVisible
        | FailureReason::Unreachable
        | FailureReason::NoAnswer
        | FailureReason::Unreadable => StatusCode::BAD_GATEWAY,
    };
    let fallback = match reason {
        FailureReason::NoSession => "The device is not connected; connect it first",
        _ if status == StatusCode::CONFLICT => "The device is not in a state for that",
        _ => "WhatsApp provider is not available",
    };
    ApiError::new(status, reason.as_str(), filled(said, fallback).to_owned()).with("success", false)
}

impl From<WebhookKeysError> for ServiceError {
    fn from(error: WebhookKeysError) -> Self {
        match error {
            WebhookKeysError::Encryption(error) => Self::Encryption(error),
            WebhookKeysError::Database(error) => Self::Database(error),
            WebhookKeysError::EndpointMissing => {
                tracing::warn!("a webhook cannot be judged while its account's endpoint is not configured");
                Self::Overloaded
            }
        }
    }
}

impl From<IngestError> for ServiceError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Overloaded => Self::Overloaded,
            IngestError::Database(error) => Self::Database(error),
        }
    }
}

impl From<ChatError> for ServiceError {
    fn from(error: ChatError) -> Self {
        let answer = match error {
            ChatError::Database(error) => return Self::Database(error),
            ChatError::UnknownTenant => village::unknown(),
            ChatError::Suspended => ApiError::new(
                StatusCode::FORBIDDEN,
                "village_suspended",
                "The village is suspended",
            ),
            ChatError::ChannelOff => ApiError::new(
                StatusCode::FORBIDDEN,
                "channel_disabled",
                "WhatsApp channel disabled",
            ),
            ChatError::KeyUsed => ApiError::new(
                StatusCode::CONFLICT,
                "idempotency_key_used",
                "This Idempotency-Key was used for another message",
            ),
        };
        Self::Api(answer)
    }
}

impl ServiceError {
    fn answer(&self) -> ApiError {
        match self {
            // Whatever Postgres' trouble is: nothing was stored, and the provider will come again.
            Self::Database(_) | Self::Overloaded | Self::KeptTooMany | Self::Storage(_) => {
                ApiError::unavailable(COME_BACK)
            }
            Self::Malformed(error) => ApiError::bad_request(error.code(), error.to_string()),
            Self::Signature(error) => ApiError::unauthorized(error.code(), error.to_string()),
            Self::Encryption(_) => ApiError::internal(),
            Self::Session(error) => session(error),
            Self::Device(error) => device(error),
            Self::Api(error) => error.clone(),
        }
    }
}

/// Contract channel-service 1.5: `success` is false, and `error` is the provider's own text where it has one that is
/// meant to be read.
fn session(error: &SessionError) -> ApiError {
    let failed = |code: &'static str, text: &str| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, code, text.to_owned())
    };
    let answer = match error {
        SessionError::NoSession => {
            ApiError::new(StatusCode::NOT_FOUND, "session_not_found", "Session belum dibuat")
        }
        SessionError::NoDevice => ApiError::new(
            StatusCode::NOT_FOUND,
            "device_not_found",
            "There is no such device",
        ),
        SessionError::NotMade => ApiError::new(
            StatusCode::CONFLICT,
            "device_without_session",
            "The device has no session yet; connect it first",
        ),
        SessionError::Going => ApiError::new(
            StatusCode::CONFLICT,
            "device_removing",
            "The device is being removed",
        ),
        SessionError::NoTenant => village::unknown(),
        SessionError::NumberNeeded => ApiError::new(
            StatusCode::CONFLICT,
            "phone_number_id_required",
            "A device on the village's endpoint is one of its numbers: name it by phone_number_id",
        ),
        SessionError::NotANumbersEndpoint => ApiError::bad_request(
            "no_numbers_here",
            "The village's endpoint is none of the WhatsApp Cloud API; leave phone_number_id out",
        )
        .with("field", "phone_number_id"),
        SessionError::UnknownNumber => {
            ApiError::bad_request("unknown_number", "The village's endpoint has no such number")
                .with("field", "phone_number_id")
        }
        SessionError::NumberTaken => ApiError::new(
            StatusCode::CONFLICT,
            "number_taken",
            "The number is in use already",
        ),
        SessionError::NotANumber => ApiError::new(
            StatusCode::CONFLICT,
            "not_a_number",
            "The device is no number of the WhatsApp Cloud API",
        ),
        SessionError::NotPaired => ApiError::new(
            StatusCode::CONFLICT,
            "not_paired",
            "A number of the WhatsApp Cloud API is not paired with a phone; it is registered at Meta",
        ),
        SessionError::NoTarget => ApiError::new(
            StatusCode::NOT_FOUND,
            "target_session_not_found",
            "Target village session tidak ditemukan",
        ),
        SessionError::OtherNumber => ApiError::new(
            StatusCode::FORBIDDEN,
            "numbers_differ",
            "Kedua session tidak memakai nomor WhatsApp yang sama",
        ),
        SessionError::LimitReached => {
            ApiError::new(StatusCode::FORBIDDEN, "session_limit", "session limit exceeded")
        }
        SessionError::Suspended => ApiError::new(
            StatusCode::FORBIDDEN,
            "village_suspended",
            "The village is suspended",
        ),
        SessionError::EndpointMissing(name) => ApiError::new(
            StatusCode::CONFLICT,
            "endpoint_missing",
            format!("The WhatsApp endpoint {name} of this village is not configured"),
        ),
        SessionError::NotConfigured => failed(
            "session_maker_missing",
            "Neither WA_SUPPORT_URL nor WA_SERVER_URL is configured for this session",
        ),
        SessionError::NoCustomerKey => ApiError::new(
            StatusCode::NOT_FOUND,
            "customer_key_not_found",
            "API key not found for this user",
        ),
        SessionError::Provider(failure) if failure.reason == FailureReason::RateLimited => failed(
            failure.reason.as_str(),
            filled(failure.said.as_str(), "rate limit exceeded"),
        ),
        SessionError::Provider(failure) => failed(
            failure.reason.as_str(),
            filled(failure.said.as_str(), "WhatsApp provider is not available"),
        ),
        SessionError::Maker(error) => failed(
            "gateway_failed",
            error.said().unwrap_or("WhatsApp gateway is not available"),
        ),
        SessionError::Register(
            RegisterError::InstanceTaken | RegisterError::SessionTaken | RegisterError::TenantNameTaken(_),
        ) => failed("session_name_taken", "The session name is taken"),
        SessionError::Register(RegisterError::EndpointMissing(_) | RegisterError::OtherProvider(_)) => {
            ApiError::new(
                StatusCode::CONFLICT,
                "endpoint_missing",
                "No session can be registered on the WhatsApp endpoint of this village",
            )
        }
        SessionError::Busy
        | SessionError::Database(_)
        | SessionError::Register(RegisterError::Database(_)) => ApiError::unavailable(COME_BACK),
        SessionError::Encryption(_) | SessionError::Register(RegisterError::Encryption(_)) => {
            ApiError::internal()
        }
    };
    answer.with("success", false)
}

impl From<AssignError> for ServiceError {
    fn from(error: AssignError) -> Self {
        let in_flight = |code, text: &str, counts: InFlight| {
            ApiError::new(StatusCode::CONFLICT, code, text.to_owned())
                .with("success", false)
                .with("queued", counts.queued)
                .with("unknown", counts.unknown)
        };
        let answer = match error {
            AssignError::Session(error) => return Self::Session(error),
            AssignError::NoSuchTenant => village::unknown(),
            AssignError::InFlight(counts) => in_flight(
                "messages_in_flight",
                "Messages are on their way through the endpoint that the village would leave; `force` puts them aside",
                counts,
            ),
            AssignError::TooMany(counts) => in_flight(
                "too_many_messages_in_flight",
                "More messages are on their way than can be put aside at once; suspend the village and try again later",
                counts,
            ),
            AssignError::HasSessions(count) => ApiError::new(
                StatusCode::CONFLICT,
                "devices_present",
                "The village has devices on its endpoint; `force=true` leaves them there and makes new ones elsewhere",
            )
            .with("success", false)
            .with("devices", count),
        };
        Self::Api(answer)
    }
}

fn filled<'a>(said: &'a str, fallback: &'a str) -> &'a str {
    if said.is_empty() { fallback } else { said }
}

impl ResponseError for ServiceError {
    fn status_code(&self) -> StatusCode {
        self.answer().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        if !matches!(self, Self::Api(_) | Self::Malformed(_)) {
            tracing::warn!(error = %chain(self), "a request was not served");
        }
        self.answer().error_response()
    }
}

/// The causes of an error on one line, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
