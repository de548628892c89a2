//! `/api/whatsapp/available-endpoints` and `/api/whatsapp/tenant-config`: which WhatsApp API server a tenant was given.
//!
//! Endpoints are named here and never described: no answer holds a URL or a key.

use ::web::openapi::{
    Api, Doc, Schema, fields, flag, list, nullable, object, one_of, text, text_up_to, time, whole,
};
use ::web::{ApiError, Fields, Query};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use domain::endpoint::EndpointName;
use domain::tenant_config::{
    HEALTH_CHECK_INTERVAL, MESSAGE_TIMEOUT, RECONNECT_INTERVAL, Setting, SettingsChange, WEBHOOK_RETRIES,
};
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::signed_in::User;
use super::tenants::superadmin;
use super::{dashboard_group, village};
use crate::app::State;
use crate::endpoints::Endpoints;
use crate::error::ServiceError;
use crate::flows::session::{AssignError, Assignment, Moved};
use crate::flows::tenant::Actor;
use crate::flows::tenant_config::{self, ConfigView};
use crate::store::endpoint_health::HealthStatus;
use crate::store::session_to_unlink::LeftRow;
use crate::traffic::Counted;

/// Every field that an assignment may have.
const FIELDS: [&str; 7] = [
    "endpoint_name",
    "auto_reconnect",
    RECONNECT_INTERVAL.name,
    HEALTH_CHECK_INTERVAL.name,
    WEBHOOK_RETRIES.name,
    MESSAGE_TIMEOUT.name,
    "force",
];

pub(crate) fn routes(api: &mut Api) {
    api.group(dashboard_group("Endpoints"));
    let endpoints = Doc::new("The names of the configured WhatsApp API servers, for superadmins").answers(
        200,
        "In the order of the configuration",
        object([("endpoints", list(text())), ("count", whole())]),
    );
    let health: Vec<&str> = HealthStatus::ALL.iter().map(|status| status.as_str()).collect();
    let left = object([
        ("name", text()),
        ("endpoint", text()),
        ("left_at", time()),
        ("tries", whole()),
        ("next_try", time()),
        ("last_reason", nullable(text())),
    ]);
    let config = object([
        ("id", nullable(text())),
        ("tenant_id", text()),
        ("endpoint_name", nullable(text())),
        ("assigned", flag()),
        ("endpoint_available", flag()),
        ("auto_reconnect", flag()),
        (RECONNECT_INTERVAL.name, bounded(RECONNECT_INTERVAL)),
        (HEALTH_CHECK_INTERVAL.name, bounded(HEALTH_CHECK_INTERVAL)),
        (WEBHOOK_RETRIES.name, bounded(WEBHOOK_RETRIES)),
        (MESSAGE_TIMEOUT.name, bounded(MESSAGE_TIMEOUT)),
        ("is_configured", flag()),
        ("health_status", one_of(&health)),
        ("last_health_check", nullable(time())),
        ("sessions_to_unlink", list(left)),
        ("created_at", nullable(time())),
        ("updated_at", nullable(time())),
    ]);
    let shown = Doc::new("A tenant's endpoint and settings, also for the tenant's own admin")
        .answers(200, "What holds for the tenant", object([("config", config)]))
        .refuses(UNKNOWN);
    let counts = |names: [&str; 4]| object(names.map(|name| (name, whole())));
    let mut done = object([("success", flag())]);
    done["properties"]["moved"] = counts(["devices", "parked", "unknown", "left_behind"]);
    let assigned = Doc::new("Give a tenant an endpoint, and say how it is used; what is not given stays")
        .takes(fields([
            ("endpoint_name", text_up_to(EndpointName::MAX_LENGTH)),
            ("auto_reconnect", flag()),
            (RECONNECT_INTERVAL.name, bounded(RECONNECT_INTERVAL)),
            (HEALTH_CHECK_INTERVAL.name, bounded(HEALTH_CHECK_INTERVAL)),
            (WEBHOOK_RETRIES.name, bounded(WEBHOOK_RETRIES)),
            (MESSAGE_TIMEOUT.name, bounded(MESSAGE_TIMEOUT)),
            ("force", flag()),
        ]))
        .answers(200, "Done, and what moved with the tenant, if anything did", done)
        .refuses(UNKNOWN)
        .refuses(&[(409, "Messages are in flight; `force` puts them aside")]);
    let taken_away = Doc::new("Take a tenant's endpoint away")
        .query(
            "force",
            flag(),
            "also while it has devices there, which stay and go on",
        )
        .answers(200, "Done", object([("success", flag())]))
        .refuses(UNKNOWN)
        .refuses(&[(409, "The tenant has devices on its endpoint")]);
    api.get("/whatsapp/available-endpoints", endpoints, available)
        .get("/whatsapp/tenant-config/{village_id}", shown, show)
        .post("/whatsapp/tenant-config/{village_id}", assigned, assign)
        .delete("/whatsapp/tenant-config/{village_id}", taken_away, unassign);
}

const UNKNOWN: &[(u16, &str)] = &[(404, "No village is registered under this id")];

fn bounded(setting: Setting) -> Schema {
    json!({"type": "integer", "minimum": setting.least, "maximum": setting.most})
}

async fn available(user: User, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    superadmin(&user)?;
    let names = state.endpoints.names();
    Ok(HttpResponse::Ok().json(json!({"endpoints": names, "count": names.len()})))
}

async fn show(user: User, path: web::Path<String>, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    let scope = user.scope(Some(&path))?;
    let view = tenant_config::show(&state.db, &state.endpoints, &scope).await?;
    let view = view.ok_or_else(village::unknown)?;
    Ok(HttpResponse::Ok().json(json!({"config": wire(scope.tenant().as_str(), &view)})))
}

async fn assign(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    superadmin(&user)?;
    let scope = user.scope(Some(&path))?;
    let assignment = read(&body, &state.endpoints)?;
    let moved = give(&state, &scope, &assignment, &user.actor(&request)).await?;
    let mut answer = json!({"success": true});
    if moved != Moved::default() {
        answer["moved"] = json!(moved);
    }
    Ok(HttpResponse::Ok().json(answer))
}

async fn unassign(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    superadmin(&user)?;
    let scope = user.scope(Some(&path))?;
    let force = match query.get("force") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(wrong("force", "force must be true or false".to_owned()).into()),
    };
    take_away(&state, &scope, force, &user.actor(&request)).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

/// Gives a tenant an endpoint, and has everybody know of it.
///
/// # Errors
/// [`AssignError`]; nothing is changed then.
pub(crate) async fn give(
    state: &State,
    scope: &TenantScope,
    assignment: &Assignment,
    actor: &Actor,
) -> Result<Moved, AssignError> {
    let moved = state.sessions.assign(scope, assignment, actor).await?;
    state.configs.forget(scope).await;
    state.relay.ring();
    state.traffic.count(scope.tenant(), Counted::Parked, moved.parked);
    state
        .traffic
        .count(scope.tenant(), Counted::Unknown, moved.unknown);
    Ok(moved)
}

/// Takes a tenant's endpoint away, and has everybody know of it. False when it was given none.
///
/// # Errors
/// [`AssignError`]; nothing is changed then.
pub(crate) async fn take_away(
    state: &State,
    scope: &TenantScope,
    force: bool,
    actor: &Actor,
) -> Result<bool, AssignError> {
    let usual = state.endpoints.fallback();
    let usual = usual.as_ref().map(|endpoint| &endpoint.name);
    let was_given = state.sessions.unassign(scope, usual, force, actor).await?;
    state.configs.forget(scope).await;
    Ok(was_given)
}

fn read(body: &Fields, endpoints: &Endpoints) -> Result<Assignment, ApiError> {
    body.only(&FIELDS)?;
    let number = |setting: Setting| {
        body.whole(setting.name)?
            .map(|number| setting.check(number))
            .transpose()
            .map_err(|error| wrong(setting.name, error.to_string()))
    };
    let change = SettingsChange {
        auto_reconnect: body.flag("auto_reconnect")?,
        reconnect_interval: number(RECONNECT_INTERVAL)?,
        health_check_interval: number(HEALTH_CHECK_INTERVAL)?,
        webhook_retries: number(WEBHOOK_RETRIES)?,
        message_timeout: number(MESSAGE_TIMEOUT)?,
    };
    let force = body.flag("force")?.unwrap_or(false);
    let name = body.filled("endpoint_name")?;
    let valid = || {
        let names: Vec<String> = endpoints.names().into_iter().map(String::from).collect();
        names.join(", ")
    };
    let name = name.ok_or_else(|| {
        let text = format!("endpoint_name is required; there are {}", valid());
        ApiError::bad_request("endpoint_name_required", text).with("field", "endpoint_name")
    })?;
    let endpoint = endpoints.find(name).ok_or_else(|| {
        // What was sent is not repeated: somebody may take the field for one of a URL or a key.
        let text = format!("There is no such endpoint; there are {}", valid());
        ApiError::bad_request("unknown_endpoint", text)
            .with("field", "endpoint_name")
            .with("endpoints", json!(endpoints.names()))
    })?;
    Ok(Assignment {
        endpoint: endpoint.name.clone(),
        provider: endpoint.provider,
        change,
        force,
    })
}

fn wrong(field: &'static str, text: String) -> ApiError {
    ApiError::bad_request("invalid_field", text).with("field", field)
}

fn wire(tenant: &str, view: &ConfigView) -> Value {
    let row = view.row.as_ref();
    let settings = row.map(|row| row.settings()).unwrap_or_default();
    let health = view.health.as_ref();
    let left = view.left.iter().map(left_behind).collect::<Vec<_>>();
    json!({
        "id": row.map(|row| row.id),
        "tenant_id": tenant,
        "endpoint_name": view.endpoint,
        "assigned": row.is_some(),
        "endpoint_available": view.is_available,
        "auto_reconnect": settings.auto_reconnect,
        "reconnect_interval": settings.reconnect_interval,
        "health_check_interval": settings.health_check_interval,
        "webhook_retries": settings.webhook_retries,
        "message_timeout": settings.message_timeout,
        "is_configured": view.is_available,
        "health_status": health.map_or(HealthStatus::Unknown, |health| health.status).as_str(),
        "last_health_check": health.and_then(|health| health.checked_at),
        "sessions_to_unlink": left,
        "created_at": row.map(|row| row.created_at),
        "updated_at": row.map(|row| row.updated_at),
    })
}

fn left_behind(row: &LeftRow) -> Value {
    json!({
        "name": row.session_name, "endpoint": row.endpoint, "left_at": row.left_at, "tries": row.tries,
        "next_try": row.next_try, "last_reason": row.last_reason,
    })
}
