//! The routes, in one place. `/health`, `/health/live`, `/health/ready` and `/metrics` come from `web`.

use ::web::openapi::Api;
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
    if gateway.hook_body_limit.is_some() {
        config.service(
            web::scope("/hooks")
                .app_data(gateway.hook_bodies.clone())
                .configure(|config| hooks().configure(config)),
        );
    }
}

/// The WA server's webhooks, where they come here.
pub(crate) fn hooks() -> Api {
    let mut api = Api::under("/hooks");
    api::hooks::routes(&mut api);
    api
}
