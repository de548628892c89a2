//! Which service calls `/internal` (contract §3.1).

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse};
use tenant_isolation::source_keys::SourceCaller;
use web::ApiError;

use super::session_token::bare;
use crate::error::Error;
use crate::state::Gateway;

/// Longest key that is looked at, in bytes.
const MAX_LENGTH: usize = 1024;

/// A service whose key was checked, and where it calls from.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The service.
    pub(crate) service: SourceCaller,
    /// Its address, as far as trusted proxies tell.
    pub(crate) address: Option<IpAddr>,
}

/// Lets only callers with a key through, and remembers whose key it was. Wraps the whole scope: the check comes before
/// the routes, so that a stranger does not learn which of them exist.
///
/// # Errors
/// 401 without a key and with a wrong one; 429 after too many wrong ones.
pub(crate) async fn require_internal_key(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if request.method() == Method::OPTIONS {
        let answer = HttpResponse::NoContent().finish();
        return Ok(request.into_response(answer).map_into_right_body());
    }
    let caller = check(request.request())
        .await
        .map_err(|error| error.answer(request.path()))?;
    request.extensions_mut().insert(caller);
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

async fn check(request: &HttpRequest) -> Result<Caller, Error> {
    let gateway = request
        .app_data::<Data<Gateway>>()
        .ok_or(Error::Internal("no gateway"))?;
    let presented = presented(request).ok_or(Error::InternalKeyRequired)?;
    let address = web::source::caller_or_peer(request, &gateway.callers.proxies);
    let known = std::str::from_utf8(presented)
        .ok()
        .filter(|key| key.len() <= MAX_LENGTH)
        .and_then(|key| gateway.callers.internal.caller(key).cloned());
    let Some(service) = known else {
        metrics::counter!("kanal_internal_key_refused_total").increment(1);
        let guard = gateway.key_guard.clone();
        let wrong_key = async move {
            let allowed = guard.wrong_key_from(address).await;
            allowed.map_err(Error::TooManyWrongKeys)
        };
        gateway.on_process(wrong_key).await?;
        return Err(Error::InvalidInternalKey);
    };
    if !gateway.policies.are_confirmed() {
        return Err(Error::NotReady);
    }
    Ok(Caller { service, address })
}

/// The key a request shows: `x-internal-api-key`, or else `Authorization` with or without `Bearer`.
fn presented(request: &HttpRequest) -> Option<&[u8]> {
    let value = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.as_bytes().trim_ascii())
    };
    let direct = value("x-internal-api-key").filter(|key| !key.is_empty());
    direct
        .or_else(|| value(AUTHORIZATION.as_str()).map(bare))
        .filter(|key| !key.is_empty())
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().cloned();
        // Nobody let it through: the route stands outside the scope, which is our mistake.
        ready(caller.ok_or_else(ApiError::internal))
    }
}
