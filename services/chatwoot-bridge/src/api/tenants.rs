//! `/admin/tenants`: what a tenant, or one person of it, has here is given out and erased.

use ::web::openapi::{Api, Doc, Schema, fields, list, object, text, whole};
use ::web::{ApiError, note_tenant};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chores::export::{ExportError, Lines};
use domain::address::ChatAddress;
use domain::ids::TenantId;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::basic_auth::Operator;
use super::fields::Body;
use super::{Admin, group};
use crate::error::answer;
use crate::flows::erase_person::{self, ErasePersonError};
use crate::flows::erase_tenant::{self, EraseError};
use crate::flows::person::{LeftContact, read_person};
use crate::flows::{export_person, export_tenant};

/// Longest spelling of a person's name, in characters.
const MAX_NAME: usize = 200;

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Tenants"));
    const UNKNOWN: &[(u16, &str)] = &[(404, "Nothing here is this tenant's")];
    const WRONG: &[(u16, &str)] = &[
        (404, "Nothing here is this tenant's"),
        (422, "A field is not what it has to be; `fields` names each"),
    ];
    let lines = |doc: Doc| doc.answers_as(200, "The lines", "application/x-ndjson", text());
    let export = lines(Doc::new(
        "Everything a tenant has here, a line of JSON for each row; no tokens and secrets",
    ))
    .refuses(UNKNOWN);
    let erase = Doc::new("Erase everything a tenant has here; its acts stay, and what lives in Chatwoot")
        .takes(fields([("confirm", text())]))
        .answers(
            200,
            "Erased",
            object([("tenantId", text()), ("rowsErased", whole())]),
        )
        .refuses(WRONG);
    let export_one = lines(Doc::new("Everything a tenant has here of one person"))
        .takes(fields([("person", text())]))
        .refuses(WRONG);
    let erase_one =
        Doc::new("Erase everything a tenant has here of one person; what lives in Chatwoot stays")
            .takes(fields([("person", text()), ("confirm", text())]))
            .answers(200, "Erased", erased_schema())
            .refuses(WRONG);
    api.get("/tenants/{tenant}/export", export, give)
        .delete("/tenants/{tenant}", erase, erase_whole)
        .post("/tenants/{tenant}/people/export", export_one, give_person)
        .post("/tenants/{tenant}/people/erase", erase_one, erase_of);
}

fn erased_schema() -> Schema {
    let contact = object([
        ("installation", text()),
        ("accountId", whole()),
        ("contactId", whole()),
    ]);
    object([
        ("tenantId", text()),
        ("contacts", whole()),
        ("links", whole()),
        ("replies", whole()),
        ("waiting", whole()),
        ("events", whole()),
        ("rules", whole()),
        ("quarantined", whole()),
        ("leftInChatwoot", list(contact)),
    ])
}

async fn give(
    operator: Operator,
    tenant: Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let scope = scope(&tenant)?;
    let announced = export_tenant::announce(&admin.tools.db, &scope, &operator.0).await;
    announced.map_err(|error| not_given(&error))?;
    let name = format!("{}.jsonl", scope.tenant());
    Ok(file(export_tenant::begin(admin.tools.db.clone(), scope), &name))
}

/// Takes the tenant's id once more in the body, so that nothing is erased by a slip.
async fn erase_whole(
    operator: Operator,
    request: HttpRequest,
    tenant: Path<String>,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let scope = scope(&tenant)?;
    let mut body = Body::read(&request, body).await?;
    if body.tenant("confirm").as_ref() != Some(scope.tenant()) {
        body.wrong(
            "confirm",
            "must repeat the tenant's id: everything of it will be erased",
        );
    }
    body.finish()?;
    let (db, redis) = (&admin.tools.db, admin.tools.redis.as_ref());
    let erased = erase_tenant::erase(db, redis, &scope, &operator.0).await;
    let rows = erased.map_err(|error| match error {
        EraseError::NoSuchTenant => unknown(),
        EraseError::Database(error) => answer(&error),
    })?;
    Ok(HttpResponse::Ok().json(json!({"tenantId": scope.tenant(), "rowsErased": rows})))
}

async fn give_person(
    operator: Operator,
    request: HttpRequest,
    tenant: Path<String>,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let scope = scope(&tenant)?;
    let mut body = Body::read(&request, body).await?;
    let person = person_in(&mut body, "person");
    body.finish()?;
    let person = person.ok_or_else(ApiError::internal)?;
    let (db, keys) = (&admin.tools.db, &admin.tools.keys);
    let announced = export_person::announce(db, keys, &scope, &person, &operator.0).await;
    announced.map_err(|error| not_given(&error))?;
    Ok(file(
        export_person::begin(db.clone(), scope, person),
        "person.jsonl",
    ))
}

/// Takes the person once more in the body, in any spelling, so that nobody is erased by a slip.
async fn erase_of(
    operator: Operator,
    request: HttpRequest,
    tenant: Path<String>,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let scope = scope(&tenant)?;
    let mut body = Body::read(&request, body).await?;
    let person = person_in(&mut body, "person");
    let confirmed = body.text("confirm", MAX_NAME);
    let confirmed = confirmed.and_then(|typed| read_person(&typed).ok());
    if confirmed.is_none() || confirmed != person {
        body.wrong(
            "confirm",
            "must repeat the person: everything of theirs will be erased",
        );
    }
    body.finish()?;
    let person = person.ok_or_else(ApiError::internal)?;
    let (db, keys) = (&admin.tools.db, &admin.tools.keys);
    let erased = erase_person::erase(db, keys, &scope, &person, &operator.0).await;
    let erased = erased.map_err(|error| match error {
        ErasePersonError::NoSuchTenant => unknown(),
        ErasePersonError::Database(error) => answer(&error),
    })?;
    let wire = |contact: &LeftContact| {
        json!({
            "installation": contact.installation, "accountId": contact.account_id, "contactId": contact.contact_id,
        })
    };
    let left: Vec<Value> = erased.left_in_chatwoot.iter().map(wire).collect();
    Ok(HttpResponse::Ok().json(json!({
        "tenantId": scope.tenant(), "contacts": erased.contacts, "links": erased.links, "replies": erased.replies,
        "waiting": erased.waiting, "events": erased.events, "rules": erased.rules,
        "quarantined": erased.quarantined, "leftInChatwoot": left,
    })))
}

fn person_in(body: &mut Body, field: &'static str) -> Option<ChatAddress> {
    let typed = body.text(field, MAX_NAME);
    if typed.is_none() && body.is_nothing(field) {
        body.wrong(field, "is needed");
        return None;
    }
    match read_person(&typed?) {
        Ok(person) => Some(person),
        Err(error) => {
            body.wrong(field, error.to_string());
            None
        }
    }
}

/// What can be no tenant's id is nobody's.
fn scope(path: &str) -> Result<TenantScope, ApiError> {
    let tenant = TenantId::parse(path).map_err(|_| unknown())?;
    let scope = TenantScope::named_by_operator(tenant);
    note_tenant(&scope);
    Ok(scope)
}

fn unknown() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_tenant",
        "Nothing here is this tenant's",
    )
}

fn not_given(error: &ExportError) -> ApiError {
    match error {
        ExportError::Database(error) => answer(error),
        ExportError::NoSuchTenant | ExportError::Abandoned => unknown(),
    }
}

/// The lines as a file of this name. A failure in the middle cuts the connection, so that half an export is not taken for a
/// whole one.
fn file(lines: Lines, name: &str) -> HttpResponse {
    let lines = stream::unfold(lines, |mut lines: Lines| async move {
        let line = lines.recv().await?;
        Some((line, lines))
    });
    HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .streaming(lines.map(|line| line.map(Bytes::from).map_err(std::io::Error::other)))
}
