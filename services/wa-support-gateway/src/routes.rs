//! The routes, in one place. `/health`, `/health/live`, `/health/ready` and `/metrics` come from `web`.

use actix_web::web::{self, ServiceConfig};

use crate::api;
use crate::state::Gateway;

/// Adds every route. Both prefixes of the proxy behave the same (contract §8.1) and stand before anything else below
/// `/v1`.
pub(crate) fn add(gateway: &Gateway, config: &mut ServiceConfig) {
    config
        .app_data(web::Data::new(gateway.clone()))
        .route("/", web::get().to(api::root::root))
        .route("/", web::head().to(api::root::root))
        .route("/wa/{path:.*}", web::to(api::proxy::proxy))
        .route("/v1/wa/{path:.*}", web::to(api::proxy::proxy));
}
