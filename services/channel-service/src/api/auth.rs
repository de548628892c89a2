//! `/api/auth`: signing in to the dashboard, and out.

use ::web::openapi::{Api, Doc, Group, fields, flag, nullable, object, one_of, text, time, whole};
use ::web::{ApiError, Fields, wire_time};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::signed_in::{self, User};
use super::{dashboard_group, data, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::password::PasswordError;
use crate::flows::sign_in::{self, Begun, SignInError, SignedIn};

pub(crate) fn routes(api: &mut Api) {
    let person = object([
        ("id", text()),
        ("email", text()),
        ("name", nullable(text())),
        ("role", one_of(&["superadmin", "tenant_admin"])),
        ("village_id", nullable(text())),
    ]);
    let session = data(object([
        ("token", text()),
        ("csrf_token", text()),
        ("expires_at", time()),
        ("user", person.clone()),
    ]));
    api.group(Group {
        security: None,
        ..dashboard_group("Signing in")
    });
    let begin = Doc::new("Sign in; sets the session's cookie")
        .takes(fields([("email", text()), ("password", text())]))
        .answers(200, "Signed in", session.clone())
        .refuses(&[
            (401, "The address or the password is wrong"),
            (403, "Another site's page asks"),
            (429, "Tried too often; Retry-After says how long to wait"),
        ]);
    api.post("/auth/login", begin, log_in);
    api.group(dashboard_group("Signing in"));
    let done = || object([("success", flag())]);
    let change = Doc::new("Change the own password; every other session ends")
        .takes(fields([("current_password", text()), ("new_password", text())]))
        .answers(200, "Changed; a new session was begun", session)
        .refuses(&[(429, "Tried too often; Retry-After says how long to wait")]);
    let ended = data(object([("sessions_ended", whole())]));
    let known = data(object([
        ("user", person),
        ("csrf_token", text()),
        ("expires_at", time()),
    ]));
    api.post(
        "/auth/logout",
        Doc::new("End this session").answers(200, "Ended", done()),
        log_out,
    )
    .post(
        "/auth/logout-everywhere",
        Doc::new("End every session of this user").answers(200, "Ended", ended),
        log_out_everywhere,
    )
    .post("/auth/password", change, change_password)
    .get(
        "/auth/me",
        Doc::new("Who is signed in").answers(200, "They", known),
        me,
    );
}

async fn log_in(
    request: HttpRequest,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    refuse_other_sites(&request)?;
    let email = body.filled("email")?.unwrap_or_default();
    let password = SecretString::from(body.text("password")?.unwrap_or_default());
    let source = village::source_of(&request);
    let begun = sign_in::try_sign_in(&state.db, state.throttle(), source.as_deref(), email, &password)
        .await
        .map_err(refusal)?;
    Ok(HttpResponse::Ok()
        .cookie(signed_in::cookie(&state, &begun.secret, &begun.user))
        .json(json!({"success": true, "data": session(&begun)})))
}

async fn log_out(user: User, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    sign_in::sign_out(&state.db, &user.secret).await?;
    Ok(HttpResponse::Ok()
        .cookie(signed_in::no_cookie(&state))
        .json(json!({"success": true})))
}

async fn log_out_everywhere(user: User, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    let ended = sign_in::sign_out_everywhere(&state.db, user.who.id).await?;
    Ok(HttpResponse::Ok()
        .cookie(signed_in::no_cookie(&state))
        .json(json!({"success": true, "data": {"sessions_ended": ended}})))
}

async fn change_password(user: User, body: Fields, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    let current = SecretString::from(body.text("current_password")?.unwrap_or_default());
    let new = SecretString::from(body.text("new_password")?.unwrap_or_default());
    let begun = sign_in::change_password(&state.db, state.throttle(), &user.who, &current, &new)
        .await
        .map_err(refusal)?;
    Ok(HttpResponse::Ok()
        .cookie(signed_in::cookie(&state, &begun.secret, &begun.user))
        .json(json!({"success": true, "data": session(&begun)})))
}

/// Who is signed in. Here a browser gets a younger token now and then; the CSRF token goes with it.
async fn me(user: User, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    let younger = match user.by_cookie {
        true => sign_in::renew(&state.db, &user.secret).await?,
        false => None,
    };
    let mut answer = HttpResponse::Ok();
    if let Some(younger) = &younger {
        answer.cookie(signed_in::cookie(&state, younger, &user.who));
    }
    let secret = younger.as_ref().unwrap_or(&user.secret);
    Ok(answer.json(json!({"success": true, "data": {
        "user": person(&user.who), "csrf_token": secret.csrf_token(),
        "expires_at": wire_time(user.who.expires_at),
    }})))
}

fn session(begun: &Begun) -> Value {
    json!({
        "token": begun.secret.expose(), "csrf_token": begun.secret.csrf_token(),
        "expires_at": wire_time(begun.user.expires_at), "user": person(&begun.user),
    })
}

fn person(who: &SignedIn) -> Value {
    json!({
        "id": who.id, "email": who.email, "name": who.name, "role": who.role,
        "village_id": who.own_tenant().map(|scope| scope.tenant()),
    })
}

/// Nobody is signed in by another site's form: browsers say where a request comes from.
pub(crate) fn refuse_other_sites(request: &HttpRequest) -> Result<(), ApiError> {
    let from = request
        .headers()
        .get("sec-fetch-site")
        .and_then(|value| value.to_str().ok());
    match from {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "other_site",
            "Forbidden: sign in on the dashboard's own page",
        )),
    }
}

fn refusal(error: SignInError) -> ServiceError {
    match error {
        SignInError::Refused => {
            ApiError::unauthorized("wrong_credentials", "The address or the password is wrong").into()
        }
        SignInError::TooOften(wait) => ApiError::too_many(wait).into(),
        SignInError::Password(PasswordError::Length) => {
            ApiError::bad_request("password_length", "A password has 10 to 256 bytes").into()
        }
        SignInError::Password(PasswordError::Hashing) => ServiceError::Overloaded,
        SignInError::Database(error) => error.into(),
    }
}
