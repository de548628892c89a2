//! Routes to look at: the list with its search, one route, and the webhooks that do not lead here.

use std::collections::HashMap;

use ::web::openapi::Api;
use ::web::{ApiError, Query};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use askama::Template;
use chrono::{DateTime, Utc};
use console::{Frame, Language};
use database::DatabaseError;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::plots::{self, Period};
use super::visit::Visit;
use super::words::{self, State};
use super::{PAGE, cut, in_query, page};
use crate::api::{self, Admin};
use crate::error::answer;
use crate::flows::drift::webhook_url;
use crate::store::drift_reports::{self, DriftReport};
use crate::store::forward_counts::{self, ForwardCounts};
use crate::store::route_search;
use crate::store::routes::{self, OwnedRoute, Target};
use crate::store::{deliveries, route_times};

/// Events of a route that its page shows.
const SOME: i64 = 10;

#[derive(Template)]
#[template(path = "routes/list.html")]
struct List {
    frame: Frame,
    q: String,
    rows: Vec<RouteView>,
    first: String,
    next: String,
}

#[derive(Template)]
#[template(path = "routes/show.html")]
struct Show {
    frame: Frame,
    route: RouteView,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
    /// Where Chatwoot has to send the events.
    webhook: String,
    drift: Option<DriftView>,
    wants: String,
    private: bool,
    retry_unknown: bool,
    is_url: bool,
    signs: bool,
    inbox_secrets: usize,
    account_secrets: usize,
    has_token: bool,
    inbox_link: String,
    counts: Option<ForwardCounts>,
    aside: Vec<super::deliveries::Row>,
    period: Period,
    plots: Vec<String>,
}

#[derive(Template)]
#[template(path = "routes/drift.html")]
struct Drifted {
    frame: Frame,
    rows: Vec<DriftView>,
    first: String,
    next: String,
    knows_address: bool,
}

/// A route in a list.
pub(super) struct RouteView {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) inbox: i64,
    pub(super) account: String,
    pub(super) installation: String,
    pub(super) target: String,
    pub(super) tenant: String,
    pub(super) enabled: bool,
    pub(super) state: State,
}

/// Where Chatwoot sends a route's events.
struct DriftView {
    number: i64,
    name: String,
    state: State,
    advice: &'static str,
    found: String,
    restorable: bool,
    auto_restore: bool,
    checked: Option<DateTime<Utc>>,
    since: Option<DateTime<Utc>>,
}

pub(super) fn routes(api: &mut Api) {
    api.get("/panel/routes", page("Routes, with a search"), list)
        .get("/panel/routes/{id}", page("One route"), show)
        .get("/panel/drift", page("Webhooks that do not lead here"), drifted);
}

impl RouteView {
    pub(super) fn new(l: Language, owned: &OwnedRoute, report: Option<&DriftReport>) -> Self {
        let route = &owned.route;
        let wrong = report
            .and_then(|report| report.state.as_deref())
            .filter(|state| *state != "ok");
        Self {
            id: route.number,
            name: route.name.clone().unwrap_or_default(),
            inbox: route.inbox_id,
            account: route
                .account_id
                .map_or_else(|| l.t("any", "semua").to_owned(), |id| id.to_string()),
            installation: route.installation.clone(),
            target: match &route.target {
                Target::Account { .. } => l.t("WhatsApp account", "Akun WhatsApp").to_owned(),
                Target::Url { url_shown, .. } => url_shown.clone(),
            },
            tenant: owned.tenant.to_string(),
            enabled: route.enabled,
            state: match (route.enabled, wrong) {
                (false, _) => State::new("idle", l.t("Off", "Nonaktif")),
                (true, Some(state)) => words::drift(l, state),
                (true, None) => State::new("ok", l.t("On", "Aktif")),
            },
        }
    }
}

async fn list(visit: Visit, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let after = query.get("after").and_then(|text| text.parse().ok());
    let q: String = query
        .get("q")
        .unwrap_or_default()
        .trim()
        .chars()
        .take(200)
        .collect();
    let question = route_search::question(&q);
    let found = async {
        let mut tx = begin(&admin, "list routes").await?;
        let rows = match &question {
            Some(question) => route_search::search(&mut tx, question, after, PAGE + 1).await?,
            None => routes::list(&mut tx, after, PAGE + 1).await?,
        };
        let (rows, more) = cut(rows);
        let ids: Vec<(String, Uuid)> = rows
            .iter()
            .map(|owned| (owned.tenant.to_string(), owned.route.id))
            .collect();
        let reports = drift_reports::of_routes(&mut tx, &ids).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>((rows, more, reports))
    };
    let (rows, more, reports) = found.await.map_err(|error| answer(&error))?;
    let reports: HashMap<Uuid, DriftReport> = reports
        .into_iter()
        .map(|report| (report.route_id, report))
        .collect();
    let with_q = |rest: &str| match q.is_empty() {
        true => format!("/admin/panel/routes{rest}"),
        false => format!(
            "/admin/panel/routes?q={}{}",
            in_query(&q),
            rest.replacen('?', "&", 1)
        ),
    };
    let next = rows.last().filter(|_| more);
    let next = next.map(|owned| with_q(&format!("?after={}", owned.route.number)));
    Ok(console::page(
        StatusCode::OK,
        &List {
            frame: visit.frame("routes"),
            rows: rows
                .iter()
                .map(|owned| RouteView::new(l, owned, reports.get(&owned.route.id)))
                .collect(),
            first: after.map(|_: i64| with_q("")).unwrap_or_default(),
            next: next.unwrap_or_default(),
            q,
        },
    ))
}

async fn show(
    visit: Visit,
    id: Path<String>,
    query: Query,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let owned = api::routes::find(&admin, &id).await?;
    let route = &owned.route;
    let period = Period::of(query.get("period"));
    let found = async {
        let scope = TenantScope::named_by_operator(owned.tenant.clone());
        let mut tx = TenantTransaction::begin(&admin.tools.db, &scope, "show route").await?;
        let report = drift_reports::find(&mut tx, route.id).await?;
        let counts = forward_counts::counts(&mut tx, Some(route.id)).await?;
        let fared = route_times::of_route(&mut tx, route.id, period.grain(), period.since()).await?;
        tx.commit().await?;
        let mut tx = begin(&admin, "list events of route").await?;
        let which = deliveries::Which {
            tenant: Some(owned.tenant.to_string()),
            route: Some(route.id),
            ..deliveries::Which::default()
        };
        let aside = deliveries::aside(&mut tx, &which, 0, SOME).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>((report, counts, fared, aside))
    };
    let (report, counts, fared, aside) = found.await.map_err(|error| answer(&error))?;
    let (is_url, signs, retry_unknown) = match &route.target {
        Target::Account { .. } => (false, false, false),
        Target::Url {
            signing_secret_sealed,
            retry_unknown,
            ..
        } => (true, signing_secret_sealed.is_some(), *retry_unknown),
    };
    let public_url = admin.tools.public_url.as_ref();
    Ok(console::page(
        StatusCode::OK,
        &Show {
            frame: visit.frame("routes"),
            route: RouteView::new(l, &owned, report.as_ref()),
            created: route.created_at,
            updated: route.updated_at,
            webhook: public_url
                .map(|url| webhook_url(url, &route.installation))
                .unwrap_or_default(),
            drift: report
                .as_ref()
                .and_then(|report| drift_view(l, (route.number, route.name.as_deref()), report)),
            wants: route.wants.events.join(", "),
            private: route.wants.private,
            retry_unknown,
            is_url,
            signs,
            inbox_secrets: route.inbox_secrets_sealed.len(),
            account_secrets: route.account_secrets_sealed.len(),
            has_token: route.path_token_sha256.is_some(),
            inbox_link: route
                .link()
                .map(|link| format!("/admin/panel/inboxes/{}/{link}", owned.tenant))
                .unwrap_or_default(),
            counts: counts.into_iter().next(),
            aside: aside
                .iter()
                .map(|event| super::deliveries::Row::new(l, event))
                .collect(),
            plots: plots::of_route(l, period, &fared),
            period,
        },
    ))
}

fn drift_view(l: Language, (number, name): (i64, Option<&str>), report: &DriftReport) -> Option<DriftView> {
    let state = report.state.as_deref()?;
    Some(DriftView {
        number,
        name: name.unwrap_or_default().to_owned(),
        state: words::drift(l, state),
        advice: words::drift_advice(l, state),
        found: report.found.clone().unwrap_or_default(),
        restorable: matches!(state, "changed" | "missing"),
        auto_restore: report.auto_restore,
        checked: report.checked_at,
        since: report.since,
    })
}

async fn drifted(visit: Visit, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let after: Option<Uuid> = query.get("after").and_then(|text| text.parse().ok());
    let found = async {
        let mut tx = begin(&admin, "list drift reports").await?;
        let rows = drift_reports::wrong(&mut tx, after, PAGE + 1).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(rows)
    };
    let (rows, more) = cut(found.await.map_err(|error| answer(&error))?);
    let next = rows.last().filter(|_| more);
    let next = next.map(|row| format!("/admin/panel/drift?after={}", row.route_id));
    let view = |row: &drift_reports::WrongWebhook| DriftView {
        number: row.number,
        name: row.name.clone().unwrap_or_default(),
        state: words::drift(l, &row.state),
        advice: words::drift_advice(l, &row.state),
        found: row.found.clone().unwrap_or_default(),
        restorable: matches!(row.state.as_str(), "changed" | "missing"),
        auto_restore: row.auto_restore,
        checked: None,
        since: row.since,
    };
    Ok(console::page(
        StatusCode::OK,
        &Drifted {
            frame: visit.frame("drift"),
            rows: rows.iter().map(view).collect(),
            first: after.map(|_| "/admin/panel/drift".to_owned()).unwrap_or_default(),
            next: next.unwrap_or_default(),
            knows_address: admin.tools.public_url.is_some(),
        },
    ))
}

async fn begin(admin: &Admin, purpose: &'static str) -> Result<PlatformTransaction, DatabaseError> {
    PlatformTransaction::begin(&admin.tools.db, PlatformScope::for_purpose(purpose)).await
}
