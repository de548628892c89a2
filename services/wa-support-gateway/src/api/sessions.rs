//! `/v1/sessions`: a customer's sessions and their settings (contract §7.2 to §7.7).

use ::web::openapi::{Api, Doc, Schema, fields, flag, list, nullable, object, text, text_up_to, time, whole};
use ::web::{ApiError, Fields, Query, wire_time};
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use whatsapp::genfity::EventList;

use super::body::JsonFields;
use super::customer::Customer;
use crate::error::Error;
use crate::flows::session_audit::SessionActor;
use crate::flows::session_change::Change;
use crate::flows::session_create::NewSession;
use crate::flows::session_name::SessionName;
use crate::flows::sessions::{PAGE_LIMIT, Sessions};
use crate::state::Gateway;
use crate::store::sessions::Session;

/// What a session hears of when its customer does not say (contract §7.3).
const DEFAULT_EVENTS: &str = "Message,Connected,Disconnected,QR";

/// The WA server takes no shorter key (wa-server contract 3), and nobody needs a longer one.
const HMAC_KEY_LENGTH: std::ops::RangeInclusive<usize> = 32..=256;

/// Most messages of a chat that the WA server is asked to keep.
const MOST_HISTORY: i64 = 100_000;

const ABSENT: (u16, &str) = (404, "The customer has no such session");
const UPSTREAM: (u16, &str) = (502, "The WA server did not do it");
const BUSY: (u16, &str) = (
    409,
    "The name is taken, or the session is being changed by another call",
);

pub(crate) fn routes(api: &mut Api) {
    let one = || object([("session", session_schema())]);
    let doc = Doc::new("The customer's sessions, newest change first")
        .query("page", whole(), "From 1; without it and `limit` all, up to 1000")
        .query("limit", whole(), "Sessions of a page, at most 1000")
        .answers(
            200,
            "The sessions",
            object([("sessions", list(session_schema()))]),
        );
    api.get("/sessions", doc, index);
    let doc = Doc::new("Make a session")
        .takes(new_schema())
        .answers(201, "The session; its token is shown here and never again", one())
        .refuses(&[(400, "A field is missing or wrong"), BUSY, UPSTREAM]);
    api.post("/sessions", doc, create);
    let doc = Doc::new("Change a session")
        .takes(change_schema())
        .answers(200, "The session", one())
        .refuses(&[(400, "A field is wrong"), ABSENT, BUSY, UPSTREAM]);
    api.put("/sessions/{session_id}", doc, update);
    let doc = Doc::new("Remove a session, here and on the WA server")
        .answers(200, "It is gone", removed_schema())
        .refuses(&[ABSENT, BUSY, UPSTREAM]);
    api.delete("/sessions/{session_id}", doc, remove);
    let doc = Doc::new("A session's settings and counters")
        .answers(200, "The settings", settings_schema())
        .refuses(&[ABSENT]);
    api.get("/sessions/{session_id}/settings", doc, settings);
    let doc = Doc::new("Change a session's settings; the WA server has them when this is answered")
        .takes(fields([
            ("webhook_url", text_up_to(2048)),
            ("events", text()),
            ("auto_read_enabled", flag()),
            ("typing_enabled", flag()),
            ("hmac_key", text()),
        ]))
        .answers(200, "Done", object([("message", text())]))
        .refuses(&[(400, "A field is wrong"), ABSENT, BUSY, UPSTREAM]);
    api.put("/sessions/{session_id}/settings", doc, change_settings);
}

async fn index(customer: Customer, query: Query, gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    let number = |name: &str| {
        query
            .get(name)
            .and_then(|text| text.parse::<u32>().ok())
            .filter(|n| *n > 0)
    };
    let limit = number("limit").unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
    let offset = u64::from(number("page").unwrap_or(1) - 1) * u64::from(limit);
    let (sessions, scope) = (gateway.sessions.clone(), customer.scope.clone());
    let listed = gateway
        .on_process(async move { sessions.list(&scope, limit, offset).await })
        .await
        .map_err(answer)?;
    let shown: Vec<Value> = listed
        .iter()
        .map(|session| show(&customer, session, None))
        .collect();
    Ok(HttpResponse::Ok().json(json!({"sessions": shown})))
}

async fn create(
    customer: Customer,
    body: JsonFields,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    customer.standing.entitled().map_err(answer)?;
    let fields = &body.0;
    let change = read_change(&gateway, fields).await?;
    let name = change
        .name
        .ok_or_else(|| wrong("session_name", "session_name is required"))?;
    let events = change.events.map_or_else(|| EventList::parse(DEFAULT_EVENTS), Ok);
    let new = NewSession {
        name,
        webhook_url: change.webhook_url.flatten(),
        events: events.map_err(|_| ApiError::internal())?,
        expiration_sec: change.expiration_sec.unwrap_or_default(),
        history: change.history.unwrap_or_default(),
        auto_connect: fields.flag("auto_connect")?.unwrap_or_default(),
        auto_read: change.auto_read.unwrap_or_default(),
        typing: change.typing.unwrap_or_default(),
        hmac_key: change.hmac_key,
    };
    let (sessions, scope) = (acting(&gateway, &customer), customer.scope.clone());
    let created = gateway
        .on_process(async move { sessions.create(&scope, new).await })
        .await
        .map_err(answer)?;
    let shown = show(&customer, &created.row, Some(&created.token));
    Ok(HttpResponse::Created().json(json!({"session": shown})))
}

async fn update(
    customer: Customer,
    session_id: Path<String>,
    body: JsonFields,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let change = read_change(&gateway, &body.0).await?;
    let row = change_session(&gateway, &customer, session_id.into_inner(), change).await?;
    Ok(HttpResponse::Ok().json(json!({"session": show(&customer, &row, None)})))
}

async fn remove(
    customer: Customer,
    session_id: Path<String>,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let (sessions, session_id) = (acting(&gateway, &customer), session_id.into_inner());
    let row = gateway
        .on_process(async move { sessions.remove(&customer.scope, &session_id).await })
        .await
        .map_err(answer)?;
    Ok(HttpResponse::Ok().json(json!({
        "code": 200,
        "data": {"id": row.session_id, "name": row.session_name, "jid": row.jid},
        "details": "user instance removed completely",
        "success": true,
    })))
}

async fn settings(
    customer: Customer,
    session_id: Path<String>,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let (sessions, session_id) = (gateway.sessions.clone(), session_id.into_inner());
    let row = gateway
        .on_process(async move { sessions.find(&customer.scope, &session_id).await })
        .await
        .map_err(answer)?;
    Ok(HttpResponse::Ok().json(json!({
        "session_id": row.session_id,
        "webhook_url": row.webhook_url.unwrap_or_default(),
        "events": row.events,
        "auto_read_enabled": row.auto_read_enabled,
        "typing_enabled": row.typing_enabled,
        "message_stat_sent": row.sent_total,
        "message_stat_failed": row.failed_total,
    })))
}

async fn change_settings(
    customer: Customer,
    session_id: Path<String>,
    body: JsonFields,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let change = read_change(&gateway, &body.0).await?;
    // Name, history and expiration are no settings: unknown fields are ignored (contract §2).
    let change = Change {
        name: None,
        history: None,
        expiration_sec: None,
        ..change
    };
    change_session(&gateway, &customer, session_id.into_inner(), change).await?;
    Ok(HttpResponse::Ok().json(json!({"message": "settings updated"})))
}

async fn change_session(
    gateway: &Gateway,
    customer: &Customer,
    session_id: String,
    change: Change,
) -> Result<Session, ApiError> {
    let (sessions, scope) = (acting(gateway, customer), customer.scope.clone());
    gateway
        .on_process(async move { sessions.change(&scope, &session_id, change).await })
        .await
        .map_err(answer)
}

/// What this customer does is noted under its key.
fn acting(gateway: &Gateway, customer: &Customer) -> Sessions {
    let by = SessionActor::Key(customer.key, customer.address);
    gateway.sessions.clone().acting_for(by)
}

async fn read_change(gateway: &Gateway, fields: &Fields) -> Result<Change, ApiError> {
    let name = fields
        .text("session_name")?
        .map(|name| {
            let message =
                "session_name must have 1 to 255 characters, no control characters and no blanks around it";
            name.parse::<SessionName>()
                .map_err(|_| wrong("session_name", message))
        })
        .transpose()?;
    let webhook_url = match fields.text("webhook_url")? {
        Some(url) => {
            let (sessions, url) = (gateway.sessions.clone(), url.trim().to_owned());
            let checked = gateway.on_process(async move { sessions.check_webhook_url(&url).await });
            Some(checked.await.map_err(answer)?)
        }
        None => None,
    };
    let events = fields
        .filled("events")?
        .map(|events| EventList::parse(events).map_err(|error| wrong("events", error.to_string())))
        .transpose()?
        // Commas and nothing between them.
        .filter(|events| !events.names().is_empty());
    let hmac_key = fields
        .filled("hmac_key")?
        .map(|key| {
            let fits = HMAC_KEY_LENGTH.contains(&key.len()) && !key.chars().any(char::is_control);
            let message = "hmac_key must have 32 to 256 characters";
            fits.then(|| SecretString::from(key))
                .ok_or_else(|| wrong("hmac_key", message))
        })
        .transpose()?;
    let history =
        number(fields, "history", MOST_HISTORY)?.map(|messages| i32::try_from(messages).unwrap_or(i32::MAX));
    Ok(Change {
        name,
        webhook_url,
        events,
        expiration_sec: number(fields, "expiration_sec", i64::from(u32::MAX))?,
        history,
        auto_read: fields.flag("auto_read_enabled")?,
        typing: fields.flag("typing_enabled")?,
        hmac_key,
    })
}

fn number(fields: &Fields, name: &'static str, most: i64) -> Result<Option<i64>, ApiError> {
    match fields.whole(name)? {
        Some(number) if !(0..=most).contains(&number) => {
            Err(wrong(name, format!("{name} must be between 0 and {most}")))
        }
        number => Ok(number),
    }
}

fn wrong(field: &'static str, text: impl Into<String>) -> ApiError {
    ApiError::bad_request("invalid_field", text).with("field", field)
}

/// None of these errors tells of a path.
fn answer(error: Error) -> ApiError {
    error.answer("")
}

/// The token is shown in the answer that makes the session, and nowhere else (W-08).
fn show(customer: &Customer, session: &Session, token: Option<&SecretString>) -> Value {
    json!({
        "id": session.number,
        "user_id": customer.scope.tenant(),
        "provider": session.provider,
        "session_id": session.session_id,
        "session_name": session.session_name,
        "session_token": token.map_or("", |token| token.expose_secret()),
        "webhook_url": session.webhook_url.as_deref().unwrap_or_default(),
        "events": session.events,
        "history": session.history,
        "expiration_sec": session.expiration_sec,
        "auto_read_enabled": session.auto_read_enabled,
        "typing_enabled": session.typing_enabled,
        "connected": session.connected,
        "logged_in": session.logged_in,
        "jid": session.jid,
        "status": session.status,
        "last_synced_at": session.last_synced_at.map(wire_time),
        "last_activity_at": session.last_activity_at.map(wire_time),
        "last_message_sent": session.sent_total,
        "last_message_fail": session.failed_total,
        "created_at": wire_time(session.created_at),
        "updated_at": wire_time(session.updated_at),
    })
}

fn session_schema() -> Schema {
    object([
        ("id", whole()),
        ("user_id", text()),
        ("provider", text()),
        ("session_id", text()),
        ("session_name", text()),
        ("session_token", text()),
        ("webhook_url", text()),
        ("events", text()),
        ("history", whole()),
        ("expiration_sec", whole()),
        ("auto_read_enabled", flag()),
        ("typing_enabled", flag()),
        ("connected", flag()),
        ("logged_in", flag()),
        ("jid", text()),
        ("status", text()),
        ("last_synced_at", nullable(time())),
        ("last_activity_at", nullable(time())),
        ("last_message_sent", whole()),
        ("last_message_fail", whole()),
        ("created_at", time()),
        ("updated_at", time()),
    ])
}

fn change_schema() -> Schema {
    fields([
        ("session_name", text_up_to(255)),
        ("webhook_url", text_up_to(2048)),
        ("events", text()),
        ("expiration_sec", whole()),
        ("history", whole()),
        ("auto_read_enabled", flag()),
        ("typing_enabled", flag()),
        ("hmac_key", text()),
    ])
}

fn new_schema() -> Schema {
    let mut schema = change_schema();
    schema["properties"]["auto_connect"] = nullable(flag());
    schema
}

fn removed_schema() -> Schema {
    let data = object([("id", text()), ("name", text()), ("jid", text())]);
    object([
        ("code", whole()),
        ("data", data),
        ("details", text()),
        ("success", flag()),
    ])
}

fn settings_schema() -> Schema {
    object([
        ("session_id", text()),
        ("webhook_url", text()),
        ("events", text()),
        ("auto_read_enabled", flag()),
        ("typing_enabled", flag()),
        ("message_stat_sent", whole()),
        ("message_stat_failed", whole()),
    ])
}
