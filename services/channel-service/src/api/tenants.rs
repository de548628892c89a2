//! `/api/tenants`: the customer organisations, for superadmins.

use ::web::{ApiError, Fields, Query};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use domain::tenant::TenantStatus;
use domain::user::Role;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::signed_in::User;
use super::village;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::erase_tenant::{self, EraseError};
use crate::flows::export_tenant::{self, ExportError};
use crate::flows::tenant;
use crate::store;

/// Most tenants or acts in one answer.
const MOST: i64 = 500;
/// Longest name of a tenant, in characters.
const MAX_NAME: usize = 200;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/tenants")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(web::resource("/tenants/{village_id}").route(web::delete().to(erase)))
        .service(web::resource("/tenants/{village_id}/suspend").route(web::post().to(suspend)))
        .service(web::resource("/tenants/{village_id}/resume").route(web::post().to(resume)))
        .service(web::resource("/tenants/{village_id}/export").route(web::get().to(export)))
        .service(web::resource("/tenants/{village_id}/audit").route(web::get().to(audit)));
}

/// Only superadmins; a tenant admin does not learn which other tenants there are.
fn superadmin(user: &User) -> Result<(), ApiError> {
    if user.who.role == Role::Superadmin {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "superadmin_only",
        "Forbidden: only a superadmin may do this",
    ))
}

async fn list(user: User, query: Query, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    superadmin(&user)?;
    let tenants = tenant::list(&state.db, query.get("after"), MOST).await?;
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
    let created = tenant::create(&state.db, &scope, name, &user.actor(&request)).await?;
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
    let erased = erase_tenant::erase(&state.db, &state.redis, &state.routes, &scope, &actor).await;
    match erased {
        Ok(rows) => Ok(HttpResponse::Ok()
            .json(json!({"success": true, "data": {"village_id": scope.tenant(), "rows": rows}}))),
        Err(EraseError::NoSuchTenant) => Err(village::unknown().into()),
        Err(EraseError::Database(error)) => Err(error.into()),
    }
}

/// Lines of JSON. A failure in the middle cuts the connection, so that half an export is not taken for a whole one.
async fn export(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    superadmin(&user)?;
    let scope = user.scope(Some(&path))?;
    match export_tenant::announce(&state.db, &scope, &user.actor(&request)).await {
        Ok(()) => {}
        Err(ExportError::Database(error)) => return Err(error.into()),
        Err(ExportError::NoSuchTenant | ExportError::Abandoned) => return Err(village::unknown().into()),
    }
    let (lines, taken) = mpsc::channel(16);
    let (db, exported) = (state.db.clone(), scope.clone());
    tokio::spawn(async move {
        if let Err(error) = export_tenant::export(&db, &exported, &lines).await {
            tracing::warn!(tenant = %exported.tenant(), error = %crate::error::chain(&error), "an export ended early");
            drop(lines.send(Err(error)).await);
        }
    });
    let name = format!(
        "attachment; filename=\"{}.jsonl\"",
        scope.tenant().as_str().replace([':', '@'], "-")
    );
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((CONTENT_DISPOSITION, name))
        .streaming(
            ReceiverStream::new(taken).map(|line| line.map(Bytes::from).map_err(std::io::Error::other)),
        ))
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
