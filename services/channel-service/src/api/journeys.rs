//! `/internal/journeys/{id}`: what is known of an id, whoever's it is, for `trace` of the other services.

use ::web::openapi::{Api, Doc};
use ::web::{ApiError, Internal};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};

use super::internal_group;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::journey::AnyId;
use crate::flows::trace;

pub(crate) fn routes(api: &mut Api) {
    api.group(internal_group("Journeys"));
    let doc = Doc::new(
        "What goes by an id of whatever sort, of every tenant, and what happened to it; for keys that are good for every tenant",
    )
    .answers(200, "All that is known, which may be nothing", chores::journey::schema());
    api.get("/journeys/{id}", doc, show);
}

async fn show(
    caller: Internal,
    path: Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    if !caller.0.is_for_all() {
        let refusal = ApiError::new(
            StatusCode::FORBIDDEN,
            "not_for_all_tenants",
            "Forbidden: the key is good for some tenants only",
        );
        return Err(refusal.into());
    }
    let id = AnyId::parse(&path).ok_or_else(|| ApiError::bad_request("invalid_id", "That can be no id"))?;
    Ok(HttpResponse::Ok().json(trace::trace(&state.db, &id).await?))
}
