//! `/internal/wa-support/*`: wa-support-gateway's customers, for superadmins (channel-service contract 1.8).

use ::web::openapi::{Api, Doc, Group, fields, flag, list, nullable, object, text, whole};
use ::web::{ApiError, Fields, Internal, Query, wire_time};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::{data, internal_group, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::session::{PAGE, SessionError, plain_status};
use crate::store::session::SessionRow;

const GROUP: Group = internal_group("Gateway customers");

pub(crate) fn routes(api: &mut Api) {
    api.group(GROUP);
    let any = || json!({"type": "object"});
    let health_now = json!({"type": "object", "properties": {
        "configured": {"type": "boolean"},
        "status": {"type": "string", "enum": ["not_configured", "connected", "error"]}, "detail": {}},
        "required": ["configured", "status"]});
    let one = object([
        ("user_id", text()),
        ("village_id", text()),
        ("user_info", nullable(any())),
        ("sessions", list(any())),
    ]);
    let counters = object([
        ("session_id", text()),
        ("webhook_url", nullable(text())),
        ("message_stat_sent", nullable(whole())),
        ("message_stat_failed", nullable(whole())),
    ]);
    api.get(
        "/wa-support/health",
        Doc::new("How wa-support-gateway is").answers(200, "How it is", data(health_now)),
        health,
    )
    .get(
        "/wa-support/users",
        Doc::new("A page of the gateway's customers")
            .query("page", text(), "which page, from 1")
            .query("limit", text(), "how many, at most 100")
            .answers(
                200,
                "The page",
                data(object([("items", list(any())), ("meta", any())])),
            ),
        users,
    )
    .get(
        "/wa-support/users/{user_id}",
        Doc::new("One customer and its sessions, without their tokens").answers(
            200,
            "The customer",
            data(one),
        ),
        user,
    )
    .get(
        "/wa-support/users/{user_id}/sessions/{session_id}/settings",
        Doc::new("A session's settings and counters at the gateway").answers(
            200,
            "The settings",
            data(counters),
        ),
        session_settings,
    )
    .get(
        "/wa-support/summary",
        Doc::new("The gateway's first customers, each with its session here").answers(
            200,
            "The customers",
            data(object([("total", whole()), ("items", list(any()))])),
        ),
        summary,
    )
    .post(
        "/wa-support/provision",
        Doc::new("Make a village a customer of the gateway")
            .takes(fields([("village_id", text())]))
            .answers(
                200,
                "It is one",
                data(object([("user_id", text()), ("provisioned", flag())])),
            ),
        provision,
    );
}

type Answered = Result<HttpResponse, ServiceError>;

fn unsuccessful(error: ApiError) -> ServiceError {
    ServiceError::Api(error.with("success", false))
}

fn success(data: &Value) -> HttpResponse {
    HttpResponse::Ok().json(json!({"success": true, "data": data}))
}

/// The gateway's customers are all tenants: only callers for all of them may look.
fn for_all(caller: &Internal) -> Result<(), ServiceError> {
    if caller.0.is_for_all() {
        return Ok(());
    }
    Err(unsuccessful(ApiError::new(
        StatusCode::FORBIDDEN,
        "not_for_all_villages",
        "Forbidden: this key is not for every village",
    )))
}

fn configured(state: &State) -> Result<(), ServiceError> {
    if state.sessions.has_gateway() {
        return Ok(());
    }
    Err(unsuccessful(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "wa_support_not_configured",
        "WA Support V2 not configured",
    )))
}

fn scope_of(caller: &Internal, user_id: &str) -> Result<TenantScope, ServiceError> {
    village::scope_of(caller, user_id).map_err(unsuccessful)
}

/// Always 200. What the gateway says of its own troubles stays in the log.
async fn health(caller: Internal, state: Data<State>) -> Answered {
    for_all(&caller)?;
    if !state.sessions.has_gateway() {
        return Ok(success(&json!({"configured": false, "status": "not_configured"})));
    }
    Ok(success(&match state.sessions.gateway_health().await {
        Ok(detail) => json!({"configured": true, "status": "connected", "detail": detail}),
        Err(error) => {
            tracing::warn!(error = %crate::error::chain(&error), "wa-support-gateway is not well");
            let said = match &error {
                SessionError::Maker(error) => error.said(),
                _ => None,
            };
            let detail = said.unwrap_or("WhatsApp gateway is not available");
            json!({"configured": true, "status": "error", "detail": detail})
        }
    }))
}

async fn users(caller: Internal, query: Query, state: Data<State>) -> Answered {
    for_all(&caller)?;
    configured(&state)?;
    let number = |name: &str, default: u32| {
        query
            .get(name)
            .and_then(|text| text.trim().parse().ok())
            .filter(|number| *number > 0)
            .unwrap_or(default)
    };
    let page = state
        .sessions
        .customers(number("page", 1), number("limit", 20).min(PAGE))
        .await?;
    Ok(success(&json!({"items": page.items, "meta": page.meta})))
}

async fn user(caller: Internal, path: web::Path<String>, state: Data<State>) -> Answered {
    let scope = scope_of(&caller, &path)?;
    configured(&state)?;
    let customer = state.sessions.customer(&scope).await?;
    Ok(success(&json!({
        "user_id": scope.tenant(), "village_id": scope.tenant(), "user_info": customer.info,
        "sessions": customer.sessions,
    })))
}

async fn session_settings(
    caller: Internal,
    path: web::Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let (user_id, session_id) = path.into_inner();
    let scope = scope_of(&caller, &user_id)?;
    configured(&state)?;
    let settings = state.sessions.customer_session(&scope, &session_id).await?;
    let Some(settings) = settings else {
        return Err(unsuccessful(ApiError::new(
            StatusCode::NOT_FOUND,
            "session_not_found",
            "session not found",
        )));
    };
    Ok(success(&json!({
        "session_id": settings.get("session_id").cloned().unwrap_or_else(|| json!(session_id)),
        "webhook_url": settings.get("webhook_url"),
        "message_stat_sent": settings.get("message_stat_sent"),
        "message_stat_failed": settings.get("message_stat_failed"),
    })))
}

async fn summary(caller: Internal, state: Data<State>) -> Answered {
    for_all(&caller)?;
    configured(&state)?;
    let (total, items) = state.sessions.summary().await?;
    let items: Vec<Value> = items
        .into_iter()
        .map(|item| {
            let mut user = item.user;
            let session = item.session.as_ref().map_or(Value::Null, local_session);
            user.insert("local_session".to_owned(), session);
            Value::Object(user)
        })
        .collect();
    Ok(success(&json!({"total": total, "items": items})))
}

fn local_session(row: &SessionRow) -> Value {
    json!({
        "village_id": row.tenant_id, "instance_name": row.instance_name, "wa_number": row.phone,
        "status": plain_status(row), "wa_support_user_id": row.tenant_id,
        "wa_support_session_id": row.session_id, "last_connected_at": row.last_connected_at.map(wire_time),
        "created_at": wire_time(row.created_at),
    })
}

async fn provision(caller: Internal, request: HttpRequest, body: Fields, state: Data<State>) -> Answered {
    let village = body.filled("village_id").map_err(unsuccessful)?;
    let village = village.ok_or_else(|| {
        unsuccessful(ApiError::bad_request(
            "village_id_required",
            "village_id is required",
        ))
    })?;
    let scope = scope_of(&caller, village)?;
    configured(&state)?;
    let actor = village::actor(&caller, &request, None);
    state.sessions.provision(&scope, &actor).await?;
    Ok(success(&json!({"user_id": scope.tenant(), "provisioned": true})))
}
