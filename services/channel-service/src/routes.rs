//! Every path of the service, top to bottom.

use ::web::{ApiError, require_internal_key};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::api;
use crate::webhooks::genfity;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/")
                .route(web::get().to(about))
                .route(web::post().to(genfity::receive)),
        )
        .service(web::resource("/webhook").route(web::post().to(genfity::receive)))
        .service(web::resource("/webhook/whatsapp").route(web::post().to(genfity::receive)))
        .service(web::resource("/whatsapp").route(web::post().to(genfity::receive)))
        .configure(api::media::routes)
        .configure(api::upload::public_routes)
        .service(
            web::scope("/internal")
                .configure(api::channel_accounts::routes)
                .configure(api::upload::internal_routes)
                .default_service(web::to(no_route))
                .wrap(from_fn(require_internal_key)),
        );
}

/// A path under `/internal` that does not exist; only whoever has a key gets this far.
async fn no_route(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::no_route(request.path()))
}

/// Contract channel-service 1.2.
async fn about() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "service": "Kanal channel-service", "version": env!("CARGO_PKG_VERSION"), "status": "running"
    }))
}
