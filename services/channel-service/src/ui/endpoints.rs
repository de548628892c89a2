//! The WhatsApp API servers and how they are.

use ::web::Query;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, ServiceConfig};
use askama::Template;
use chrono::{DateTime, Utc};
use console::{Frame, Language, Tone, page, see_other};
use domain::endpoint::Provider;

use super::errors::PageError;
use super::frame::Said;
use super::pictures::{self as plots, RangeLink};
use super::visit::{Posted, Visit};
use super::wording::{self, Health};
use crate::app::State;
use crate::flows::endpoint_overview::{self as overview, EndpointDetail, EndpointView};
use crate::flows::pictures::{self, Range};
use crate::store::endpoint_health::HealthStatus;
use crate::store::endpoint_history::{AssignedTenant, COUNTED};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/endpoints", web::get().to(list))
        .route("/endpoints/{name}", web::get().to(show))
        .route("/endpoints/{name}/check", web::post().to(check));
}

/// What became of a check that somebody asked for.
pub(super) const CHECKED: &[Said] = &[
    ("checked", Tone::Ok, "Checked just now.", "Baru saja diperiksa."),
    (
        "checking",
        Tone::Warn,
        "The check is still under way. Reload this page in a moment.",
        "Pemeriksaan masih berjalan. Muat ulang halaman ini sebentar lagi.",
    ),
    (
        "unchecked",
        Tone::Warn,
        "Nobody checks endpoints here: ENDPOINT_CHECKS is off.",
        "Endpoint tidak diperiksa di sini: ENDPOINT_CHECKS dimatikan.",
    ),
];

/// How far the history of an endpoint goes back.
const RANGES: [Range; 2] = [Range::Day, Range::Week];

/// An endpoint as it is shown in the list and on its page.
pub(super) struct Row {
    pub(super) name: String,
    kind: &'static str,
    is_usual: bool,
    badge: &'static str,
    state: &'static str,
    since: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    reason: &'static str,
    latency: String,
    tenants: String,
    is_alerted: bool,
}

impl Row {
    fn of(l: Language, view: EndpointView) -> Self {
        let standing = view.standing.as_ref();
        let status = standing.map_or(HealthStatus::Unknown, |standing| standing.status);
        let health = Health::of(l, status);
        let latency = standing.and_then(|standing| standing.latency);
        Self {
            kind: kind(l, view.provider),
            is_usual: view.is_usual,
            badge: health.badge,
            state: health.words,
            since: standing.map(|standing| standing.since),
            checked_at: standing.and_then(|standing| standing.checked_at),
            reason: standing
                .and_then(|standing| standing.reason.as_deref())
                .map_or("", |code| wording::reason(l, code)),
            latency: latency.map_or_else(String::new, |took| {
                console::plot::duration(l, took.as_secs_f64() * 1e3)
            }),
            tenants: wording::bounded(l, view.tenants, COUNTED),
            is_alerted: standing.is_some_and(|standing| standing.is_alerted),
            name: view.name,
        }
    }
}

pub(super) const fn kind(l: Language, provider: Provider) -> &'static str {
    match provider {
        Provider::Genfity => l.t("WhatsApp server (genfity)", "Server WhatsApp (genfity)"),
        Provider::Gowa => "GoWA",
        Provider::Cloud => "Meta Cloud API",
    }
}

#[derive(Template)]
#[template(path = "endpoints/list.html")]
struct List {
    frame: Frame,
    endpoints: Vec<Row>,
    is_checked: bool,
}

async fn list(visit: Visit, state: Data<State>) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let l = visit.l();
    let endpoints = overview::list(&state.db, &state.endpoints).await?;
    let template = List {
        frame: visit.frame("endpoints"),
        endpoints: endpoints.into_iter().map(|view| Row::of(l, view)).collect(),
        is_checked: state.endpoints_are_checked,
    };
    Ok(page(StatusCode::OK, &template))
}

#[derive(Template)]
#[template(path = "endpoints/show.html")]
struct Show {
    frame: Frame,
    here: String,
    ranges: Vec<RangeLink>,
    endpoint: Row,
    /// When a check was last not content, and why, where it is content now.
    trouble: Option<(DateTime<Utc>, &'static str)>,
    strip: String,
    tenants: Vec<AssignedTenant>,
    first: String,
    next: String,
    crumbs: Vec<(String, String)>,
}

async fn show(
    visit: Visit,
    path: Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let l = visit.l();
    let after = query.get("after").filter(|after| !after.is_empty());
    let detail = overview::show(&state.db, &state.endpoints, &path, after).await?;
    let EndpointDetail {
        view,
        trouble,
        tenants,
        next,
    } = detail.ok_or(PageError::NotFound)?;
    let range = match plots::wanted(&query) {
        Range::Week => Range::Week,
        Range::Hour | Range::Day | Range::Month => Range::Day,
    };
    let health = pictures::health(&state.db, &[&view.name], range).await?;
    let here = format!("/dashboard/endpoints/{}", view.name);
    let is_content = view
        .standing
        .as_ref()
        .is_some_and(|standing| standing.reason.is_none());
    let template = Show {
        frame: visit.frame_saying("endpoints", CHECKED),
        ranges: plots::links(l, &RANGES, range),
        strip: plots::strip(l, &view.name, &health),
        trouble: trouble
            .filter(|_| is_content)
            .map(|(at, code)| (at, wording::reason(l, &code))),
        tenants,
        first: if after.is_some() {
            here.clone()
        } else {
            String::new()
        },
        next: next.map_or_else(String::new, |next| format!("{here}?after={next}")),
        crumbs: vec![
            (
                "/dashboard/endpoints".to_owned(),
                l.t("Endpoints", "Endpoint").to_owned(),
            ),
            (String::new(), view.name.clone()),
        ],
        endpoint: Row::of(l, view),
        here,
    };
    Ok(page(StatusCode::OK, &template))
}

async fn check(posted: Posted, path: Path<String>, state: Data<State>) -> Result<HttpResponse, PageError> {
    posted.visit.superadmin()?;
    let endpoint = state.endpoints.find(&path).ok_or(PageError::NotFound)?;
    let said = check_now(&state, endpoint.name.as_str()).await?;
    Ok(see_other(format!(
        "/dashboard/endpoints/{}?said={said}",
        endpoint.name
    )))
}

/// Has an endpoint checked, and says what became of it.
pub(super) async fn check_now(state: &State, name: &str) -> Result<&'static str, PageError> {
    if !state.endpoints_are_checked {
        return Ok("unchecked");
    }
    let is_done = overview::check_now(&state.db, name).await?;
    Ok(if is_done { "checked" } else { "checking" })
}
