//! `/internal/conversations/{id}/retry`: another try for the AI (channel-service contract 1.6).

use ::web::{ApiError, Internal, Query};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::village;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::identifier::read_identifier;
use crate::flows::retry_answer;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(web::resource("/conversations/{wa_user_id}/retry").route(web::post().to(retry)));
}

async fn retry(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let village = village::named_in(&request, Some(&query), None)?.ok_or_else(village::must_be_named)?;
    let scope = village::scope_of(&caller, village)?;
    let nothing = || {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "no_pending_message",
            "No pending message found for retry",
        )
    };
    // Where there is no AI there is nobody to ask.
    if !state.govconnect {
        return Err(nothing().into());
    }
    let person = read_identifier(&path).map_err(|_| nothing())?;
    let actor = village::actor(&caller, &request, None);
    if !retry_answer::retry(&state.db, &state.relay, &scope, &person, &actor).await? {
        return Err(nothing().into());
    }
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": "AI processing retry initiated"})))
}
