//! Why the gate refuses something, by Meta's codes (Cloud API contract 3.5 and 3.6).

use std::time::Duration;

use database::DatabaseError;
use domain::message::InvalidContent;

use crate::config::UploadLimits;
use crate::flows::chat::ChatError;
use crate::flows::order_message::OrderError;

/// A refusal in Meta's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Meta's code.
    pub code: u32,
    /// Its finer code, where clients look at it.
    pub subcode: Option<u32>,
    /// Meta's name of the code.
    pub title: &'static str,
    /// Why, for whoever writes the client.
    pub details: String,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

/// Something did not work at the gate.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Decided here.
    #[error("refused with {}: {}", .0.code, .0.details)]
    Refused(Box<Refusal>),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The object store failed.
    #[error("the object store failed")]
    Storage(#[source] crate::media::StorageError),
}

impl From<Refusal> for GateError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl Refusal {
    fn new(status: u16, code: u32, title: &'static str, details: impl Into<String>) -> Self {
        Self {
            status,
            code,
            subcode: None,
            title,
            details: details.into(),
            retry_after: None,
        }
    }

    /// No token, or none that is good.
    #[must_use]
    pub fn token() -> Self {
        Self::new(
            401,
            190,
            "Invalid OAuth access token",
            "The access token is missing, was taken back, or is no token of the gate",
        )
    }

    /// There is no such thing, or it is somebody else's: nobody is told which.
    #[must_use]
    pub fn unknown(id: &str) -> Self {
        let id: String = id.chars().take(64).collect();
        let mut refusal = Self::new(
            400,
            100,
            "Unsupported request",
            format!(
                "Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, or does not support this operation"
            ),
        );
        refusal.subcode = Some(33);
        refusal
    }

    /// The request cannot be read.
    #[must_use]
    pub fn unreadable(details: impl Into<String>) -> Self {
        Self::new(400, 100, "Invalid parameter", details)
    }

    /// A field holds what it may not.
    #[must_use]
    pub fn invalid(details: impl Into<String>) -> Self {
        Self::new(400, 131_009, "Parameter value is not valid", details)
    }

    /// A field is missing.
    #[must_use]
    pub fn missing(details: impl Into<String>) -> Self {
        Self::new(400, 131_008, "Required parameter is missing", details)
    }

    /// The account's provider cannot say it.
    #[must_use]
    pub fn unsupported(details: impl Into<String>) -> Self {
        Self::new(400, 131_051, "Unsupported message type", details)
    }

    /// The file is not taken.
    #[must_use]
    pub fn file(details: impl Into<String>) -> Self {
        Self::new(400, 131_053, "Media upload error", details)
    }

    /// The tenant holds as many files as it may.
    #[must_use]
    pub fn full(limits: UploadLimits) -> Self {
        Self::file(format!(
            "The account may hold {} files of {} bytes together; delete some, or wait until they age out",
            limits.files, limits.bytes
        ))
    }

    /// Too many files are on their way up at this moment.
    #[must_use]
    pub fn uploads() -> Self {
        let refusal = Self::new(
            400,
            80_007,
            "Rate limit issues",
            "Too many files are being put up for this account at this moment",
        );
        refusal.later(Duration::from_secs(1))
    }

    /// It does not fill in what its template wants.
    #[must_use]
    pub fn template(details: impl Into<String>) -> Self {
        Self::new(400, 132_000, "Template does not fit", details)
    }

    /// There is no such template, or Meta has not approved it.
    #[must_use]
    pub fn no_template(details: impl Into<String>) -> Self {
        Self::new(404, 132_001, "Template does not exist", details)
    }

    /// There is no such path, or nothing that can be done there in this way.
    #[must_use]
    pub fn path() -> Self {
        Self::new(
            404,
            2_500,
            "Unknown path components",
            "The gate has no such path, or does nothing there by this method",
        )
    }

    /// The person has not written for a day.
    #[must_use]
    pub fn window() -> Self {
        Self::new(
            400,
            131_047,
            "Re-engagement message",
            "More than 24 hours have passed since the recipient last wrote to this number; send a template",
        )
    }

    /// The account has no session.
    #[must_use]
    pub fn unregistered() -> Self {
        Self::new(
            400,
            133_010,
            "Phone number not registered",
            "The number has no session; connect its device first",
        )
    }

    /// The tenant has switched WhatsApp off.
    #[must_use]
    pub fn switched_off() -> Self {
        Self::new(
            400,
            133_010,
            "Phone number not registered",
            "WhatsApp is switched off for this account; switch it on first",
        )
    }

    /// The tenant is suspended.
    #[must_use]
    pub fn suspended() -> Self {
        Self::new(
            403,
            131_031,
            "Business Account locked",
            "The account is suspended",
        )
    }

    /// Too many messages to one person.
    #[must_use]
    pub fn pair(wait: Duration) -> Self {
        let refusal = Self::new(
            400,
            131_056,
            "(Business Account, Consumer Account) pair rate limit hit",
            "Too many messages from this number to this recipient in a short time",
        );
        refusal.later(wait)
    }

    /// Too many messages of one number.
    #[must_use]
    pub fn number_rate(wait: Duration) -> Self {
        let refusal = Self::new(
            400,
            130_429,
            "Rate limit hit",
            "Too many messages from this number in a short time",
        );
        refusal.later(wait)
    }

    /// Too many calls of one tenant.
    #[must_use]
    pub fn business_rate(wait: Duration) -> Self {
        let refusal = Self::new(
            400,
            80_007,
            "Rate limit issues",
            "Too many calls for this account in a short time",
        );
        refusal.later(wait)
    }

    /// Something we depend on is away.
    #[must_use]
    pub fn away() -> Self {
        Self::new(503, 2, "API Service", "Temporarily unavailable; try again").later(Duration::from_secs(2))
    }

    /// The body is too long, or too slow, or not of its type.
    #[must_use]
    pub fn body(status: u16, details: impl Into<String>) -> Self {
        Self::new(status, 100, "Invalid parameter", details)
    }

    fn later(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.max(Duration::from_secs(1)));
        self
    }
}

impl From<InvalidContent> for GateError {
    fn from(error: InvalidContent) -> Self {
        let told = error.to_string();
        if error.field() == "type" {
            Refusal::unsupported(told)
        } else if error.is_missing() {
            Refusal::missing(told)
        } else {
            Refusal::invalid(told)
        }
        .into()
    }
}

impl From<ChatError> for GateError {
    fn from(error: ChatError) -> Self {
        let told = error.to_string();
        match error {
            ChatError::Database(error) => return Self::Database(error),
            ChatError::Suspended => Refusal::suspended(),
            ChatError::ChannelOff => Refusal::switched_off(),
            ChatError::UnknownTenant | ChatError::KeyUsed => Refusal::invalid(told),
        }
        .into()
    }
}

impl From<OrderError> for GateError {
    fn from(error: OrderError) -> Self {
        let told = error.to_string();
        match error {
            OrderError::Chat(error) => return error.into(),
            OrderError::NoSuchDevice => Refusal::unregistered(),
            OrderError::Unsayable(_) => Refusal::unsupported(told),
            OrderError::Template(error) if error.field() == "template.name" => Refusal::no_template(told),
            OrderError::Template(_) => Refusal::template(told),
            OrderError::WindowClosed(_) => Refusal::window(),
            OrderError::NoTarget => Refusal::invalid(told),
        }
        .into()
    }
}
