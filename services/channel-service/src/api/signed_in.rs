//! Who asks the dashboard's API: a session's token, in a cookie or as a bearer.
//!
//! A browser sends a cookie by itself, also when another site makes it do so. So a request that changes something and
//! proves itself by the cookie has to bring the session's CSRF token in `X-CSRF-Token` as well; a bearer is never sent by
//! itself and needs none.

use std::pin::Pin;

use ::web::{ApiError, note_tenant};
use actix_web::cookie::time::Duration as CookieTime;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, dev, web};
use domain::ids::TenantId;
use tenant_isolation::TenantScope;

use super::village;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::sign_in::{self, NotForThem, SessionSecret, SignedIn};
use crate::flows::tenant::Actor;

/// Name of the session's cookie.
pub(crate) const COOKIE: &str = "kanal_session";
const CSRF_HEADER: &str = "x-csrf-token";

/// Somebody who is signed in, and how they proved it.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) who: SignedIn,
    pub(crate) secret: SessionSecret,
    /// By the cookie of a browser, which takes another one when it is given one.
    pub(crate) by_cookie: bool,
}

impl User {
    /// The scope of the tenant they work for: their own, or the one a superadmin names.
    ///
    /// # Errors
    /// 400 when a superadmin names none or what can be none, 403 when it is another tenant than theirs.
    pub(crate) fn scope(&self, named: Option<&str>) -> Result<TenantScope, ApiError> {
        let named = named
            .map(TenantId::parse)
            .transpose()
            .map_err(|error| ApiError::bad_request("invalid_village_id", format!("village_id: {error}")))?;
        let scope = self.who.scope(named).map_err(|error| match error {
            NotForThem::OtherTenant => ApiError::new(
                StatusCode::FORBIDDEN,
                "not_your_village",
                "Forbidden: not your village",
            ),
            NotForThem::NoneNamed => ApiError::bad_request("village_id_required", "village_id diperlukan"),
        })?;
        note_tenant(&scope);
        Ok(scope)
    }

    /// They, for the audit log.
    pub(crate) fn actor(&self, request: &HttpRequest) -> Actor {
        Actor {
            name: format!("user {}", self.who.email),
            source: village::source_of(request),
        }
    }
}

/// The cookie that carries a session.
pub(crate) fn cookie(state: &State, secret: &SessionSecret, who: &SignedIn) -> Cookie<'static> {
    let left = (who.expires_at - chrono::Utc::now()).num_seconds().max(0);
    Cookie::build(COOKIE, secret.expose().to_owned())
        .path("/")
        .http_only(true)
        .secure(state.secure_cookies)
        .same_site(SameSite::Strict)
        .max_age(CookieTime::seconds(left))
        .finish()
}

/// The cookie that ends a session in the browser.
pub(crate) fn no_cookie(state: &State) -> Cookie<'static> {
    Cookie::build(COOKIE, "")
        .path("/")
        .http_only(true)
        .secure(state.secure_cookies)
        .same_site(SameSite::Strict)
        .max_age(CookieTime::ZERO)
        .finish()
}

impl FromRequest for User {
    type Error = ServiceError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ServiceError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { recognise(&request).await })
    }
}

pub(crate) async fn recognise(request: &HttpRequest) -> Result<User, ServiceError> {
    let nobody = || ApiError::unauthorized("not_signed_in", "Unauthorized");
    let state = request
        .app_data::<web::Data<State>>()
        .ok_or_else(ApiError::internal)?;
    let bearer = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .and_then(|token| SessionSecret::presented(token.trim()));
    let by_cookie = bearer.is_none();
    let secret = match bearer {
        Some(secret) => secret,
        None => request
            .cookie(COOKIE)
            .and_then(|cookie| SessionSecret::presented(cookie.value()))
            .ok_or_else(nobody)?,
    };
    let who = sign_in::find(&state.db, &secret).await?.ok_or_else(nobody)?;
    if by_cookie && !request.method().is_safe() {
        let presented = request.headers().get(CSRF_HEADER);
        let presented = presented
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !secret.has_csrf_token(presented) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "csrf_token_required",
                "Forbidden: send the session's CSRF token in X-CSRF-Token",
            )
            .into());
        }
    }
    Ok(User {
        who,
        secret,
        by_cookie,
    })
}
