//! `/internal/journeys/{id}`: what is known of an id, whoever's it is, for `trace` of the other services.

use ::web::ApiError;
use ::web::openapi::{Api, Doc};
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

use super::basic_auth::Operator;
use super::{Admin, group};
use crate::error::answer;
use crate::flows::trace;

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Journeys"));
    let doc = Doc::new("What goes by an id of whatever sort, of every tenant, and what happened to it")
        .answers(
            200,
            "All that is known, which may be nothing",
            chores::journey::schema(),
        );
    api.get("/journeys/{id}", doc, show);
}

async fn show(_operator: Operator, path: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let id = chores::journey::readable(&path)
        .ok_or_else(|| ApiError::bad_request("invalid_id", "That can be no id"))?;
    let told = trace::trace(&admin.tools.db, id).await;
    Ok(HttpResponse::Ok().json(told.map_err(|error| answer(&error))?))
}
