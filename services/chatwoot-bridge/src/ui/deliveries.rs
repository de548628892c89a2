//! Events on their way to URLs: lists by state, the search by any id, one event's whole journey, and sending again those that
//! somebody picked.

use ::web::openapi::Api;
use ::web::{ApiError, Fields, Query, note_tenant};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use askama::Template;
use chrono::{DateTime, Utc};
use console::{Frame, Language};
use database::DatabaseError;
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};
use uuid::Uuid;

use super::visit::Visit;
use super::words::{self, State};
use super::{PAGE, cut, form, in_query, nothing_here, page, shown};
use crate::api::{self, Admin};
use crate::error::answer;
use crate::flows::find::{self, Delivery, MessageFound, Which};
use crate::store::deliveries;

/// Most events that are picked at once: a page of them.
const MOST_PICKED: usize = 100;

/// An event in a list.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) tenant: String,
    pub(super) at: DateTime<Utc>,
    pub(super) route: String,
    pub(super) event: String,
    pub(super) message: String,
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) failures: i32,
}

impl Row {
    pub(super) fn new(l: Language, event: &Delivery) -> Self {
        Self {
            id: event.event_id,
            tenant: event.tenant_id.clone(),
            at: event.received_at,
            route: event.route.map(|number| number.to_string()).unwrap_or_default(),
            event: event.event.clone(),
            message: event.message.map(|id| id.to_string()).unwrap_or_default(),
            state: words::delivery(l, &event.state),
            reason: event
                .reason
                .as_deref()
                .map(|code| words::reason(l, code))
                .unwrap_or_default(),
            failures: event.failures,
        }
    }
}

/// Which list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Aside,
    Unknown,
    Waiting,
    Over,
}

impl Listed {
    const ALL: [Self; 4] = [Self::Aside, Self::Unknown, Self::Waiting, Self::Over];

    const fn word(self) -> &'static str {
        match self {
            Self::Aside => "aside",
            Self::Unknown => "unknown",
            Self::Waiting => "waiting",
            Self::Over => "over",
        }
    }

    const fn name(self, l: Language) -> &'static str {
        match self {
            Self::Aside => l.t("Put aside", "Disisihkan"),
            Self::Unknown => l.t("May have arrived", "Mungkin sudah sampai"),
            Self::Waiting => l.t("Waiting", "Menunggu"),
            Self::Over => l.t("Delivered", "Terkirim"),
        }
    }
}

#[derive(Template)]
#[template(path = "deliveries/list.html")]
struct List {
    frame: Frame,
    tabs: Vec<(String, &'static str, bool)>,
    state: &'static str,
    route: String,
    reason: String,
    rows: Vec<Row>,
    pickable: bool,
    filtered: bool,
    log_is_kept: bool,
    first: String,
    next: String,
}

#[derive(Template)]
#[template(path = "deliveries/find.html")]
struct FindPage {
    frame: Frame,
    asked: bool,
    events: Vec<Row>,
    messages: Vec<MessageFound>,
}

#[derive(Template)]
#[template(path = "deliveries/event.html")]
struct EventPage {
    frame: Frame,
    id: Uuid,
    tenant: String,
    row: Option<Row>,
    conversation: i64,
    request_id: String,
    ended_at: Option<DateTime<Utc>>,
    took: String,
    steps: Vec<StepView>,
    is_aside: bool,
    is_unknown: bool,
}

struct StepView {
    at: DateTime<Utc>,
    what: State,
}

#[derive(Template)]
#[template(path = "deliveries/message.html")]
struct MessagePage {
    frame: Frame,
    tenant: String,
    inbox: Uuid,
    message: i64,
    parts: Vec<PartView>,
}

struct PartView {
    number: i32,
    attempt: i32,
    order: String,
    state: State,
    reason: String,
    whatsapp: String,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
}

pub(super) fn routes(api: &mut Api) {
    api.get("/panel/deliveries", page("Events by state"), list)
        .post(
            "/panel/deliveries/replay",
            form("Pass on again the events that were picked"),
            replay_picked,
        )
        .get("/panel/find", page("The search by an id"), find_form)
        .post("/panel/find", shown("Look an id up"), find_id)
        .get(
            "/panel/events/{tenant}/{id}",
            page("One event and its journey"),
            event,
        )
        .post(
            "/panel/events/{tenant}/{id}/replay",
            form("Pass an event on again"),
            replay,
        )
        .get(
            "/panel/messages/{tenant}/{inbox}/{message}",
            page("One message of a connected inbox and its journey"),
            message,
        );
}

async fn list(visit: Visit, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let named = query.get("state").unwrap_or_default();
    let listed = Listed::ALL.into_iter().find(|listed| listed.word() == named);
    let listed = listed.unwrap_or(Listed::Aside);
    let route = query.get("route").and_then(api::fields::digits);
    let reason: String = query.get("reason").unwrap_or_default().chars().take(60).collect();
    let owned = match route {
        Some(number) => Some(api::routes::find(&admin, &number.to_string()).await?),
        None => None,
    };
    let which = Which {
        tenant: owned.as_ref().map(|owned| owned.tenant.to_string()),
        route: owned.as_ref().map(|owned| owned.route.id),
        how: (listed == Listed::Unknown).then_some("unknown"),
        reason: Some(reason.clone()).filter(|reason| !reason.is_empty()),
    };
    let after = query.get("after");
    let found = async {
        let platform = PlatformScope::for_purpose("list events");
        let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
        let rows = match listed {
            Listed::Aside | Listed::Unknown => {
                let after = after.and_then(api::fields::digits).unwrap_or_default();
                deliveries::aside(&mut tx, &which, after, PAGE + 1).await?
            }
            Listed::Waiting => deliveries::waiting(&mut tx, &which, after.and_then(place), PAGE + 1).await?,
            Listed::Over => deliveries::over(&mut tx, &which, after.and_then(place), PAGE + 1).await?,
        };
        tx.commit().await?;
        Ok::<_, DatabaseError>(rows)
    };
    let (rows, more) = cut(found.await.map_err(|error| answer(&error))?);
    let route = route.map(|number| number.to_string()).unwrap_or_default();
    let address = |listed: Listed, after: &str| {
        let mut address = format!("/admin/panel/deliveries?state={}", listed.word());
        for (name, value) in [("route", route.as_str()), ("reason", &reason), ("after", after)] {
            if !value.is_empty() {
                address.push_str(&format!("&{name}={}", in_query(value)));
            }
        }
        address
    };
    let next = rows.last().filter(|_| more).map(|last| match listed {
        Listed::Aside | Listed::Unknown => address(listed, &last.seq.to_string()),
        Listed::Waiting => address(listed, &place_of(last.received_at, last.event_id)),
        Listed::Over => address(
            listed,
            &place_of(last.ended_at.unwrap_or(last.received_at), last.event_id),
        ),
    });
    let tabs = Listed::ALL.map(|one| (address(one, ""), one.name(l), one == listed));
    Ok(console::page(
        StatusCode::OK,
        &List {
            frame: visit.frame("deliveries"),
            tabs: tabs.into(),
            state: listed.word(),
            rows: rows.iter().map(|event| Row::new(l, event)).collect(),
            pickable: matches!(listed, Listed::Aside | Listed::Unknown),
            filtered: !route.is_empty() || !reason.is_empty(),
            log_is_kept: admin.log_is_kept,
            first: after.map(|_| address(listed, "")).unwrap_or_default(),
            next: next.unwrap_or_default(),
            route,
            reason,
        },
    ))
}

/// A place in a list by time: microseconds and an id.
fn place(text: &str) -> Option<(DateTime<Utc>, Uuid)> {
    let (at, id) = text.split_once('_')?;
    Some((
        DateTime::from_timestamp_micros(at.parse().ok()?)?,
        id.parse().ok()?,
    ))
}

fn place_of(at: DateTime<Utc>, id: Uuid) -> String {
    format!("{}_{id}", at.timestamp_micros())
}

async fn replay_picked(visit: Visit, form: Fields, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let mut replayed = 0;
    for (name, value) in form.raw().iter().take(MOST_PICKED) {
        let Some(id) = name.strip_prefix("e.") else {
            continue;
        };
        replayed += usize::from(api::deliveries::again(&admin, value.as_str(), id, &visit.actor).await?);
    }
    let said = if replayed > 0 { "replayed" } else { "nothing" };
    Ok(console::see_other(format!("/admin/panel/deliveries?said={said}")))
}

async fn find_form(visit: Visit) -> Result<HttpResponse, ApiError> {
    Ok(console::page(
        StatusCode::OK,
        &FindPage {
            frame: visit.frame("deliveries"),
            asked: false,
            events: Vec::new(),
            messages: Vec::new(),
        },
    ))
}

async fn find_id(visit: Visit, form: Fields, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let id = form.text("id")?.unwrap_or_default();
    let found = find::find(&admin.tools.db, id)
        .await
        .map_err(|error| answer(&error))?;
    match (found.events.as_slice(), found.messages.as_slice()) {
        ([only], []) => return Ok(console::see_other(event_page(&only.tenant_id, only.event_id))),
        ([], [only]) => {
            return Ok(console::see_other(format!(
                "/admin/panel/messages/{}/{}/{}",
                only.tenant_id, only.inbox_id, only.message
            )));
        }
        _ => {}
    }
    Ok(console::page(
        StatusCode::OK,
        &FindPage {
            frame: visit.frame("deliveries"),
            asked: true,
            events: found.events.iter().map(|event| Row::new(l, event)).collect(),
            messages: found.messages,
        },
    ))
}

fn event_page(tenant: &str, id: Uuid) -> String {
    format!("/admin/panel/events/{tenant}/{id}")
}

/// Whose page it is.
pub(super) fn scope_of(tenant: &str) -> Result<TenantScope, ApiError> {
    let tenant = TenantId::parse(tenant).map_err(|_| nothing_here())?;
    let scope = TenantScope::named_by_operator(tenant);
    note_tenant(&scope);
    Ok(scope)
}

async fn event(
    visit: Visit,
    path: Path<(String, String)>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let (scope, id) = (scope_of(&path.0)?, id_of(&path.1)?);
    let journey = find::journey(&admin.tools.db, &scope, id).await;
    let (event, steps) = journey.map_err(|error| answer(&error))?;
    if event.is_none() && steps.is_empty() {
        return Err(nothing_here());
    }
    let state = event
        .as_ref()
        .map(|event| event.state.as_str())
        .unwrap_or_default();
    let ended_at = event.as_ref().and_then(|event| event.ended_at);
    let took = event.as_ref().zip(ended_at).map(|(event, ended)| {
        let milliseconds = (ended - event.received_at).num_milliseconds().max(0);
        match milliseconds {
            0..10_000 => format!("{} ms", l.number(milliseconds)),
            _ => l.lasting(ended - event.received_at),
        }
    });
    Ok(console::page(
        StatusCode::OK,
        &EventPage {
            frame: visit.frame("deliveries"),
            id,
            tenant: scope.tenant().to_string(),
            is_aside: matches!(state, "parked" | "unknown"),
            is_unknown: state == "unknown",
            conversation: event.as_ref().map(|event| event.conversation).unwrap_or_default(),
            request_id: event
                .as_ref()
                .and_then(|event| event.request_id.clone())
                .unwrap_or_default(),
            ended_at,
            took: took.unwrap_or_default(),
            row: event.as_ref().map(|event| Row::new(l, event)),
            steps: steps
                .iter()
                .map(|step| StepView {
                    at: step.at,
                    what: words::step(l, &step.step, step.detail.as_deref()),
                })
                .collect(),
        },
    ))
}

async fn replay(
    visit: Visit,
    path: Path<(String, String)>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let (tenant, id) = path.into_inner();
    let replayed = api::deliveries::again(&admin, Some(&tenant), &id, &visit.actor).await?;
    let back = event_page(&tenant, id_of(&id)?);
    let said = if replayed { "replayed" } else { "nothing" };
    Ok(console::see_other(format!("{back}?said={said}")))
}

async fn message(
    visit: Visit,
    path: Path<(String, String, String)>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let (scope, inbox) = (scope_of(&path.0)?, id_of(&path.1)?);
    let message = api::fields::digits(&path.2).ok_or_else(nothing_here)?;
    let parts = find::parts(&admin.tools.db, &scope, inbox, message).await;
    let parts = parts.map_err(|error| answer(&error))?;
    if parts.is_empty() {
        return Err(nothing_here());
    }
    let view = |part: &find::PartRow| PartView {
        number: part.part + 1,
        attempt: part.attempt.unwrap_or_default() + 1,
        order: part.request_id.map(|id| id.to_string()).unwrap_or_default(),
        state: words::message(l, &part.status),
        reason: part
            .reason
            .as_deref()
            .map(|code| words::reason(l, code))
            .unwrap_or_default(),
        whatsapp: part.provider_message_id.clone().unwrap_or_default(),
        created: part.created_at,
        updated: part.updated_at,
    };
    Ok(console::page(
        StatusCode::OK,
        &MessagePage {
            frame: visit.frame("deliveries"),
            tenant: scope.tenant().to_string(),
            inbox,
            message,
            parts: parts.iter().map(view).collect(),
        },
    ))
}

pub(super) fn id_of(text: &str) -> Result<Uuid, ApiError> {
    text.parse().map_err(|_| nothing_here())
}
