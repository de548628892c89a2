//! Every route, top to bottom. Health and metrics come from the server's own layers.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::webhooks::chatwoot::{Ingress, receive_default, receive_named};

/// What `/` and `/health` answer (contract 1.1).
#[must_use]
pub fn health_body() -> Value {
    json!({"status": "ok", "service": "chatwoot-bridge"})
}

/// Adds the routes. A wrong method is a 404, as it was in the predecessor.
pub fn routes(ingress: Ingress) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    move |config: &mut ServiceConfig| {
        config
            .app_data(web::Data::new(ingress.clone()))
            .service(
                web::resource("/")
                    .route(web::get().to(root))
                    .route(web::head().to(root))
                    .default_service(web::to(no_route)),
            )
            .service(
                web::resource("/webhook")
                    .route(web::post().to(receive_default))
                    .default_service(web::to(no_route)),
            )
            .service(
                web::resource("/webhook/{installation}")
                    .route(web::post().to(receive_named))
                    .default_service(web::to(no_route)),
            );
    }
}

async fn root() -> HttpResponse {
    HttpResponse::Ok().json(health_body())
}

async fn no_route(request: HttpRequest) -> Result<HttpResponse, ::web::ApiError> {
    Err(::web::ApiError::no_route(request.path()))
}
