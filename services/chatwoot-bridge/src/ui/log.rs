//! Who did what.

use ::web::openapi::Api;
use ::web::{ApiError, Query};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, Utc};
use console::Frame;
use database::DatabaseError;
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use super::visit::Visit;
use super::{PAGE, cut, in_query, page};
use crate::api::Admin;
use crate::error::answer;
use crate::store::audit_log::{self, AnyActRow, Wanted};

#[derive(Template)]
#[template(path = "log.html")]
struct List {
    frame: Frame,
    rows: Vec<Row>,
    tenant: String,
    first: String,
    next: String,
}

struct Row {
    at: DateTime<Utc>,
    who: String,
    what: String,
    tenant: String,
    subject: String,
    detail: String,
}

pub(super) fn routes(api: &mut Api) {
    api.get("/panel/log", page("Who did what"), list);
}

async fn list(visit: Visit, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let after: Option<Uuid> = query.get("after").and_then(|text| text.parse().ok());
    // Only what can be a tenant is asked for.
    let tenant = query
        .get("tenant")
        .and_then(|text| TenantId::parse(text.trim()).ok());
    let tenant = tenant.as_ref().map(TenantId::as_str);
    let wanted = Wanted {
        tenant: tenant.map(str::to_owned),
        before: after,
        ..Wanted::default()
    };
    let found = async {
        let platform = PlatformScope::for_purpose("list acts");
        let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
        let rows = audit_log::page(&mut tx, &wanted, PAGE + 1).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(rows)
    };
    let (rows, more) = cut(found.await.map_err(|error| answer(&error))?);
    let tenant = tenant.unwrap_or_default().to_owned();
    let address = |after: &str| match (tenant.as_str(), after) {
        ("", "") => "/admin/panel/log".to_owned(),
        ("", after) => format!("/admin/panel/log?after={after}"),
        (tenant, "") => format!("/admin/panel/log?tenant={}", in_query(tenant)),
        (tenant, after) => format!("/admin/panel/log?tenant={}&after={after}", in_query(tenant)),
    };
    let next = rows.last().filter(|_| more);
    let next = next.map(|row| address(&row.act.id.to_string()));
    let view = |AnyActRow { tenant_id, act }: &AnyActRow| Row {
        at: act.at,
        who: match &act.source {
            Some(source) => format!("{} ({source})", act.actor),
            None => act.actor.clone(),
        },
        what: act.action.clone(),
        tenant: tenant_id.clone().unwrap_or_default(),
        subject: act.subject.clone().unwrap_or_default(),
        detail: act.detail.clone().unwrap_or_default(),
    };
    Ok(console::page(
        StatusCode::OK,
        &List {
            rows: rows.iter().map(view).collect(),
            first: after.map(|_| address("")).unwrap_or_default(),
            next: next.unwrap_or_default(),
            frame: visit.frame("log"),
            tenant,
        },
    ))
}
