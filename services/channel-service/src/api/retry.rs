//! `/internal/conversations/{id}/retry`: another try for the AI (channel-service contract 1.6).

use ::web::openapi::{Api, Group, flag, object, text};
use ::web::{ApiError, Internal, Query};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use messaging::cause::caused_by;
use serde_json::json;

use super::{internal_group, of_village, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::identifier::read_identifier;
use crate::flows::retry_answer;

const GROUP: Group = internal_group("Answers of the AI");

pub(crate) fn routes(api: &mut Api) {
    api.group(GROUP);
    let again = of_village("Ask the AI again for the answer to a person's last message")
        .answers(
            200,
            "It is asked",
            object([("success", flag()), ("message", text())]),
        )
        .refuses(&[(404, "No message waits for an answer, or there is no AI to ask")]);
    api.post("/conversations/{wa_user_id}/retry", again, retry);
}

async fn retry(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
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
    let again = retry_answer::retry(&state.db, &state.relay, &scope, &person, &actor);
    if !caused_by(::web::request_id(), &scope, again).await? {
        return Err(nothing().into());
    }
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": "AI processing retry initiated"})))
}
