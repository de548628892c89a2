//! Every path of the service, top to bottom, and the document that describes them. `/health`, `/health/live`,
//! `/health/ready` and `/metrics` come from `web`.
//!
//! A path is known as it is written: with a slash behind it, it is another one, and 404. The original redirects there,
//! which makes clients send their keys and bodies twice.

use ::web::openapi::{Api, Doc, Group, document, object, text};
use ::web::{ApiError, ErrorField};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, guard};
use serde_json::{Map, Value, json};

use crate::api;
use crate::api::caller::require_internal_key;
use crate::api::cors::{allow_listed_pages, preflight};
use crate::api::customer::look_at_key;
use crate::state::Gateway;

/// Adds every route. Both prefixes of the proxy behave the same (contract §8.1) and stand before anything else below
/// `/v1`.
pub(crate) fn add(gateway: &Gateway, config: &mut ServiceConfig) {
    config.app_data(web::Data::new(gateway.clone()));
    match gateway.worker_links() {
        Ok(links) => {
            config.app_data(web::Data::new(links));
        }
        Err(error) => tracing::error!(%error, "this worker cannot pass anything on"),
    }
    // A path that is served is matched by its own pattern, so it has an `OPTIONS` of its own.
    config.service(web::resource("/").guard(guard::Options()).to(preflight));
    public().configure(config);
    if gateway.http.docs {
        config
            .route("/api-docs.json", web::get().to(document_page))
            .configure(::web::viewer);
    }
    config.service(api::proxy::Proxy);
    if gateway.hook_body_limit.is_some() {
        config.service(
            // Any other method is as unknown here as any other path.
            web::scope("/hooks")
                .guard(guard::Post())
                .app_data(gateway.hook_bodies.clone())
                .configure(|config| hooks().configure(config))
                .default_service(web::to(no_route)),
        );
    }
    config
        .service(
            web::scope("/internal")
                .configure(|config| internal().configure(config))
                .default_service(web::to(no_route))
                .wrap(from_fn(require_internal_key)),
        )
        .service(
            web::scope("/v1")
                .configure(|config| customer().configure(config))
                .default_service(web::to(no_route))
                .wrap(from_fn(look_at_key))
                .wrap(from_fn(allow_listed_pages)),
        )
        // Stands last: the first pattern that fits a path is what the path is counted under.
        .service(web::resource("/{path:.*}").guard(guard::Options()).to(preflight));
}

/// What needs no key.
fn public() -> Api {
    let mut api = Api::under("");
    let about = || {
        Doc::new("What this is").answers(
            200,
            "The service",
            object([("service", text()), ("status", text()), ("mode", text())]),
        )
    };
    api.get("/", about(), api::root::root).endpoint(
        actix_web::http::Method::HEAD,
        "/",
        about(),
        api::root::root,
    );
    api
}

/// The WA server's webhooks, where they come here.
fn hooks() -> Api {
    let mut api = Api::under("/hooks");
    api::hooks::routes(&mut api);
    api
}

/// For other services, by their keys.
fn internal() -> Api {
    let mut api = Api::under("/internal");
    api.group(Group {
        tag: "Internal",
        security: Some("internalKey"),
        refusals: &[
            (401, "No key, or a wrong one"),
            (429, "Too many wrong keys from this address"),
            (503, "Come again after Retry-After"),
        ],
    });
    api::me::internal_routes(&mut api);
    api::customers::routes(&mut api);
    api::privacy::routes(&mut api);
    api::journeys::routes(&mut api);
    api
}

/// For customers, by their keys.
fn customer() -> Api {
    let mut api = Api::under("/v1");
    api.group(Group {
        tag: "Customer",
        security: Some("customerKey"),
        refusals: &[
            (401, "No key, or a wrong one"),
            (403, "The customer or its subscription is not active"),
            (429, "Too many requests"),
            (503, "Come again after Retry-After"),
        ],
    });
    api::contacts::routes(&mut api);
    api::usage::routes(&mut api);
    api::me::customer_routes(&mut api);
    api::sessions::routes(&mut api);
    api
}

/// The OpenAPI document, made of the same list as the routes.
#[must_use]
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for api in [public(), hooks(), internal(), customer()] {
        api.describe(&mut paths);
    }
    let schemes = json!({
        "internalKey": {"type": "apiKey", "in": "header", "name": "x-internal-api-key"},
        "customerKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "sessionToken": {"type": "apiKey", "in": "header", "name": "token"},
    });
    document(
        ErrorField::Message,
        "Kanal wa-support-gateway",
        env!("CARGO_PKG_VERSION"),
        paths,
        schemes,
    )
}

/// Every method and path that is served, as the document writes them.
#[must_use]
pub fn served() -> Vec<(String, String)> {
    [public(), hooks(), internal(), customer()]
        .iter()
        .flat_map(Api::served)
        .collect()
}

async fn document_page() -> HttpResponse {
    HttpResponse::Ok().json(openapi())
}

async fn no_route(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::no_route(request.path()))
}
