//! `/internal/dead-letters`: messages that are not tried again by themselves, for the dashboard.

use ::web::openapi::{Api, fields, flag, list, nullable, object, one_of, text, time as time_of_day, whole};
use ::web::{ApiError, Fields, Internal, Query, wire_time};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use domain::ids::MessageId;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::{internal_group, of_village, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::dead_letter::{self, DeadLetter, MOST, Replayed, Wake};
use crate::store::dead_letter::{DeadLetterFilter, DeadLetterRow};

/// How many are listed or replayed when nobody says.
const USUAL: i64 = 100;

pub(crate) fn routes(api: &mut Api) {
    api.group(internal_group("Dead letters"));
    let letter = object([
        ("village_id", text()),
        ("message_id", text()),
        ("account_id", text()),
        ("chat_id", text()),
        ("kind", text()),
        ("status", one_of(&["parked", "unknown", "failed"])),
        ("reason", nullable(text())),
        ("attempts", whole()),
        ("created_at", time_of_day()),
        ("since", time_of_day()),
    ]);
    let attempt = object([
        ("outcome", text()),
        ("reason", nullable(text())),
        ("took_ms", whole()),
        ("at", time_of_day()),
    ]);
    let mut whole_letter = letter.clone();
    for (name, schema) in [
        ("to", text()),
        ("text", text()),
        ("reference", nullable(text())),
        ("tries", list(attempt)),
        (
            "reported_failure",
            nullable(object([
                ("code", nullable(whole())),
                ("title", nullable(text())),
                ("details", nullable(text())),
                ("at", time_of_day()),
            ])),
        ),
    ] {
        whole_letter["properties"][name] = schema;
    }
    let all = of_village("Messages that are not tried again by themselves, without their words")
        .query("reason", text(), "only those with this reason")
        .query("older_than", time_of_day(), "only those put aside before")
        .query("newer_than", time_of_day(), "only those put aside after")
        .query("limit", whole(), "how many, 100 where nobody says")
        .answers(
            200,
            "Those that have lain longest first",
            object([("data", list(letter))]),
        );
    let one = of_village("One of a tenant's, with what it says and what was tried")
        .query("user", text(), "who looks, for the audit log")
        .answers(200, "The message", object([("data", whole_letter)]))
        .refuses(GONE);
    let again = of_village("Queue one again, in its old place in its chat")
        .takes(fields([("village_id", text()), ("user", text())]))
        .answers(
            200,
            "Queued",
            object([
                ("success", flag()),
                ("message_id", text()),
                ("status", one_of(&["queued"])),
            ]),
        )
        .refuses(GONE)
        .refuses(&[(
            409,
            "It may have gone out through an endpoint that the tenant has left",
        )]);
    let all_again = of_village("Queue again what fits a filter, in the order in which it lay")
        .takes(fields([
            ("village_id", text()),
            ("reason", text()),
            ("older_than", time_of_day()),
            ("newer_than", time_of_day()),
            ("limit", whole()),
            ("user", text()),
        ]))
        .answers(
            200,
            "Queued",
            object([
                ("success", flag()),
                ("replayed", whole()),
                ("message_ids", list(text())),
            ]),
        );
    api.get("/dead-letters", all, list_all)
        .post("/dead-letters/replay", all_again, replay_all)
        .get("/dead-letters/{id}", one, show)
        .post("/dead-letters/{id}/replay", again, replay);
}

const GONE: &[(u16, &str)] = &[(404, "No such message is put aside")];

/// One tenant's, or everybody's for a caller whose key is good for every tenant. Never the words.
async fn list_all(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let filter = DeadLetterFilter {
        reason: query.get("reason").map(plain),
        older_than: query
            .get("older_than")
            .map(|text| time("older_than", text))
            .transpose()?,
        newer_than: query
            .get("newer_than")
            .map(|text| time("newer_than", text))
            .transpose()?,
        limit: limit(query.get("limit").map(|text| text.parse().unwrap_or(0)))?,
    };
    let rows = match village::named_in(&request, Some(&query), None)? {
        Some(id) => dead_letter::list(&state.db, &village::scope_of(&caller, id)?, &filter).await?,
        None if caller.0.is_for_all() => dead_letter::list_all(&state.db, &filter).await?,
        None => return Err(village::must_be_named().into()),
    };
    let data: Vec<Value> = rows.iter().map(wire).collect();
    Ok(HttpResponse::Ok().json(json!({"data": data})))
}

async fn show(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = scope(&caller, &request, Some(&query), None)?;
    let actor = village::actor(&caller, &request, query.get("user"));
    let found = dead_letter::show(&state.db, &scope, id(&path)?, &actor).await?;
    let DeadLetter {
        row,
        words,
        attempts,
        reported,
    } = found.ok_or_else(not_found)?;
    let attempts: Vec<Value> = attempts
        .iter()
        .map(|attempt| {
            json!({"outcome": attempt.outcome, "reason": attempt.reason, "took_ms": attempt.took_ms,
                   "at": wire_time(attempt.at)})
        })
        .collect();
    let mut data = wire(&row);
    data["to"] = json!(words.address);
    data["text"] = json!(words.body);
    data["reference"] = json!(words.reference);
    data["tries"] = json!(attempts);
    data["reported_failure"] = reported.map_or(Value::Null, |told| match told.failed_at {
        Some(at) => json!({"code": told.error_code, "title": told.error_title, "details": told.error_details,
            "at": wire_time(at)}),
        None => Value::Null,
    });
    Ok(HttpResponse::Ok().json(json!({"data": data})))
}

async fn replay(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = scope(&caller, &request, Some(&query), Some(&body))?;
    let actor = village::actor(&caller, &request, body.filled("user")?);
    let id = id(&path)?;
    match dead_letter::replay(&state.db, wake(&state), &scope, id, &actor).await? {
        Replayed::Queued => {}
        Replayed::NotThere | Replayed::WentOut => return Err(not_found().into()),
        Replayed::MayBeOutElsewhere => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "endpoint_changed",
                "The message may have gone out through the endpoint that the village has left: order it anew",
            )
            .into());
        }
    }
    Ok(HttpResponse::Ok().json(json!({"success": true, "message_id": id, "status": "queued"})))
}

async fn replay_all(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = scope(&caller, &request, Some(&query), Some(&body))?;
    let filter = DeadLetterFilter {
        reason: body.filled("reason")?.map(plain),
        older_than: body
            .filled("older_than")?
            .map(|text| time("older_than", text))
            .transpose()?,
        newer_than: body
            .filled("newer_than")?
            .map(|text| time("newer_than", text))
            .transpose()?,
        limit: limit(body.whole("limit")?)?,
    };
    let actor = village::actor(&caller, &request, body.filled("user")?);
    let replayed = dead_letter::replay_all(&state.db, wake(&state), &scope, &filter, &actor).await?;
    Ok(
        HttpResponse::Ok()
            .json(json!({"success": true, "replayed": replayed.len(), "message_ids": replayed})),
    )
}

fn wake(state: &State) -> Wake<'_> {
    Wake {
        relay: &state.relay,
        senders: &state.senders,
    }
}

fn scope(
    caller: &Internal,
    request: &HttpRequest,
    query: Option<&Query>,
    body: Option<&Fields>,
) -> Result<TenantScope, ApiError> {
    let id = village::named_in(request, query, body)?.ok_or_else(village::must_be_named)?;
    village::scope_of(caller, id)
}

fn id(text: &str) -> Result<MessageId, ApiError> {
    text.parse().map_err(|_| not_found())
}

/// No reason holds a NUL, and Postgres takes none.
fn plain(reason: &str) -> String {
    reason.replace('\0', "")
}

fn limit(asked: Option<i64>) -> Result<i64, ApiError> {
    let limit = asked.unwrap_or(USUAL);
    if (1..=MOST).contains(&limit) {
        return Ok(limit);
    }
    Err(wrong("limit", format!("limit must be within 1 and {MOST}")))
}

fn time(field: &'static str, text: &str) -> Result<DateTime<Utc>, ApiError> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| {
            wrong(
                field,
                format!("{field} must be a time such as 2026-03-02T02:15:04Z"),
            )
        })
}

fn wrong(field: &'static str, text: String) -> ApiError {
    ApiError::bad_request("invalid_field", text).with("field", field)
}

fn not_found() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "dead_letter_not_found",
        "No such message is put aside",
    )
}

fn wire(row: &DeadLetterRow) -> Value {
    json!({
        "village_id": row.tenant_id, "message_id": row.message_id, "account_id": row.account_id,
        "chat_id": row.chat_id, "kind": row.kind, "status": row.status, "reason": row.reason,
        "attempts": row.attempts, "created_at": wire_time(row.created_at), "since": wire_time(row.since),
    })
}
