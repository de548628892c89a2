//! Who calls the internal routes: the key in `X-Internal-API-Key`, or in `X-API-Key` as some callers send it
//! (channel-service contract 1.1 and 9.A1).

use std::future::{Ready, ready};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, web};
use tenant_isolation::caller::{CallerKeys, InternalCaller};

use crate::error::ApiError;

/// Longest key that is looked at, in bytes.
const MAX_KEY: usize = 1024;

/// Lets only callers with a key through, and remembers whose key it was. Wrap a whole scope in it: the check comes
/// before the routes, so that a stranger does not learn which of them exist.
///
/// # Errors
/// 401 without a key, 403 with a wrong one.
pub async fn require_internal_key(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let caller = check(&request)?;
    request.extensions_mut().insert(caller);
    next.call(request).await
}

fn check(request: &ServiceRequest) -> Result<InternalCaller, ApiError> {
    let presented = ["x-internal-api-key", "x-api-key"]
        .into_iter()
        .filter_map(|name| request.headers().get(name))
        .map(|value| value.to_str().unwrap_or_default().trim())
        .find(|key| !key.is_empty());
    let Some(presented) = presented else {
        return Err(ApiError::unauthorized(
            "api_key_missing",
            "Unauthorized: Missing API key",
        ));
    };
    let keys = request.app_data::<web::Data<CallerKeys>>();
    keys.filter(|_| presented.len() <= MAX_KEY)
        .and_then(|keys| keys.caller(presented).cloned())
        .ok_or_else(|| {
            metrics::counter!("kanal_internal_key_refused_total").increment(1);
            ApiError::new(
                StatusCode::FORBIDDEN,
                "api_key_invalid",
                "Forbidden: Invalid API key",
            )
        })
}

/// The caller that [`require_internal_key`] let through.
#[derive(Debug, Clone)]
pub struct Internal(pub InternalCaller);

impl FromRequest for Internal {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<InternalCaller>().cloned();
        // Nobody let it through: the route stands outside the scope, which is our mistake.
        ready(caller.map(Self).ok_or_else(ApiError::internal))
    }
}
