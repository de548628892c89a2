//! `/internal/me` and `/v1/me`: who a key stands for (contract §6.1, §7.1).

use ::web::ApiError;
use ::web::openapi::{Api, Doc, nullable, object, one_of, text, time, whole};
use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::caller::Caller;
use super::customer::Customer;
use super::customers::wire;
use crate::state::Gateway;

pub(crate) fn internal_routes(api: &mut Api) {
    let auth = object([
        ("mode", one_of(&["scoped", "global"])),
        ("source_service", text()),
    ]);
    let doc = Doc::new("Whose key this is").answers(200, "The caller", object([("auth", auth)]));
    api.get("/me", doc, internal);
}

pub(crate) fn customer_routes(api: &mut Api) {
    let user = object([
        ("id", text()),
        ("source_service", text()),
        ("created_by", text()),
        ("status", text()),
        ("provider_mapping", nullable(object([]))),
        ("created_at", time()),
        ("updated_at", time()),
    ]);
    let subscription = object([
        ("id", whole()),
        ("user_id", text()),
        ("provider", text()),
        ("max_sessions", whole()),
        ("max_messages", whole()),
        ("messages_used", whole()),
        ("period_started_at", time()),
        ("expires_at", time()),
        ("status", text()),
        ("created_at", time()),
        ("updated_at", time()),
    ]);
    let me = Doc::new("The customer and its subscription").answers(
        200,
        "What the key stands for",
        object([("user", user), ("subscription", subscription)]),
    );
    api.get("/me", me, customer);
}

async fn internal(caller: Caller) -> HttpResponse {
    let source = caller.service.source();
    let mode = if source.is_some() { "scoped" } else { "global" };
    HttpResponse::Ok().json(json!({"auth": {"mode": mode, "source_service": source.unwrap_or_default()}}))
}

/// Never shows the key's hash (W-13).
async fn customer(customer: Customer, gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    customer.standing.entitled()?;
    let (customers, scope) = (gateway.customers.clone(), customer.scope.clone());
    let (user, subscription) = gateway
        .on_process(async move { customers.own_rows(&scope).await })
        .await?;
    let id = customer.scope.tenant();
    Ok(HttpResponse::Ok().json(json!({
        "user": {
            "id": id, "source_service": user.source_service, "created_by": user.created_by,
            "status": user.status, "provider_mapping": null,
            "created_at": wire(user.created_at), "updated_at": wire(user.updated_at),
        },
        "subscription": {
            "id": subscription.number, "user_id": id, "provider": subscription.provider,
            "max_sessions": subscription.max_sessions, "max_messages": subscription.max_messages,
            "messages_used": subscription.messages_used,
            "period_started_at": wire(subscription.period_started_at),
            "expires_at": wire(subscription.expires_at), "status": subscription.status,
            "created_at": wire(subscription.created_at), "updated_at": wire(subscription.updated_at),
        },
    })))
}
