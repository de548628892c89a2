//! The customer organisations, for superadmins: found, made, named, suspended and given out.

use ::web::Query;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, ResponseError as _};
use askama::Template;
use console::{Frame, Tone, address, page, see_other};
use domain::ids::TenantId;
use domain::tenant::TenantStatus;
use domain::text::Text;

use super::errors::PageError;
use super::frame::{Said, name};
use super::visit::{Posted, TenantPosted, TenantVisit, Visit};
use crate::api::tenants::export_of;
use crate::app::State;
use crate::flows::{audit_log, tenant};
use crate::store::audit::{AnyActRow, Wanted};
use crate::store::tenant::TenantRow;

/// Where the list is.
pub(super) const HERE: &str = "/dashboard/tenants";
/// Tenants of one page.
const PAGE: usize = 50;
/// Acts that a tenant's page shows.
const ACTS: i64 = 10;
/// Longest name of a tenant, in characters.
const MAX_NAME: usize = 200;
/// Longest text that is looked for, in characters.
const MAX_QUERY: usize = 200;

const SAID: &[Said] = &[
    (
        "suspended",
        Tone::Ok,
        "The tenant is suspended. What arrives is kept, nothing is sent.",
        "Tenant ditangguhkan. Yang masuk disimpan, tidak ada yang dikirim.",
    ),
    (
        "resumed",
        Tone::Ok,
        "The tenant is active again.",
        "Tenant aktif kembali.",
    ),
    (
        "made",
        Tone::Ok,
        "The tenant is there. Next: choose its WhatsApp endpoint and make a user for it.",
        "Tenant sudah dibuat. Berikutnya: pilih endpoint WhatsApp dan buat pengguna untuknya.",
    ),
    (
        "erased",
        Tone::Ok,
        "The tenant and everything it had is gone.",
        "Tenant dan semua miliknya sudah dihapus.",
    ),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/tenants", web::get().to(list))
        .route("/tenants", web::post().to(create))
        .route("/tenants/new", web::get().to(new))
        .route("/tenants/{tenant}", web::get().to(show))
        .route("/tenants/{tenant}/name", web::post().to(rename))
        .route("/tenants/{tenant}/suspend", web::post().to(suspend))
        .route("/tenants/{tenant}/resume", web::post().to(resume))
        .route("/tenants/{tenant}/export", web::post().to(export));
}

#[derive(Template)]
#[template(path = "tenants/list.html")]
struct List {
    frame: Frame,
    q: String,
    tenants: Vec<TenantRow>,
    counts: (i64, i64),
    first: String,
    next: String,
}

async fn list(visit: Visit, query: Query, state: Data<State>) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let q: String = query
        .get("q")
        .unwrap_or_default()
        .chars()
        .take(MAX_QUERY)
        .collect();
    // No id holds a NUL, and Postgres takes none.
    let after = query.get("after").map(|after| after.replace('\0', ""));
    let most = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut tenants = tenant::search(&state.db, &q, after.as_deref(), most).await?;
    let more = tenants.len() > PAGE;
    tenants.truncate(PAGE);
    let last = tenants.last().filter(|_| more);
    let next = last.map(|last| address(HERE, &[("q", &q), ("after", &last.tenant_id)]));
    let first = after.map(|_| address(HERE, &[("q", &q)]));
    Ok(page(
        StatusCode::OK,
        &List {
            frame: visit.frame_saying("tenants", SAID),
            tenants,
            counts: tenant::count(&state.db).await?,
            first: first.unwrap_or_default(),
            next: next.unwrap_or_default(),
            q,
        },
    ))
}

#[derive(Template)]
#[template(path = "tenants/new.html")]
struct New {
    frame: Frame,
    id: String,
    name: String,
    wrong_id: String,
}

async fn new(visit: Visit) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    Ok(page(
        StatusCode::OK,
        &New {
            frame: visit.frame("tenants"),
            id: String::new(),
            name: String::new(),
            wrong_id: String::new(),
        },
    ))
}

async fn create(posted: Posted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let Posted { visit, fields } = posted;
    visit.superadmin()?;
    let l = visit.l();
    let id = fields.text("id")?.unwrap_or_default().trim().to_owned();
    let name = fields.text("name")?.unwrap_or_default();
    let refused = |words: &str| {
        let new = New {
            frame: visit.frame("tenants"),
            id: id.clone(),
            name: name.to_owned(),
            wrong_id: words.to_owned(),
        };
        Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &new))
    };
    if TenantId::parse(id.as_str()).is_err() {
        return refused(l.t(
            "Use 1 to 100 letters, digits and . _ - : @, without blanks.",
            "Gunakan 1 sampai 100 huruf, angka, dan . _ - : @, tanpa spasi.",
        ));
    }
    let scope = visit.tenant(&id)?;
    if tenant::find(&state.db, &scope).await?.is_some() {
        return refused(l.t(
            "There is a tenant with this id already. Search for it, or take another id.",
            "Sudah ada tenant dengan id ini. Carilah, atau pakai id lain.",
        ));
    }
    let label = Text::label(name, MAX_NAME);
    let label = label.as_ref().map(Text::as_str);
    tenant::create(&state.db, &state.endpoints, &scope, label, &visit.actor()).await?;
    Ok(see_other(format!("{HERE}/{id}?said=made")))
}

#[derive(Template)]
#[template(path = "tenants/show.html")]
struct Show {
    frame: Frame,
    id: String,
    name: String,
    active: bool,
    tenant: TenantRow,
    acts: Vec<AnyActRow>,
}

async fn show(visit: TenantVisit, state: Data<State>) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let wanted = Wanted {
        tenant: Some(visit.tenant.tenant_id.clone()),
        ..Wanted::default()
    };
    let acts = audit_log::page(&state.db, &wanted, ACTS).await?;
    Ok(page(
        StatusCode::OK,
        &Show {
            frame: visit.frame_saying("tenant", SAID),
            id: visit.tenant.tenant_id.clone(),
            name: name(&visit.tenant).to_owned(),
            active: visit.tenant.is_active(),
            tenant: visit.tenant.clone(),
            acts,
        },
    ))
}

async fn rename(posted: TenantPosted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let TenantPosted { visit, fields } = posted;
    visit.superadmin()?;
    let Some(label) = Text::label(fields.text("name")?.unwrap_or_default(), MAX_NAME) else {
        return Err(PageError::said(
            StatusCode::UNPROCESSABLE_ENTITY,
            "A name has at least one letter.",
            "Nama berisi paling sedikit satu huruf.",
        ));
    };
    if !tenant::rename(&state.db, &visit.scope, label.as_str(), &visit.actor()).await? {
        return Err(PageError::NotFound);
    }
    Ok(back(&visit, "saved"))
}

async fn suspend(posted: TenantPosted, state: Data<State>) -> Result<HttpResponse, PageError> {
    set_status(&posted.visit, &state, TenantStatus::Suspended).await
}

async fn resume(posted: TenantPosted, state: Data<State>) -> Result<HttpResponse, PageError> {
    set_status(&posted.visit, &state, TenantStatus::Active).await
}

async fn set_status(
    visit: &TenantVisit,
    state: &State,
    status: TenantStatus,
) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    if !tenant::set_status(&state.db, &visit.scope, status, &visit.actor()).await? {
        return Err(PageError::NotFound);
    }
    let said = match status {
        TenantStatus::Active => "resumed",
        TenantStatus::Suspended => "suspended",
    };
    Ok(back(visit, said))
}

/// The same lines as the API gives, as a file.
async fn export(posted: TenantPosted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let visit = posted.visit;
    visit.superadmin()?;
    match export_of(&state, visit.scope.clone(), &visit.actor()).await {
        Err(error) if error.status_code() == StatusCode::NOT_FOUND => Err(PageError::NotFound),
        answer => Ok(answer?),
    }
}

fn back(visit: &TenantVisit, said: &str) -> HttpResponse {
    see_other(format!("{HERE}/{}?said={said}", visit.scope.tenant()))
}
