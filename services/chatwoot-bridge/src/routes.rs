//! Every route, top to bottom, and what they are for. Health and metrics come from the server's own layers.

use ::web::openapi::{Api, Doc, flag, object, text};
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::api::files;
use crate::webhooks::chatwoot::{Ingress, receive_default, receive_named};

/// What `/` and `/health` answer (contract 1.1).
#[must_use]
pub fn health_body() -> Value {
    json!({"status": "ok", "service": "chatwoot-bridge"})
}

/// Adds the routes. A wrong method is a 404, as it was in the predecessor.
pub fn routes(ingress: Ingress) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    move |config: &mut ServiceConfig| {
        config.app_data(web::Data::new(ingress.clone()));
        config.app_data(web::Data::new(ingress.tools.clone()));
        public().configure(config);
        config.service(
            web::scope("/admin")
                .configure(|config| admin().configure(config))
                .default_service(web::to(no_route)),
        );
    }
}

/// What Chatwoot and probes call.
pub fn public() -> Api {
    let mut api = Api::under("");
    let about = || {
        Doc::new("What this is").answers(
            200,
            "The service",
            object([("status", text()), ("service", text())]),
        )
    };
    api.get("/", about(), root)
        .endpoint(Method::HEAD, "/", about(), root)
        .post(
            "/webhook",
            webhook("of the installation `default`"),
            receive_default,
        )
        .post(
            "/webhook/{installation}",
            webhook("of the installation that the path names"),
            receive_named,
        );
    files::routes(&mut api);
    api
}

/// For operators.
pub fn admin() -> Api {
    Api::under("/admin")
}

fn webhook(whose: &str) -> Doc {
    let received = json!({"type": "object", "required": ["received"], "properties": {
        "received": flag(), "forwarded": flag(),
    }});
    Doc::new("Take an event of Chatwoot's")
        .header(
            "x-chatwoot-signature",
            text(),
            "HMAC-SHA256 over time and body; asked for where a secret is stored",
        )
        .header("x-chatwoot-timestamp", text(), "The time in it")
        .query("token", text(), "Asked for where the route has one")
        .takes_as(
            "application/json",
            json!({"type": "object", "description": format!("An event {whose}")}),
        )
        .answers(
            200,
            "It is durable, with `forwarded`; without, there was nothing to do for it",
            received,
        )
        .refuses(&[
            (401, "The signature or the token is missing or wrong"),
            (413, "The body is too long"),
            (
                429,
                "Too many requests from this address that could not be believed or read",
            ),
            (503, "It could not be made durable: come again after Retry-After"),
        ])
}

async fn root() -> HttpResponse {
    HttpResponse::Ok().json(health_body())
}

async fn no_route(request: HttpRequest) -> Result<HttpResponse, ::web::ApiError> {
    Err(::web::ApiError::no_route(request.path()))
}
