//! `/api/tenants/{village_id}/people`: what a tenant has of one person, given out and erased. For superadmins and the
//! tenant's own admin.

use ::web::openapi::{Api, Doc, fields, flag, object, text, whole};
use ::web::{ApiError, Fields};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use domain::address::ChatAddress;
use serde_json::json;

use super::signed_in::User;
use super::{dashboard_group, data, export, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::erase_person::{self, ErasePersonError, read_person};
use crate::flows::export_person;

pub(crate) fn routes(api: &mut Api) {
    api.group(dashboard_group("Tenants"));
    const UNKNOWN: &[(u16, &str)] = &[(404, "No village is registered under this id")];
    let exported = Doc::new("Everything a tenant has of one person, a line of JSON for each row")
        .takes(fields([("person", text())]))
        .answers_as(200, "The lines", "application/x-ndjson", text())
        .refuses(UNKNOWN);
    let erased = data(object([
        ("village_id", text()),
        ("messages", whole()),
        ("chats", whole()),
        ("raw_events", whole()),
        ("cache", flag()),
    ]));
    let erase_one = Doc::new("Erase everything a tenant has of one person")
        .takes(fields([("person", text()), ("confirm", text())]))
        .answers(200, "Erased", erased)
        .refuses(UNKNOWN);
    api.post("/tenants/{village_id}/people/export", exported, give)
        .post("/tenants/{village_id}/people/erase", erase_one, erase);
}

fn person_in(body: &Fields) -> Result<ChatAddress, ApiError> {
    let named = body.filled("person")?.unwrap_or_default();
    read_person(named).map_err(|_| {
        ApiError::bad_request(
            "invalid_identifier",
            "Name the person by number, WhatsApp address or webchat session ID in the field person",
        )
    })
}

async fn give(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = user.scope(Some(&path))?;
    let person = person_in(&body)?;
    let actor = user.actor(&request);
    export::announced(export_person::announce(&state.db, &state.keys, &scope, &person, &actor).await)?;
    let lines = export_person::begin(state.db.clone(), scope, person);
    Ok(export::file(lines, "person.jsonl"))
}

/// Takes the person once more in the body, in any spelling, so that nobody is erased by a slip.
async fn erase(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = user.scope(Some(&path))?;
    let person = person_in(&body)?;
    let confirmed = body.text("confirm")?.map(read_person).transpose().ok().flatten();
    if confirmed.as_ref() != Some(&person) {
        return Err(ApiError::bad_request(
            "confirmation_required",
            "Repeat the person in the field confirm: everything of theirs will be erased",
        )
        .into());
    }
    let actor = user.actor(&request);
    let erased = erase_person::erase(
        &state.db,
        &state.keys,
        &state.redis,
        Some(&state.media.storage),
        &scope,
        &person,
        &actor,
    )
    .await;
    let (erased, identifiers) = match erased {
        Ok(erased) => erased,
        Err(ErasePersonError::NoSuchTenant) => return Err(village::unknown().into()),
        Err(ErasePersonError::Database(error)) => return Err(error.into()),
    };
    if let Some(cache) = &state.chats.ai_cache {
        identifiers.iter().for_each(|identifier| cache.forget(identifier));
    }
    Ok(
        HttpResponse::Ok().json(json!({"success": true, "data": {"village_id": scope.tenant(),
        "messages": erased.messages, "chats": erased.chats, "raw_events": erased.raw_events,
        "cache": erased.cache}})),
    )
}
