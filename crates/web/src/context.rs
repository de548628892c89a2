//! What is known about the request in hand: its id and how its errors are shaped.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, ResponseError as _};
use bytes::Bytes;
use futures_util::FutureExt as _;
use trace_context::{Span, TRACEPARENT, TraceContext, TraceId};
use tracing_actix_web::RequestId;

use crate::error::{ApiError, ErrorField};
use crate::meters;

const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT_HEADER: HeaderName = HeaderName::from_static(TRACEPARENT);

struct Context {
    request_id: Option<RequestId>,
    error_field: ErrorField,
}

tokio::task_local! {
    static CONTEXT: Context;
}

/// The id of the request in hand, also found in its answer (`x-request-id`) and in every log line. `None` outside
/// a request.
#[must_use]
pub fn request_id() -> Option<String> {
    CONTEXT
        .try_with(|context| context.request_id)
        .ok()
        .flatten()
        .map(|id| id.to_string())
}

/// A time as it is written in JSON: ISO 8601, UTC, milliseconds, `Z` (channel-service contract 1.0).
#[must_use]
pub fn wire_time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

pub(crate) fn error_field() -> ErrorField {
    CONTEXT
        .try_with(|context| context.error_field)
        .unwrap_or(ErrorField::Error)
}

/// Puts the tenant on every further log line of this request.
pub fn note_tenant(scope: &tenant_isolation::TenantScope) {
    tracing::Span::current().record("tenant", scope.tenant().as_str());
    trace_context::note_tenant(scope.tenant().as_str());
}

/// Puts what the sender calls this delivery on every further log line of this request. Senders write what they like, so
/// only what looks like an id is taken.
pub fn note_delivery(id: &str) {
    let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_id {
        tracing::Span::current().record("delivery", id);
    }
}

/// The place in a trace that the caller works at. Two of them are none.
fn parent(request: &ServiceRequest) -> Option<TraceContext> {
    let mut sent = request.headers().get_all(TRACEPARENT_HEADER);
    let (one, another) = (sent.next()?, sent.next());
    another
        .is_none()
        .then_some(one)?
        .to_str()
        .ok()
        .and_then(TraceContext::parse)
}

/// What a trace that begins here is called: as its request is.
fn seed(request: &ServiceRequest) -> [u8; 16] {
    let id = request.extensions().get::<RequestId>().copied();
    id.map(|id| *id.as_bytes()).unwrap_or_default()
}

/// The id of the trace that a request belongs to: its caller's, else its own.
pub(crate) fn trace_id(request: &ServiceRequest) -> TraceId {
    let parent = parent(request).unwrap_or_else(|| TraceContext::root(seed(request)));
    parent.trace_id()
}

/// Asked every few seconds whether anything happens or not.
fn is_probe(route: &str) -> bool {
    route.starts_with("/health") || route == "/metrics"
}

/// The method as a label of metrics. Callers choose it freely, and each label is kept for ever.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

/// A request that is being answered, counted until it is dropped: also when its caller left, or its handler panicked.
struct InFlight(metrics::Gauge);

impl InFlight {
    fn begin() -> Self {
        let gauge = meters::in_flight();
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// The innermost middleware: gives the request its context, turns panics into answers, counts and measures.
pub(crate) async fn with_context(
    error_field: ErrorField,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let _in_flight = InFlight::begin();
    let request_id = request.extensions().get::<RequestId>().copied();
    let header = request_id.and_then(|id| HeaderValue::from_maybe_shared(Bytes::from(id.to_string())).ok());
    let method = method_label(request.method());
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let span = if is_probe(&route) {
        Span::untold(seed(&request))
    } else {
        Span::server(parent(&request), seed(&request), method, &route)
    };
    let context = Context {
        request_id,
        error_field,
    };
    let answering = CONTEXT.scope(context, async {
        let outcome = AssertUnwindSafe(next.call(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                tracing::error!("a handler panicked");
                metrics::counter!("kanal_http_panics_total").increment(1);
                Err(ApiError::internal().into())
            });
        // Errors of middlewares and panics would become answers further out; they are rendered here, where the
        // request's id and the shape of errors are known.
        match outcome {
            // A known path with another method: to our callers that is no route, too.
            Ok(response) if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
                let answer = ApiError::no_route(response.request().path()).error_response();
                Ok(response.into_response(answer).map_into_right_body())
            }
            Ok(response) => Ok(response.map_into_left_body()),
            Err(error) => Err((error.error_response(), error)),
        }
    });
    let mut outcome = trace_context::within(span, async {
        let outcome = answering.await;
        let status = match &outcome {
            Ok(response) => response.status(),
            Err((answer, _)) => answer.status(),
        };
        trace_context::note_status(status.as_u16());
        outcome
    })
    .await;
    let headers = match &mut outcome {
        Ok(response) => response.headers_mut(),
        Err((answer, _)) => answer.headers_mut(),
    };
    if let Some(header) = header {
        headers.insert(REQUEST_ID_HEADER, header);
    }
    let status = match &outcome {
        Ok(response) => response.status(),
        Err((answer, _)) => answer.status(),
    };
    meters::answered(method, &route, status.as_u16(), started.elapsed());
    outcome.map_err(|(answer, error)| InternalError::from_response(error, answer).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strange_methods_share_one_label() {
        assert_eq!(method_label(&Method::POST), "POST");
        for strange in ["PURGE", "post", "X1", "X2"] {
            assert_eq!(
                method_label(&Method::from_bytes(strange.as_bytes()).unwrap()),
                "other"
            );
        }
    }
}
