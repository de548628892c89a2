//! Every path of the service, top to bottom.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use serde_json::json;

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
        .service(web::resource("/whatsapp").route(web::post().to(genfity::receive)));
}

/// Contract channel-service 1.2.
async fn about() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "service": "Kanal channel-service", "version": env!("CARGO_PKG_VERSION"), "status": "running"
    }))
}
