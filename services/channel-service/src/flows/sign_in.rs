//! Somebody signs in to the dashboard, and proves at each request who they are.
//!
//! A token is 32 random bytes; the table holds its hash. It travels in a cookie or as a bearer, is replaced now and
//! then, and ends at a fixed time, however much it is used. What a form of the dashboard sends besides (the CSRF
//! token) is made of the session's token, so it needs no place of its own.

use std::time::Duration;

use cache::{Buckets, CacheKey};
use chrono::{DateTime, TimeDelta, Utc};
use database::{Database, DatabaseError};
use domain::ids::TenantId;
use domain::user::{EmailAddress, Role};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tenant_isolation::resolve::ExternalId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};
use uuid::Uuid;

use super::password::{self, PasswordError};
use crate::store::user_session::SignedInRow;
use crate::store::{user, user_session};

/// How long somebody stays signed in.
pub const LIFETIME: TimeDelta = TimeDelta::hours(12);
/// A token older than this is replaced at the next request.
const REPLACE_AFTER: TimeDelta = TimeDelta::minutes(30);
/// How long a replaced token is still good, for requests that were under way.
const GRACE: Duration = Duration::from_secs(60);

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The address or the password is wrong, or the user is disabled. Not said which.
    #[error("the address or the password is wrong")]
    Refused,
    /// It was tried too often; after the wait it may be tried again.
    #[error("signing in was tried too often")]
    TooOften(Duration),
    /// Passwords cannot be checked.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The token of a session. `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct SessionSecret(SecretString);

impl SessionSecret {
    const LENGTH: usize = 64;

    fn generate() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(SecretString::from(hex::encode(bytes)))
    }

    /// Takes a token that a browser or a program presents. `None` for what can be none.
    #[must_use]
    pub fn presented(text: &str) -> Option<Self> {
        let fits = text.len() == Self::LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| Self(SecretString::from(text)))
    }

    /// The token itself, for the cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.expose().as_bytes()).into()
    }

    /// What a request that changes something has to bring besides the cookie: another site can make a browser send
    /// the cookie, but cannot read this.
    #[must_use]
    pub fn csrf_token(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(b"kanal csrf\0");
        digest.update(self.expose().as_bytes());
        hex::encode(digest.finalize())
    }

    /// Is this the session's CSRF token?
    #[must_use]
    pub fn has_csrf_token(&self, presented: &str) -> bool {
        self.csrf_token().as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub id: Uuid,
    /// Their address.
    pub email: String,
    /// Their name.
    pub name: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    works_for: Option<TenantScope>,
}

/// For whom somebody may not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotForThem {
    /// It is another tenant than theirs.
    #[error("not this user's tenant")]
    OtherTenant,
    /// A superadmin has to name one.
    #[error("no tenant was named")]
    NoneNamed,
}

impl SignedIn {
    /// The one tenant of a tenant admin.
    #[must_use]
    pub const fn own_tenant(&self) -> Option<&TenantScope> {
        self.works_for.as_ref()
    }

    /// The scope they work in, given the tenant they named, if any. A tenant admin has exactly one and need not
    /// name it; naming another one is refused.
    ///
    /// # Errors
    /// [`NotForThem`].
    pub fn scope(&self, named: Option<TenantId>) -> Result<TenantScope, NotForThem> {
        match (&self.works_for, named) {
            (Some(own), None) => Ok(own.clone()),
            (Some(own), Some(named)) if *own.tenant() == named => Ok(own.clone()),
            (Some(_), Some(_)) => Err(NotForThem::OtherTenant),
            (None, Some(named)) => Ok(TenantScope::of_swept_row(&SUPERADMIN, named)),
            (None, None) => Err(NotForThem::NoneNamed),
        }
    }
}

/// A superadmin's work crosses tenants, one at a time; each step is done in the tenant's own scope.
const SUPERADMIN: PlatformScope = PlatformScope::for_purpose("superadministration");

/// A session that was just begun.
#[derive(Debug)]
pub struct Begun {
    /// Its token.
    pub secret: SessionSecret,
    /// Whose it is.
    pub user: SignedIn,
}

/// How often signing in may be tried.
#[derive(Clone, Copy)]
pub struct Throttle<'a> {
    /// From one address of the network.
    pub of_source: &'a Buckets,
    /// With one user's e-mail address.
    pub of_user: &'a Buckets,
}

impl Throttle<'_> {
    async fn take(&self, source: Option<&str>, email: Option<&str>) -> Result<(), SignInError> {
        for (buckets, kind, id) in [
            (self.of_source, "login_source", source),
            (self.of_user, "login_email", email),
        ] {
            let Some(external) = id.and_then(|id| ExternalId::new(kind, id)) else {
                continue;
            };
            if let Err(wait) = buckets.take(&CacheKey::of_external(&external)).await {
                metrics::counter!("kanal_logins_throttled_total").increment(1);
                return Err(SignInError::TooOften(wait));
            }
        }
        Ok(())
    }
}

/// Checks an address and a password that somebody gives from `source`, and begins a session.
///
/// # Errors
/// [`SignInError`].
pub async fn try_sign_in(
    db: &Database,
    throttle: Throttle<'_>,
    source: Option<&str>,
    email: &str,
    password: &SecretString,
) -> Result<Begun, SignInError> {
    // An address that can be nobody's is checked like any other, so that it takes as long.
    let email = EmailAddress::parse(email).ok();
    throttle
        .take(source, email.as_ref().map(EmailAddress::as_str))
        .await?;
    let begun = sign_in(db, email.as_ref(), password).await;
    match &begun {
        Ok(_) => metrics::counter!("kanal_logins_total").increment(1),
        Err(SignInError::Refused) => metrics::counter!("kanal_logins_refused_total").increment(1),
        Err(_) => {}
    }
    begun
}

/// As [`try_sign_in`], however often it was tried.
///
/// # Errors
/// [`SignInError`].
pub async fn sign_in(
    db: &Database,
    email: Option<&EmailAddress>,
    password: &SecretString,
) -> Result<Begun, SignInError> {
    let known = match email {
        Some(email) => {
            let mut tx = begin(db, "sign in").await?;
            let found = user::find_by_email(&mut tx, email).await?;
            tx.commit().await?;
            found.filter(|user| !user.disabled)
        }
        None => None,
    };
    // The slow part holds no transaction.
    let hash = known.as_ref().map(|user| user.password_hash.as_str());
    if !password::verify(password, hash).await? {
        return Err(SignInError::Refused);
    }
    let known = known.ok_or(SignInError::Refused)?;
    begin_session(db, known.id).await
}

async fn begin_session(db: &Database, user: Uuid) -> Result<Begun, SignInError> {
    let secret = SessionSecret::generate();
    let mut tx = begin(db, "begin session").await?;
    user_session::insert(&mut tx, &secret.hash(), user, Utc::now() + LIFETIME).await?;
    let row = user_session::find(&mut tx, &secret.hash(), GRACE).await?;
    tx.commit().await?;
    // Disabled between the two.
    let row = row.ok_or(SignInError::Refused)?;
    Ok(Begun {
        user: signed_in(row)?,
        secret,
    })
}

/// Whose token this is.
///
/// # Errors
/// [`DatabaseError`]; that is not "nobody's".
pub async fn find(db: &Database, secret: &SessionSecret) -> Result<Option<SignedIn>, DatabaseError> {
    let mut tx = begin(db, "find session").await?;
    let row = user_session::find(&mut tx, &secret.hash(), GRACE).await?;
    tx.commit().await?;
    row.map(signed_in).transpose()
}

/// A younger token for the same session, once this one has been used long enough. For callers that take it: a program
/// that keeps its bearer would be signed out by it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn renew(db: &Database, secret: &SessionSecret) -> Result<Option<SessionSecret>, DatabaseError> {
    let mut tx = begin(db, "renew session").await?;
    let row = user_session::find(&mut tx, &secret.hash(), GRACE).await?;
    let old = row.filter(|row| row.replaced_at.is_none() && Utc::now() - row.created_at > REPLACE_AFTER);
    let Some(row) = old else {
        return Ok(None);
    };
    // Two requests at once: one of them replaces, the other goes on with the old token.
    if !user_session::replace(&mut tx, &secret.hash()).await? {
        return Ok(None);
    }
    let younger = SessionSecret::generate();
    user_session::insert(&mut tx, &younger.hash(), row.user_id, row.expires_at).await?;
    tx.commit().await?;
    Ok(Some(younger))
}

/// Ends the session.
///
/// # Errors
/// [`DatabaseError`].
pub async fn sign_out(db: &Database, secret: &SessionSecret) -> Result<(), DatabaseError> {
    let mut tx = begin(db, "sign out").await?;
    user_session::delete(&mut tx, &secret.hash()).await?;
    tx.commit().await
}

/// Ends every session of a user. Returns how many there were.
///
/// # Errors
/// [`DatabaseError`].
pub async fn sign_out_everywhere(db: &Database, user: Uuid) -> Result<usize, DatabaseError> {
    let mut tx = begin(db, "sign out everywhere").await?;
    let ended = user_session::delete_all(&mut tx, user).await?;
    tx.commit().await?;
    Ok(ended)
}

/// Changes a password. Every session ends, and the caller gets a new one.
///
/// # Errors
/// [`SignInError::Refused`] when the current password is wrong.
pub async fn change_password(
    db: &Database,
    throttle: Throttle<'_>,
    who: &SignedIn,
    current: &SecretString,
    new: &SecretString,
) -> Result<Begun, SignInError> {
    // The same bucket as signing in: a stolen session must not become a place to guess.
    throttle.take(None, Some(&who.email)).await?;
    let email = EmailAddress::parse(&who.email).map_err(|_| SignInError::Refused)?;
    let mut tx = begin(db, "change password").await?;
    let known = user::find_by_email(&mut tx, &email).await?;
    tx.commit().await?;
    let hash = known.as_ref().map(|user| user.password_hash.as_str());
    if !password::verify(current, hash).await? {
        return Err(SignInError::Refused);
    }
    let new_hash = password::hash(new).await?;
    let mut tx = begin(db, "change password").await?;
    user::set_password(&mut tx, who.id, &new_hash).await?;
    user_session::delete_all(&mut tx, who.id).await?;
    tx.commit().await?;
    begin_session(db, who.id).await
}

async fn begin(db: &Database, purpose: &'static str) -> Result<PlatformTransaction, DatabaseError> {
    PlatformTransaction::begin(db, PlatformScope::for_purpose(purpose)).await
}

fn signed_in(row: SignedInRow) -> Result<SignedIn, DatabaseError> {
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| DatabaseError::Refused(error);
    let tenant = row
        .works_for
        .map(TenantId::parse)
        .transpose()
        .map_err(|error| refused(error.into()))?;
    Ok(SignedIn {
        id: row.user_id,
        email: row.email,
        name: row.name,
        role: row
            .role
            .parse()
            .map_err(|error: domain::words::UnknownWord| refused(error.into()))?,
        expires_at: row.expires_at,
        works_for: tenant.map(|tenant| TenantScope::of_swept_row(&SUPERADMIN, tenant)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csrf_token_belongs_to_one_session_and_tells_nothing_of_it() {
        let (one, two) = (SessionSecret::generate(), SessionSecret::generate());
        assert!(one.has_csrf_token(&one.csrf_token()));
        assert!(!one.has_csrf_token(&two.csrf_token()));
        assert!(!one.has_csrf_token(""));
        assert!(!one.csrf_token().contains(one.expose()));
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    #[test]
    fn only_what_can_be_a_token_is_looked_up() {
        assert!(SessionSecret::presented(SessionSecret::generate().expose()).is_some());
        for wrong in ["", "abc", &"z".repeat(64), &"a".repeat(65)] {
            assert!(SessionSecret::presented(wrong).is_none());
        }
    }
}
