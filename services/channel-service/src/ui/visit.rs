//! Who asks for a page: somebody who signed in, by the session's cookie. A form brings the session's CSRF token besides,
//! because a browser sends the cookie by itself.

use std::ops::Deref;
use std::pin::Pin;

use ::web::{Fields, Query, note_tenant};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, dev};
use console::{Language, Look};
use domain::ids::TenantId;
use domain::user::Role;
use tenant_isolation::TenantScope;

use super::errors::PageError;
use crate::api::signed_in::COOKIE;
use crate::api::village;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::sign_in::{self, SessionSecret, SignedIn};
use crate::flows::tenant::{self, Actor};
use crate::store::tenant::TenantRow;

/// The header in which a script sends the token of forms.
const CSRF_HEADER: &str = "x-csrf-token";
/// The field in which a form sends it.
const CSRF_FIELD: &str = "csrf";

/// Somebody who is signed in and asks for a page.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// Who.
    pub(crate) who: SignedIn,
    /// How they want pages to look.
    pub(crate) look: Look,
    /// Their session.
    pub(crate) secret: SessionSecret,
    /// The page's path, without its query.
    pub(super) here: String,
    /// A code of what was just done (`?said=`).
    pub(super) said: Option<String>,
    source: Option<String>,
}

impl Visit {
    /// Their language.
    pub(crate) const fn l(&self) -> Language {
        self.look.l
    }

    /// May they do everything, for every tenant?
    pub(crate) fn is_superadmin(&self) -> bool {
        self.who.role == Role::Superadmin
    }

    /// Only superadmins.
    ///
    /// # Errors
    /// A page that says so.
    pub(crate) fn superadmin(&self) -> Result<(), PageError> {
        if self.is_superadmin() {
            Ok(())
        } else {
            Err(PageError::Forbidden)
        }
    }

    /// The scope of a tenant: a tenant admin has only their own, and does not learn which others there are.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn tenant(&self, id: &str) -> Result<TenantScope, PageError> {
        let named = TenantId::parse(id).map_err(|_| PageError::NotFound)?;
        let scope = self.who.scope(Some(named)).map_err(|_| PageError::NotFound)?;
        note_tenant(&scope);
        Ok(scope)
    }

    /// They, for the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            name: format!("user {}", self.who.email),
            source: self.source.clone(),
        }
    }

    /// Is this the token that forms of this session bring? For forms that are no [`Posted`] because they send files.
    ///
    /// # Errors
    /// A page that asks to open the form again.
    pub(crate) fn check_csrf(&self, presented: &str) -> Result<(), PageError> {
        if self.secret.has_csrf_token(presented) {
            Ok(())
        } else {
            Err(PageError::Expired)
        }
    }

    async fn of(request: &HttpRequest) -> Result<Self, PageError> {
        let state = state_of(request)?;
        let secret = request
            .cookie(COOKIE)
            .and_then(|cookie| SessionSecret::presented(cookie.value()))
            .ok_or(PageError::SignIn)?;
        let who = sign_in::find(&state.db, &secret)
            .await?
            .ok_or(PageError::SignIn)?;
        Ok(Self {
            who,
            look: Look::of(request),
            secret,
            here: request.path().to_owned(),
            said: Query::parse(request.query_string())
                .get("said")
                .map(str::to_owned),
            source: village::source_of(request),
        })
    }
}

impl FromRequest for Visit {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request).await })
    }
}

/// A visit to a page of one tenant's, which the path names as `{tenant}`: of a registered one, and of theirs.
#[derive(Debug, Clone)]
pub(crate) struct TenantVisit {
    /// The visit.
    pub(crate) visit: Visit,
    /// Work for this tenant.
    pub(crate) scope: TenantScope,
    /// Its row.
    pub(crate) tenant: TenantRow,
}

impl TenantVisit {
    async fn of(request: &HttpRequest) -> Result<Self, PageError> {
        let state = state_of(request)?;
        let visit = Visit::of(request).await?;
        let named = request.match_info().get("tenant").unwrap_or_default();
        let scope = visit.tenant(named)?;
        let tenant = tenant::find(&state.db, &scope)
            .await?
            .ok_or(PageError::NotFound)?;
        Ok(Self { visit, scope, tenant })
    }
}

impl Deref for TenantVisit {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.visit
    }
}

impl FromRequest for TenantVisit {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request).await })
    }
}

/// A form that somebody sent from a page of their session.
#[derive(Debug)]
pub(crate) struct Posted {
    /// Who.
    pub(crate) visit: Visit,
    /// What they filled in.
    pub(crate) fields: Fields,
}

/// A form of a page of one tenant's.
#[derive(Debug)]
pub(crate) struct TenantPosted {
    /// Who, and for which tenant.
    pub(crate) visit: TenantVisit,
    /// What they filled in.
    pub(crate) fields: Fields,
}

impl FromRequest for Posted {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        let fields = Fields::from_request(&request, payload);
        Box::pin(async move {
            let visit = Visit::of(&request).await?;
            let fields = fields.await?;
            proven(&request, &visit, &fields)?;
            Ok(Self { visit, fields })
        })
    }
}

impl FromRequest for TenantPosted {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        let fields = Fields::from_request(&request, payload);
        Box::pin(async move {
            let visit = TenantVisit::of(&request).await?;
            let fields = fields.await?;
            proven(&request, &visit, &fields)?;
            Ok(Self { visit, fields })
        })
    }
}

fn proven(request: &HttpRequest, visit: &Visit, fields: &Fields) -> Result<(), PageError> {
    let header = request.headers().get(CSRF_HEADER);
    let presented = match header.and_then(|value| value.to_str().ok()) {
        Some(presented) => presented,
        None => fields.text(CSRF_FIELD)?.unwrap_or_default(),
    };
    visit.check_csrf(presented)
}

pub(super) fn state_of(request: &HttpRequest) -> Result<&Data<State>, PageError> {
    request
        .app_data::<Data<State>>()
        .ok_or_else(|| ServiceError::Api(::web::ApiError::internal()).into())
}
