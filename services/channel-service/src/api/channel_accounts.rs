//! `/internal/channel-accounts`: which channels a tenant has switched on (channel-service contract 1.7).

use ::web::openapi::{Api, Doc, Group, fields, flag, list, object, one_of, text, text_up_to, time};
use ::web::{ApiError, Fields, Internal, Query, wire_time};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::{internal_group, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::channel_account;
use crate::store::channel_account::{ChannelAccountChange, ChannelAccountRow};

pub(crate) fn routes(api: &mut Api) {
    api.group(GROUP);
    let row = object([
        ("id", text()),
        ("village_id", text()),
        ("wa_number", text()),
        ("wa_token", one_of(&[""])),
        ("webhook_url", text()),
        ("enabled_wa", flag()),
        ("enabled_webchat", flag()),
        ("created_at", time()),
        ("updated_at", time()),
    ]);
    let listed = object([
        ("village_id", text()),
        ("enabled_webchat", flag()),
        ("enabled_wa", flag()),
        ("wa_number", text()),
    ]);
    let all = Doc::new("Every tenant's switches that the key is good for")
        .query(
            "enabled_webchat",
            one_of(&["true", "false"]),
            "only those with this setting",
        )
        .answers(
            200,
            "The switches, by village_id",
            object([("data", list(listed))]),
        );
    let one = Doc::new("A tenant's switches")
        .answers(200, "The switches", object([("data", row.clone())]))
        .refuses(&[(404, "Never set: everything is on")]);
    let set_one = Doc::new("Set a tenant's switches; registers a tenant that is new")
        .takes(fields([
            ("wa_number", text_up_to(32)),
            ("enabled_wa", flag()),
            ("enabled_webchat", flag()),
        ]))
        .answers(200, "The switches as they are now", object([("data", row)]));
    api.get("/channel-accounts", all, list_all)
        .get("/channel-accounts/{village_id}", one, show)
        .put("/channel-accounts/{village_id}", set_one, set);
}

const GROUP: Group = internal_group("Channel accounts");

/// Every tenant's switches, for callers whose key is good for every tenant.
async fn list_all(caller: Internal, query: Query, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    let enabled_webchat = match query.get("enabled_webchat") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    let mut rows = channel_account::list(&state.db, enabled_webchat).await?;
    rows.retain(|row| village::scope_of(&caller, &row.tenant_id).is_ok());
    let data: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({"village_id": row.tenant_id, "enabled_webchat": row.enabled_webchat,
                   "enabled_wa": row.enabled_wa, "wa_number": row.wa_number})
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({"data": data})))
}

async fn show(
    caller: Internal,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::scope_of(&caller, &path)?;
    let Some(row) = channel_account::find(&state.db, &scope).await? else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "channel_account_not_found",
            "Channel account not found",
        )
        .into());
    };
    Ok(HttpResponse::Ok().json(json!({"data": wire(&state, &row)})))
}

async fn set(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::scope_of(&caller, &path)?;
    let wa_number = body.text("wa_number")?;
    if wa_number.is_some_and(|number| number.len() > 32 || !number.chars().all(|c| c.is_ascii_digit())) {
        return Err(ApiError::bad_request("invalid_field", "wa_number must be digits")
            .with("field", "wa_number")
            .into());
    }
    let change = ChannelAccountChange {
        wa_number,
        enabled_wa: body.flag("enabled_wa")?,
        enabled_webchat: body.flag("enabled_webchat")?,
    };
    let actor = village::actor(&caller, &request, None);
    let row = channel_account::set(&state.db, &state.endpoints, &scope, change, &actor).await?;
    Ok(HttpResponse::Ok().json(json!({"data": wire(&state, &row)})))
}

/// The row in the contract's words. `wa_token` is part of the shape and always empty: no token leaves the service.
fn wire(state: &State, row: &ChannelAccountRow) -> Value {
    json!({
        "id": row.id, "village_id": row.tenant_id, "wa_number": row.wa_number, "wa_token": "",
        "webhook_url": state.webhook_url.as_deref().unwrap_or_default(),
        "enabled_wa": row.enabled_wa, "enabled_webchat": row.enabled_webchat,
        "created_at": wire_time(row.created_at), "updated_at": wire_time(row.updated_at),
    })
}
