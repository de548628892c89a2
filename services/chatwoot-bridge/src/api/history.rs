//! `/admin/inboxes/{inbox}/history`: what an account's chats held before its inbox was connected, brought to Chatwoot.

use ::web::openapi::{Api, Doc, fields, nullable, object, one_of, text, time, whole};
use ::web::{ApiError, Query, note_tenant};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::ids::TenantId;
use serde_json::{Value, json};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::basic_auth::Operator;
use super::fields::{Body, invalid};
use super::{Admin, group};
use crate::error::answer;
use crate::flows::history::{self, NotMet, Wish};
use crate::store::audit_log::{self, Actor};
use crate::store::history_jobs::HistoryJob;

/// Nobody has written for longer.
const MOST_DAYS: i64 = 36_500;

pub(crate) fn routes(api: &mut Api) {
    api.group(group("History"));
    let job = object([
        ("id", text()),
        ("inboxLinkId", text()),
        ("state", one_of(&["running", "stopped", "done", "failed"])),
        ("since", nullable(time())),
        ("seen", whole()),
        ("imported", whole()),
        ("known", whole()),
        ("putAside", whole()),
        ("reason", nullable(text())),
        ("startedAt", time()),
        ("updatedAt", time()),
        ("finishedAt", nullable(time())),
    ]);
    let show = Doc::new("Where the newest import of an inbox stands")
        .query("tenantId", text(), "the tenant; the usual one where nobody says")
        .answers(200, "The import", object([("history", job.clone())]))
        .refuses(&[(404, "There was none")]);
    let wish =
        Doc::new("Import what the account's chats held before, stop, or go on; needs `CHANNEL_SERVICE_URL`")
            .takes(fields([
                ("tenantId", text()),
                ("action", one_of(&["start", "stop", "resume"])),
                ("days", whole()),
            ]))
            .answers(200, "The import", object([("history", job)]))
            .refuses(&[
                (404, "No such inbox"),
                (
                    409,
                    "An import is under way, or none that could be stopped or resumed, or `CHANNEL_SERVICE_URL` is not set",
                ),
                (422, "A field is not what it has to be; `fields` names each"),
            ]);
    api.get("/inboxes/{inbox}/history", show, report)
        .post("/inboxes/{inbox}/history", wish, change);
}

async fn report(
    _operator: Operator,
    inbox: Path<String>,
    query: Query,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let named = query.get("tenantId").map(TenantId::parse).transpose();
    let named = named.map_err(|_| invalid([("tenantId", "must be a tenant's id".to_owned())]))?;
    let scope = admin.scope(named);
    note_tenant(&scope);
    let inbox = inbox_in(&inbox)?;
    let job = history::report(&admin.tools.db, &scope, inbox)
        .await
        .map_err(|error| answer(&error))?;
    match job {
        Some(job) => Ok(HttpResponse::Ok().json(json!({"history": wire(&job)}))),
        None => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "no_history",
            "Nothing was imported into this inbox",
        )),
    }
}

async fn change(
    operator: Operator,
    request: HttpRequest,
    inbox: Path<String>,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let mut body = Body::read(&request, body).await?;
    let action = body.text("action", 10);
    let scope = admin.scope(body.tenant("tenantId"));
    let days = days_in(&mut body);
    let wish = match action.as_deref() {
        None | Some("start") => Wish::Start { days },
        Some("stop") => Wish::Stop,
        Some("resume") => Wish::Resume,
        Some(_) => {
            body.wrong("action", "must be start, stop or resume");
            Wish::Stop
        }
    };
    body.finish()?;
    let inbox = inbox_in(&inbox)?;
    note_tenant(&scope);
    let job = self::wish(&admin, &scope, inbox, wish, &operator.0).await?;
    Ok(HttpResponse::Ok().json(json!({"history": wire(&job)})))
}

/// For how many days, where somebody says so.
pub(crate) fn days_in(body: &mut Body) -> Option<u32> {
    match body.id("days") {
        Some(days) if days > MOST_DAYS => {
            body.wrong("days", "is more than anybody has");
            None
        }
        days => days.and_then(|days| u32::try_from(days).ok()),
    }
}

/// Does what is wished, and notes who wished it.
pub(crate) async fn wish(
    admin: &Admin,
    scope: &TenantScope,
    inbox: Uuid,
    wish: Wish,
    actor: &Actor,
) -> Result<HistoryJob, ApiError> {
    if admin.channel.is_none() && !matches!(wish, Wish::Stop) {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "no_channel_service",
            "CHANNEL_SERVICE_URL is not set: there is nowhere to read history from",
        ));
    }
    let job = history::wish(&admin.tools.db, scope, inbox, wish)
        .await
        .map_err(|error| not_met(&error))?;
    note(actor, admin, scope, wish, inbox).await?;
    Ok(job)
}

async fn note(
    actor: &Actor,
    admin: &Admin,
    scope: &TenantScope,
    wish: Wish,
    inbox: Uuid,
) -> Result<(), ApiError> {
    let action = match wish {
        Wish::Start { .. } => "history.start",
        Wish::Stop => "history.stop",
        Wish::Resume => "history.resume",
    };
    let act = actor.act(action, Some(inbox.to_string()));
    let noted = async {
        let mut tx = TenantTransaction::begin(&admin.tools.db, scope, "note act").await?;
        audit_log::note(&mut tx, &act).await?;
        tx.commit().await
    };
    noted.await.map_err(|error| answer(&error))
}

fn not_met(error: &NotMet) -> ApiError {
    match error {
        NotMet::NoInbox => no_inbox(),
        NotMet::NoJob(_) => ApiError::new(StatusCode::CONFLICT, "no_such_history", error.to_string()),
        NotMet::UnderWay => ApiError::new(StatusCode::CONFLICT, "history_under_way", error.to_string()),
        NotMet::Database(error) => answer(error),
    }
}

fn no_inbox() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no_such_inbox", "Inbox not found")
}

/// What can be no inbox's id is none.
fn inbox_in(path: &str) -> Result<Uuid, ApiError> {
    path.parse().map_err(|_| no_inbox())
}

/// An import as operators read it, over HTTP and on the command line.
pub(crate) fn wire(job: &HistoryJob) -> Value {
    json!({
        "id": job.id, "inboxLinkId": job.inbox_id, "state": job.state, "since": job.since, "seen": job.seen,
        "imported": job.imported, "known": job.known, "putAside": job.put_aside, "reason": job.reason,
        "startedAt": job.created_at, "updatedAt": job.updated_at, "finishedAt": job.finished_at,
    })
}
