//! API tokens of Chatwoot accounts. A token goes in and never comes out.

use ::web::openapi::Api;
use ::web::{ApiError, Fields, Query};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpResponse, ResponseError as _};
use askama::Template;
use console::Frame;
use database::DatabaseError;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use super::route_forms::filled;
use super::visit::Visit;
use super::words::Refusal;
use super::{PAGE, cut, form, in_query, page};
use crate::api::fields::{Body, invalid};
use crate::api::{self, Admin};
use crate::error::answer;
use crate::store::installations::{self, OwnedInstallation};

#[derive(Template)]
#[template(path = "installations.html")]
struct List {
    frame: Frame,
    rows: Vec<OwnedInstallation>,
    first: String,
    next: String,
    refusal: Refusal,
    problem: String,
    url: String,
    account: String,
    installation: String,
    tenant: String,
    routes_tenant: String,
}

impl List {
    fn error(&self, field: &str) -> String {
        self.refusal.field(self.frame.l, field)
    }
}

pub(super) fn routes(api: &mut Api) {
    api.get(
        "/panel/installations",
        page("API tokens of Chatwoot accounts"),
        list,
    )
    .post("/panel/installations", form("Store an API token"), store)
    .post("/panel/installations/forget", form("Forget an API token"), forget);
}

async fn list(visit: Visit, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    shown(
        StatusCode::OK,
        &visit,
        &admin,
        &query,
        &Fields::default(),
        Refusal::default(),
    )
    .await
}

async fn shown(
    status: StatusCode,
    visit: &Visit,
    admin: &Admin,
    query: &Query,
    form: &Fields,
    refusal: Refusal,
) -> Result<HttpResponse, ApiError> {
    let after = query.get("after").and_then(|text| {
        let mut parts = text.splitn(3, ' ');
        let (tenant, installation) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some((tenant, installation, parts.next()?.parse::<i64>().ok()?))
    });
    let found = async {
        let platform = PlatformScope::for_purpose("list installations");
        let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
        let rows = installations::page(&mut tx, after.as_ref(), PAGE + 1).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(rows)
    };
    let (rows, more) = cut(found.await.map_err(|error| answer(&error))?);
    let next = rows.last().filter(|_| more).map(|row| {
        let place = format!(
            "{} {} {}",
            row.tenant_id, row.installation, row.chatwoot_account_id
        );
        format!("/admin/panel/installations?after={}", in_query(&place))
    });
    let text = |name: &'static str| form.text(name).ok().flatten().unwrap_or_default().to_owned();
    let problem = if status.is_success() {
        String::new()
    } else {
        refusal.line(visit.l())
    };
    Ok(console::page(
        status,
        &List {
            frame: visit.frame("installations"),
            rows,
            first: after
                .map(|_| "/admin/panel/installations".to_owned())
                .unwrap_or_default(),
            next: next.unwrap_or_default(),
            refusal,
            problem,
            url: text("url"),
            account: text("accountId"),
            installation: text("installation"),
            tenant: text("tenantId"),
            routes_tenant: admin.routes_tenant.to_string(),
        },
    ))
}

async fn store(
    visit: Visit,
    query: Query,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let names = ["url", "apiToken", "accountId", "installation", "tenantId"];
    let body = Body::of(filled(&form, &names));
    match api::installations::put(&admin, body, &visit.actor).await {
        Ok(()) => Ok(console::see_other("/admin/panel/installations?said=saved")),
        Err(error) => {
            let refusal = Refusal::of(&error);
            shown(error.status_code(), &visit, &admin, &query, &form, refusal).await
        }
    }
}

async fn forget(visit: Visit, form: Fields, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let text = |name: &'static str| -> Result<&str, ApiError> { Ok(form.text(name)?.unwrap_or_default()) };
    let tenant = domain::ids::TenantId::parse(text("tenantId")?);
    let tenant = tenant.map_err(|_| invalid([("tenantId", "must be a tenant's id".to_owned())]))?;
    let scope = admin.scope(Some(tenant));
    let account = api::fields::digits(text("accountId")?).unwrap_or_default();
    let place = (text("installation")?, account);
    let removed = api::installations::remove(&admin, &scope, place, &visit.actor).await;
    removed.map_err(|error| answer(&error))?;
    Ok(console::see_other("/admin/panel/installations?said=deleted"))
}
