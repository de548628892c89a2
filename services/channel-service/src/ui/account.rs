//! What somebody does about their own access: another password, and the end of every session.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use console::{Frame, page, see_other};
use secrecy::{ExposeSecret as _, SecretString};

use super::errors::PageError;
use super::frame::role;
use super::log_in::{with_cookie, words_of_wait};
use super::visit::{Posted, Visit};
use crate::api::signed_in;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::password::PasswordError;
use crate::flows::sign_in::{self, SignInError};

const HERE: &str = "/dashboard/account";

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/account", web::get().to(show))
        .route("/account/password", web::post().to(change_password))
        .route("/account/log-out-everywhere", web::post().to(log_out_everywhere));
}

#[derive(Template)]
#[template(path = "account/show.html")]
struct Account {
    frame: Frame,
    email: String,
    role: &'static str,
    until: chrono::DateTime<chrono::Utc>,
    wrong_current: String,
    wrong_new: String,
    wrong_again: String,
}

fn shown(visit: &Visit, status: StatusCode, [current, new, again]: [&str; 3]) -> HttpResponse {
    page(
        status,
        &Account {
            frame: visit.frame("account"),
            email: visit.who.email.clone(),
            role: role(visit.l(), visit.who.role),
            until: visit.who.expires_at,
            wrong_current: current.to_owned(),
            wrong_new: new.to_owned(),
            wrong_again: again.to_owned(),
        },
    )
}

async fn show(visit: Visit) -> HttpResponse {
    shown(&visit, StatusCode::OK, [""; 3])
}

async fn change_password(posted: Posted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let Posted { visit, fields } = posted;
    let l = visit.l();
    let taken = |name| -> Result<SecretString, PageError> {
        Ok(SecretString::from(fields.text(name)?.unwrap_or_default()))
    };
    let (current, new, again) = (taken("current")?, taken("new")?, taken("again")?);
    let refused = |wrong| Ok(shown(&visit, StatusCode::UNPROCESSABLE_ENTITY, wrong));
    if new.expose_secret() != again.expose_secret() {
        let words = l.t(
            "This is not the same as the new password.",
            "Tidak sama dengan kata sandi baru.",
        );
        return refused(["", "", words]);
    }
    let changed = sign_in::change_password(&state.db, state.throttle(), &visit.who, &current, &new).await;
    match changed {
        Ok(begun) => {
            let cookie = signed_in::cookie(&state, &begun.secret, &begun.user);
            with_cookie(see_other(format!("{HERE}?said=saved")), &cookie)
        }
        Err(SignInError::Refused) => {
            let words = l.t("This is not your password.", "Ini bukan kata sandi Anda.");
            refused([words, "", ""])
        }
        Err(SignInError::Password(PasswordError::Length)) => {
            let words = l.t(
                "Take at least 10 characters, and at most 256.",
                "Gunakan paling sedikit 10 huruf, dan paling banyak 256.",
            );
            refused(["", words, ""])
        }
        Err(SignInError::TooOften(wait)) => Ok(shown(
            &visit,
            StatusCode::TOO_MANY_REQUESTS,
            [&words_of_wait(l, wait), "", ""],
        )),
        Err(SignInError::Password(PasswordError::Hashing)) => Err(ServiceError::Overloaded.into()),
        Err(SignInError::Database(error)) => Err(error.into()),
    }
}

async fn log_out_everywhere(posted: Posted, state: Data<State>) -> Result<HttpResponse, PageError> {
    sign_in::sign_out_everywhere(&state.db, posted.visit.who.id).await?;
    with_cookie(see_other("/login?said=everywhere"), &signed_in::no_cookie(&state))
}
