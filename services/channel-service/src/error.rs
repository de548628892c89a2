//! What can go wrong while a request is answered, and what the caller reads of it. The only place that knows both.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use database::DatabaseError;
use web::ApiError;
use whatsapp::error::{MalformedWebhook, SignatureError};

/// A request that was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// As much is waiting as we allow, or the service is not open yet.
    #[error("too much is waiting")]
    Overloaded,
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
    /// Decided where it happened.
    #[error("{0}")]
    Api(#[from] ApiError),
}

/// Long enough for a failover or a burst to pass, short enough that a provider's first retry succeeds.
const COME_BACK: Duration = Duration::from_secs(2);

impl ServiceError {
    fn answer(&self) -> ApiError {
        match self {
            // Whatever Postgres' trouble is: nothing was stored, and the provider will come again.
            Self::Database(_) | Self::Overloaded | Self::Storage(_) => ApiError::unavailable(COME_BACK),
            Self::Malformed(error) => ApiError::bad_request(error.code(), error.to_string()),
            Self::Signature(error) => ApiError::unauthorized(error.code(), error.to_string()),
            Self::Encryption(_) => ApiError::internal(),
            Self::Api(error) => error.clone(),
        }
    }
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
