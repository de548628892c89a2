//! Every route, top to bottom, and what they are for. Health and metrics come from the server's own layers.

use ::web::ErrorField;
use ::web::openapi::{Api, Doc, document, flag, object, text};
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use crate::api::basic_auth::{Door, require_operator};
use crate::api::{self, Admin, files};
use crate::ui::{self, visit::in_words};
use crate::webhooks::chatwoot::{Ingress, receive_default, receive_named};

/// What `/` and `/health` answer (contract 1.1).
#[must_use]
pub fn health_body() -> Value {
    json!({"status": "ok", "service": "chatwoot-bridge"})
}

/// Adds the routes. A wrong method is a 404, as it was in the predecessor; a stranger's is a 401 below `/admin`, whatever
/// it is.
pub fn routes(
    ingress: Ingress,
    operators: Admin,
    door: Door,
) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    move |config: &mut ServiceConfig| {
        config
            .app_data(web::Data::new(ingress.clone()))
            .app_data(web::Data::new(operators.clone()))
            .app_data(web::Data::new(door.clone()))
            .app_data(web::Data::new(ingress.tools.clone()));
        public().configure(config);
        config.service(
            web::scope("/internal")
                .configure(|config| internal().configure(config))
                .default_service(web::to(no_route))
                .wrap(from_fn(require_operator)),
        );
        config.service(
            web::scope("/admin")
                .configure(|config| admin().configure(config))
                .configure(console::assets::routes)
                .default_service(web::to(no_route))
                .wrap(from_fn(require_operator))
                .wrap(from_fn(in_words)),
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
    let described = Doc::new("This document").answers(200, "OpenAPI 3.1", json!({"type": "object"}));
    api.get("/openapi.json", described, document_page);
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
    let mut api = Api::under("/admin");
    api::routes::routes(&mut api);
    api::checks::routes(&mut api);
    api::deliveries::routes_of(&mut api);
    api::seen::routes(&mut api);
    api::inboxes::routes(&mut api);
    api::installations::routes(&mut api);
    api::setup::routes(&mut api);
    api::history::routes(&mut api);
    api::tenants::routes(&mut api);
    api::log::routes(&mut api);
    ui::routes(&mut api);
    api
}

/// For other services, which show what the operator has.
pub fn internal() -> Api {
    let mut api = Api::under("/internal");
    api::journeys::routes(&mut api);
    api
}

/// The OpenAPI document, made of the same list as the routes.
#[must_use]
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for api in [public(), internal(), admin()] {
        api.describe(&mut paths);
    }
    let schemes = json!({"operator": {"type": "http", "scheme": "basic"}});
    document(
        ErrorField::Error,
        "Kanal chatwoot-bridge",
        env!("CARGO_PKG_VERSION"),
        paths,
        schemes,
    )
}

/// Every method and path that is served, as the document writes them.
#[must_use]
pub fn served() -> Vec<(String, String)> {
    [public(), internal(), admin()]
        .iter()
        .flat_map(Api::served)
        .collect()
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

async fn document_page() -> HttpResponse {
    HttpResponse::Ok().json(openapi())
}

async fn root() -> HttpResponse {
    HttpResponse::Ok().json(health_body())
}

async fn no_route(request: HttpRequest) -> Result<HttpResponse, ::web::ApiError> {
    Err(::web::ApiError::no_route(request.path()))
}
