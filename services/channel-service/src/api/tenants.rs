//! `/api/tenants`: the customer organisations, for superadmins.

use ::web::openapi::{Api, Doc, fields, flag, list, nullable, object, one_of, text, text_up_to, time, whole};
use ::web::{ApiError, Fields, Query};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use domain::tenant::TenantStatus;
use domain::user::Role;
use serde_json::json;
use tenant_isolation::TenantScope;

use super::signed_in::User;
use super::{dashboard_group, data, export, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::erase_tenant::{self, EraseError};
use crate::flows::export_tenant;
use crate::flows::tenant::{self, Actor};
use crate::store;

/// Most tenants or acts in one answer.
const MOST: i64 = 500;
/// Longest name of a tenant, in characters.
const MAX_NAME: usize = 200;

pub(crate) fn routes(api: &mut Api) {
    api.group(dashboard_group("Tenants"));
    let tenant = object([
        ("tenant_id", text()),
        ("name", text()),
        ("status", one_of(&["active", "suspended"])),
        ("session_limit", whole()),
        ("auto_read", flag()),
        ("typing_indicator", flag()),
        ("keep_groups", flag()),
        ("keep_broadcasts", flag()),
        ("keep_status", flag()),
        ("created_at", time()),
    ]);
    let all = Doc::new("Tenants, in the order of their ids")
        .query("after", text(), "begin behind this id")
        .answers(200, "At most 500 of them", data(list(tenant)));
    let made = data(object([("village_id", text()), ("created", flag())]));
    let make = Doc::new("Register a tenant, or give it another name")
        .takes(fields([
            ("village_id", text_up_to(100)),
            ("name", text_up_to(MAX_NAME)),
        ]))
        .answers(201, "Registered", made.clone())
        .answers(200, "It was registered before", made);
    let erased = data(object([("village_id", text()), ("rows", whole())]));
    let erase_one = Doc::new("Erase everything a tenant has, but for its administrative acts")
        .takes(fields([("confirm", text())]))
        .answers(200, "Erased", erased)
        .refuses(UNKNOWN);
    let switched = || {
        data(object([
            ("village_id", text()),
            ("status", one_of(&["active", "suspended"])),
        ]))
    };
    let exported = Doc::new("Everything a tenant has, a line of JSON for each row")
        .answers_as(200, "The lines", "application/x-ndjson", text())
        .refuses(UNKNOWN);
    let act = object([
        ("id", text()),
        ("at", time()),
        ("actor", text()),
        ("action", text()),
        ("subject", nullable(text())),
        ("detail", nullable(text())),
        ("source", nullable(text())),
    ]);
    let acts = Doc::new("The newest administrative acts, also for the tenant's own admin").answers(
        200,
        "At most 500 of them",
        data(list(act)),
    );
    let switch = |summary| {
        Doc::new(summary)
            .answers(200, "Done", switched())
            .refuses(UNKNOWN)
    };
    api.get("/tenants", all, list_all)
        .post("/tenants", make, create)
        .delete("/tenants/{village_id}", erase_one, erase)
        .post(
            "/tenants/{village_id}/suspend",
            switch("Send nothing for a tenant"),
            suspend,
        )
        .post(
            "/tenants/{village_id}/resume",
            switch("Lift a suspension"),
            resume,
        )
        .get("/tenants/{village_id}/export", exported, give)
        .get("/tenants/{village_id}/audit", acts, audit);
}

const UNKNOWN: &[(u16, &str)] = &[(404, "No village is registered under this id")];

/// Only superadmins; a tenant admin does not learn which other tenants there are.
pub(super) fn superadmin(user: &User) -> Result<(), ApiError> {
    superadmin_role(user.who.role)
}

/// As [`superadmin`], where only the role is at hand.
pub(super) fn superadmin_role(role: Role) -> Result<(), ApiError> {
    if role == Role::Superadmin {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "superadmin_only",
        "Forbidden: only a superadmin may do this",
    ))
}

async fn list_all(user: User, query: Query, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    superadmin(&user)?;
    // No id holds a NUL, and Postgres takes none.
    let after = query.get("after").map(|after| after.replace('\0', ""));
    let tenants = tenant::list(&state.db, after.as_deref(), MOST).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": tenants})))
}

async fn create(
    user: User,
    request: HttpRequest,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    superadmin(&user)?;
    let id = body.filled("village_id")?;
    let scope = user.scope(id)?;
    let name = body
        .filled("name")?
        .and_then(|name| domain::text::Text::label(name, MAX_NAME));
    let name = name.as_ref().map(domain::text::Text::as_str);
    let created = tenant::create(&state.db, &state.endpoints, &scope, name, &user.actor(&request)).await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(HttpResponse::build(status)
        .json(json!({"success": true, "data": {"village_id": scope.tenant(), "created": created}})))
}

async fn suspend(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    set_status(&user, &request, &path, &state, TenantStatus::Suspended).await
}

async fn resume(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    set_status(&user, &request, &path, &state, TenantStatus::Active).await
}

async fn set_status(
    user: &User,
    request: &HttpRequest,
    id: &str,
    state: &State,
    status: TenantStatus,
) -> Result<HttpResponse, ServiceError> {
    superadmin(user)?;
    let scope = user.scope(Some(id))?;
    if !tenant::set_status(&state.db, &scope, status, &user.actor(request)).await? {
        return Err(village::unknown().into());
    }
    Ok(HttpResponse::Ok()
        .json(json!({"success": true, "data": {"village_id": scope.tenant(), "status": status}})))
}

/// Takes the tenant's id once more in the body, so that nobody erases one by a slip of the path.
async fn erase(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    superadmin(&user)?;
    let scope = user.scope(Some(&path))?;
    if body.text("confirm")? != Some(scope.tenant().as_str()) {
        return Err(ApiError::bad_request(
            "confirmation_required",
            "Repeat the village's id in the field confirm: everything it has will be erased",
        )
        .into());
    }
    let actor = user.actor(&request);
    let files = Some(&state.media.storage);
    let erased = erase_tenant::erase(
        &state.db,
        &state.keys,
        &state.redis,
        &state.routes,
        files,
        &scope,
        &actor,
    )
    .await;
    match erased {
        Ok(rows) => Ok(HttpResponse::Ok()
            .json(json!({"success": true, "data": {"village_id": scope.tenant(), "rows": rows}}))),
        Err(EraseError::NoSuchTenant) => Err(village::unknown().into()),
        Err(EraseError::Database(error)) => Err(error.into()),
        Err(EraseError::Sessions(error)) => Err(error.into()),
    }
}

async fn give(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    superadmin(&user)?;
    let scope = user.scope(Some(&path))?;
    export_of(&state, scope, &user.actor(&request)).await
}

/// Everything of a tenant, as a file of its name.
pub(crate) async fn export_of(
    state: &State,
    scope: TenantScope,
    actor: &Actor,
) -> Result<HttpResponse, ServiceError> {
    export::announced(export_tenant::announce(&state.db, &scope, actor).await)?;
    let name = format!("{}.jsonl", scope.tenant().as_str().replace([':', '@'], "-"));
    let lines = export_tenant::begin(state.db.clone(), scope);
    Ok(export::file(lines, &name))
}

async fn audit(
    user: User,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    // The tenant's own admin may see what was done to it.
    let scope = user.scope(Some(&path))?;
    let mut tx = tenant_isolation::TenantTransaction::begin(&state.db, &scope, "show audit log").await?;
    let acts = store::audit::newest(&mut tx, MOST).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": acts})))
}
