//! `/internal/whatsapp/*`: a tenant's session (channel-service contract 1.5).

use ::web::openapi::{Api, Doc, Group, Schema, fields, flag, nullable, object, text};
use ::web::{ApiError, Fields, Internal, Query};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use domain::address::PhoneNumber;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::{data, internal_group, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::courtesies::{self, Courtesies};
use crate::flows::session::{Created, QrView, StatusView};
use crate::flows::tenant::Actor;

const GROUP: Group = internal_group("WhatsApp sessions");

pub(crate) fn routes(api: &mut Api) {
    api.group(GROUP);
    let state = object([
        ("connected", flag()),
        ("loggedIn", flag()),
        ("wa_number", nullable(text())),
    ]);
    let details = || data(object([("details", text())]));
    let courtesies = || {
        data(object([
            ("autoReadMessages", flag()),
            ("typingIndicator", flag()),
        ]))
    };
    let made = json!({"type": "object", "properties": {
        "existing": {"type": "boolean"}, "session_id": {"type": ["string", "null"]}}, "required": ["existing"]});
    let code = json!({"type": "object", "properties": {
        "QRCode": {"type": "string"}, "alreadyLoggedIn": {"type": "boolean"}}, "required": ["QRCode"]});
    let duplicate = json!({"type": "object", "properties": {
        "isDuplicate": {"type": "boolean"}, "existingVillageId": {"type": "string"},
        "existingVillageName": {"type": "string"}}, "required": ["isDuplicate"]});
    api.post(
        "/whatsapp/session",
        doc("Make a village's session, unless it has one")
            .takes(named([("admin_id", text()), ("village_slug", text())]))
            .answers(200, "There is one", data(made)),
        create,
    )
    .delete(
        "/whatsapp/session",
        doc("Remove a village's session; it goes here only when it is gone there")
            .takes(named([]))
            .answers(200, "There is none", data(object([("deleted", flag())]))),
        delete,
    )
    .get(
        "/whatsapp/status",
        doc("Where a village's session stands; what cannot be asked is answered without the provider's fields")
            .answers(200, "As far as it is known", data(state)),
        status,
    )
    .post(
        "/whatsapp/connect",
        doc("Connect a session, and tell the server again what it forgets")
            .takes(named([]))
            .answers(200, "It is connected", details()),
        connect,
    )
    .post(
        "/whatsapp/disconnect",
        doc("Take a session off the network")
            .takes(named([]))
            .answers(200, "It is off", details()),
        disconnect,
    )
    .post(
        "/whatsapp/logout",
        doc("Unlink a session from the phone")
            .takes(named([]))
            .answers(200, "It is unlinked", details()),
        logout,
    )
    .get(
        "/whatsapp/qr",
        doc("The code to scan, as a data URL; empty until the first one is there")
            .answers(200, "The code", data(code)),
        qr,
    )
    .post(
        "/whatsapp/pairphone",
        doc("A code to type on the phone")
            .takes(named([("Phone", text())]))
            .answers(200, "The code", data(object([("LinkingCode", text())]))),
        pair_phone,
    )
    .get(
        "/whatsapp/settings",
        doc("What WhatsApp shows of a village's reading and writing")
            .answers(200, "The settings", courtesies()),
        settings,
    )
    .patch(
        "/whatsapp/settings",
        doc("Change what WhatsApp shows of a village's reading and writing")
            .takes(named([("autoReadMessages", flag()), ("typingIndicator", flag())]))
            .answers(200, "The settings as they are now", courtesies()),
        set_settings,
    )
    .get(
        "/whatsapp/check-duplicate",
        doc("Does another village hold this number?")
            .query("wa_number", text(), "the number, digits with the country code")
            .answers(200, "Which one, if any", data(duplicate)),
        check_duplicate,
    )
    .post(
        "/whatsapp/force-disconnect",
        doc("Remove the session of another village that holds the same number")
            .takes(named([("target_village_id", text())]))
            .answers(200, "It is removed", data(object([("message", text())]))),
        force_disconnect,
    );
}

/// Who is meant may be said in the query, in the body or in a header.
fn doc(summary: &'static str) -> Doc {
    Doc::new(summary)
        .query(
            "village_id",
            text(),
            "the village, unless the body or the header names it",
        )
        .header(
            "x-village-id",
            text(),
            "the village, unless the query or the body names it",
        )
}

fn named<const N: usize>(others: [(&str, Schema); N]) -> Schema {
    let mut body = fields(others);
    body["properties"]["village_id"] = nullable(text());
    body
}

type Answered = Result<HttpResponse, ServiceError>;

/// Every error of these routes says `success: false`, as their clients read it.
fn unsuccessful(error: ApiError) -> ServiceError {
    ServiceError::Api(error.with("success", false))
}

fn missing(code: &'static str, text: &str) -> ServiceError {
    unsuccessful(ApiError::bad_request(code, text))
}

fn success(data: &Value) -> HttpResponse {
    HttpResponse::Ok().json(json!({"success": true, "data": data}))
}

/// What every call of these routes comes with.
struct Asked {
    scope: TenantScope,
    actor: Actor,
    body: Fields,
    query: Query,
}

impl Asked {
    fn read(
        caller: &Internal,
        request: &HttpRequest,
        query: Query,
        body: Fields,
    ) -> Result<Self, ServiceError> {
        let named = village::named_in(request, Some(&query), Some(&body)).map_err(unsuccessful)?;
        let named = named.ok_or_else(|| missing("village_id_required", "village_id diperlukan"))?;
        let scope = village::scope_of(caller, named).map_err(unsuccessful)?;
        let person = body.filled("admin_id").map_err(unsuccessful)?;
        let actor = village::actor(caller, request, person);
        Ok(Self {
            scope,
            actor,
            body,
            query,
        })
    }
}

async fn create(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let slug = asked.body.filled("village_slug").map_err(unsuccessful)?;
    let created = state.sessions.create(&asked.scope, slug, &asked.actor).await?;
    Ok(success(&match created {
        Created::Existing => json!({"existing": true}),
        Created::New { session_id } => json!({"existing": false, "session_id": session_id}),
    }))
}

async fn delete(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let deleted = state.sessions.delete(&asked.scope, &asked.actor).await?;
    Ok(success(&json!({"deleted": deleted})))
}

async fn status(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let status = state.sessions.status(&asked.scope).await?;
    Ok(success(&match status {
        None => json!({"exists": false, "connected": false, "loggedIn": false, "wa_number": null}),
        Some((row, StatusView::Unknown)) => {
            json!({"connected": false, "loggedIn": false, "wa_number": row.phone})
        }
        Some((
            row,
            StatusView::Known {
                connected,
                logged_in,
                jid,
                qr_code,
                name,
                events,
                webhook,
                phone,
            },
        )) => json!({
            "connected": connected, "loggedIn": logged_in, "jid": jid, "qrcode": qr_code, "name": name,
            "events": events, "webhook": webhook, "wa_number": phone.or(row.phone),
        }),
    }))
}

async fn connect(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let details = state.sessions.connect(&asked.scope, &asked.actor).await?;
    Ok(success(&json!({"details": details.0})))
}

async fn disconnect(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let details = state.sessions.disconnect(&asked.scope, &asked.actor).await?;
    Ok(success(&json!({"details": details.0})))
}

async fn logout(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let details = state.sessions.logout(&asked.scope, &asked.actor).await?;
    Ok(success(&json!({"details": details.0})))
}

async fn qr(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let failed = |code: &'static str, text: &str| {
        unsuccessful(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code,
            text.to_owned(),
        ))
    };
    match state.sessions.qr(&asked.scope).await? {
        QrView::Code(code) => Ok(success(&json!({"QRCode": code}))),
        QrView::AlreadyLoggedIn => Ok(success(&json!({"QRCode": "", "alreadyLoggedIn": true}))),
        QrView::NoSession => Err(failed(
            "no_session",
            "Session not connected. Please connect first.",
        )),
        QrView::Failed { said, .. } if !said.is_empty() => Err(failed("qr_failed", &said)),
        QrView::Failed { .. } => Err(failed("qr_failed", "WhatsApp provider is not available")),
    }
}

async fn pair_phone(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let phone = asked.body.filled("Phone").map_err(unsuccessful)?;
    let phone = phone.ok_or_else(|| missing("phone_required", "Phone number is required"))?;
    let phone = phone.trim();
    let phone = PhoneNumber::parse(phone.strip_prefix('+').unwrap_or(phone))
        .map_err(|_| missing("phone_invalid", "Phone must be digits with the country code"))?;
    let code = state
        .sessions
        .pair_phone(&asked.scope, &phone, &asked.actor)
        .await?;
    Ok(success(&json!({"LinkingCode": code.0})))
}

async fn settings(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let courtesies = courtesies::find(&state.db, &asked.scope).await?;
    Ok(success(&wire_settings(courtesies)))
}

async fn set_settings(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let auto_read = asked.body.flag("autoReadMessages").map_err(unsuccessful)?;
    let typing = asked.body.flag("typingIndicator").map_err(unsuccessful)?;
    let courtesies = courtesies::set(&state.db, &asked.scope, auto_read, typing, &asked.actor).await?;
    Ok(success(&wire_settings(courtesies)))
}

fn wire_settings(courtesies: Courtesies) -> Value {
    json!({"autoReadMessages": courtesies.auto_read, "typingIndicator": courtesies.typing_indicator})
}

async fn check_duplicate(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let number = asked.query.get("wa_number").map(str::trim).unwrap_or_default();
    let number = number.strip_prefix('+').unwrap_or(number);
    if number.is_empty() {
        return Err(missing("wa_number_required", "wa_number diperlukan"));
    }
    // What is no number is nobody's.
    let holder = match PhoneNumber::parse(number) {
        Ok(phone) => state.sessions.other_holder(&asked.scope, phone.as_str()).await?,
        Err(_) => None,
    };
    Ok(success(&match holder {
        None => json!({"isDuplicate": false}),
        Some(village) => {
            json!({"isDuplicate": true, "existingVillageId": village, "existingVillageName": village})
        }
    }))
}

async fn force_disconnect(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let asked = Asked::read(&caller, &request, query, body)?;
    let target = asked.body.filled("target_village_id").map_err(unsuccessful)?;
    let target =
        target.ok_or_else(|| missing("target_village_id_required", "target_village_id diperlukan"))?;
    let target = village::scope_of(&caller, target).map_err(unsuccessful)?;
    state
        .sessions
        .force_disconnect(&asked.scope, &target, &asked.actor)
        .await?;
    Ok(success(
        &json!({"message": "Session dari desa/kelurahan lain berhasil diputuskan"}),
    ))
}
