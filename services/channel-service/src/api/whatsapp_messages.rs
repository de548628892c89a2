//! `POST /api/whatsapp/messages` and `POST /internal/messages/send`: messages of every kind, written as the WhatsApp Cloud API
//! writes them, through any of a village's devices.

use ::web::openapi::{Api, Doc, fields, flag, object, one_of, text, text_up_to};
use ::web::{ApiError, Fields, Internal, Query, wire_time};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use domain::ids::{AccountId, PhoneNumberId};
use domain::message::{InvalidContent, MessageSource};
use messaging::cause::caused_by;
use serde_json::json;
use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::signed_in::User;
use super::{dashboard_group, internal_group, sending, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::chat::ChatError;
use crate::flows::cloud_body::{self, Asked};
use crate::flows::mark_read::Marked;
use crate::flows::order_message::{MessageOrder, OrderError, Taken, Through};
use crate::flows::send_text::Outcome;

/// Every field that a body may have.
const FIELDS: [&str; 27] = [
    "messaging_product",
    "recipient_type",
    "to",
    "recipient",
    "type",
    "text",
    "template",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contacts",
    "reaction",
    "interactive",
    "flow",
    "context",
    "biz_opaque_callback_data",
    "status",
    "message_id",
    "typing_indicator",
    "village_id",
    "device_id",
    "phone_number_id",
    "try_anyway",
    "wait",
];

pub(crate) fn routes(api: &mut Api) {
    api.group(dashboard_group("WhatsApp messages"));
    let doc = doc("Send a message of any kind, or mark one as read")
        .query("village_id", text(), "the tenant, for a superadmin")
        .query("tenant_id", text(), "the same by another name");
    api.post("/whatsapp/messages", doc, send);
}

pub(crate) fn internal_routes(api: &mut Api) {
    api.group(internal_group("Messages"));
    let doc = doc("Send a message of any kind, or mark one as read, for the village that the body names");
    api.post("/messages/send", doc, send_internally);
}

fn doc(summary: &'static str) -> Doc {
    let part = || json!({"type": "object"});
    let kinds = [
        "text",
        "template",
        "image",
        "video",
        "audio",
        "document",
        "sticker",
        "location",
        "contacts",
        "reaction",
        "interactive",
        "flow",
    ];
    let mut body = fields([
        ("to", text()),
        ("recipient", text()),
        ("type", one_of(&kinds)),
        ("context", object([("message_id", text())])),
        ("biz_opaque_callback_data", text_up_to(512)),
        ("status", one_of(&["read"])),
        ("message_id", text()),
        ("typing_indicator", part()),
        ("village_id", text()),
        ("device_id", text()),
        ("phone_number_id", text()),
        ("try_anyway", flag()),
        ("wait", flag()),
    ]);
    for kind in kinds {
        body["properties"][kind] = if kind == "contacts" {
            json!({"type": "array", "items": {"type": "object"}})
        } else {
            part()
        };
    }
    let sent = |status| {
        object([
            ("success", flag()),
            ("status", one_of(status)),
            ("id", text()),
            ("message_id", text()),
            ("chat_id", text()),
        ])
    };
    Doc::new(summary)
        .header("Idempotency-Key", text_up_to(255), "the same key sends once")
        .takes(body)
        .answers(200, "The provider took it", sent(&["sent"]))
        .answers(202, "It goes out without the caller", sent(&["queued"]))
        .refuses(&[
            (
                404,
                "The village, its device, or the message that is meant is not there",
            ),
            (
                409,
                "The person's window is closed (`window_closed`), or the key was used for another message",
            ),
            (
                422,
                "It cannot be said through this device, does not fit its template, or was refused for good",
            ),
            (502, "The provider did not take the read mark"),
        ])
}

async fn send(
    user: User,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = user.scope(village_of(&request, &query, Some(&body))?)?;
    serve(&state, &scope, &request, &body, MessageSource::Admin).await
}

async fn send_internally(
    caller: Internal,
    request: HttpRequest,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, None, Some(&body))?)?;
    serve(&state, &scope, &request, &body, MessageSource::System).await
}

/// The village that a signed-in person names.
pub(crate) fn village_of<'a>(
    request: &'a HttpRequest,
    query: &'a Query,
    body: Option<&'a Fields>,
) -> Result<Option<&'a str>, ApiError> {
    let named = village::named_in(request, Some(query), body)?;
    match (named, query.get("tenant_id")) {
        (Some(village), Some(tenant)) if village != tenant => Err(ApiError::bad_request(
            "two_villages",
            "village_id and tenant_id name two villages",
        )),
        (village, tenant) => Ok(village.or(tenant)),
    }
}

async fn serve(
    state: &State,
    scope: &TenantScope,
    request: &HttpRequest,
    body: &Fields,
    source: MessageSource,
) -> Result<HttpResponse, ServiceError> {
    body.only(&FIELDS)?;
    let asked = cloud_body::read(body.raw())
        .map_err(|error| invalid(StatusCode::BAD_REQUEST, "invalid_message", &error))?;
    let message = match asked {
        Asked::Send(message) => *message,
        Asked::Read { message, typing } => {
            let marked = state.chats.courtesies.mark_one(scope, &message, typing).await?;
            return read_mark(marked);
        }
    };
    let order = MessageOrder {
        to: message.to,
        through: through(body)?,
        content: message.content,
        answers: message.answers,
        source,
        reference: message.reference,
        try_anyway: body.flag("try_anyway")?.unwrap_or(false),
        wait: body.flag("wait")?.unwrap_or(true),
        key: sending::key(request)?,
    };
    let taken = caused_by(::web::request_id(), scope, state.chats.texts.order(scope, order)).await;
    answer(&taken.map_err(refused)?)
}

fn through(body: &Fields) -> Result<Through, ApiError> {
    let wrong = |field: &'static str, what: &str| {
        ApiError::bad_request("invalid_field", format!("{field} must be {what}")).with("field", field)
    };
    match (body.filled("device_id")?, body.filled("phone_number_id")?) {
        (None, None) => Ok(Through::Usual),
        (Some(id), None) => Uuid::parse_str(id)
            .map(|id| Through::Device(AccountId::from_uuid(id)))
            .map_err(|_| wrong("device_id", "a device's id")),
        (None, Some(number)) => PhoneNumberId::parse(number)
            .map(Through::Number)
            .map_err(|_| wrong("phone_number_id", "a number's id at Meta")),
        (Some(_), Some(_)) => Err(wrong("device_id", "there, or phone_number_id, and not both")),
    }
}

fn answer(taken: &Taken) -> Result<HttpResponse, ServiceError> {
    let ordered = &taken.ordered;
    let said = |status: &str| {
        json!({
            "success": true, "status": status, "id": taken.id, "message_id": ordered.message_id,
            "chat_id": ordered.chat,
        })
    };
    match &ordered.outcome {
        Outcome::Sent => Ok(HttpResponse::Ok().json(said("sent"))),
        Outcome::Queued => Ok(HttpResponse::Accepted().json(said("queued"))),
        Outcome::Failed(reason) => {
            let error = if reason == WINDOW_CLOSED {
                window_closed(None)
            } else {
                ApiError::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "send_failed",
                    sending::refusal(reason),
                )
                .with("success", false)
            };
            Err(error
                .with("reason", reason.as_str())
                .with("id", taken.id.to_string())
                .with("message_id", ordered.message_id.as_str())
                .into())
        }
    }
}

const WINDOW_CLOSED: &str = "window_closed";

fn window_closed(last: Option<chrono::DateTime<chrono::Utc>>) -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        WINDOW_CLOSED,
        "The person has not written within the last 24 hours, so only a template can be sent",
    )
    .with("success", false)
    .with("remedy", "send a template, or set try_anyway")
    .with("last_inbound_at", last.map(wire_time))
}

fn invalid(status: StatusCode, code: &'static str, error: &InvalidContent) -> ApiError {
    ApiError::new(status, code, error.to_string())
        .with("success", false)
        .with("field", error.field())
        .with("reason", error.reason())
}

fn refused(error: OrderError) -> ServiceError {
    let not_there =
        |code, text: &str| ApiError::new(StatusCode::NOT_FOUND, code, text.to_owned()).with("success", false);
    let answer = match error {
        OrderError::Chat(ChatError::ChannelOff) => ApiError::new(
            StatusCode::FORBIDDEN,
            "channel_disabled",
            sending::CHANNEL_DISABLED,
        )
        .with("success", false),
        OrderError::Chat(error) => return error.into(),
        OrderError::NoSuchDevice => not_there("device_not_found", "There is no such device"),
        OrderError::NoTarget => not_there("no_such_target", "The chat has no such message to react to")
            .with("field", "reaction.message_id"),
        OrderError::Unsayable(error) => invalid(StatusCode::UNPROCESSABLE_ENTITY, "not_sayable", &error),
        OrderError::Template(error) => invalid(StatusCode::UNPROCESSABLE_ENTITY, "invalid_template", &error),
        OrderError::WindowClosed(last) => window_closed(last),
    };
    answer.into()
}

fn read_mark(marked: Marked) -> Result<HttpResponse, ServiceError> {
    match marked {
        Marked::Shown => Ok(HttpResponse::Ok().json(json!({"success": true}))),
        Marked::NoSuchMessage => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "message_not_found",
            "The village received no such message",
        )
        .with("success", false)
        .with("field", "message_id")
        .into()),
        Marked::NotShown => Err(ApiError::new(
            StatusCode::BAD_GATEWAY,
            "not_shown",
            "The provider did not take the read mark",
        )
        .with("success", false)
        .into()),
    }
}
