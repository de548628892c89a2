//! Signing in, and out.

use std::time::Duration;

use ::web::{ApiError, Fields, Query};
use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use console::{Frame, Language, Look, Tone, own_path, page, see_other};
use secrecy::SecretString;

use super::errors::PageError;
use super::visit::Posted;
use super::{APP, HOME};
use crate::api::auth::refuse_other_sites;
use crate::api::signed_in::{self, COOKIE};
use crate::api::village;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::sign_in::{self, SessionSecret, SignInError};

#[derive(Template)]
#[template(path = "log_in/form.html")]
struct LogIn {
    frame: Frame,
    email: String,
    error: String,
    next: String,
}

fn plain(look: Look) -> Frame {
    let mut frame = Frame::plain(look, APP, "", HOME);
    frame.here = "/login".to_owned();
    frame
}

fn shown(look: Look, status: StatusCode, email: &str, error: String, next: &str) -> HttpResponse {
    with_form(plain(look), status, email, error, next)
}

fn with_form(frame: Frame, status: StatusCode, email: &str, error: String, next: &str) -> HttpResponse {
    let (email, next) = (email.to_owned(), next.to_owned());
    page(
        status,
        &LogIn {
            frame,
            email,
            error,
            next,
        },
    )
}

/// Where somebody goes once they are signed in: a page of the dashboard, nothing else.
fn wanted(next: Option<&str>) -> &str {
    next.filter(|path| own_path(path) && (*path == HOME || path.starts_with("/dashboard/")))
        .unwrap_or(HOME)
}

pub(super) async fn form(
    request: HttpRequest,
    query: Query,
    look: Look,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let next = wanted(query.get("next"));
    let secret = request
        .cookie(COOKIE)
        .and_then(|cookie| SessionSecret::presented(cookie.value()));
    let had_session = secret.is_some();
    if let Some(secret) = secret
        && sign_in::find(&state.db, &secret).await?.is_some()
    {
        return Ok(see_other(next));
    }
    let mut plain = plain(look);
    let l = look.l;
    // Why somebody who was in is asked again.
    let words = match query.get("said") {
        Some("out") => Some((Tone::Ok, l.t("You are logged out.", "Anda sudah keluar."))),
        Some("everywhere") => Some((
            Tone::Ok,
            l.t(
                "You are logged out everywhere.",
                "Anda sudah keluar di semua perangkat.",
            ),
        )),
        _ if had_session => Some((
            Tone::Warn,
            l.t(
                "Your session has ended. Log in again to go on.",
                "Sesi Anda sudah berakhir. Masuk lagi untuk melanjutkan.",
            ),
        )),
        _ => None,
    };
    if let Some((tone, words)) = words {
        plain = plain.saying(tone, words);
    }
    Ok(with_form(plain, StatusCode::OK, "", String::new(), next))
}

pub(super) async fn log_in(
    request: HttpRequest,
    form: Fields,
    look: Look,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    refuse_other_sites(&request)?;
    let email = form.text("email")?.unwrap_or_default();
    let password = SecretString::from(form.text("password")?.unwrap_or_default());
    let next = wanted(form.text("next")?);
    let source = village::source_of(&request);
    let begun = sign_in::try_sign_in(&state.db, state.throttle(), source.as_deref(), email, &password).await;
    let l = look.l;
    match begun {
        Ok(begun) => {
            let cookie = signed_in::cookie(&state, &begun.secret, &begun.user);
            with_cookie(see_other(next), &cookie)
        }
        Err(SignInError::Refused) => {
            let words = l.t(
                "The e-mail address or the password is wrong. Try again, or ask a superadmin for a new password.",
                "Alamat email atau kata sandi salah. Coba lagi, atau minta kata sandi baru kepada superadmin.",
            );
            Ok(shown(
                look,
                StatusCode::UNAUTHORIZED,
                email,
                words.to_owned(),
                next,
            ))
        }
        Err(SignInError::TooOften(wait)) => Ok(too_often(look, email, wait, next)),
        Err(SignInError::Password(_)) => Err(ServiceError::Overloaded.into()),
        Err(SignInError::Database(error)) => Err(error.into()),
    }
}

fn too_often(look: Look, email: &str, wait: Duration, next: &str) -> HttpResponse {
    let words = words_of_wait(look.l, wait);
    let mut answer = shown(look, StatusCode::TOO_MANY_REQUESTS, email, words, next);
    answer
        .headers_mut()
        .insert(RETRY_AFTER, wait.as_secs().max(1).into());
    answer
}

/// How long to wait before a password may be tried again.
pub(super) fn words_of_wait(l: Language, wait: Duration) -> String {
    let seconds = wait.as_secs().max(1);
    format!(
        "{} {}",
        l.t(
            "That was tried too often. Try again in",
            "Terlalu sering dicoba. Coba lagi dalam",
        ),
        l.count(seconds, "second.", "seconds.", "detik."),
    )
}

/// The answer that also sets a cookie.
pub(super) fn with_cookie(mut answer: HttpResponse, cookie: &Cookie<'_>) -> Result<HttpResponse, PageError> {
    answer.add_cookie(cookie).map_err(|_| ApiError::internal())?;
    Ok(answer)
}

pub(super) async fn log_out(
    posted: Result<Posted, PageError>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    match posted {
        Ok(posted) => sign_in::sign_out(&state.db, &posted.visit.secret).await?,
        // Whoever's session has ended already is out.
        Err(PageError::SignIn) => {}
        Err(error) => return Err(error),
    }
    with_cookie(see_other("/login?said=out"), &signed_in::no_cookie(&state))
}
