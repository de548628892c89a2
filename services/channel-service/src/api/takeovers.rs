//! `/internal/takeover`: who answers a chat in the AI's place (channel-service contract 1.6).

use ::web::{ApiError, Fields, Internal, Query};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use domain::text::Text;
use serde_json::{Value, json};

use super::{person, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::takeover;
use crate::store::takeover::NewTakeover;

/// Most takeovers of one answer.
const MOST: i64 = 1000;
/// Longest kept id or name of an admin, in characters.
const LONGEST_LABEL: usize = 200;
/// Longest kept reason, in characters.
const LONGEST_REASON: usize = 1000;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/takeover").route(web::get().to(list)))
        .service(
            web::resource("/takeover/{wa_user_id}")
                .route(web::post().to(start))
                .route(web::delete().to(end)),
        )
        .service(web::resource("/takeover/{wa_user_id}/status").route(web::get().to(status)));
}

async fn list(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let named = village::named_in(&request, Some(&query), None)?;
    let mut data = Vec::new();
    if let Some(scope) = village::of_read(&caller, &state, named, None).await? {
        let rows = takeover::list(&state.db, &scope, MOST).await?;
        data.extend(rows.iter().map(|row| person::takeover(&scope, row)));
    }
    Ok(HttpResponse::Ok().json(json!({"success": true, "count": data.len(), "data": data})))
}

async fn start(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let label = |name: &'static str, most: usize| -> Result<Option<String>, ApiError> {
        let label = body.text(name)?.and_then(|text| Text::label(text, most));
        Ok(label.map(Text::into_string))
    };
    let Some(admin_id) = label("admin_id", LONGEST_LABEL)? else {
        let text = "wa_user_id and admin_id are required";
        return Err(ApiError::bad_request("field_required", text).into());
    };
    let new = NewTakeover {
        admin_name: label("admin_name", LONGEST_LABEL)?,
        reason: label("reason", LONGEST_REASON)?,
        admin_id,
    };
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    let channel = match query.get("channel") {
        Some(channel) => Some(channel),
        None => body.filled("channel")?,
    };
    let person = person::writable(&path, channel)?;
    let actor = village::actor(&caller, &request, Some(&new.admin_id));
    let row = takeover::start(&state.db, &scope, &person, &new, &actor).await?;
    Ok(HttpResponse::Ok().json(json!({
        "success": true, "data": person::takeover(&scope, &row), "message": format!("Takeover started for {path}"),
    })))
}

async fn end(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    let mut ended = false;
    if let Some(person) = person::known_as(&path, query.get("channel")) {
        let actor = village::actor(&caller, &request, None);
        ended = takeover::end(&state.db, &scope, &person, &actor).await?;
    }
    let message = if ended {
        format!("Takeover ended for {path}")
    } else {
        "No active takeover found".to_owned()
    };
    Ok(HttpResponse::Ok().json(json!({"success": true, "ended": ended, "message": message})))
}

async fn status(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let named = village::named_in(&request, Some(&query), None)?;
    let mut session = Value::Null;
    if let Some(person) = person::known_as(&path, query.get("channel"))
        && let Some(scope) = village::of_read(&caller, &state, named, Some(&person)).await?
        && let Some(row) = takeover::status(&state.db, &scope, &person).await?
    {
        session = person::takeover(&scope, &row);
    }
    Ok(HttpResponse::Ok().json(json!({
        "success": true, "is_takeover": !session.is_null(), "session": session,
    })))
}
