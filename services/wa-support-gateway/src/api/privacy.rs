//! `/internal/users/{user_id}`: everything of a user, or of one person at it, given out and erased. For the service the
//! user belongs to, and for keys without a source.

use ::web::openapi::{Api, Doc, fields, flag, object, text, whole};
use ::web::{ApiError, Fields};
use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{Bytes, Data, Path};
use chores::export::Lines;
use futures_util::stream;
use serde_json::json;
use tenant_isolation::TenantScope;

use super::body::OptionalJsonFields;
use super::caller::Caller;
use super::customers::named;
use crate::flows::customers::Actor;
use crate::flows::erase_customer;
use crate::flows::export::{self, Of};
use crate::flows::people::{self, PersonName};
use crate::state::Gateway;

const LINES: &str = "application/x-ndjson";

pub(crate) fn routes(api: &mut Api) {
    let refusals: &[(u16, &str)] = &[
        (403, "The user belongs to another source"),
        (404, "No such user; with a key of one source 403"),
    ];
    let exported = Doc::new("Everything a user has, a line of JSON for each row; no token, key or hash")
        .answers_as(200, "The lines", LINES, text())
        .refuses(refusals);
    let erased = Doc::new(
        "Erase a user: its keys end at once, its sessions are removed at the WA server, everything of it goes but the \
         record of acts. Begun again, an erasure that was interrupted is finished",
    )
    .takes(fields([("confirm", text())]))
    .answers(
        200,
        "Erased",
        object([("user_id", text()), ("sessions", whole()), ("cache", flag())]),
    )
    .refuses(&[(400, "`confirm` is not the user's id")])
    .refuses(refusals)
    .refuses(&[
        (409, "Somebody works on one of its sessions; come again"),
        (502, "The WA server did not let go of a session: the user is off and without keys; come again"),
    ]);
    let person_exported = Doc::new("Everything a user has of one person, a line of JSON for each row")
        .takes(fields([("person", text())]))
        .answers_as(200, "The lines", LINES, text())
        .refuses(&[(400, "`person` is neither a number nor a hidden id")])
        .refuses(refusals);
    let person_erased = Doc::new("Erase everything a user has of one person")
        .takes(fields([("person", text()), ("confirm", text())]))
        .answers(
            200,
            "Erased",
            object([
                ("user_id", text()),
                ("contacts", whole()),
                ("webhooks", whole()),
                ("read_marks", whole()),
            ]),
        )
        .refuses(&[(
            400,
            "`person` is neither a number nor a hidden id, or `confirm` another person",
        )])
        .refuses(refusals)
        .refuses(&[(
            409,
            "The person is one of the user's own sessions; remove that session first",
        )]);
    api.get("/users/{user_id}/export", exported, give)
        .delete("/users/{user_id}", erased, erase)
        .post("/users/{user_id}/people/export", person_exported, give_person)
        .post("/users/{user_id}/people/erase", person_erased, erase_person);
}

async fn give(caller: Caller, id: Path<String>, gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    let (by, scope) = named(caller, &id)?;
    let name = scope.tenant().as_str().replace([':', '@'], "-");
    give_out(&gateway, by, scope, Of::Customer, &format!("{name}.jsonl")).await
}

async fn give_person(
    caller: Caller,
    id: Path<String>,
    body: OptionalJsonFields,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let (by, scope) = named(caller, &id)?;
    let of = Of::Person(person_in(&body.0)?);
    give_out(&gateway, by, scope, of, "person.jsonl").await
}

/// The lines as a file of this name. A failure in the middle cuts the connection, so that half an export is not taken for a
/// whole one.
async fn give_out(
    gateway: &Gateway,
    by: Actor,
    scope: TenantScope,
    of: Of,
    name: &str,
) -> Result<HttpResponse, ApiError> {
    let (this, process) = (gateway.clone(), gateway.process.clone());
    let begin = async move {
        export::announce(&this.db, &this.keys, &by, &scope, &of).await?;
        Ok(export::begin(&process, this.db, scope, of))
    };
    let lines: Lines = gateway.on_process(begin).await?;
    let lines = stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        Some((line.map(Bytes::from).map_err(std::io::Error::other), lines))
    });
    Ok(HttpResponse::Ok()
        .content_type(LINES)
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .streaming(lines))
}

/// Takes the user's id once more in the body, so that nobody erases one by a slip of the path.
async fn erase(
    caller: Caller,
    id: Path<String>,
    body: OptionalJsonFields,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let (by, scope) = named(caller, &id)?;
    if body.0.text("confirm")? != Some(scope.tenant().as_str()) {
        return Err(unconfirmed(
            "Repeat the user's id in the field confirm: everything of it will be erased",
        ));
    }
    let user_id = scope.tenant().to_string();
    let this = gateway.clone();
    let work =
        async move { erase_customer::erase(&this.customers, &this.sessions, &this.redis, &by, &scope).await };
    let erased = gateway.to_the_end(work).await?;
    Ok(HttpResponse::Ok()
        .json(json!({"user_id": user_id, "sessions": erased.sessions, "cache": erased.cache})))
}

/// Takes the person once more in the body, in any spelling.
async fn erase_person(
    caller: Caller,
    id: Path<String>,
    body: OptionalJsonFields,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let (by, scope) = named(caller, &id)?;
    let person = person_in(&body.0)?;
    let confirmed: Option<PersonName> = body.0.text("confirm")?.and_then(|text| text.parse().ok());
    if confirmed.as_ref() != Some(&person) {
        return Err(unconfirmed(
            "Repeat the person in the field confirm: everything of theirs will be erased",
        ));
    }
    let user_id = scope.tenant().to_string();
    let this = gateway.clone();
    let work = async move { people::erase(&this.db, &this.keys, &by, &scope, &person).await };
    let erased = gateway.to_the_end(work).await?;
    Ok(HttpResponse::Ok().json(json!({
        "user_id": user_id, "contacts": erased.contacts, "webhooks": erased.webhooks,
        "read_marks": erased.read_marks,
    })))
}

fn person_in(body: &Fields) -> Result<PersonName, ApiError> {
    let named = body.filled("person")?.unwrap_or_default();
    named.parse().map_err(|_| {
        ApiError::bad_request(
            "invalid_person",
            "Name the person by number or by hidden id (…@lid) in the field person",
        )
        .with("field", "person")
    })
}

fn unconfirmed(text: &str) -> ApiError {
    ApiError::bad_request("confirmation_required", text).with("field", "confirm")
}
