//! `/internal/whatsapp/*`: a tenant's session (channel-service contract 1.5).

use ::web::{ApiError, Fields, Internal, Query};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use domain::address::PhoneNumber;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::village;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::courtesies::{self, Courtesies};
use crate::flows::session::{Created, QrView, StatusView};
use crate::flows::tenant::Actor;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/whatsapp/session")
                .route(web::post().to(create))
                .route(web::delete().to(delete)),
        )
        .service(web::resource("/whatsapp/status").route(web::get().to(status)))
        .service(web::resource("/whatsapp/connect").route(web::post().to(connect)))
        .service(web::resource("/whatsapp/disconnect").route(web::post().to(disconnect)))
        .service(web::resource("/whatsapp/logout").route(web::post().to(logout)))
        .service(web::resource("/whatsapp/qr").route(web::get().to(qr)))
        .service(web::resource("/whatsapp/pairphone").route(web::post().to(pair_phone)))
        .service(
            web::resource("/whatsapp/settings")
                .route(web::get().to(settings))
                .route(web::patch().to(set_settings)),
        )
        .service(web::resource("/whatsapp/check-duplicate").route(web::get().to(check_duplicate)))
        .service(web::resource("/whatsapp/force-disconnect").route(web::post().to(force_disconnect)));
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
