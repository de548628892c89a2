//! From where a request may come (contract channel-service 2.1 and 9.A2).

use std::net::IpAddr;

use ::web::{ApiError, source};
use actix_web::HttpRequest;
use actix_web::http::StatusCode;

use crate::config::WebhookSettings;

/// Lets a request through if its source is listed, or if there is no list.
///
/// # Errors
/// 403 for everybody else.
pub(super) fn check(request: &HttpRequest, settings: &WebhookSettings) -> Result<(), ApiError> {
    if settings.allowed.is_empty() {
        return Ok(());
    }
    let caller = source::caller(request, &settings.proxies);
    if caller.is_some_and(|caller| settings.allowed.contain(caller)) {
        return Ok(());
    }
    metrics::counter!("kanal_webhooks_refused_total", "reason" => "source").increment(1);
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "source_not_allowed",
        "Forbidden",
    ))
}

/// Who called, for throttles and the audit log: as far as listed proxies tell, else the socket's address.
pub(crate) fn caller_or_peer(request: &HttpRequest, settings: &WebhookSettings) -> Option<IpAddr> {
    source::caller_or_peer(request, &settings.proxies)
}
