//! `/internal/messages`, `/internal/send`, `/internal/typing` (channel-service contract 1.4).

use ::web::openapi::{Api, Doc, fields, list, object, one_of, text, text_up_to, time, whole};
use ::web::{ApiError, Fields, Internal, Location, Query, Validation};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use domain::address::{ChatAddress, VisitorId};
use domain::chat::Channel;
use domain::ids::{ProviderMessageId, TenantId};
use domain::message::{Direction, MessageSource};
use domain::text::Text;
use serde_json::{Value, json};
use whatsapp::courtesy::Typing;

use super::{internal_group, person, sending, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::chat::{self, ChatError};
use crate::flows::identifier::{can_be_written_to, read_identifier};
use crate::flows::keep_message::{Told, keep, local_id};
use crate::flows::send_text::{Ordered, Outcome, TextOrder};
use messaging::cause::caused_by;

/// Messages of a history when nobody says how many.
const DEFAULT_LIMIT: i64 = 30;
/// Longest text of `/internal/send`, in characters.
const LONGEST_SEND: usize = 4096;
/// Most messages that are marked as read at once.
const MOST_READ: usize = 1000;
/// Why an identifier is refused.
const IDENTIFIER: [&str; 2] = [
    "wa_user_id must be valid Indonesian phone number or webchat session ID",
    "channel_identifier must be valid Indonesian phone number or webchat session ID",
];

pub(crate) fn routes(api: &mut Api) {
    api.group(internal_group("Messages"));
    let brief = object([
        ("id", text()),
        ("message_text", text()),
        ("direction", one_of(&["IN", "OUT"])),
        ("source", text()),
        ("timestamp", time()),
    ]);
    let page = object([("messages", list(brief)), ("total", whole())]);
    let read = Doc::new("The newest messages with a person, oldest first")
        .query(
            "wa_user_id",
            text(),
            "whom, where channel_identifier is not given",
        )
        .query(
            "channel_identifier",
            text(),
            "whom: a number, an address or a webchat session",
        )
        .query("channel", text(), "`WHATSAPP` or `WEBCHAT`")
        .query(
            "village_id",
            text(),
            "whose; without it the answer is empty unless only one can be meant",
        )
        .query("limit", whole(), "1 to 100, 30 where nobody says")
        .answers(200, "The messages", page);
    let told = Doc::new("Keep a message that went over another way; nothing is sent")
        .takes(fields([
            ("village_id", text()),
            ("channel_identifier", text()),
            ("wa_user_id", text()),
            ("message_text", text()),
            ("direction", text()),
            ("source", text()),
            ("channel", text()),
            ("message_id", text()),
            ("metadata", fields([("channel", text())])),
        ]))
        .answers(
            201,
            "Kept, now or before",
            object([
                ("status", one_of(&["stored"])),
                ("message_id", text()),
                ("id", text()),
            ]),
        )
        .refuses(UNKNOWN);
    let sent = |status| object([("status", one_of(status)), ("message_id", text())]);
    let order = Doc::new("Send a text on WhatsApp and wait for what becomes of it")
        .header("Idempotency-Key", text_up_to(255), "the same key sends once")
        .takes(fields([
            ("village_id", text()),
            ("wa_user_id", text()),
            ("message", text_up_to(LONGEST_SEND)),
        ]))
        .answers(200, "The provider took it", sent(&["sent"]))
        .answers(202, "It is still being tried", sent(&["queued"]))
        .refuses(&[
            (409, "The key was used for another text"),
            (500, "It was refused for good"),
        ])
        .refuses(UNKNOWN);
    let mut shown = object([("status", one_of(&["ok"])), ("state", text())]);
    shown["properties"]["note"] = one_of(&["typing_disabled"]);
    let write = Doc::new("Show that an answer is being written")
        .takes(fields([
            ("village_id", text()),
            ("wa_user_id", text()),
            ("state", text()),
        ]))
        .answers(200, "Shown, unless there is a note", shown);
    let blue = Doc::new("Mark a person's messages as read on WhatsApp")
        .takes(fields([
            ("village_id", text()),
            ("wa_user_id", text()),
            ("message_ids", list(text())),
        ]))
        .answers(
            200,
            "Passed on",
            object([("status", one_of(&["ok"])), ("marked_count", whole())]),
        );
    api.get("/messages", read, history)
        .post("/messages", told, store)
        .post("/messages/read", blue, mark_read)
        .post("/send", order, send)
        .post("/typing", write, typing);
}

const UNKNOWN: &[(u16, &str)] = &[(404, "No village is registered under this village_id")];

/// The newest messages with a person, oldest first.
async fn history(caller: Internal, query: Query, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    let limit = check_history(&query)?;
    let named = query
        .get("channel_identifier")
        .or_else(|| query.get("wa_user_id"));
    let Some(named) = named else {
        let error = ApiError::bad_request(
            "identifier_required",
            "Either wa_user_id or channel_identifier query parameter is required",
        );
        return Err(error.with("messages", json!([])).with("total", 0).into());
    };
    let person = person::known_as(named, query.get("channel"));
    let mut messages = Vec::new();
    if let Some(person) = person {
        let scope = village::of_read(&caller, &state, query.get("village_id"), Some(&person)).await?;
        if let Some(scope) = scope {
            messages = chat::history(&state.db, &scope, &person, limit).await?;
        }
    }
    let messages: Vec<Value> = messages.iter().map(person::brief_message).collect();
    Ok(HttpResponse::Ok().json(json!({"total": messages.len(), "messages": messages})))
}

fn check_history(query: &Query) -> Result<i64, ApiError> {
    let mut validation = Validation::default();
    let mut check = |name: &'static str, msg: &str, holds: &dyn Fn(&str) -> bool| {
        let given: Vec<&str> = query.all(name).collect();
        match given[..] {
            [] => {}
            [one] if holds(one) => {}
            [one] => validation.broken(Location::Query, name, Some(&one.into()), msg),
            _ => validation.broken(Location::Query, name, Some(&json!(given)), msg),
        }
    };
    check("wa_user_id", IDENTIFIER[0], &is_identifier);
    check("channel_identifier", IDENTIFIER[1], &is_identifier);
    check("village_id", Validation::INVALID, &is_village);
    check("limit", "limit must be between 1 and 100", &|text| {
        text.parse().is_ok_and(|limit: i64| (1..=100).contains(&limit))
    });
    validation.finish()?;
    let limit = query.get("limit").and_then(|limit| limit.parse().ok());
    Ok(limit.unwrap_or(DEFAULT_LIMIT))
}

fn is_village(text: &str) -> bool {
    (1..=TenantId::MAX_LENGTH).contains(&text.chars().count())
}

/// The contract's two patterns, and what they leave out: numbers of other countries and addresses of people who hide
/// their number, who write to tenants too. An Indonesian mobile number still has to be one.
fn is_identifier(text: &str) -> bool {
    if VisitorId::is_meant_by(text) {
        return VisitorId::parse(text).is_ok();
    }
    if text.contains('@') {
        return ChatAddress::parse(text).is_ok_and(|address| can_be_written_to(&address));
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits
        && match text.strip_prefix("628") {
            Some(rest) => (8..=12).contains(&rest.len()),
            None => (8..=15).contains(&text.len()) && !text.starts_with('0'),
        }
}

/// Keeps a message that went over another way.
async fn store(
    caller: Internal,
    request: HttpRequest,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let required = || {
        ApiError::bad_request(
            "field_required",
            "channel_identifier/wa_user_id and message_text are required",
        )
    };
    let named = match body.filled("channel_identifier")? {
        Some(named) => Some(named),
        None => body.filled("wa_user_id")?,
    };
    let named = named.ok_or_else(required)?;
    let text = Text::new(body.text("message_text")?.unwrap_or_default());
    if text.is_empty() {
        return Err(required().into());
    }
    let metadata = body.object("metadata")?.unwrap_or_default();
    let channel = match body.filled("channel")? {
        Some(channel) => Some(channel),
        None => metadata.filled("channel")?,
    };
    if channel.is_some_and(|channel| Channel::from_wire(channel).is_none()) {
        return Err(
            ApiError::bad_request("invalid_field", "channel must be WHATSAPP or WEBCHAT")
                .with("field", "channel")
                .into(),
        );
    }
    let person = person::writable(named, channel)?;
    let direction = match body.text("direction")? {
        Some("IN") => Direction::Inbound,
        _ => Direction::Outbound,
    };
    let (prefix, source) = match direction {
        Direction::Inbound => ("in", MessageSource::Webhook),
        Direction::Outbound => ("ai", outbound_source(body.filled("source")?)),
    };
    let id = match body.filled("message_id")? {
        Some(id) => ProviderMessageId::parse(id).map_err(|error| {
            ApiError::bad_request("invalid_field", format!("message_id: {error}")).with("field", "message_id")
        })?,
        None => local_id(prefix),
    };
    let scope = village::of_write(&caller, village::named_in(&request, None, Some(&body))?)?;
    let told = Told {
        person,
        direction,
        source,
        id,
        text,
    };
    let kept = keep(&state.db, &state.endpoints, &scope, told).await?;
    Ok(HttpResponse::Created().json(json!({
        "status": "stored", "message_id": kept.provider_message_id, "id": kept.id,
    })))
}

/// Who a caller says wrote it: the AI when it says nothing, the system when it says something else.
fn outbound_source(said: Option<&str>) -> MessageSource {
    match said.map(str::to_ascii_uppercase).as_deref() {
        None | Some("AI") => MessageSource::Ai,
        Some("ADMIN") => MessageSource::Admin,
        Some(_) => MessageSource::System,
    }
}

/// Sends a text and says what became of it.
async fn send(
    caller: Internal,
    request: HttpRequest,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let (person, text) = check_send(&body)?;
    let scope = village::of_write(&caller, body.filled("village_id")?)?;
    let order = TextOrder {
        person,
        text,
        source: MessageSource::System,
        is_answer: false,
        key: sending::key(&request)?,
    };
    let failed = |code: &'static str, text: &str| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, code, text).with("status", "failed")
    };
    let Ordered {
        message_id, outcome, ..
    } = match caused_by(::web::request_id(), &scope, state.chats.texts.send(&scope, order)).await {
        Ok(ordered) => ordered,
        Err(ChatError::ChannelOff) => {
            return Err(failed("channel_disabled", sending::CHANNEL_DISABLED).into());
        }
        Err(error) => return Err(error.into()),
    };
    match outcome {
        Outcome::Sent => Ok(HttpResponse::Ok().json(json!({"status": "sent", "message_id": message_id}))),
        Outcome::Queued => {
            Ok(HttpResponse::Accepted().json(json!({"status": "queued", "message_id": message_id})))
        }
        Outcome::Failed(reason) => Err(failed("send_failed", &sending::refusal(&reason))
            .with("reason", reason)
            .with("message_id", message_id)
            .into()),
    }
}

fn check_send(body: &Fields) -> Result<(ChatAddress, Text), ApiError> {
    let mut validation = Validation::default();
    let mut broken = |path: &str, value: Option<&Value>, msg: &str| {
        validation.broken(Location::Body, path, value, msg);
    };
    if let Some(village) = body.get("village_id")
        && !village.as_str().is_some_and(is_village)
    {
        broken("village_id", Some(village), Validation::INVALID);
    }
    let mut read = |name: &str, msg: &str, holds: &dyn Fn(&str) -> bool| {
        let given = body.get(name);
        let text = given.and_then(Value::as_str);
        // Two rules: it is a text, and it is a right one.
        if text.is_none() {
            broken(name, given, Validation::INVALID);
        }
        if !text.is_some_and(holds) {
            broken(name, given, msg);
        }
        text
    };
    let named = read("wa_user_id", IDENTIFIER[0], &is_identifier);
    let message = read(
        "message",
        "message must be between 1 and 4096 characters",
        &|text| (1..=LONGEST_SEND).contains(&text.chars().count()) && !Text::new(text).is_empty(),
    );
    validation.finish()?;
    let person = named.and_then(|named| read_identifier(named).ok());
    person
        .zip(message.map(Text::new))
        .ok_or_else(|| ApiError::bad_request("invalid_identifier", IDENTIFIER[0]))
}

/// Shows that an answer is being written.
async fn typing(
    caller: Internal,
    request: HttpRequest,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, None, Some(&body))?)?;
    let said = body.filled("state")?.unwrap_or("composing");
    let typing = match said {
        "composing" => Some(Typing::Composing),
        "paused" | "stop" => Some(Typing::Paused),
        _ => None,
    };
    let person = body
        .filled("wa_user_id")?
        .and_then(|named| person::writable(named, None).ok());
    let shown = match typing.zip(person) {
        Some((typing, person)) => state.chats.courtesies.typing(&scope, &person, typing).await?,
        None => false,
    };
    let said: String = said.chars().take(50).collect();
    let mut answer = json!({"status": "ok", "state": said});
    if !shown {
        answer["note"] = "typing_disabled".into();
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// Marks a person's messages as read on WhatsApp.
async fn mark_read(
    caller: Internal,
    request: HttpRequest,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let given = (
        body.get("wa_user_id")
            .and_then(Value::as_str)
            .filter(|named| !named.is_empty()),
        body.get("message_ids")
            .and_then(Value::as_array)
            .filter(|ids| ids.len() <= MOST_READ),
    );
    let (Some(named), Some(ids)) = given else {
        return Err(
            ApiError::bad_request("field_required", "wa_user_id and message_ids array are required").into(),
        );
    };
    let scope = village::of_write(&caller, village::named_in(&request, None, Some(&body))?)?;
    // What can be no message's id is counted and not passed on, as everything that the provider would not take.
    let known: Vec<ProviderMessageId> = ids
        .iter()
        .filter_map(|id| ProviderMessageId::parse(id.as_str()?).ok())
        .collect();
    if let Ok(person) = person::writable(named, None) {
        let courtesies = &state.chats.courtesies;
        let _done = courtesies.mark_read(&scope, &person, &known).await?;
    }
    Ok(HttpResponse::Ok().json(json!({"status": "ok", "marked_count": ids.len()})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_of_the_contract_and_of_people_it_forgot() {
        for right in [
            "62812900000",
            "628129000001",
            "628129000000111",
            "web_a1_B",
            "WEB_x",
            "4915112345678",
            "622150001234",
            "204466881133557@lid",
            "6281290000011@s.whatsapp.net",
        ] {
            assert!(is_identifier(right), "{right}");
        }
        for wrong in [
            "",
            "abc",
            "6281290",
            "6281290000001111",
            "081290000011",
            "+6281290000011",
            "web_",
            "web_a b",
            "web_é",
            "1@s.whatsapp.net",
            "status@broadcast",
        ] {
            assert!(!is_identifier(wrong), "{wrong}");
        }
    }

    #[test]
    fn sources_are_a_closed_set() {
        for (said, source) in [
            (None, MessageSource::Ai),
            (Some("AI"), MessageSource::Ai),
            (Some("admin"), MessageSource::Admin),
            (Some("SYSTEM"), MessageSource::System),
            (Some("WA_WEBHOOK"), MessageSource::System),
        ] {
            assert_eq!(outbound_source(said), source);
        }
    }
}
