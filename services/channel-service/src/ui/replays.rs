//! Replaying many messages: first what would happen, then the order, then how far it is. Of one tenant, or of all for
//! superadmins.

use std::pin::Pin;

use ::web::Fields;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev};
use askama::Template;
use chrono::DateTime;
use console::{Frame, Language, page, see_other};
use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::deliveries::job_state;
use super::errors::PageError;
use super::visit::{Posted, TenantPosted, TenantVisit, Visit};
use super::{HOME, reasons, words};
use crate::app::State;
use crate::flows::replay_job::{self, DryRun, Progress};
use crate::flows::tenant::Actor;
use crate::store::delivery::{DeliveryFilter, DeliveryState};
use crate::store::replay_job::{Chosen, MOST_MESSAGES};

/// Most messages that are ticked at once.
const MOST_TICKED: usize = 1_000;
/// Longest description of a choice that a form brings, in bytes.
const LONGEST_CHOICE: usize = 64 * 1024;
/// What a ticked message's field begins with.
const PICK: &str = "pick.";

pub(crate) fn routes(config: &mut ServiceConfig) {
    for base in ["", "/t/{tenant}"] {
        config
            .route(&format!("{base}/replays/look"), web::post().to(look))
            .route(&format!("{base}/replays"), web::post().to(begin))
            .route(&format!("{base}/replays/{{id}}"), web::get().to(show))
            .route(&format!("{base}/replays/{{id}}/cancel"), web::post().to(cancel));
    }
}

/// Whose messages: one tenant's, where the path names it, or everybody's.
struct Whose {
    frame: Frame,
    /// `None`: everybody's.
    scope: Option<TenantScope>,
    /// What its addresses begin with.
    base: String,
    actor: Actor,
    id: Option<Uuid>,
}

impl Whose {
    fn of_tenant(visit: &TenantVisit, request: &HttpRequest) -> Self {
        Self {
            frame: visit.frame("deliveries"),
            base: format!("{HOME}/t/{}", visit.scope.tenant()),
            scope: Some(visit.scope.clone()),
            actor: visit.actor(),
            id: id_of(request),
        }
    }

    fn of_all(visit: &Visit, request: &HttpRequest) -> Result<Self, PageError> {
        visit.superadmin()?;
        Ok(Self {
            frame: visit.frame("deliveries"),
            base: HOME.to_owned(),
            scope: None,
            actor: visit.actor(),
            id: id_of(request),
        })
    }
}

fn id_of(request: &HttpRequest) -> Option<Uuid> {
    let named = request.match_info().get("id")?;
    Uuid::try_parse(named).ok()
}

fn is_tenants(request: &HttpRequest) -> bool {
    request.match_info().get("tenant").is_some()
}

impl FromRequest for Whose {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        if is_tenants(&request) {
            let visit = TenantVisit::from_request(&request, payload);
            return Box::pin(async move { Ok(Self::of_tenant(&visit.await?, &request)) });
        }
        let visit = Visit::from_request(&request, payload);
        Box::pin(async move { Self::of_all(&visit.await?, &request) })
    }
}

/// A form about them.
struct Form {
    whose: Whose,
    fields: Fields,
}

impl FromRequest for Form {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        if is_tenants(&request) {
            let posted = TenantPosted::from_request(&request, payload);
            return Box::pin(async move {
                let TenantPosted { visit, fields } = posted.await?;
                let whose = Whose::of_tenant(&visit, &request);
                Ok(Self { whose, fields })
            });
        }
        let posted = Posted::from_request(&request, payload);
        Box::pin(async move {
            let Posted { visit, fields } = posted.await?;
            let whose = Whose::of_all(&visit, &request)?;
            Ok(Self { whose, fields })
        })
    }
}

#[derive(Template)]
#[template(path = "replays/look.html")]
struct Look {
    frame: Frame,
    base: String,
    deliveries: String,
    is_all: bool,
    total: i64,
    most: i64,
    more: bool,
    tenants: usize,
    unknown: i64,
    sorts: Vec<Sort>,
    /// The order's id: sent twice, it is begun once.
    id: Uuid,
    /// What is meant, for the order.
    which: String,
}

struct Sort {
    tenant: String,
    what: String,
    kind: String,
    tone: &'static str,
    status: String,
    messages: i64,
}

async fn look(form: Form, state: Data<State>) -> Result<HttpResponse, PageError> {
    let Form { whose, fields } = form;
    let which = chosen(&fields)?;
    let found = match &whose.scope {
        Some(scope) => replay_job::dry_run(&state.db, scope, &which).await?,
        None => replay_job::dry_run_for_all(&state.db, &which).await?,
    };
    let described = serde_json::to_string(&which)
        .map_err(|_| PageError::said(StatusCode::BAD_REQUEST, UNREADABLE.0, UNREADABLE.1))?;
    Ok(page(StatusCode::OK, &look_page(whose, found, described)))
}

fn look_page(whose: Whose, found: DryRun, described: String) -> Look {
    let l = whose.frame.l;
    let unknown = found.sorts.iter().filter(|sort| sort.status == "unknown");
    Look {
        is_all: whose.scope.is_none(),
        deliveries: format!("{}/deliveries", whose.base),
        base: whose.base,
        total: found.total,
        most: MOST_MESSAGES,
        more: found.more,
        tenants: found.tenants(),
        unknown: unknown.map(|sort| sort.messages).sum(),
        sorts: found
            .sorts
            .iter()
            .take(100)
            .map(|sort| {
                let (tone, status) = words::status(l, &sort.status);
                let code = sort.reason.as_deref().filter(|code| !code.is_empty());
                Sort {
                    tenant: sort.tenant_id.clone(),
                    what: code.map(|code| reasons::words(l, code).what).unwrap_or_default(),
                    kind: words::kind(l, &sort.kind),
                    tone,
                    status,
                    messages: sort.messages,
                }
            })
            .collect(),
        id: Uuid::now_v7(),
        which: described,
        frame: whose.frame,
    }
}

async fn begin(form: Form, state: Data<State>) -> Result<HttpResponse, PageError> {
    let Form { whose, fields } = form;
    let unreadable = || PageError::said(StatusCode::BAD_REQUEST, UNREADABLE.0, UNREADABLE.1);
    let described = fields.text("which")?.filter(|text| text.len() <= LONGEST_CHOICE);
    let which = described
        .and_then(|text| serde_json::from_str(text).ok())
        .map(clean)
        .ok_or_else(unreadable)?;
    let id = fields.text("id")?.and_then(|id| Uuid::try_parse(id).ok());
    let id = id.ok_or_else(unreadable)?;
    let is_there = match &whose.scope {
        Some(scope) => {
            replay_job::begin(&state.db, scope, id, &which, &whose.actor).await?;
            replay_job::progress(&state.db, scope, id).await?.is_some()
        }
        None => {
            replay_job::begin_for_all(&state.db, id, &which, &whose.actor).await?;
            replay_job::progress_for_all(&state.db, id).await?.is_some()
        }
    };
    if !is_there {
        return Err(PageError::said(
            StatusCode::CONFLICT,
            "Nothing is put aside any more that you meant: somebody was faster.",
            "Tidak ada lagi yang disisihkan dari pilihan Anda: sudah ditangani orang lain.",
        ));
    }
    Ok(see_other(format!("{}/replays/{id}", whose.base)))
}

const UNREADABLE: (&str, &str) = (
    "The choice cannot be read. Go back to the deliveries and choose again.",
    "Pilihan tidak dapat dibaca. Kembali ke pengiriman dan pilih lagi.",
);

#[derive(Template)]
#[template(path = "replays/progress.html")]
struct ProgressPage {
    frame: Frame,
    here: String,
    deliveries: String,
    is_all: bool,
    is_over: bool,
    state: &'static str,
    progress: Progress,
    fates: Vec<(&'static str, String, i64)>,
    left: Vec<Left>,
}

struct Left {
    href: String,
    id: Uuid,
    outcome: &'static str,
    why: String,
}

async fn show(whose: Whose, state: Data<State>) -> Result<HttpResponse, PageError> {
    let id = whose.id.ok_or(PageError::NotFound)?;
    let found = match &whose.scope {
        Some(scope) => replay_job::progress(&state.db, scope, id).await?,
        None => replay_job::progress_for_all(&state.db, id).await?,
    };
    let progress = found.ok_or(PageError::NotFound)?;
    let l = whose.frame.l;
    let left = progress.left.iter().map(|left| Left {
        href: format!("{}/messages/{}", whose.base, left.message_id),
        id: left.message_id,
        outcome: match left.outcome.as_str() {
            "failed" => l.t("failed", "gagal"),
            _ => l.t("skipped", "dilewati"),
        },
        why: left_words(l, left.reason.as_deref().unwrap_or_default()),
    });
    let shown = ProgressPage {
        here: format!("{}/replays/{id}", whose.base),
        deliveries: format!("{}/deliveries", whose.base),
        is_all: whose.scope.is_none(),
        is_over: progress.is_over(),
        state: job_state(l, &progress.job.state),
        fates: progress
            .fates
            .iter()
            .map(|fate| {
                let (tone, words) = words::status(l, &fate.status);
                (tone, words, fate.messages)
            })
            .collect(),
        left: left.collect(),
        frame: whose.frame,
        progress,
    };
    Ok(page(StatusCode::OK, &shown))
}

async fn cancel(form: Form, state: Data<State>) -> Result<HttpResponse, PageError> {
    let whose = form.whose;
    let id = whose.id.ok_or(PageError::NotFound)?;
    let is_there = match &whose.scope {
        Some(scope) => {
            replay_job::cancel(&state.db, scope, id, &whose.actor).await?
                || replay_job::progress(&state.db, scope, id).await?.is_some()
        }
        None => {
            replay_job::cancel_for_all(&state.db, id, &whose.actor).await?
                || replay_job::progress_for_all(&state.db, id).await?.is_some()
        }
    };
    if !is_there {
        return Err(PageError::NotFound);
    }
    Ok(see_other(format!("{}/replays/{id}", whose.base)))
}

/// Why a message was passed over.
fn left_words(l: Language, code: &str) -> String {
    match code {
        "went_out" => l.t("it went out meanwhile", "sudah terkirim"),
        "not_put_aside" => l.t("somebody queued it already", "sudah diantrekan orang lain"),
        "refused" => l.t(
            "it could not be stored; see the logs",
            "tidak dapat disimpan; lihat log",
        ),
        other => return reasons::words(l, other).what,
    }
    .to_owned()
}

/// What the list's form means: what was ticked, or everything that fits the filter that was shown.
fn chosen(fields: &Fields) -> Result<Chosen, PageError> {
    if fields.text("what")? != Some("fitting") {
        let ticked = fields.raw().keys().filter_map(|name| name.strip_prefix(PICK));
        let ids: Vec<Uuid> = ticked
            .filter_map(|id| Uuid::try_parse(id).ok())
            .take(MOST_TICKED)
            .collect();
        if ids.is_empty() {
            return Err(PageError::said(
                StatusCode::BAD_REQUEST,
                "No message is ticked. Go back and tick those that you want to replay.",
                "Belum ada pesan yang dicentang. Kembali dan centang pesan yang ingin dikirim ulang.",
            ));
        }
        return Ok(Chosen::These(ids));
    }
    let text = |name| -> Result<Option<String>, PageError> { Ok(fields.filled(name)?.map(str::to_owned)) };
    let state = fields.filled("state")?.and_then(DeliveryState::parse);
    let before = text("ordered_before")?.and_then(|time| DateTime::parse_from_rfc3339(&time).ok());
    Ok(clean(Chosen::Fitting {
        unknown: state.map(|state| state == DeliveryState::Unknown),
        filter: DeliveryFilter {
            account: text("account")?.and_then(|id| Uuid::try_parse(&id).ok()),
            kind: text("kind")?,
            reason: text("reason")?,
            ordered_before: before.map(|time| time.to_utc()),
        },
    }))
}

/// No code and no kind holds a NUL, and Postgres takes none.
fn clean(which: Chosen) -> Chosen {
    match which {
        Chosen::These(mut ids) => {
            ids.truncate(MOST_TICKED);
            Chosen::These(ids)
        }
        Chosen::Fitting { unknown, filter } => Chosen::Fitting {
            unknown,
            filter: DeliveryFilter {
                kind: filter.kind.map(|kind| kind.replace('\0', "")),
                reason: filter.reason.map(|reason| reason.replace('\0', "")),
                ..filter
            },
        },
    }
}
