//! `/internal/takeover`: who answers a chat in the AI's place (channel-service contract 1.6).

use ::web::openapi::{Api, fields, flag, list, nullable, object, text, whole};
use ::web::{ApiError, Fields, Internal, Query};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use domain::text::Text;
use serde_json::{Value, json};

use super::{internal_group, of_chat, of_village, person, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::takeover;
use crate::store::takeover::NewTakeover;

/// Most takeovers of one answer.
const MOST: i64 = 1000;
/// Longest kept id or name of an admin, in characters.
const LONGEST_LABEL: usize = 200;
/// Longest kept reason, in characters.
const LONGEST_REASON: usize = 1000;

pub(crate) fn routes(api: &mut Api) {
    api.group(internal_group("Takeovers"));
    let all = of_village("A tenant's conversations that somebody has taken over, newest first").answers(
        200,
        "The takeovers",
        object([
            ("success", flag()),
            ("data", list(person::takeover_schema())),
            ("count", whole()),
        ]),
    );
    let begun = object([
        ("success", flag()),
        ("data", person::takeover_schema()),
        ("message", text()),
    ]);
    let begin = of_chat("Take a conversation over from the AI, or from somebody else")
        .takes(fields([
            ("admin_id", text()),
            ("admin_name", text()),
            ("reason", text()),
            ("channel", text()),
        ]))
        .answers(200, "Taken over", begun)
        .refuses(&[(404, "No village is registered under this village_id")]);
    let over = object([("success", flag()), ("ended", flag()), ("message", text())]);
    let finish = of_chat("Give a conversation back to the AI").answers(200, "Given back", over);
    let state = object([
        ("success", flag()),
        ("is_takeover", flag()),
        ("session", nullable(person::takeover_schema())),
    ]);
    let ask = of_chat("Who has a conversation").answers(200, "Somebody, or the AI", state);
    api.get("/takeover", all, list_all)
        .post("/takeover/{wa_user_id}", begin, start)
        .delete("/takeover/{wa_user_id}", finish, end)
        .get("/takeover/{wa_user_id}/status", ask, status);
}

async fn list_all(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let named = village::named_in(&request, Some(&query), None)?;
    let mut data = Vec::new();
    if let Some(scope) = village::of_read(&caller, &state, named, None).await? {
        let rows = takeover::list(&state.db, &scope, MOST).await?;
        data.extend(rows.iter().map(|row| person::takeover(&scope, row)));
    }
    Ok(HttpResponse::Ok().json(json!({"success": true, "count": data.len(), "data": data})))
}

async fn start(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let label = |name: &'static str, most: usize| -> Result<Option<String>, ApiError> {
        let label = body.text(name)?.and_then(|text| Text::label(text, most));
        Ok(label.map(Text::into_string))
    };
    let Some(admin_id) = label("admin_id", LONGEST_LABEL)? else {
        let text = "wa_user_id and admin_id are required";
        return Err(ApiError::bad_request("field_required", text).into());
    };
    let new = NewTakeover {
        admin_name: label("admin_name", LONGEST_LABEL)?,
        reason: label("reason", LONGEST_REASON)?,
        admin_id,
    };
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    let channel = match query.get("channel") {
        Some(channel) => Some(channel),
        None => body.filled("channel")?,
    };
    let person = person::writable(&path, channel)?;
    let actor = village::actor(&caller, &request, Some(&new.admin_id));
    let row = takeover::start(&state.db, &state.endpoints, &scope, &person, &new, &actor).await?;
    Ok(HttpResponse::Ok().json(json!({
        "success": true, "data": person::takeover(&scope, &row), "message": format!("Takeover started for {path}"),
    })))
}

async fn end(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    let mut ended = false;
    if let Some(person) = person::known_as(&path, query.get("channel")) {
        let actor = village::actor(&caller, &request, None);
        ended = takeover::end(&state.db, &scope, &person, &actor).await?;
    }
    let message = if ended {
        format!("Takeover ended for {path}")
    } else {
        "No active takeover found".to_owned()
    };
    Ok(HttpResponse::Ok().json(json!({"success": true, "ended": ended, "message": message})))
}

async fn status(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let named = village::named_in(&request, Some(&query), None)?;
    let mut session = Value::Null;
    if let Some(person) = person::known_as(&path, query.get("channel"))
        && let Some(scope) = village::of_read(&caller, &state, named, Some(&person)).await?
        && let Some(row) = takeover::status(&state.db, &scope, &person).await?
    {
        session = person::takeover(&scope, &row);
    }
    Ok(HttpResponse::Ok().json(json!({
        "success": true, "is_takeover": !session.is_null(), "session": session,
    })))
}
