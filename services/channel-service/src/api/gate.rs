//! `/api/whatsapp/gate`: who may use the gate, and where it tells; for a tenant's own people.

use ::web::openapi::{Api, Doc, fields, flag, list, nullable, object, text, text_up_to, time};
use ::web::{ApiError, Fields, Query, wire_time};
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::signed_in::User;
use super::{dashboard_group, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::gate::subscription::{self, NewSubscription, SubscribeError};
use crate::flows::gate::token::{self, TokenError};
use crate::store::{gate, gate_tokens};

/// Longest token that a receiver knows us by, in bytes.
const LONGEST_VERIFY_TOKEN: usize = 256;

pub(crate) fn routes(api: &mut Api) {
    api.group(dashboard_group("Gate"));
    let number = object([
        ("phone_number_id", text()),
        ("waba_id", text()),
        ("provider", text()),
        ("display_phone_number", nullable(text())),
        ("connected", flag()),
    ]);
    let token = object([
        ("id", text()),
        ("name", text()),
        ("created_at", time()),
        ("created_by", text()),
    ]);
    let overview = doc("A tenant's numbers as clients of the Cloud API see them, and who may use them")
        .answers(
            200,
            "The numbers and the tokens, without the tokens themselves",
            object([("numbers", list(number)), ("tokens", list(token))]),
        );
    let new = doc("Make a token for all of the tenant's numbers; it is shown this once")
        .takes(fields([("name", text_up_to(token::LONGEST_NAME))]))
        .answers(
            201,
            "The token",
            object([("id", text()), ("name", text()), ("token", text())]),
        )
        .refuses(&[(409, "The tenant has as many tokens as it may have")]);
    let revoked = doc("Take a token back").answers(200, "It opens nothing any more", done());
    let subscription = object([
        ("id", text()),
        ("phone_number_id", nullable(text())),
        ("callback_url", text()),
        ("created_at", time()),
    ]);
    let shown = doc("Where the tenant is told in the words of Meta's webhooks").answers(
        200,
        "The subscriptions, without their secrets",
        object([("subscriptions", list(subscription))]),
    );
    let subscribed = doc(
        "Be told in the words of Meta's webhooks, once the address has answered the verification; replaces the \
         subscription for the same number, or for all",
    )
    .takes(fields([
        ("callback_url", text_up_to(2_000)),
        ("verify_token", text_up_to(LONGEST_VERIFY_TOKEN)),
        ("phone_number_id", text_up_to(32)),
    ]))
    .answers(
        201,
        "Subscribed, and whatever comes in from now on is told; what webhooks are signed with is shown this once",
        object([("id", text()), ("callback_url", text()), ("app_secret", text())]),
    )
    .refuses(&[(422, "The address did not answer the verification, or is not dialled")]);
    let unsubscribed = doc("Be told no more; what waits is dropped").answers(200, "Done", done());
    api.get("/whatsapp/gate", overview, show)
        .post("/whatsapp/gate", new, create_token)
        .delete("/whatsapp/gate/tokens/{token_id}", revoked, revoke_token)
        .get("/whatsapp/gate/subscriptions", shown, show_subscriptions)
        .post("/whatsapp/gate/subscriptions", subscribed, subscribe)
        .delete(
            "/whatsapp/gate/subscriptions/{subscription_id}",
            unsubscribed,
            unsubscribe,
        );
}

fn done() -> ::web::openapi::Schema {
    object([("success", flag())])
}

/// A superadmin names the tenant.
fn doc(summary: &'static str) -> Doc {
    Doc::new(summary)
        .query("village_id", text(), "the tenant, for a superadmin")
        .refuses(&[(404, "No such tenant, or nothing of this id")])
}

type Answered = Result<HttpResponse, ServiceError>;

fn scope_of(user: &User, request: &HttpRequest, query: &Query) -> Result<TenantScope, ApiError> {
    user.scope(village::named_in(request, Some(query), None)?)
}

async fn show(user: User, request: HttpRequest, query: Query, state: Data<State>) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let mut tx = TenantTransaction::begin(&state.db, &scope, "show gate").await?;
    let numbers = gate::numbers(&mut tx).await?;
    let tokens = gate_tokens::tokens(&mut tx).await?;
    tx.commit().await?;
    let numbers: Vec<Value> = numbers
        .iter()
        .map(|number| {
            json!({"phone_number_id": number.number_id, "waba_id": number.waba_id, "provider": number.provider,
                "display_phone_number": number.display, "connected": number.token_sealed.is_some()})
        })
        .collect();
    let tokens: Vec<Value> = tokens
        .iter()
        .map(|token| {
            json!({"id": token.id, "name": token.name, "created_at": wire_time(token.created_at),
                "created_by": token.created_by})
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({"numbers": numbers, "tokens": tokens})))
}

async fn create_token(
    user: User,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    body.only(&["name"])?;
    let name = required(&body, "name", token::LONGEST_NAME)?;
    let made = token::create(&state.db, &scope, name, &user.actor(&request)).await;
    let made = made.map_err(|error| match error {
        TokenError::NoTenant => ServiceError::Api(village::unknown()),
        TokenError::TooMany => {
            ApiError::new(StatusCode::CONFLICT, "too_many_tokens", error.to_string()).into()
        }
        TokenError::Database(error) => error.into(),
    })?;
    Ok(HttpResponse::Created()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({"id": made.id, "name": name, "token": made.token.expose_secret()})))
}

async fn revoke_token(
    user: User,
    request: HttpRequest,
    query: Query,
    path: web::Path<String>,
    state: Data<State>,
) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let id = id_in(&path)?;
    let found = token::revoke(&state.db, &scope, id, &user.actor(&request)).await?;
    ended(found)
}

async fn show_subscriptions(user: User, request: HttpRequest, query: Query, state: Data<State>) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let all = subscription::list(&state.db, &scope).await?;
    let all: Vec<Value> = all
        .iter()
        .map(|one| {
            json!({"id": one.row.id, "phone_number_id": one.number, "callback_url": one.row.callback_url,
                "created_at": wire_time(one.row.created_at)})
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "subscriptions": all })))
}

async fn subscribe(
    user: User,
    request: HttpRequest,
    query: Query,
    body: Fields,
    state: Data<State>,
) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    body.only(&["callback_url", "verify_token", "phone_number_id"])?;
    let new = NewSubscription {
        callback_url: required(&body, "callback_url", 2_000)?.to_owned(),
        verify_token: SecretString::from(required(&body, "verify_token", LONGEST_VERIFY_TOKEN)?),
        number: body.filled("phone_number_id")?.map(str::to_owned),
    };
    let (gate, actor) = (&state.gate, user.actor(&request));
    let made = subscription::subscribe(&state.db, &state.keys, &gate.receivers, &scope, &new, &actor).await;
    let made = made.map_err(|error| match error {
        SubscribeError::NoTenant => ServiceError::Api(village::unknown()),
        SubscribeError::NoNumber => ApiError::bad_request("unknown_number", "The tenant has no such number")
            .with("field", "phone_number_id")
            .into(),
        SubscribeError::Receiver(error) => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "callback_not_verified",
            error.to_string(),
        )
        .with("field", "callback_url")
        .into(),
        SubscribeError::Encryption(error) => error.into(),
        SubscribeError::Database(error) => error.into(),
    })?;
    // From the answer on nothing is missed, whichever process takes it in.
    gate.subscribers.known_everywhere().await;
    Ok(HttpResponse::Created()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({"id": made.id, "callback_url": new.callback_url,
            "app_secret": made.app_secret.expose_secret()})))
}

async fn unsubscribe(
    user: User,
    request: HttpRequest,
    query: Query,
    path: web::Path<String>,
    state: Data<State>,
) -> Answered {
    let scope = scope_of(&user, &request, &query)?;
    let id = id_in(&path)?;
    let found = subscription::unsubscribe(&state.db, &scope, id, &user.actor(&request)).await?;
    ended(found)
}

fn ended(found: bool) -> Answered {
    if found {
        Ok(HttpResponse::Ok().json(json!({"success": true})))
    } else {
        Err(nothing().into())
    }
}

fn id_in(text: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text).map_err(|_| nothing())
}

fn nothing() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "There is nothing of this id")
}

fn required<'a>(body: &'a Fields, name: &'static str, most: usize) -> Result<&'a str, ApiError> {
    let text = body.filled(name)?.ok_or_else(|| {
        ApiError::bad_request("field_required", format!("{name} is required")).with("field", name)
    })?;
    if text.chars().count() > most || text.contains('\0') {
        let error = ApiError::bad_request("invalid_field", format!("{name} has more than {most} characters"));
        return Err(error.with("field", name));
    }
    Ok(text)
}
