//! Who may use the dashboard: made, listed, kept out and let in by an operator.

use database::{Database, DatabaseError};
use domain::ids::TenantId;
use domain::user::{EmailAddress, Role};
use secrecy::SecretString;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::password::{self, PasswordError};
use super::tenant::Actor;
use crate::store::user::{NewUser, UserRow};
use crate::store::words::words_of;
use crate::store::{audit, tenant, user, user_session};

/// Most users in one list.
const MOST: i64 = 10_000;

/// Why a user cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Somebody has this address.
    #[error("there is a user with this address already")]
    Taken,
    /// Nobody has this address.
    #[error("there is no user with this address")]
    NoSuchUser,
    /// Only registered tenants have admins.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// A tenant admin works for one tenant, a superadmin for none in particular.
    #[error("a tenant admin needs a tenant, a superadmin must not have one")]
    RoleAndTenant,
    /// The password will not do.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Makes a user, on the command line.
///
/// # Errors
/// [`UserError`].
pub async fn create(
    db: &Database,
    email: &EmailAddress,
    name: Option<&str>,
    role: Role,
    works_for: Option<TenantId>,
    password: &SecretString,
) -> Result<Uuid, UserError> {
    create_as(db, email, name, (role, works_for), password, &Actor::operator()).await
}

/// Makes a user with a role, and for a tenant admin the tenant.
///
/// # Errors
/// [`UserError`].
pub async fn create_as(
    db: &Database,
    email: &EmailAddress,
    name: Option<&str>,
    (role, works_for): (Role, Option<TenantId>),
    password: &SecretString,
    actor: &Actor,
) -> Result<Uuid, UserError> {
    if (role == Role::TenantAdmin) != works_for.is_some() {
        return Err(UserError::RoleAndTenant);
    }
    if let Some(tenant_id) = &works_for {
        let scope = TenantScope::named_by_operator(tenant_id.clone());
        let mut tx = TenantTransaction::begin(db, &scope, "find tenant").await?;
        let known = tenant::find(&mut tx).await?;
        tx.commit().await?;
        if known.is_none() {
            return Err(UserError::NoSuchTenant);
        }
    }
    let password_hash = password::hash(password).await?;
    let new = NewUser {
        email,
        name,
        role,
        works_for: works_for.as_ref().map(TenantId::as_str),
        password_hash: &password_hash,
    };
    let mut tx = begin(db, "create user").await?;
    let id = match user::insert(&mut tx, &new).await {
        Err(DatabaseError::Conflict { .. }) => return Err(UserError::Taken),
        id => id?,
    };
    let mut act = actor.act("user.create", Some(email.to_string()));
    act.detail = Some(match &works_for {
        Some(tenant) => format!("{role} of {tenant}", role = role.as_str()),
        None => role.as_str().to_owned(),
    });
    audit::note_platform(&mut tx, &act).await?;
    tx.commit().await?;
    Ok(id)
}

/// Everybody, without their hashes being anybody's business.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(db: &Database) -> Result<Vec<UserRow>, DatabaseError> {
    let mut tx = begin(db, "list users").await?;
    let users = user::list(&mut tx, MOST).await?;
    tx.commit().await?;
    Ok(users)
}

/// A page of users behind the address `after`; with words in `typed`, those in whose addresses, names or tenants each of
/// them begins a word.
///
/// # Errors
/// [`DatabaseError`].
pub async fn search(
    db: &Database,
    typed: &str,
    after: Option<&str>,
    most: i64,
) -> Result<Vec<UserRow>, DatabaseError> {
    let mut tx = begin(db, "search users").await?;
    let users = user::page(&mut tx, &words_of(typed), after, most).await?;
    tx.commit().await?;
    Ok(users)
}

/// A user, and how often they are signed in.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(db: &Database, id: Uuid) -> Result<Option<(UserRow, i64)>, DatabaseError> {
    let mut tx = begin(db, "find user").await?;
    let Some(found) = user::find(&mut tx, id).await? else {
        return Ok(None);
    };
    let sessions = user_session::count(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Some((found, sessions)))
}

/// Keeps a user out, and ends every session of theirs; or lets them in again. On the command line.
///
/// # Errors
/// [`UserError`].
pub async fn set_disabled(db: &Database, email: &EmailAddress, disabled: bool) -> Result<(), UserError> {
    set_disabled_as(db, email, disabled, &Actor::operator()).await
}

/// Keeps a user out, and ends every session of theirs; or lets them in again.
///
/// # Errors
/// [`UserError`].
pub async fn set_disabled_as(
    db: &Database,
    email: &EmailAddress,
    disabled: bool,
    actor: &Actor,
) -> Result<(), UserError> {
    let mut tx = begin(db, "disable user").await?;
    let known = user::find_by_email(&mut tx, email).await?;
    let known = known.ok_or(UserError::NoSuchUser)?;
    user::set_disabled(&mut tx, known.id, disabled).await?;
    user_session::delete_all(&mut tx, known.id).await?;
    let action = if disabled { "user.disable" } else { "user.enable" };
    audit::note_platform(&mut tx, &actor.act(action, Some(known.email))).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives a user another password, and ends every session of theirs. On the command line.
///
/// # Errors
/// [`UserError`].
pub async fn set_password(
    db: &Database,
    email: &EmailAddress,
    password: &SecretString,
) -> Result<(), UserError> {
    set_password_as(db, email, password, &Actor::operator()).await
}

/// Gives a user another password, and ends every session of theirs.
///
/// # Errors
/// [`UserError`].
pub async fn set_password_as(
    db: &Database,
    email: &EmailAddress,
    password: &SecretString,
    actor: &Actor,
) -> Result<(), UserError> {
    let password_hash = password::hash(password).await?;
    let mut tx = begin(db, "set password").await?;
    let known = user::find_by_email(&mut tx, email).await?;
    let known = known.ok_or(UserError::NoSuchUser)?;
    user::set_password(&mut tx, known.id, &password_hash).await?;
    user_session::delete_all(&mut tx, known.id).await?;
    audit::note_platform(&mut tx, &actor.act("user.set_password", Some(known.email))).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends every session of a user. Returns how many there were.
///
/// # Errors
/// [`UserError`].
pub async fn end_sessions_as(db: &Database, email: &EmailAddress, actor: &Actor) -> Result<usize, UserError> {
    let mut tx = begin(db, "end sessions").await?;
    let known = user::find_by_email(&mut tx, email).await?;
    let known = known.ok_or(UserError::NoSuchUser)?;
    let ended = user_session::delete_all(&mut tx, known.id).await?;
    audit::note_platform(&mut tx, &actor.act("user.end_sessions", Some(known.email))).await?;
    tx.commit().await?;
    Ok(ended)
}

/// A password nobody has thought of, to be shown once.
#[must_use]
pub fn made_password() -> String {
    let bytes: [u8; 12] = rand::random();
    hex::encode(bytes)
}

async fn begin(db: &Database, purpose: &'static str) -> Result<PlatformTransaction, DatabaseError> {
    PlatformTransaction::begin(db, PlatformScope::for_purpose(purpose)).await
}
