//! `/internal/conversations`: a tenant's chats for the dashboard (channel-service contract 1.6), and what people say
//! about themselves (1.4).

use ::web::openapi::{Api, Doc, fields, flag, list, nullable, object, one_of, text, text_up_to, whole};
use ::web::{ApiError, Fields, Internal, Query};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use domain::chat::Channel;
use domain::message::MessageSource;
use domain::text::Text;
use serde_json::{Map, Value, json};

use super::{data, internal_group, of_chat, of_village, person, sending, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::chat::{self, ChatError, OpenChat, Profile};
use crate::flows::send_text::{Outcome, TextOrder};
use crate::store::takeover::TakenChatRow;
use messaging::cause::caused_by;

/// Rows when nobody says how many.
const DEFAULT_LIMIT: i64 = 50;
/// Most rows of one answer.
const MOST: i64 = 1000;
/// Longest kept name or number, in characters.
const LONGEST_LABEL: usize = 255;

pub(crate) fn routes(api: &mut Api) {
    api.group(internal_group("Conversations"));
    let all = of_village("A tenant's conversations, newest first")
        .query(
            "status",
            text(),
            "`all`, `takeover`; anything else: those that nobody has taken over",
        )
        .query("limit", whole(), "50 where nobody says")
        .answers(
            200,
            "The conversations",
            object([
                ("success", flag()),
                ("data", list(person::conversation_schema())),
                ("count", whole()),
            ]),
        );
    let opened = object([
        ("conversation", nullable(person::conversation_schema())),
        ("messages", list(person::message_schema())),
        ("is_takeover", flag()),
        ("takeover_session", nullable(person::takeover_schema())),
    ]);
    let one = of_chat("A conversation with its newest messages; it is read from now on")
        .query("limit", whole(), "messages, 50 where nobody says")
        .answers(200, "The conversation, or nothing", data(opened));
    let done = || object([("success", flag()), ("message", text())]);
    let gone = of_chat("Delete a conversation and its messages").answers(200, "Deleted", done());
    let mut sent = object([
        ("success", flag()),
        ("message_id", text()),
        ("is_takeover", flag()),
        ("channel", one_of(&["whatsapp", "webchat"])),
    ]);
    sent["properties"]["status"] = one_of(&["queued"]);
    let answer = of_chat("Answer as a person of the dashboard")
        .header("Idempotency-Key", text_up_to(255), "the same key sends once")
        .takes(fields([
            ("message", text()),
            ("admin_id", text()),
            ("admin_name", text()),
            ("channel", text()),
        ]))
        .answers(200, "The provider took it, or it is a webchat", sent.clone())
        .answers(202, "It is still being tried", sent)
        .refuses(&[
            (404, "No village is registered under this village_id"),
            (409, "The key was used for another text"),
            (500, "It was refused for good"),
        ]);
    let read = of_chat("Mark a conversation as read").answers(200, "Read", done());
    let updated = json!({"type": "object", "properties": {"user_name": text(), "user_phone": flag()}});
    let profile = Doc::new("What a person said about themselves")
        .takes(fields([
            ("village_id", text()),
            ("channel_identifier", text()),
            ("channel", text()),
            ("user_name", text()),
            ("user_phone", text()),
        ]))
        .answers(
            200,
            "Kept, if there is such a conversation",
            object([("status", text()), ("updated", updated)]),
        );
    api.get("/conversations", all, list_all)
        .patch("/conversations/user-profile", profile, set_profile)
        .get("/conversations/{wa_user_id}", one, show)
        .delete("/conversations/{wa_user_id}", gone, delete)
        .post("/conversations/{wa_user_id}/send", answer, send)
        .post("/conversations/{wa_user_id}/read", read, mark_read);
}

fn limit(query: &Query) -> i64 {
    query
        .get("limit")
        .and_then(|limit| limit.parse().ok())
        .map_or(DEFAULT_LIMIT, |limit: i64| limit.clamp(1, MOST))
}

async fn list_all(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let taken_over = match query.get("status") {
        None | Some("all") => None,
        Some("takeover") => Some(true),
        Some(_) => Some(false),
    };
    let named = village::named_in(&request, Some(&query), None)?;
    let mut data = Vec::new();
    if let Some(scope) = village::of_read(&caller, &state, named, None).await? {
        let rows = chat::list(&state.db, &scope, taken_over, limit(&query)).await?;
        data.extend(rows.iter().map(|row| person::conversation(&scope, row)));
    }
    Ok(HttpResponse::Ok().json(json!({"success": true, "count": data.len(), "data": data})))
}

async fn show(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let named = village::named_in(&request, Some(&query), None)?;
    let person = person::known_as(&path, query.get("channel"));
    let scope = village::of_read(&caller, &state, named, person.as_ref()).await?;
    let (Some(scope), Some(person)) = (scope, person) else {
        return Ok(HttpResponse::Ok().json(opened(Value::Null, Vec::new(), &Value::Null)));
    };
    // Without a village this is a guess, good enough to read and not to change anything.
    let read = named.is_some();
    let OpenChat {
        chat,
        messages,
        takeover,
    } = chat::open(&state.db, &scope, &person, limit(&query), read).await?;
    let Some(chat) = chat else {
        return Ok(HttpResponse::Ok().json(opened(Value::Null, Vec::new(), &Value::Null)));
    };
    let rows = messages
        .iter()
        .map(|row| person::message(&scope, &chat, row))
        .collect();
    let takeover = takeover.map(|takeover| TakenChatRow {
        takeover,
        address: chat.address.clone(),
        phone: chat.phone.clone(),
        channel: chat.channel.clone(),
    });
    let takeover = takeover.map_or(Value::Null, |row| person::takeover(&scope, &row));
    Ok(HttpResponse::Ok().json(opened(person::conversation(&scope, &chat), rows, &takeover)))
}

fn opened(conversation: Value, messages: Vec<Value>, takeover: &Value) -> Value {
    json!({"success": true, "data": {
        "conversation": conversation, "messages": messages, "is_takeover": !takeover.is_null(),
        "takeover_session": takeover,
    }})
}

/// An answer of a person in the dashboard.
async fn send(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let (text, cut) = Text::cut(body.text("message")?.unwrap_or_default(), Text::MAX_CHARS);
    if text.is_empty() {
        return Err(ApiError::bad_request("field_required", "message is required").into());
    }
    if cut {
        return Err(
            ApiError::bad_request("message_too_long", "message may have at most 65536 characters").into(),
        );
    }
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    let channel = match query.get("channel") {
        Some(channel) => Some(channel),
        None => body.filled("channel")?,
    };
    let person = person::writable(&path, channel)?;
    let channel = Channel::of(&person).as_str();
    let order = TextOrder {
        person,
        text,
        source: MessageSource::Admin,
        is_answer: true,
        key: sending::key(&request)?,
    };
    let failed = |code: &'static str, details: &str| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, code, "Failed to send message")
            .with("details", details)
    };
    let ordered = match caused_by(::web::request_id(), &scope, state.chats.texts.send(&scope, order)).await {
        Ok(ordered) => ordered,
        Err(ChatError::ChannelOff) => {
            return Err(failed("channel_disabled", sending::CHANNEL_DISABLED).into());
        }
        Err(error) => return Err(error.into()),
    };
    let mut answer = json!({
        "success": true, "message_id": ordered.message_id, "is_takeover": ordered.is_takeover, "channel": channel,
    });
    match ordered.outcome {
        Outcome::Sent => Ok(HttpResponse::Ok().json(answer)),
        Outcome::Queued => {
            answer["status"] = "queued".into();
            Ok(HttpResponse::Accepted().json(answer))
        }
        Outcome::Failed(reason) => Err(failed("send_failed", &sending::refusal(&reason))
            .with("reason", reason)
            .with("message_id", ordered.message_id)
            .into()),
    }
}

async fn mark_read(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    if let Some(person) = person::known_as(&path, query.get("channel")) {
        chat::mark_read(&state.db, &scope, &person).await?;
    }
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": "Conversation marked as read"})))
}

async fn delete(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    if let Some(person) = person::known_as(&path, query.get("channel")) {
        let actor = village::actor(&caller, &request, None);
        chat::delete(&state.db, &scope, &person, &actor).await?;
        if let Some(cache) = &state.chats.ai_cache {
            cache.forget(&path);
        }
    }
    let message = "Conversation and message history deleted";
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": message})))
}

/// What the AI learned about a person.
async fn set_profile(
    caller: Internal,
    request: HttpRequest,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let Some(named) = body.filled("channel_identifier")? else {
        return Err(ApiError::bad_request("field_required", "channel_identifier is required").into());
    };
    let label = |name: &'static str| -> Result<Option<Text>, ApiError> {
        let given = body.filled(name)?;
        Ok(given.and_then(|text| Text::label(text, LONGEST_LABEL)))
    };
    let profile = Profile {
        name: label("user_name")?,
        phone: label("user_phone")?,
    };
    if profile.name.is_none() && profile.phone.is_none() {
        return Err(ApiError::bad_request(
            "field_required",
            "At least one of user_name or user_phone is required",
        )
        .into());
    }
    let scope = village::of_write(&caller, village::named_in(&request, None, Some(&body))?)?;
    if let Some(person) = person::known_as(named, body.filled("channel")?) {
        chat::set_profile(&state.db, &scope, &person, &profile).await?;
    }
    let mut updated = Map::new();
    if let Some(name) = &profile.name {
        updated.insert("user_name".to_owned(), name.as_str().into());
    }
    updated.insert("user_phone".to_owned(), profile.phone.is_some().into());
    Ok(HttpResponse::Ok().json(json!({"status": "ok", "updated": updated})))
}
