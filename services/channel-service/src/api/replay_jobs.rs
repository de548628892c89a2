//! `/api/dead-letters`: taking many messages up again that were put aside, for a tenant's own people and, over all tenants,
//! for superadmins. First a look at what would happen, then the order, then how far it is.

use ::web::openapi::{Api, Doc, Schema, fields, flag, list, nullable, object, one_of, text, time, whole};
use ::web::{ApiError, Fields, Query, wire_time};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use domain::ids::MessageId;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::signed_in::User;
use super::{dashboard_group, data, tenants, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::dead_letter::{self, Wake};
use crate::flows::replay_job::{self, DryRun, Progress};
use crate::store::delivery::DeliveryFilter;
use crate::store::replay_job::{Chosen, JobRow};

/// Most messages that are named one by one.
const MOST_IDS: usize = 1_000;
/// Most orders of a list.
const MOST_LISTED: i64 = 50;

pub(crate) fn routes(api: &mut Api) {
    api.group(dashboard_group("Dead letters"));
    let look = doc("Which messages an order would take up again, without doing anything")
        .takes(choice())
        .answers(200, "How many, and why they were put aside", data(dry_run()));
    let begin = doc("Take many messages up again, each in its old place in its chat, at a bounded pace")
        .takes(choice())
        .answers(202, "The order is noted and is being worked off", data(job()))
        .refuses(&[(404, "Nothing is put aside that is meant")]);
    let all = doc("The newest orders").answers(200, "Newest first", data(list(job())));
    let one = doc("How far an order is")
        .answers(200, "What came of it so far", data(progress()))
        .refuses(NO_ORDER);
    let cancel = doc("End an order; what was queued until then stays queued")
        .answers(200, "It is over", object([("success", flag())]))
        .refuses(NO_ORDER);
    let settle =
        doc("Say that a message went out of which nobody knew it: it counts as sent and is not sent again")
            .answers(
                200,
                "It is settled",
                object([
                    ("success", flag()),
                    ("message_id", text()),
                    ("status", one_of(&["sent"])),
                ]),
            )
            .refuses(&[(404, "No such message lies here with an unknown outcome")]);
    api.post("/dead-letters/replays/preview", look, preview)
        .post("/dead-letters/replays", begin, start)
        .get("/dead-letters/replays", all, show_all)
        .get("/dead-letters/replays/{id}", one, show)
        .post("/dead-letters/replays/{id}/cancel", cancel, self::cancel)
        .post("/dead-letters/{id}/settle", settle, self::settle);
    for_all(api);
}

fn for_all(api: &mut Api) {
    let look = Doc::new("Which messages of all tenants an order would take up again")
        .takes(choice())
        .answers(200, "How many, and why they were put aside", data(dry_run()));
    let begin = Doc::new("Take messages of all tenants up again: an order for each of them, by one id")
        .takes(choice())
        .answers(202, "The orders are noted and are being worked off", data(job()))
        .refuses(&[(404, "Nothing is put aside that is meant")]);
    let one = Doc::new("How far an order over all tenants is")
        .answers(200, "What came of it so far", data(progress()))
        .refuses(NO_ORDER);
    let cancel = Doc::new("End an order over all tenants")
        .answers(200, "It is over", object([("success", flag())]))
        .refuses(NO_ORDER);
    api.post("/dead-letters/all/replays/preview", look, preview_all)
        .post("/dead-letters/all/replays", begin, start_all)
        .get("/dead-letters/all/replays/{id}", one, show_of_all)
        .post("/dead-letters/all/replays/{id}/cancel", cancel, cancel_all);
}

const NO_ORDER: &[(u16, &str)] = &[(404, "No such order, or it is over")];

/// A superadmin names the tenant.
fn doc(summary: &'static str) -> Doc {
    Doc::new(summary).query("village_id", text(), "the tenant, for a superadmin")
}

fn choice() -> Schema {
    fields([
        ("id", text()),
        ("message_ids", list(text())),
        ("unknown", flag()),
        ("reason", text()),
        ("kind", text()),
        ("account_id", text()),
        ("ordered_before", time()),
    ])
}

fn dry_run() -> Schema {
    let sort = object([
        ("village_id", text()),
        ("status", one_of(&["parked", "failed", "unknown"])),
        ("reason", nullable(text())),
        ("kind", text()),
        ("messages", whole()),
    ]);
    object([
        ("total", whole()),
        ("more", flag()),
        ("tenants", whole()),
        ("sorts", list(sort)),
    ])
}

fn job() -> Schema {
    object([
        ("id", text()),
        ("state", one_of(&["running", "done", "cancelled"])),
        ("asked_by", text()),
        ("total", whole()),
        ("replayed", whole()),
        ("skipped", whole()),
        ("failed", whole()),
        ("created_at", time()),
        ("ended_at", nullable(time())),
    ])
}

fn progress() -> Schema {
    let left = object([
        ("message_id", text()),
        ("outcome", one_of(&["skipped", "failed"])),
        ("reason", nullable(text())),
    ]);
    let fate = object([("status", text()), ("messages", whole())]);
    let mut whole_job = job();
    for (name, schema) in [
        ("tenants", whole()),
        ("left", list(left)),
        ("replayed_now", list(fate)),
    ] {
        whole_job["properties"][name] = schema;
    }
    whole_job
}

type Answered = Result<HttpResponse, ServiceError>;

fn scope_of(user: &User, request: &HttpRequest, query: &Query) -> Result<TenantScope, ApiError> {
    user.scope(village::named_in(request, Some(query), None)?)
}

async fn preview(
    user: User,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let found = replay_job::dry_run(&state.db, &scope, &chosen(&body)?).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": look_on_wire(&found)})))
}

async fn start(user: User, request: HttpRequest, query: Query, body: Fields, state: Data<State>) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let (id, which) = (order_id(&body)?, chosen(&body)?);
    replay_job::begin(&state.db, &scope, id, &which, &user.actor(&request)).await?;
    let begun = replay_job::progress(&state.db, &scope, id).await?;
    let begun = begun.ok_or_else(nothing_meant)?;
    Ok(HttpResponse::Accepted().json(json!({"success": true, "data": job_on_wire(&begun.job)})))
}

async fn show_all(user: User, request: HttpRequest, query: Query, state: Data<State>) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let rows = replay_job::newest(&state.db, &scope, MOST_LISTED).await?;
    let rows: Vec<Value> = rows.iter().map(job_on_wire).collect();
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": rows})))
}

async fn show(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let found = replay_job::progress(&state.db, &scope, id(&path)?).await?;
    answer(found)
}

async fn cancel(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let actor = user.actor(&request);
    done(replay_job::cancel(&state.db, &scope, id(&path)?, &actor).await?)
}

async fn settle(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let not_found = || {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "dead_letter_not_found",
            "No such message lies here with an unknown outcome",
        )
    };
    let message: MessageId = path.parse().map_err(|_| not_found())?;
    let wake = Wake {
        relay: &state.relay,
        senders: &state.senders,
    };
    let actor = user.actor(&request);
    if !dead_letter::settle_as_sent(&state.db, wake, &scope, message, &actor).await? {
        return Err(not_found().into());
    }
    Ok(HttpResponse::Ok().json(json!({"success": true, "message_id": message, "status": "sent"})))
}

async fn preview_all(user: User, body: Fields, state: Data<State>) -> Answered {
    tenants::superadmin(&user)?;
    let found = replay_job::dry_run_for_all(&state.db, &chosen(&body)?).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": look_on_wire(&found)})))
}

async fn start_all(user: User, request: HttpRequest, body: Fields, state: Data<State>) -> Answered {
    tenants::superadmin(&user)?;
    let (id, which) = (order_id(&body)?, chosen(&body)?);
    replay_job::begin_for_all(&state.db, id, &which, &user.actor(&request)).await?;
    let begun = replay_job::progress_for_all(&state.db, id).await?;
    let begun = begun.ok_or_else(nothing_meant)?;
    Ok(HttpResponse::Accepted().json(json!({"success": true, "data": job_on_wire(&begun.job)})))
}

async fn show_of_all(user: User, path: web::Path<String>, state: Data<State>) -> Answered {
    tenants::superadmin(&user)?;
    answer(replay_job::progress_for_all(&state.db, id(&path)?).await?)
}

async fn cancel_all(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    state: Data<State>,
) -> Answered {
    tenants::superadmin(&user)?;
    let actor = user.actor(&request);
    done(replay_job::cancel_for_all(&state.db, id(&path)?, &actor).await?)
}

fn answer(found: Option<Progress>) -> Answered {
    let found = found.ok_or_else(no_order)?;
    let mut shown = job_on_wire(&found.job);
    shown["tenants"] = json!(found.tenants);
    shown["left"] = json!(found.left);
    shown["replayed_now"] = json!(found.fates);
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": shown})))
}

fn done(cancelled: bool) -> Answered {
    if cancelled {
        return Ok(HttpResponse::Ok().json(json!({"success": true})));
    }
    Err(no_order().into())
}

/// What is meant: the messages that are named, or those that fit.
fn chosen(body: &Fields) -> Result<Chosen, ApiError> {
    if let Some(ids) = body.texts("message_ids", MOST_IDS)? {
        let ids = ids.into_iter().map(|id| uuid("message_ids", id));
        return ids.collect::<Result<_, _>>().map(Chosen::These);
    }
    // No code and no kind holds a NUL, and Postgres takes none.
    let plain = |text: &str| text.replace('\0', "");
    Ok(Chosen::Fitting {
        unknown: body.flag("unknown")?,
        filter: DeliveryFilter {
            account: body
                .filled("account_id")?
                .map(|id| uuid("account_id", id))
                .transpose()?,
            kind: body.filled("kind")?.map(plain),
            reason: body.filled("reason")?.map(plain),
            ordered_before: body.filled("ordered_before")?.map(moment).transpose()?,
        },
    })
}

fn moment(text: &str) -> Result<DateTime<Utc>, ApiError> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| {
            ApiError::bad_request(
                "invalid_field",
                "ordered_before must be a time such as 2026-03-02T02:15:04Z",
            )
            .with("field", "ordered_before")
        })
}

/// The id under which an order is given twice and begun once. Without one each is another.
fn order_id(body: &Fields) -> Result<Uuid, ApiError> {
    body.filled("id")?
        .map_or_else(|| Ok(Uuid::now_v7()), |text| uuid("id", text))
}

fn uuid(field: &'static str, text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| {
        ApiError::bad_request("invalid_field", format!("{field} must be a UUID")).with("field", field)
    })
}

fn id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| no_order())
}

fn no_order() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "replay_not_found",
        "There is no such order, or it is over",
    )
}

fn nothing_meant() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "dead_letter_not_found",
        "Nothing is put aside that is meant",
    )
}

fn look_on_wire(found: &DryRun) -> Value {
    let sorts: Vec<Value> = found
        .sorts
        .iter()
        .map(|sort| {
            json!({"village_id": sort.tenant_id, "status": sort.status, "reason": sort.reason, "kind": sort.kind,
                   "messages": sort.messages})
        })
        .collect();
    json!({"total": found.total, "more": found.more, "tenants": found.tenants(), "sorts": sorts})
}

fn job_on_wire(job: &JobRow) -> Value {
    json!({
        "id": job.id, "state": job.state, "asked_by": job.asked_by, "total": job.total, "replayed": job.replayed,
        "skipped": job.skipped, "failed": job.failed, "created_at": wire_time(job.received_at),
        "ended_at": job.ended_at.map(wire_time),
    })
}
