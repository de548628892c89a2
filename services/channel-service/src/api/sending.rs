//! What the routes that send have in common: the caller's key, and the words for a refusal.

use ::web::ApiError;
use actix_web::HttpRequest;

use crate::flows::send_text::IdempotencyKey;

/// What a tenant hears that has switched WhatsApp off (channel-service contract 6.2).
pub(crate) const CHANNEL_DISABLED: &str = "WhatsApp channel disabled";

/// The key in `Idempotency-Key`, if there is one.
///
/// # Errors
/// 400 for one that is empty, too long, or holds other than printable ASCII.
pub(crate) fn key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(given) = request.headers().get("idempotency-key") else {
        return Ok(None);
    };
    let key = given.to_str().ok().and_then(IdempotencyKey::parse);
    key.map(Some).ok_or_else(|| {
        ApiError::bad_request(
            "invalid_idempotency_key",
            "Idempotency-Key must have 1 to 255 printable ASCII characters",
        )
    })
}

/// Why a message was not sent, for the caller. What the provider said stays with the operators.
pub(crate) fn refusal(reason: &str) -> String {
    let words = match reason {
        "no_session" => "The village has no connected WhatsApp session. Please create a session first.",
        "invalid_recipient" => "WhatsApp does not know this recipient",
        "too_large" => "The message is too large",
        "subscription_expired" => "The subscription has expired",
        "quota_exceeded" => "The message quota is used up",
        _ => return format!("The message was not sent: {reason}"),
    };
    words.to_owned()
}
