//! From where a request comes (contract channel-service 2.1 and 9.A2).
//!
//! Anybody can write an address into a header. So the socket's address counts, and what stands in `X-Forwarded-For`
//! only as far as listed proxies have written it: read from the right, the first address that is no listed proxy is
//! the caller's.

use std::net::IpAddr;

use ::web::ApiError;
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
    let caller = caller_of(request, settings);
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
    caller_of(request, settings).or_else(|| Some(request.peer_addr()?.ip()))
}

fn caller_of(request: &HttpRequest, settings: &WebhookSettings) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    caller(peer, &forwarded(request), |proxy| settings.proxies.contain(proxy))
}

/// The entries of every `X-Forwarded-For`, in order.
fn forwarded(request: &HttpRequest) -> Vec<&str> {
    let lines = request.headers().get_all("x-forwarded-for");
    // A line that is no text is one entry that is no address, and not left out: it may hide somebody.
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .collect()
}

/// Who called, as far as somebody we believe has said so. `None`: a listed proxy speaks for something that is no
/// address.
fn caller(peer: IpAddr, forwarded: &[&str], is_proxy: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut caller = peer;
    for entry in forwarded.iter().rev() {
        if !is_proxy(caller) {
            break;
        }
        caller = entry.parse().ok()?;
    }
    Some(caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_listed_proxies_wrote_is_believed() {
        let proxies = ["10.0.0.1", "10.0.0.2"];
        let is_proxy = |address: IpAddr| proxies.contains(&address.to_string().as_str());
        for (peer, headers, expected) in [
            ("203.0.113.7", vec![], Some("203.0.113.7")),
            // A stranger who claims to speak for somebody else is the stranger.
            ("203.0.113.7", vec!["198.51.100.1"], Some("203.0.113.7")),
            ("10.0.0.1", vec!["198.51.100.1"], Some("198.51.100.1")),
            ("10.0.0.1", vec!["198.51.100.1", "10.0.0.2"], Some("198.51.100.1")),
            // What the caller itself had written stands further left.
            (
                "10.0.0.1",
                vec!["198.51.100.1", "203.0.113.9"],
                Some("203.0.113.9"),
            ),
            ("10.0.0.1", vec!["198.51.100.1", "unknown"], None),
            ("10.0.0.1", vec![], Some("10.0.0.1")),
        ] {
            let found = caller(peer.parse().unwrap(), &headers, is_proxy);
            assert_eq!(
                found.map(|address| address.to_string()).as_deref(),
                expected,
                "{peer} {headers:?}"
            );
        }
    }
}
