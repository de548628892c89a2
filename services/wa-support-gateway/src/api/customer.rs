//! The customer whose `x-api-key` a request shows (contract §3.2).
//!
//! The key is looked at before the routes and judged by the route that asks for a [`Customer`]: an unknown path is 404
//! without a key, and no body is read for somebody who is not let in.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use secrecy::SecretString;
use tenant_isolation::TenantScope;
use uuid::Uuid;
use web::ApiError;

use super::budget::announce;
use crate::error::Error;
use crate::flows::limit::Budget;
use crate::state::Gateway;
use crate::store::customers::Standing;

/// No key of ours is longer than 47; longer ones are not worth a hash.
const MAX_LENGTH: usize = 1024;

/// A customer that is active. What its subscription allows, its standing says.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    /// Whose rows there are.
    pub(crate) scope: TenantScope,
    /// What it may do now.
    pub(crate) standing: Standing,
    /// The row of the key that was shown.
    pub(crate) key: Uuid,
    /// From where, as far as trusted proxies tell.
    pub(crate) address: Option<IpAddr>,
}

#[derive(Clone)]
struct Judged(Result<Customer, ApiError>);

/// Looks at the key of a request that meets a route.
///
/// # Errors
/// Those of the routes.
pub(crate) async fn look_at_key(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if request.match_pattern().is_some() {
        let (budget, judged) = judge(request.request()).await;
        let judged = judged.map_err(|error| error.answer(request.path()));
        request.extensions_mut().insert(Judged(judged));
        let mut response = next.call(request).await?;
        if let Some(budget) = budget {
            announce(response.response_mut(), &budget);
        }
        return Ok(response);
    }
    next.call(request).await
}

async fn judge(request: &HttpRequest) -> (Option<Budget>, Result<Customer, Error>) {
    let Some(gateway) = request.app_data::<Data<Gateway>>() else {
        return (None, Err(Error::Internal("no gateway")));
    };
    if !gateway.policies.are_confirmed() {
        return (None, Err(Error::NotReady));
    }
    let presented = presented(request);
    let address = web::source::caller_or_peer(request, &gateway.callers.proxies);
    let (keys, limits) = (gateway.customer_keys.clone(), gateway.traffic.limits.clone());
    let entered = gateway
        .on_process(async move { Ok(keys.enter(presented, address, &limits).await) })
        .await;
    match entered {
        Ok((budget, Ok(entered))) => {
            web::note_tenant(&entered.scope);
            let customer = Customer {
                scope: entered.scope,
                standing: entered.standing,
                key: entered.key,
                address,
            };
            (budget, Ok(customer))
        }
        Ok((budget, Err(error))) => (budget, Err(error)),
        Err(error) => (None, Err(error)),
    }
}

fn presented(request: &HttpRequest) -> Result<SecretString, Error> {
    let presented = request
        .headers()
        .get("x-api-key")
        .map(|value| value.as_bytes().trim_ascii());
    let presented = presented
        .filter(|key| !key.is_empty())
        .ok_or(Error::ApiKeyRequired)?;
    let presented = std::str::from_utf8(presented)
        .ok()
        .filter(|key| key.len() <= MAX_LENGTH);
    presented.map(SecretString::from).ok_or(Error::InvalidApiKey)
}

impl FromRequest for Customer {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let judged = request.extensions().get::<Judged>().cloned();
        // Nobody looked at the key: the route stands outside the scope, which is our mistake.
        ready(judged.map_or_else(|| Err(ApiError::internal()), |judged| judged.0))
    }
}
