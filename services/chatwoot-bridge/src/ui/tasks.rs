//! Messages between Chatwoot and WhatsApp accounts that could not be brought over and were put aside.

use ::web::openapi::Api;
use ::web::{ApiError, Query};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use askama::Template;
use chrono::{DateTime, Utc};
use console::Frame;
use database::DatabaseError;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::deliveries::{id_of, scope_of};
use super::visit::Visit;
use super::{PAGE, cut, form, page, words};
use crate::api::{self, Admin};
use crate::error::answer;
use crate::flows::parked_tasks;
use crate::store::audit_log::{self, Actor};
use crate::store::message_search::{self, TaskRow};

#[derive(Template)]
#[template(path = "deliveries/tasks.html")]
struct List {
    frame: Frame,
    rows: Vec<Row>,
    first: String,
    next: String,
}

struct Row {
    id: String,
    tenant: String,
    at: DateTime<Utc>,
    what: String,
    reason: String,
    failures: i32,
}

pub(super) fn routes(api: &mut Api) {
    api.get("/panel/tasks", page("Messages that were put aside"), list)
        .post(
            "/panel/tasks/{tenant}/{id}/replay",
            form("Take one up again"),
            replay,
        )
        .post(
            "/panel/tasks/{tenant}/replay",
            form("Take all of a tenant's up again"),
            replay_all,
        );
}

async fn list(visit: Visit, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let after = query.get("after").and_then(api::fields::digits);
    let found = async {
        let platform = PlatformScope::for_purpose("list parked tasks");
        let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
        let rows = message_search::parked_tasks(&mut tx, after.unwrap_or_default(), PAGE + 1).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(rows)
    };
    let (rows, more) = cut(found.await.map_err(|error| answer(&error))?);
    let next = rows.last().filter(|_| more);
    let next = next.map(|row| format!("/admin/panel/tasks?after={}", row.seq));
    let view = |row: &TaskRow| Row {
        id: row.id.to_string(),
        tenant: row.tenant_id.clone(),
        at: row.created_at,
        what: words::task(l, &row.kind),
        reason: row
            .reason
            .as_deref()
            .map(|code| words::reason(l, code))
            .unwrap_or_default(),
        failures: row.failures,
    };
    Ok(console::page(
        StatusCode::OK,
        &List {
            frame: visit.frame("deliveries"),
            rows: rows.iter().map(view).collect(),
            first: after.map(|_| "/admin/panel/tasks".to_owned()).unwrap_or_default(),
            next: next.unwrap_or_default(),
        },
    ))
}

async fn replay(
    visit: Visit,
    path: Path<(String, String)>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let (scope, id) = (scope_of(&path.0)?, id_of(&path.1)?);
    let replayed = async {
        let replayed = parked_tasks::replay(&admin.tools.db, &scope, id).await?;
        if replayed {
            note(&admin, &scope, &visit.actor, format!("task {id}")).await?;
        }
        Ok::<_, DatabaseError>(replayed)
    };
    let replayed = replayed.await.map_err(|error| answer(&error))?;
    Ok(done(replayed))
}

async fn replay_all(visit: Visit, path: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let scope = scope_of(&path)?;
    let replayed = async {
        let replayed = parked_tasks::replay_all(&admin.tools.db, &scope).await?;
        note(&admin, &scope, &visit.actor, format!("{replayed} tasks")).await?;
        Ok::<_, DatabaseError>(replayed)
    };
    let replayed = replayed.await.map_err(|error| answer(&error))?;
    Ok(done(replayed > 0))
}

fn done(replayed: bool) -> HttpResponse {
    let said = if replayed { "replayed" } else { "nothing" };
    console::see_other(format!("/admin/panel/tasks?said={said}"))
}

async fn note(
    admin: &Admin,
    scope: &TenantScope,
    actor: &Actor,
    detail: String,
) -> Result<(), DatabaseError> {
    let mut tx = TenantTransaction::begin(&admin.tools.db, scope, "note replay").await?;
    let act = actor.act("task.replay", None).saying(detail);
    audit_log::note(&mut tx, &act).await?;
    tx.commit().await
}
