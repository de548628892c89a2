//! Connected inboxes: what was chosen for each, and the import of what its account's chats held before.

use ::web::openapi::Api;
use ::web::{ApiError, Fields, Query};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, ResponseError as _};
use askama::Template;
use chrono::{DateTime, Utc};
use console::{Frame, Language};
use database::DatabaseError;
use serde_json::{Map, Value, json};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::deliveries::{id_of, scope_of};
use super::visit::Visit;
use super::words::{self, Refusal, State};
use super::{PAGE, cut, form, nothing_here, page};
use crate::api::fields::Body;
use crate::api::{self, Admin};
use crate::error::answer;
use crate::flows::history::{self, Wish};
use crate::store::history_jobs::HistoryJob;
use crate::store::inboxes::{self, Inbox};
use crate::store::routes;

#[derive(Template)]
#[template(path = "inboxes/list.html")]
struct List {
    frame: Frame,
    rows: Vec<(String, Inbox)>,
    first: String,
    next: String,
}

#[derive(Template)]
#[template(path = "inboxes/show.html")]
struct Show {
    frame: Frame,
    tenant: String,
    inbox: Inbox,
    route: Option<i64>,
    problem: String,
    policy: String,
    ignored: String,
    sign_agents: bool,
    templates: String,
    send_automatic: bool,
    can_import: bool,
    job: Option<JobView>,
}

struct JobView {
    state: State,
    is_running: bool,
    is_stopped: bool,
    seen: i64,
    imported: i64,
    known: i64,
    put_aside: i64,
    reason: String,
    created: DateTime<Utc>,
    finished: Option<DateTime<Utc>>,
}

impl JobView {
    fn new(l: Language, job: &HistoryJob) -> Self {
        Self {
            state: match job.state.as_str() {
                "running" => State::new("idle", l.t("Under way", "Berjalan")),
                "stopped" => State::new("warn", l.t("Stopped", "Dihentikan")),
                "failed" => State::new("bad", l.t("Failed", "Gagal")),
                _ => State::new("ok", l.t("Done", "Selesai")),
            },
            is_running: job.state == "running",
            is_stopped: job.state == "stopped",
            seen: job.seen,
            imported: job.imported,
            known: job.known,
            put_aside: job.put_aside,
            reason: job
                .reason
                .as_deref()
                .map(|code| words::reason(l, code))
                .unwrap_or_default(),
            created: job.created_at,
            finished: job.finished_at,
        }
    }
}

pub(super) fn routes(api: &mut Api) {
    api.get("/panel/inboxes", page("Connected inboxes"), list)
        .get(
            "/panel/inboxes/{tenant}/{id}",
            page("A connected inbox, and the import of its history"),
            show,
        )
        .post(
            "/panel/inboxes/{tenant}/{id}",
            form("Choose something else for an inbox"),
            change,
        )
        .post(
            "/panel/inboxes/{tenant}/{id}/history",
            form("Begin, stop or go on with an import of history"),
            change_history,
        );
}

async fn list(visit: Visit, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let after = query.get("after").and_then(|text| {
        let (tenant, id) = text.rsplit_once('/')?;
        Some((tenant.to_owned(), id.parse::<Uuid>().ok()?))
    });
    let found = async {
        let platform = PlatformScope::for_purpose("list inboxes");
        let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
        let rows = inboxes::page(&mut tx, after.as_ref(), PAGE + 1).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(rows)
    };
    let (rows, more) = cut(found.await.map_err(|error| answer(&error))?);
    let next = rows.last().filter(|_| more);
    let next = next.map(|(tenant, inbox)| format!("/admin/panel/inboxes?after={tenant}/{}", inbox.id));
    Ok(console::page(
        StatusCode::OK,
        &List {
            frame: visit.frame("inboxes"),
            rows,
            first: after
                .map(|_| "/admin/panel/inboxes".to_owned())
                .unwrap_or_default(),
            next: next.unwrap_or_default(),
        },
    ))
}

/// The inbox, and the number of its route.
async fn found(
    admin: &Admin,
    (tenant, id): &(String, String),
) -> Result<(TenantScope, Inbox, Option<i64>), ApiError> {
    let (scope, id) = (scope_of(tenant)?, id_of(id)?);
    let found = async {
        let mut tx = TenantTransaction::begin(&admin.tools.db, &scope, "show inbox").await?;
        let inbox = inboxes::find(&mut tx, id).await?;
        let route = routes::find_by_link(&mut tx, id).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>((inbox, route))
    };
    let (inbox, route) = found.await.map_err(|error| answer(&error))?;
    let inbox = inbox.ok_or_else(nothing_here)?;
    Ok((scope, inbox, route.map(|route| route.number)))
}

async fn show(
    visit: Visit,
    path: Path<(String, String)>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    shown(StatusCode::OK, &visit, &path, &admin, String::new()).await
}

async fn shown(
    status: StatusCode,
    visit: &Visit,
    path: &(String, String),
    admin: &Admin,
    problem: String,
) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let (scope, inbox, route) = found(admin, path).await?;
    let chosen = api::inboxes::chosen(admin, &scope, &inbox).await;
    let (rules, options) = chosen.map_err(|error| answer(&error))?;
    let job = history::report(&admin.tools.db, &scope, inbox.id).await;
    let job = job.map_err(|error| answer(&error))?;
    Ok(console::page(
        status,
        &Show {
            frame: visit.frame("inboxes"),
            tenant: scope.tenant().to_string(),
            inbox,
            route,
            problem,
            policy: rules.policy.as_str().to_owned(),
            ignored: rules.ignored.join("\n"),
            sign_agents: options.sign_agents,
            templates: options.templates,
            send_automatic: options.send_automatic,
            can_import: admin.channel.is_some(),
            job: job.map(|job| JobView::new(l, &job)),
        },
    ))
}

async fn change(
    visit: Visit,
    path: Path<(String, String)>,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let (scope, inbox, _) = found(&admin, &path).await?;
    let text = |name: &'static str| -> Result<String, ApiError> {
        Ok(form.text(name)?.unwrap_or_default().replace("\r\n", "\n"))
    };
    let ignored = text("ignored")?;
    let ignored = ignored.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut fields = Map::new();
    for (name, value) in [
        ("conversationPolicy", json!(text("conversationPolicy")?)),
        ("ignored", ignored.collect()),
        ("signAgents", json!(form.get("signAgents").is_some())),
        ("templates", json!(text("templates")?)),
        ("sendAutomatic", json!(form.get("sendAutomatic").is_some())),
    ] {
        fields.insert(name.to_owned(), value);
    }
    match api::inboxes::choose(&admin, &scope, &inbox, Body::of(fields), &visit.actor).await {
        Ok(_) => Ok(console::see_other(format!(
            "/admin/panel/inboxes/{}/{}?said=saved",
            path.0, path.1
        ))),
        Err(error) => {
            let problem = Refusal::of(&error).lines(visit.l()).join(" ");
            shown(error.status_code(), &visit, &path, &admin, problem).await
        }
    }
}

async fn change_history(
    visit: Visit,
    path: Path<(String, String)>,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let (scope, inbox, _) = found(&admin, &path).await?;
    let (wish, said) = match form.text("action")? {
        Some("stop") => (Wish::Stop, "stopped"),
        Some("resume") => (Wish::Resume, "resumed"),
        _ => {
            let days: Option<Value> = form.filled("days")?.map(|text| json!(text.trim()));
            let mut body = Body::of(Map::from_iter(days.map(|days| ("days".to_owned(), days))));
            let days = api::history::days_in(&mut body);
            body.finish()?;
            (Wish::Start { days }, "started")
        }
    };
    api::history::wish(&admin, &scope, inbox.id, wish, &visit.actor).await?;
    Ok(console::see_other(format!(
        "/admin/panel/inboxes/{}/{}?said={said}#history",
        path.0, path.1
    )))
}
