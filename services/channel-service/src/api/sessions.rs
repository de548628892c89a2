//! `/internal/whatsapp/*`: a tenant's session (channel-service contract 1.5).

use ::web::openapi::{Api, Doc, Group, Schema, fields, flag, nullable, object, text};
use ::web::{ApiError, Fields, Internal, Query};
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse};
use domain::address::PhoneNumber;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;
use tenant_isolation::caller::InternalCaller;

use super::{dashboard_group, data, internal_group, signed_in, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::courtesies::{self, Courtesies};
use crate::flows::session::{Created, QrView, StatusView, Which};
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

/// The part of these routes that the dashboard's pages use (contract 8.1), for people who are signed in.
pub(crate) fn dashboard_routes(api: &mut Api) {
    api.group(dashboard_group("WhatsApp session"));
    let mine = |summary: &'static str| {
        Doc::new(summary)
            .query("village_id", text(), "the village, for a superadmin")
            .refuses(&[(404, "The village has no session")])
    };
    let anything = || data(json!({"type": "object"}));
    api.post(
        "/whatsapp/session",
        mine("Make the session, unless there is one")
            .takes(named([("village_slug", text())]))
            .answers(200, "There is one", anything()),
        create,
    )
    .delete(
        "/whatsapp/session",
        mine("Remove the session").answers(200, "There is none", anything()),
        delete,
    )
    .get(
        "/whatsapp/status",
        mine("Where the session stands").answers(200, "As far as it is known", anything()),
        status,
    )
    .post(
        "/whatsapp/connect",
        mine("Connect the session").answers(200, "It is connected", anything()),
        connect,
    )
    .get(
        "/whatsapp/qr",
        mine("The code to scan").answers(200, "The code", anything()),
        qr,
    )
    .post(
        "/whatsapp/disconnect",
        mine("Take the session off the network").answers(200, "It is off", anything()),
        disconnect,
    )
    .post(
        "/whatsapp/logout",
        mine("Unlink the session from the phone").answers(200, "It is unlinked", anything()),
        logout,
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

/// What every call of these routes comes with, be it another service that calls or a person who is signed in.
struct Asked {
    scope: TenantScope,
    actor: Actor,
    /// The service that calls; none when it is a person.
    caller: Option<Internal>,
    body: Fields,
    query: Query,
}

impl FromRequest for Asked {
    type Error = ServiceError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ServiceError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Fields::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let caller = request
                .extensions()
                .get::<InternalCaller>()
                .cloned()
                .map(Internal);
            // Who it is comes before what is wrong with the request.
            let user = match &caller {
                Some(_) => None,
                None => Some(signed_in::recognise(&request).await?),
            };
            let query = Query::parse(request.query_string());
            let body = body.await.map_err(unsuccessful)?;
            let named = village::named_in(&request, Some(&query), Some(&body)).map_err(unsuccessful)?;
            let (scope, actor) = match (&caller, &user) {
                (Some(caller), _) => {
                    let named =
                        named.ok_or_else(|| missing("village_id_required", "village_id diperlukan"))?;
                    let scope = village::scope_of(caller, named).map_err(unsuccessful)?;
                    let person = body.filled("admin_id").map_err(unsuccessful)?;
                    (scope, village::actor(caller, &request, person))
                }
                (None, Some(user)) => (user.scope(named).map_err(unsuccessful)?, user.actor(&request)),
                (None, None) => return Err(ApiError::internal().into()),
            };
            Ok(Self {
                scope,
                actor,
                caller,
                body,
                query,
            })
        })
    }
}

async fn create(asked: Asked, state: Data<State>) -> Answered {
    let slug = asked.body.filled("village_slug").map_err(unsuccessful)?;
    let created = state.sessions.create(&asked.scope, slug, &asked.actor).await?;
    Ok(success(&match created {
        Created::Existing => json!({"existing": true}),
        Created::New { session_id } => json!({"existing": false, "session_id": session_id}),
    }))
}

async fn delete(asked: Asked, state: Data<State>) -> Answered {
    let deleted = state.sessions.delete(&asked.scope, &asked.actor).await?;
    Ok(success(&json!({"deleted": deleted})))
}

async fn status(asked: Asked, state: Data<State>) -> Answered {
    let status = state.sessions.status(&asked.scope, Which::Primary).await?;
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

async fn connect(asked: Asked, state: Data<State>) -> Answered {
    let details = state
        .sessions
        .connect(&asked.scope, Which::Primary, &asked.actor)
        .await?;
    Ok(success(&json!({"details": details.0})))
}

async fn disconnect(asked: Asked, state: Data<State>) -> Answered {
    let details = state
        .sessions
        .disconnect(&asked.scope, Which::Primary, &asked.actor)
        .await?;
    Ok(success(&json!({"details": details.0})))
}

async fn logout(asked: Asked, state: Data<State>) -> Answered {
    let details = state
        .sessions
        .logout(&asked.scope, Which::Primary, &asked.actor)
        .await?;
    Ok(success(&json!({"details": details.0})))
}

async fn qr(asked: Asked, state: Data<State>) -> Answered {
    let failed = |code: &'static str, text: &str| {
        unsuccessful(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code,
            text.to_owned(),
        ))
    };
    match state.sessions.qr(&asked.scope, Which::Primary).await? {
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

async fn pair_phone(asked: Asked, state: Data<State>) -> Answered {
    let phone = asked.body.filled("Phone").map_err(unsuccessful)?;
    let phone = phone.ok_or_else(|| missing("phone_required", "Phone number is required"))?;
    let phone = phone.trim();
    let phone = PhoneNumber::parse(phone.strip_prefix('+').unwrap_or(phone))
        .map_err(|_| missing("phone_invalid", "Phone must be digits with the country code"))?;
    let code = state
        .sessions
        .pair_phone(&asked.scope, Which::Primary, &phone, &asked.actor)
        .await?;
    Ok(success(&json!({"LinkingCode": code.0})))
}

async fn settings(asked: Asked, state: Data<State>) -> Answered {
    let courtesies = courtesies::find(&state.db, &asked.scope).await?;
    Ok(success(&wire_settings(courtesies)))
}

async fn set_settings(asked: Asked, state: Data<State>) -> Answered {
    let auto_read = asked.body.flag("autoReadMessages").map_err(unsuccessful)?;
    let typing = asked.body.flag("typingIndicator").map_err(unsuccessful)?;
    let courtesies = courtesies::set(
        &state.db,
        &state.endpoints,
        &asked.scope,
        auto_read,
        typing,
        &asked.actor,
    )
    .await?;
    Ok(success(&wire_settings(courtesies)))
}

fn wire_settings(courtesies: Courtesies) -> Value {
    json!({"autoReadMessages": courtesies.auto_read, "typingIndicator": courtesies.typing_indicator})
}

async fn check_duplicate(asked: Asked, state: Data<State>) -> Answered {
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

async fn force_disconnect(asked: Asked, state: Data<State>) -> Answered {
    let target = asked.body.filled("target_village_id").map_err(unsuccessful)?;
    let target =
        target.ok_or_else(|| missing("target_village_id_required", "target_village_id diperlukan"))?;
    let caller = asked.caller.as_ref().ok_or_else(ApiError::internal)?;
    let target = village::scope_of(caller, target).map_err(unsuccessful)?;
    state
        .sessions
        .force_disconnect(&asked.scope, &target, &asked.actor)
        .await?;
    Ok(success(
        &json!({"message": "Session dari desa/kelurahan lain berhasil diputuskan"}),
    ))
}
