//! What a caller reads when something did not work.
//!
//! `{"<error or message>": "…", "code": "…", "request_id": "…"}`: the first field is the one that clients of the
//! service's predecessor read, `code` is stable and documented, `request_id` finds the log lines. Causes are logged,
//! never answered.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value};

use crate::context;

/// The field in which clients of a service look for the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorField {
    /// channel-service and chatwoot-bridge.
    Error,
    /// wa-support-gateway.
    Message,
}

impl ErrorField {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Message => "message",
        }
    }
}

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    text: String,
    extra: Map<String, Value>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// Any error. `text` is for the caller: what to do, nothing about our insides.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            code,
            text: text.into(),
            extra: Map::new(),
            retry_after: None,
        }
    }

    /// 400: the request is not what the route takes.
    #[must_use]
    pub fn bad_request(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, text)
    }

    /// 401: who is calling is not proven.
    #[must_use]
    pub fn unauthorized(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, text)
    }

    /// 404 for a path or method that does not exist.
    #[must_use]
    pub fn no_route(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "route_not_found", "Route not found").with("path", path.to_owned())
    }

    /// 413: the body is over the limit.
    #[must_use]
    pub fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            "request entity too large",
        )
    }

    /// 503: something we depend on is away or full. Nothing was accepted; the caller should come again.
    #[must_use]
    pub fn unavailable(retry_after: Duration) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "Temporarily unavailable, please try again",
        );
        error.retry_after = Some(retry_after);
        error
    }

    /// 429: too often. The caller may come again after the wait.
    #[must_use]
    pub fn too_many(retry_after: Duration) -> Self {
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "Too many requests, please try again later",
        );
        error.retry_after = Some(retry_after);
        error
    }

    /// Says how soon it makes sense to come again.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// 500: our fault. The cause belongs into the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Internal server error",
        )
    }

    /// Adds a field to the answer.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(field.to_owned(), value.into());
        self
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut body = Map::new();
        body.insert(
            context::error_field().name().to_owned(),
            Value::String(self.text.clone()),
        );
        body.extend(self.extra.clone());
        body.insert("code".to_owned(), Value::String(self.code.to_owned()));
        body.insert(
            "request_id".to_owned(),
            context::request_id().map_or(Value::Null, Value::String),
        );
        let mut response = HttpResponse::build(self.status);
        if let Some(wait) = self.retry_after {
            response.insert_header((RETRY_AFTER, wait.as_secs().max(1).to_string()));
        }
        response.json(body)
    }
}
