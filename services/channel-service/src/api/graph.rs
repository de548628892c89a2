//! Under `/graph/{version}`: accounts of any provider, in the shape of Meta's Cloud API (Cloud API contract 3 and 4).
//!
//! Everything is answered in Meta's shape, errors as well. Whoever has a token reaches its tenant's numbers, messages and
//! files; what is somebody else's does not exist.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use ::web::openapi::{Api, Doc, Group, Schema, fields, flag, list, object, text, text_up_to};
use ::web::{ApiError, Query, note_tenant};
use actix_multipart::Multipart;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use actix_web::middleware::Next;
use actix_web::web::{Data, Payload};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, dev};
use domain::ids::{AccountId, MessageId};
use futures_util::StreamExt as _;
use messaging::cause::caused_by;
use serde_json::{Map, Value, json};
use tenant_isolation::TenantScope;
use uuid::Uuid;

use crate::app::State;
use crate::flows::cloud_body::{self, Asked};
use crate::flows::gate::files;
use crate::flows::gate::uploads::{Announcement, Arrived, Place, Uploads};
use crate::flows::gate::{GateError, Refusal, ids, token};
use crate::store::gate::NumberRow;

/// Largest body of an order, in bytes.
const BODY_LIMIT: usize = 256 * 1024;
/// Largest field of a form besides the file, in bytes.
const FIELD_LIMIT: usize = 1_024;
/// Most fields of a form.
const MOST_FIELDS: usize = 16;
/// Longest time that a form may take.
const FORM_PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn routes(api: &mut Api) {
    api.group(Group {
        tag: "Gate",
        security: Some("gateToken"),
        refusals: &[],
    });
    let sent = object([
        ("messaging_product", text()),
        ("contacts", list(json!({"type": "object"}))),
        (
            "messages",
            list(json!({"type": "object", "properties": {"id": text()}, "required": ["id"]})),
        ),
    ]);
    let order = doc("Send a message from a number, or mark one as read; in the words of Meta's Cloud API")
        .takes(fields([
            ("messaging_product", text()),
            ("recipient_type", text()),
            ("to", text()),
            ("recipient", text()),
            ("type", text()),
            ("status", text()),
            ("message_id", text()),
            ("biz_opaque_callback_data", text_up_to(512)),
            ("context", json!({"type": "object"})),
            ("text", json!({"type": "object"})),
        ]))
        .answers(
            200,
            "Queued under the id that is told; or done",
            json!({"anyOf": [sent, object([("success", flag())])]}),
        );
    let put_up = doc("Put a file up, to be sent by its id within 30 days")
        .takes_as(
            "multipart/form-data",
            object([
                ("messaging_product", text()),
                ("type", text()),
                ("file", json!({"type": "string", "format": "binary"})),
            ]),
        )
        .answers(200, "Kept", object([("id", text())]));
    let shown = doc("What is known of a number, or where a file can be had")
        .query(
            "fields",
            text(),
            "of a number: what is to be told, separated by commas",
        )
        .query("phone_number_id", text(), "of a file: it is one of this number's")
        .answers(
            200,
            "The number, or the file",
            json!({"type": "object", "properties": {"id": text()}, "required": ["id"]}),
        );
    let gone = doc("Delete a file that was put up")
        .query("phone_number_id", text(), "it is one of this number's")
        .answers(200, "It is gone", object([("success", flag())]));
    api.post("/{version}/{phone_number_id}/messages", order, messages)
        .post("/{version}/{phone_number_id}/media", put_up, upload)
        .get("/{version}/{object_id}", shown, show)
        .delete("/{version}/{object_id}", gone, delete);
}

/// Errors have Meta's shape here, not ours.
fn doc(summary: &'static str) -> Doc {
    let error = || -> Schema {
        object([(
            "error",
            object([
                ("message", text()),
                ("type", text()),
                ("code", json!({"type": "integer"})),
                ("fbtrace_id", text()),
            ]),
        )])
    };
    Doc::new(summary)
        .answers(400, "Refused, by Meta's code", error())
        .answers(401, "No token, or none that is good", error())
        .answers(403, "The tenant is suspended", error())
        .answers(
            404,
            "There is no such template, or nothing is done here by this method",
            error(),
        )
        .answers(408, "The body did not come in time", error())
        .answers(413, "The body is too large", error())
        .answers(500, "Our fault", error())
        .answers(
            503,
            "Something we depend on is away; Retry-After says when to come again",
            error(),
        )
}

/// Something that did not work, in Meta's shape.
#[derive(Debug)]
struct GraphAnswer(GateError);

impl<E: Into<GateError>> From<E> for GraphAnswer {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for GraphAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl GraphAnswer {
    fn refusal(&self) -> Refusal {
        match &self.0 {
            GateError::Refused(refusal) => (**refusal).clone(),
            GateError::Database(_) | GateError::Storage(_) => Refusal::away(),
        }
    }
}

impl ResponseError for GraphAnswer {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.refusal().status).unwrap_or(StatusCode::BAD_REQUEST)
    }

    fn error_response(&self) -> HttpResponse {
        let refusal = self.refusal();
        match &self.0 {
            GateError::Refused(_) => {
                metrics::counter!("kanal_gate_refusals_total", "code" => refusal.code.to_string())
                    .increment(1);
            }
            error => tracing::warn!(error = %crate::error::chain(error), "a call at the gate was not served"),
        }
        let mut error = json!({
            "message": format!("(#{}) {}", refusal.code, refusal.title),
            "type": "OAuthException", "code": refusal.code,
            "error_data": {"messaging_product": "whatsapp", "details": refusal.details},
            "fbtrace_id": ::web::request_id().unwrap_or_else(|| "unknown".to_owned()),
        });
        if let Some(subcode) = refusal.subcode {
            error["error_subcode"] = subcode.into();
        }
        let mut response = HttpResponse::build(self.status_code());
        if let Some(wait) = refusal.retry_after {
            response.insert_header((RETRY_AFTER, wait.as_secs().max(1).to_string()));
        }
        response.json(json!({ "error": error }))
    }
}

type Answered = Result<HttpResponse, GraphAnswer>;

/// A path that does not exist.
pub(crate) async fn no_path() -> HttpResponse {
    GraphAnswer::from(Refusal::path()).error_response()
}

/// A known path with another method is refused in Meta's shape, too.
pub(crate) async fn in_metas_shape(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let answer = no_path().await;
        return Ok(response.into_response(answer).map_into_right_body());
    }
    Ok(response.map_into_left_body())
}

/// A client with a token, and what it names in the path.
struct Client {
    scope: TenantScope,
    id: String,
}

impl FromRequest for Client {
    type Error = GraphAnswer;
    type Future = Pin<Box<dyn Future<Output = Result<Self, GraphAnswer>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = request.app_data::<Data<State>>().ok_or_else(Refusal::away)?;
            if !state.is_open() {
                return Err(Refusal::away().into());
            }
            let presented = request
                .headers()
                .get(AUTHORIZATION)
                .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let scope = match presented {
                Some(presented) => token::scope_of(&state.db, presented.trim()).await?,
                None => None,
            };
            let scope = scope.ok_or_else(Refusal::token)?;
            note_tenant(&scope);
            state.gate.sender.limits.call(&scope).await?;
            let path = request.match_info();
            let version = path.get("version").unwrap_or_default();
            if !is_version(version) {
                return Err(Refusal::unreadable("The path must begin with a version such as v22.0").into());
            }
            let id = path.get("phone_number_id").or_else(|| path.get("object_id"));
            Ok(Self {
                scope,
                id: id.unwrap_or_default().to_owned(),
            })
        })
    }
}

/// Any version that Meta has or will have: the shapes are the same to us.
fn is_version(text: &str) -> bool {
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

async fn messages(client: Client, request: HttpRequest, payload: Payload, state: Data<State>) -> Answered {
    let body = ::web::read_body(&request, payload, BODY_LIMIT)
        .await
        .map_err(unread)?;
    let body: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|_| Refusal::unreadable("The body must be a JSON object"))?;
    if !body.contains_key("messaging_product") {
        return Err(Refusal::missing("messaging_product is missing").into());
    }
    // What older clients of ours write is nothing that Meta's clients know.
    if body.get("type").is_some_and(|kind| kind == "flow") {
        return Err(Refusal::unsupported("type must be interactive, for a flow").into());
    }
    let sender = &state.gate.sender;
    let number = sender.number(&client.scope, &client.id).await?;
    match cloud_body::read(&body)? {
        Asked::Send(message) => {
            let input = ["to", "recipient"].map(|field| body.get(field).filter(|input| **input != ""));
            let input = input.into_iter().flatten().next().cloned();
            let sending = sender.send(&client.scope, &number, *message);
            let queued = caused_by(::web::request_id(), &client.scope, sending).await?;
            let mut contact = json!({ "input": input });
            if let Some(phone) = queued.wa_id {
                contact["wa_id"] = phone.into();
            }
            if let Some(user) = queued.user_id {
                contact["user_id"] = user.into();
            }
            let mut message = json!({"id": ids::wamid(queued.message)});
            if body.get("type").is_some_and(|kind| kind == "template") {
                message["message_status"] = "accepted".into();
            }
            Ok(HttpResponse::Ok().json(json!({
                "messaging_product": "whatsapp", "contacts": [contact], "messages": [message],
            })))
        }
        Asked::Read { message, typing } => {
            let wanted = sender.to_read(&client.scope, &number, message.as_str()).await?;
            // That it could not be shown is no error: it is said again with the next one.
            let (courtesies, account) = (&state.chats.courtesies, AccountId::from_uuid(number.account_id));
            courtesies
                .mark_known(&client.scope, account, wanted.address, &wanted.message, typing)
                .await?;
            Ok(success())
        }
    }
}

async fn upload(client: Client, request: HttpRequest, payload: Payload, state: Data<State>) -> Answered {
    let number = state.gate.sender.number(&client.scope, &client.id).await?;
    if !number.is_active() {
        return Err(Refusal::suspended().into());
    }
    let form = request.headers().get(CONTENT_TYPE);
    let form = form.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !form
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("multipart/form-data")
    {
        return Err(Refusal::unreadable("The body must be multipart/form-data").into());
    }
    let uploads = &state.gate.uploads;
    let place = uploads.place(&client.scope).await?;
    let reading = read_form(uploads, &place, Multipart::new(request.headers(), payload));
    let form = tokio::time::timeout(FORM_PATIENCE, reading).await;
    let form = form.map_err(|_| Refusal::body(408, "The form took too long"))??;
    let arrived = form.file.ok_or_else(|| Refusal::missing("file is required"))?;
    if form.product.as_deref() != Some("whatsapp") {
        return Err(Refusal::invalid("messaging_product must be whatsapp").into());
    }
    let account = AccountId::from_uuid(number.account_id);
    let id = uploads.keep(&client.scope, account, arrived).await?;
    Ok(HttpResponse::Ok().json(json!({ "id": ids::media_id(id) })))
}

/// What a form brought. Its file is gone with it unless it is kept.
#[derive(Default)]
struct Form {
    file: Option<Arrived>,
    product: Option<String>,
    declared: Option<String>,
}

async fn read_form(uploads: &Uploads, place: &Place, mut parts: Multipart) -> Result<Form, GraphAnswer> {
    let broken = || Refusal::unreadable("The form cannot be read");
    let mut form = Form::default();
    let mut count = 0;
    while let Some(field) = parts.next().await {
        let mut field = field.map_err(|_| broken())?;
        count += 1;
        if count > MOST_FIELDS {
            return Err(broken().into());
        }
        if field.name() == Some("file") && form.file.is_none() {
            let name = field
                .content_disposition()
                .and_then(|disposition| disposition.get_filename().map(str::to_owned));
            let part = field.content_type().map(ToString::to_string);
            let mime_type = form.declared.clone().or(part);
            let announced = Announcement {
                mime_type: mime_type.as_deref(),
                file_name: name.as_deref(),
            };
            form.file = Some(uploads.take_in(place, &announced, &mut field).await?);
            continue;
        }
        let mut value = Vec::new();
        while let Some(piece) = field.next().await {
            value.extend_from_slice(&piece.map_err(|_| broken())?);
            if value.len() > FIELD_LIMIT {
                return Err(broken().into());
            }
        }
        let value = String::from_utf8_lossy(&value).trim().to_owned();
        match field.name() {
            Some("messaging_product") => form.product = Some(value),
            Some("type") => form.declared = Some(value),
            _ => {}
        }
    }
    Ok(form)
}

async fn show(client: Client, query: Query, state: Data<State>) -> Answered {
    let number = state.gate.sender.number(&client.scope, &client.id).await;
    if let Ok(number) = &number {
        return Ok(HttpResponse::Ok().json(number_view(number, query.get("fields"))));
    }
    let unknown = || Refusal::unknown(&client.id);
    let id = ids::media(&client.id).ok_or_else(unknown)?;
    check_number(&client, &query, id, &state).await?;
    let message = MessageId::from_uuid(id);
    let file = state
        .media
        .find(&client.scope, message)
        .await?
        .ok_or_else(unknown)?;
    let urls = state.media.links.of(client.scope.tenant(), message);
    Ok(HttpResponse::Ok().json(files::described(id, &file, &urls.public)))
}

async fn delete(client: Client, query: Query, state: Data<State>) -> Answered {
    let unknown = || Refusal::unknown(&client.id);
    let id = ids::media(&client.id).ok_or_else(unknown)?;
    check_number(&client, &query, id, &state).await?;
    if !files::delete(&state.db, &client.scope, id).await? {
        return Err(unknown().into());
    }
    Ok(success())
}

/// A number that is named beside a file has to be the one that the file was put up for, or came to.
async fn check_number(client: &Client, query: &Query, file: Uuid, state: &State) -> Result<(), GraphAnswer> {
    if let Some(number) = query.get("phone_number_id") {
        let sender = &state.gate.sender;
        let number = sender.number(&client.scope, number).await?;
        if !sender.has_file(&client.scope, &number, file).await? {
            return Err(Refusal::unknown(&client.id).into());
        }
    }
    Ok(())
}

fn success() -> HttpResponse {
    HttpResponse::Ok().json(json!({"success": true}))
}

fn number_view(number: &NumberRow, wanted: Option<&str>) -> Value {
    let there = number.token_sealed.is_some();
    let all = json!({
        "id": number.number_id,
        "display_phone_number": number.display.as_deref().map(|digits| format!("+{digits}")).unwrap_or_default(),
        "verified_name": number.tenant_name,
        "quality_rating": "UNKNOWN",
        "code_verification_status": if there { "VERIFIED" } else { "NOT_VERIFIED" },
        "status": if there { "CONNECTED" } else { "DISCONNECTED" },
        "account_mode": "LIVE",
        "platform_type": "CLOUD_API",
        "throughput": {"level": "STANDARD"},
    });
    let usual =
        "verified_name,code_verification_status,display_phone_number,quality_rating,platform_type,throughput";
    let wanted: Vec<&str> = wanted.unwrap_or(usual).split(',').map(str::trim).collect();
    let fields = all.as_object().cloned().unwrap_or_default();
    let shown: Map<String, Value> = fields
        .into_iter()
        .filter(|(name, _)| name == "id" || wanted.contains(&name.as_str()))
        .collect();
    Value::Object(shown)
}

fn unread(error: ApiError) -> Refusal {
    let status = error.status_code().as_u16();
    match status {
        413 => Refusal::body(413, "The body is too large"),
        408 => Refusal::body(408, "The body took too long"),
        503 => Refusal::away(),
        _ => Refusal::unreadable("The body ended early"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_metas() {
        for right in ["v22.0", "v4.0", "v100.1"] {
            assert!(is_version(right), "{right}");
        }
        for wrong in ["", "22.0", "v22", "v.0", "vx.0", "v22.0/..", "v22.0.1"] {
            assert!(!is_version(wrong), "{wrong}");
        }
    }
}
