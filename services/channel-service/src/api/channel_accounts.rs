//! `/internal/channel-accounts`: which channels a tenant has switched on (channel-service contract 1.7).

use ::web::{ApiError, Fields, Internal, Query, wire_time};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::village;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::channel_account;
use crate::store::channel_account::{ChannelAccountChange, ChannelAccountRow};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/channel-accounts").route(web::get().to(list)))
        .service(
            web::resource("/channel-accounts/{village_id}")
                .route(web::get().to(show))
                .route(web::put().to(set)),
        );
}

/// Every tenant's switches, for callers whose key is good for every tenant.
async fn list(caller: Internal, query: Query, state: Data<State>) -> Result<HttpResponse, ServiceError> {
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
    let row = channel_account::set(&state.db, &scope, change, &actor).await?;
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
