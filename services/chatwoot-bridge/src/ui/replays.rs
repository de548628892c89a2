//! Sending again by a filter: first what it finds, then a job with its progress.

use ::web::openapi::Api;
use ::web::{ApiError, Fields};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use askama::Template;
use chrono::{DateTime, Utc};
use console::{Frame, Language};
use domain::ids::TenantId;

use super::deliveries::id_of;
use super::visit::Visit;
use super::words::{self, State};
use super::{form, nothing_here, page, shown};
use crate::api::fields::invalid;
use crate::api::{self, Admin};
use crate::error::answer;
use crate::flows::replays::{self, Filter, ReplayJob, Wish};

/// Jobs that are listed.
const LISTED: i64 = 50;

#[derive(Template)]
#[template(path = "deliveries/replays.html")]
struct List {
    frame: Frame,
    jobs: Vec<JobView>,
}

#[derive(Template)]
#[template(path = "deliveries/preview.html")]
struct Preview {
    frame: Frame,
    route: String,
    tenant: String,
    reason: String,
    with_unknown: bool,
    groups: Vec<GroupView>,
    all: i64,
}

struct GroupView {
    route: String,
    reason: String,
    state: State,
    events: i64,
    oldest: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "deliveries/replay.html")]
struct Show {
    frame: Frame,
    job: JobView,
}

struct JobView {
    id: String,
    what: String,
    state: State,
    is_running: bool,
    is_stopped: bool,
    total: i64,
    replayed: i64,
    who: String,
    created: DateTime<Utc>,
    finished: Option<DateTime<Utc>>,
}

impl JobView {
    fn new(l: Language, job: &ReplayJob) -> Self {
        let mut what = Vec::new();
        if job.of_route.is_some() {
            what.push(l.t("one route", "satu rute").to_owned());
        }
        if let Some(tenant) = &job.of_tenant {
            what.push(format!("tenant {tenant}"));
        }
        if let Some(code) = &job.reason {
            what.push(words::reason(l, code));
        }
        if job.with_unknown {
            what.push(
                l.t(
                    "those that may have arrived too",
                    "termasuk yang mungkin sudah sampai",
                )
                .to_owned(),
            );
        }
        if what.is_empty() {
            what.push(l.t("everything put aside", "semua yang disisihkan").to_owned());
        }
        Self {
            id: job.id.to_string(),
            what: what.join(", "),
            state: match job.state.as_str() {
                "running" => State::new("idle", l.t("Under way", "Berjalan")),
                "stopped" => State::new("warn", l.t("Stopped", "Dihentikan")),
                _ => State::new("ok", l.t("Done", "Selesai")),
            },
            is_running: job.state == "running",
            is_stopped: job.state == "stopped",
            total: job.total,
            replayed: job.replayed,
            who: job.actor.clone(),
            created: job.created_at,
            finished: job.finished_at,
        }
    }
}

pub(super) fn routes(api: &mut Api) {
    api.get(
        "/panel/replays",
        page("Replays by a filter, and the form for one"),
        list,
    )
    .post(
        "/panel/replays/preview",
        shown("What a filter finds; nothing is sent"),
        preview,
    )
    .post("/panel/replays", form("Send again what a filter finds"), start)
    .get("/panel/replays/{id}", page("A replay and its progress"), show)
    .post("/panel/replays/{id}/stop", form("Stop a replay"), stop)
    .post("/panel/replays/{id}/resume", form("Go on with a replay"), resume);
}

async fn list(visit: Visit, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let jobs = replays::newest(&admin.tools.db, LISTED).await;
    let jobs = jobs.map_err(|error| answer(&error))?;
    Ok(console::page(
        StatusCode::OK,
        &List {
            jobs: jobs.iter().map(|job| JobView::new(visit.l(), job)).collect(),
            frame: visit.frame("replays"),
        },
    ))
}

/// A filter as its form sends it, and in whose log it is noted.
async fn read(form: &Fields, admin: &Admin) -> Result<(Filter, TenantId), ApiError> {
    let owned = match form.filled("route")? {
        Some(route) => Some(api::routes::find(admin, route.trim()).await?),
        None => None,
    };
    let tenant = form.filled("tenant")?.map(|text| TenantId::parse(text.trim()));
    let tenant = tenant.transpose();
    let tenant = tenant.map_err(|_| invalid([("tenant", "must be a tenant's id".to_owned())]))?;
    let reason: Option<String> = form
        .filled("reason")?
        .map(|text| text.trim().chars().take(60).collect());
    let tenant = owned.as_ref().map(|owned| owned.tenant.clone()).or(tenant);
    let filter = Filter {
        route: owned.map(|owned| owned.route.id),
        tenant: tenant.as_ref().map(TenantId::to_string),
        reason,
        with_unknown: form.get("withUnknown").is_some(),
    };
    Ok((filter, tenant.unwrap_or_else(|| admin.routes_tenant.clone())))
}

async fn preview(visit: Visit, form: Fields, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let (filter, _) = read(&form, &admin).await?;
    let found = replays::preview(&admin.tools.db, &filter).await;
    let found = found.map_err(|error| answer(&error))?;
    let text = |name: &'static str| -> Result<String, ApiError> {
        Ok(form.text(name)?.unwrap_or_default().trim().to_owned())
    };
    Ok(console::page(
        StatusCode::OK,
        &Preview {
            frame: visit.frame("replays"),
            route: text("route")?,
            tenant: text("tenant")?,
            reason: text("reason")?,
            with_unknown: filter.with_unknown,
            all: found.first().map(|group| group.all).unwrap_or_default(),
            groups: found
                .iter()
                .map(|group| GroupView {
                    route: group.route.map(|number| number.to_string()).unwrap_or_default(),
                    reason: group
                        .reason
                        .as_deref()
                        .map(|code| words::reason(l, code))
                        .unwrap_or_default(),
                    state: words::delivery(l, if group.unknown { "unknown" } else { "parked" }),
                    events: group.events,
                    oldest: group.oldest,
                })
                .collect(),
        },
    ))
}

async fn start(visit: Visit, form: Fields, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let (filter, tenant) = read(&form, &admin).await?;
    let id = replays::start(&admin.tools.db, &filter, &tenant, &visit.actor).await;
    let id = id.map_err(|error| answer(&error))?;
    Ok(console::see_other(format!(
        "/admin/panel/replays/{id}?said=started"
    )))
}

async fn show(visit: Visit, id: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let job = replays::find(&admin.tools.db, id_of(&id)?).await;
    let job = job.map_err(|error| answer(&error))?;
    let job = job.ok_or_else(nothing_here)?;
    Ok(console::page(
        StatusCode::OK,
        &Show {
            job: JobView::new(visit.l(), &job),
            frame: visit.frame("replays"),
        },
    ))
}

async fn stop(visit: Visit, id: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    change(&visit, &id, &admin, Wish::Stop).await
}

async fn resume(visit: Visit, id: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    change(&visit, &id, &admin, Wish::Resume).await
}

async fn change(visit: &Visit, id: &str, admin: &Admin, wish: Wish) -> Result<HttpResponse, ApiError> {
    let id = id_of(id)?;
    let job = replays::find(&admin.tools.db, id)
        .await
        .map_err(|error| answer(&error))?;
    let job = job.ok_or_else(nothing_here)?;
    let tenant = job.of_tenant.and_then(|tenant| TenantId::parse(tenant).ok());
    let tenant = tenant.unwrap_or_else(|| admin.routes_tenant.clone());
    let met = replays::wish(&admin.tools.db, id, wish, &tenant, &visit.actor).await;
    let met = met.map_err(|error| answer(&error))?;
    let said = match (met, wish) {
        (false, _) => "",
        (true, Wish::Stop) => "?said=stopped",
        (true, Wish::Resume) => "?said=resumed",
    };
    Ok(console::see_other(format!("/admin/panel/replays/{id}{said}")))
}
