//! Every path of the service, top to bottom, and the document that describes them.

use ::web::openapi::{Api, Doc, Group, document, object, text};
use ::web::{ApiError, ErrorField, require_internal_key};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use crate::webhooks::{cloud, genfity, gowa, verification};
use crate::{api, ui};

/// Sets up every route; with `docs`, also the pages that describe them.
pub(crate) fn routes(config: &mut ServiceConfig, docs: bool) {
    public().configure(config);
    ui::routes(config);
    if docs {
        config
            .route("/api-docs.json", web::get().to(document_page))
            .configure(::web::viewer);
    }
    config
        .service(
            web::scope("/internal")
                .configure(|config| internal().configure(config))
                .default_service(web::to(no_route))
                .wrap(from_fn(require_internal_key)),
        )
        .service(web::scope("/api").configure(|config| dashboard().configure(config)))
        .service(
            web::scope("/graph")
                .configure(|config| gate().configure(config))
                .default_service(web::to(api::graph::no_path))
                .wrap(from_fn(api::graph::in_metas_shape)),
        );
}

/// What needs no key: providers prove their webhooks by signatures.
fn public() -> Api {
    let mut api = Api::under("");
    api.group(Group {
        tag: "Webhook",
        security: None,
        refusals: &[
            (400, "No webhook of the provider's"),
            (401, "Not signed by the account's server"),
            (403, "Not from an address that may post"),
            (404, "No such route"),
            (408, "The body did not come in time"),
            (413, "The body is too large"),
            (503, "Nothing was accepted; Retry-After says when to come again"),
        ],
    });
    let about = Doc::new("What this is").answers(
        200,
        "The service",
        object([("service", text()), ("version", text()), ("status", text())]),
    );
    api.get("/", about, self::about);
    for path in ["/webhook", "/webhook/whatsapp", "/whatsapp", "/"] {
        let accepted = json!({"type": "object", "properties": {
            "status": {"type": "string", "enum": ["ok"]}, "message": {"type": "string"},
            "message_id": {"type": "string"}}, "required": ["status"]});
        let take = Doc::new("A provider's event, as JSON or as a form; answered when it is durable")
            .takes(json!({"type": "object"}))
            .answers(200, "Accepted, a duplicate, or nothing for us", accepted);
        api.post(path, take, genfity::receive);
    }
    let accepted = json!({"type": "object", "properties": {
        "status": {"type": "string", "enum": ["ok"]}, "message": {"type": "string"},
        "message_id": {"type": "string"}}, "required": ["status"]});
    let take =
        Doc::new("An event of a GoWA's device, signed by `X-Hub-Signature-256`; answered when it is durable")
            .takes(json!({"type": "object"}))
            .answers(200, "Accepted, a duplicate, or nothing for us", accepted);
    api.post("/webhook/gowa/{endpoint}", take, gowa::receive);
    for path in ["/webhook", "/webhook/whatsapp", "/whatsapp"] {
        let verify = Doc::new("Whoever is about to post asks whether we are here")
            .query("hub.mode", text(), "`subscribe`")
            .query("hub.verify_token", text(), "the token that was agreed")
            .query("hub.challenge", text(), "what to repeat")
            .answers_as(200, "The challenge", "text/plain", text())
            .answers_as(403, "Another token than was agreed", "text/plain", text())
            .answers_as(500, "No token is configured", "text/plain", text());
        api.get(path, verify, verification::answer);
    }
    cloud_webhooks(&mut api);
    api::health::routes(&mut api);
    api::media::routes(&mut api);
    api::upload::public_routes(&mut api);
    api
}

/// For clients of Meta's Cloud API.
fn gate() -> Api {
    let mut api = Api::under("/graph");
    api::graph::routes(&mut api);
    api
}

/// Meta's webhooks, for all endpoints of the Cloud API together and for each by itself.
fn cloud_webhooks(api: &mut Api) {
    let take = || {
        let accepted = json!({"type": "object", "properties": {
            "status": {"type": "string", "enum": ["ok"]}, "message": {"type": "string"}}, "required": ["status"]});
        Doc::new("What Meta tells, signed by `X-Hub-Signature-256`; answered when all of it is durable")
            .takes(json!({"type": "object"}))
            .answers(200, "Accepted, with what is a duplicate or nobody's", accepted)
    };
    let verify = || {
        Doc::new("Whoever sets this address up at Meta asks whether we know the token")
            .query("hub.mode", text(), "`subscribe`")
            .query("hub.verify_token", text(), "the token that was agreed")
            .query("hub.challenge", text(), "what to repeat")
            .answers_as(200, "The challenge", "text/plain", text())
            .answers_as(403, "Not the token of an endpoint", "text/plain", text())
    };
    api.post("/api/whatsapp/webhook", take(), cloud::receive_any)
        .get("/api/whatsapp/webhook", verify(), cloud::verify_any)
        .post("/api/whatsapp/webhook/{endpoint}", take(), cloud::receive_of)
        .get("/api/whatsapp/webhook/{endpoint}", verify(), cloud::verify_of);
}

/// For other services.
fn internal() -> Api {
    let mut api = Api::under("/internal");
    api::sessions::routes(&mut api);
    api::messages::routes(&mut api);
    api::whatsapp_messages::internal_routes(&mut api);
    api::conversations::routes(&mut api);
    api::takeovers::routes(&mut api);
    api::channel_accounts::routes(&mut api);
    api::bridge::routes(&mut api);
    api::wa_support::routes(&mut api);
    api::dead_letters::routes(&mut api);
    api::journeys::routes(&mut api);
    api::retry::routes(&mut api);
    api::spam_guard::routes(&mut api);
    api::upload::internal_routes(&mut api);
    api
}

/// For people who are signed in.
fn dashboard() -> Api {
    let mut api = Api::under("/api");
    api::auth::routes(&mut api);
    api::tenants::routes(&mut api);
    api::people::routes(&mut api);
    api::retention::routes(&mut api);
    api::sessions::dashboard_routes(&mut api);
    api::devices::routes(&mut api);
    api::whatsapp_messages::routes(&mut api);
    api::templates::routes(&mut api);
    api::tenant_config::routes(&mut api);
    api::gate::routes(&mut api);
    api::replay_jobs::routes(&mut api);
    api
}

/// The OpenAPI document, made of the same list as the routes.
#[must_use]
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for api in [public(), gate(), internal(), dashboard()] {
        api.describe(&mut paths);
    }
    let schemes = json!({
        "internalKey": {"type": "apiKey", "in": "header", "name": "X-Internal-API-Key"},
        "session": {"type": "http", "scheme": "bearer"},
        "gateToken": {"type": "http", "scheme": "bearer"},
    });
    document(
        ErrorField::Error,
        "Kanal channel-service",
        env!("CARGO_PKG_VERSION"),
        paths,
        schemes,
    )
}

/// Every method and path that is served, as the document writes them.
#[must_use]
pub fn served() -> Vec<(String, String)> {
    [public(), gate(), internal(), dashboard()]
        .iter()
        .flat_map(Api::served)
        .collect()
}

/// The document itself (contract channel-service 1.2).
async fn document_page() -> HttpResponse {
    HttpResponse::Ok().json(openapi())
}

/// A path under `/internal` that does not exist; only whoever has a key gets this far.
async fn no_route(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::no_route(request.path()))
}

/// Contract channel-service 1.2; people with a browser go to the dashboard.
async fn about(request: HttpRequest) -> HttpResponse {
    if ui::wants_page(&request) {
        return console::see_other("/dashboard");
    }
    HttpResponse::Ok().json(json!({
        "service": "Kanal channel-service", "version": env!("CARGO_PKG_VERSION"), "status": "running"
    }))
}
