//! `/metrics`: Prometheus' text, for whoever holds the token.

use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;

use crate::error::ApiError;

/// The token that opens `/metrics`; without one the page does not exist.
#[derive(Debug, Clone)]
pub struct MetricsToken(pub Option<SecretString>);

impl MetricsToken {
    pub(crate) fn routes(&self, config: &mut ServiceConfig) {
        if self.0.is_some() {
            config
                .app_data(web::Data::new(self.clone()))
                .route("/metrics", web::get().to(page));
        }
    }

    fn opens(&self, given: &str) -> bool {
        self.0
            .as_ref()
            .is_some_and(|token| token.expose_secret().as_bytes().ct_eq(given.as_bytes()).into())
    }
}

async fn page(request: HttpRequest, token: web::Data<MetricsToken>) -> Result<HttpResponse, ApiError> {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if !given.is_some_and(|given| token.opens(given)) {
        return Err(ApiError::unauthorized(
            "metrics_token_required",
            "A bearer token is required",
        ));
    }
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(runtime::telemetry::render_metrics()))
}
