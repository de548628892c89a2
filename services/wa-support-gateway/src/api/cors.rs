//! What browsers are told about calls from other pages (contract §5): only listed pages may call, and only `/v1` and
//! `/wa`; `/internal` is for services.

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap,
    HeaderValue, ORIGIN, VARY,
};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::config::Origins;
use crate::state::Gateway;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS");
const HEADERS: HeaderValue = HeaderValue::from_static("Content-Type, Authorization, token, x-api-key");

/// Answers an `OPTIONS` on any other path: 204 and nothing more.
pub(crate) async fn preflight() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// Tells listed pages that they may read the answer, refusals included. Answers `OPTIONS` itself: 204, whatever the
/// path, and nothing of it goes further.
///
/// # Errors
/// Those of the routes.
pub(crate) async fn allow_listed_pages(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let told = Told::of(&request);
    if request.method() == Method::OPTIONS {
        let mut answer = HttpResponse::NoContent().finish();
        told.write(answer.headers_mut());
        return Ok(request.into_response(answer).map_into_right_body());
    }
    match next.call(request).await {
        Ok(mut response) => {
            told.write(response.headers_mut());
            Ok(response.map_into_left_body())
        }
        Err(error) => {
            let mut answer = error.error_response();
            told.write(answer.headers_mut());
            Err(InternalError::from_response(error, answer).into())
        }
    }
}

/// What the page that calls is told. Read before the routes: nobody else may hold the request while they look at it.
pub(super) struct Told {
    varies: bool,
    allowed: Option<HeaderValue>,
}

impl Told {
    pub(super) fn of(request: &ServiceRequest) -> Self {
        let origins = request
            .app_data::<Data<Gateway>>()
            .map(|gateway| &gateway.http.origins);
        let origin = request
            .headers()
            .get(ORIGIN)
            .and_then(|origin| origin.to_str().ok());
        Self {
            varies: matches!(origins, Some(Origins::Listed(_))),
            allowed: origin
                .zip(origins)
                .and_then(|(origin, origins)| HeaderValue::from_str(origins.allowed(origin)?).ok()),
        }
    }

    pub(super) fn write(self, headers: &mut HeaderMap) {
        if self.varies {
            // The answer differs from page to page; caches have to know.
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(allowed) = self.allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        }
    }
}
