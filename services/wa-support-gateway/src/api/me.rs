//! `/internal/me`: whose key a service holds (contract §6.1).

use ::web::openapi::{Api, Doc, object, one_of, text};
use actix_web::HttpResponse;
use serde_json::json;

use super::caller::Caller;

pub(crate) fn internal_routes(api: &mut Api) {
    let auth = object([
        ("mode", one_of(&["scoped", "global"])),
        ("source_service", text()),
    ]);
    let doc = Doc::new("Whose key this is").answers(200, "The caller", object([("auth", auth)]));
    api.get("/me", doc, internal);
}

async fn internal(caller: Caller) -> HttpResponse {
    let source = caller.service.source();
    let mode = if source.is_some() { "scoped" } else { "global" };
    HttpResponse::Ok().json(json!({"auth": {"mode": mode, "source_service": source.unwrap_or_default()}}))
}
