//! `/internal/journeys/{id}`: what is known of an id, for `trace` of the other services.

use ::web::ApiError;
use ::web::openapi::{Api, Doc};
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

use super::caller::Caller;
use crate::flows::trace;
use crate::state::Gateway;

pub(crate) fn routes(api: &mut Api) {
    let doc = Doc::new(
        "What goes by an id of whatever sort, and what happened to it: of every customer for a global key, of its own for a source's",
    )
    .answers(200, "All that is known, which may be nothing", chores::journey::schema())
    .refuses(&[(400, "That can be no id")]);
    api.get("/journeys/{id}", doc, show);
}

async fn show(caller: Caller, path: Path<String>, gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    let id = chores::journey::readable(&path)
        .ok_or_else(|| ApiError::bad_request("invalid_id", "That can be no id"))?
        .to_owned();
    let (db, source) = (gateway.db.clone(), caller.service.source().map(str::to_owned));
    let told = gateway
        .on_process(async move { Ok(trace::trace(&db, source.as_deref(), &id).await?) })
        .await?;
    Ok(HttpResponse::Ok().json(told))
}
