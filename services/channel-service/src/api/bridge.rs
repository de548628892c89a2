//! `/internal/accounts` and `/internal/history`: what chatwoot-bridge has to know of a tenant before it is told the first
//! message.

use ::web::openapi::{Api, list, nullable, object, text, time, whole};
use ::web::{ApiError, Internal, Query};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use domain::ids::{AccountId, MessageId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{data, internal_group, of_village, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::bridge_history;

/// Messages when nobody says how many.
const DEFAULT_LIMIT: i64 = 100;
/// Most messages of one answer.
const MOST: i64 = 500;

pub(crate) fn routes(api: &mut Api) {
    api.group(internal_group("For the bridge"));
    let account = object([
        ("id", text()),
        ("provider", text()),
        ("endpoint", text()),
        ("name", nullable(text())),
        ("phone", nullable(text())),
        ("status", text()),
    ]);
    let accounts = of_village("A tenant's WhatsApp accounts, oldest first").answers(
        200,
        "The accounts",
        data(list(account)),
    );
    let message = object([("direction", text()), ("message", json!({"type": "object"}))]);
    let mut page = data(list(message));
    page["properties"]["next"] = nullable(text());
    let history = of_village("An account's messages with single people, in the order in which they came")
        .query("account_id", text(), "the account; required")
        .query("after", text(), "`next` of the page before")
        .query("since", time(), "nothing written before that")
        .query("limit", whole(), "100 where nobody says, at most 500")
        .answers(200, "The messages, as `message.received` tells them", page);
    api.get("/accounts", accounts, list_accounts)
        .get("/history", history, show_history);
}

async fn list_accounts(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    let accounts = bridge_history::accounts(&state.db, &scope).await?;
    let data: Vec<Value> = accounts
        .iter()
        .map(|row| {
            json!({"id": row.id, "provider": row.provider, "endpoint": row.endpoint, "name": row.display_name,
                   "phone": row.phone, "status": row.status})
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": data})))
}

async fn show_history(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    let account = id_in(&query, "account_id")?
        .ok_or_else(|| ApiError::bad_request("account_id_required", "account_id is required"))?;
    let after = id_in(&query, "after")?;
    let since = query
        .get("since")
        .map(|text| DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Utc)))
        .transpose()
        .map_err(|_| invalid("since", "must be a time as 2026-01-31T10:00:00Z"))?;
    let limit = query
        .get("limit")
        .and_then(|limit| limit.parse().ok())
        .map_or(DEFAULT_LIMIT, |limit: i64| limit.clamp(1, MOST));
    let page = bridge_history::page(
        &state.db,
        &scope,
        AccountId::from_uuid(account),
        after.map(MessageId::from_uuid),
        since,
        limit,
    )
    .await?;
    Ok(HttpResponse::Ok().json(Answer {
        success: true,
        data: page.messages,
        next: page.next,
    }))
}

#[derive(serde::Serialize)]
struct Answer {
    success: bool,
    data: Vec<bridge_history::HistoryMessage>,
    next: Option<Uuid>,
}

fn id_in(query: &Query, name: &'static str) -> Result<Option<Uuid>, ApiError> {
    query
        .get(name)
        .map(str::parse)
        .transpose()
        .map_err(|_| invalid(name, "must be an id"))
}

fn invalid(field: &'static str, what: &str) -> ApiError {
    ApiError::bad_request("invalid_field", format!("{field} {what}")).with("field", field)
}
