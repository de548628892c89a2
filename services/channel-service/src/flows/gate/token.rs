//! Who may use the gate: a bearer token for all of a tenant's numbers, shown once and kept as its hash.

use database::{Database, DatabaseError};
use domain::ids::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use crate::flows::tenant::Actor;
use crate::store::gate_tokens::TokenRow;
use crate::store::{audit, gate_tokens, tenant};

/// How tokens begin: whoever finds one somewhere sees what it is.
const PREFIX: &str = "KANALGATE";
/// Hexadecimal digits behind it: 256 random bits.
const DIGITS: usize = 64;
/// Longest name, in characters.
pub const LONGEST_NAME: usize = 100;
/// Most tokens of one tenant.
const MOST: i64 = 50;

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The tenant is not known.
    #[error("there is no such tenant")]
    NoTenant,
    /// The tenant has as many as it may have.
    #[error("the tenant has {MOST} tokens; take one back first")]
    TooMany,
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A token that was just made.
pub struct NewToken {
    /// Its id, by which it can be taken back.
    pub id: Uuid,
    /// The token; shown now and never again.
    pub token: SecretString,
}

/// Makes a token.
///
/// # Errors
/// [`TokenError`].
pub async fn create(
    db: &Database,
    scope: &TenantScope,
    name: &str,
    actor: &Actor,
) -> Result<NewToken, TokenError> {
    let bytes: [u8; DIGITS / 2] = rand::random();
    let token = SecretString::from(format!("{PREFIX}{}", hex::encode(bytes)));
    let id = Uuid::now_v7();
    let mut tx = TenantTransaction::begin(db, scope, "make gate token").await?;
    tenant::find(&mut tx).await?.ok_or(TokenError::NoTenant)?;
    tenant::hold(&mut tx).await?;
    if !gate_tokens::insert_token(&mut tx, id, name, &hash(token.expose_secret()), &actor.name, MOST).await? {
        return Err(TokenError::TooMany);
    }
    audit::note(&mut tx, &actor.act("gate.token.create", Some(id.to_string()))).await?;
    tx.commit().await?;
    Ok(NewToken { id, token })
}

/// The tenant's tokens, without the tokens themselves.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(db: &Database, scope: &TenantScope) -> Result<Vec<TokenRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list gate tokens").await?;
    let tokens = gate_tokens::tokens(&mut tx).await?;
    tx.commit().await?;
    Ok(tokens)
}

/// Takes a token back, from the next request on. False: the tenant has none of this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn revoke(
    db: &Database,
    scope: &TenantScope,
    id: Uuid,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "revoke gate token").await?;
    let found = gate_tokens::delete_token(&mut tx, id).await?;
    if found {
        audit::note(&mut tx, &actor.act("gate.token.revoke", Some(id.to_string()))).await?;
    }
    tx.commit().await?;
    Ok(found)
}

/// For whom a token is good. `None`: it is nobody's.
///
/// # Errors
/// [`DatabaseError`]; that is not "nobody's".
pub async fn scope_of(db: &Database, token: &str) -> Result<Option<TenantScope>, DatabaseError> {
    const PLATFORM: PlatformScope = PlatformScope::for_purpose("find gate token");
    let digits = token.strip_prefix(PREFIX).unwrap_or_default();
    if digits.len() != DIGITS || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let mut tx = PlatformTransaction::begin(db, PLATFORM).await?;
    let tenant = gate_tokens::tenant_of_token(&mut tx, &hash(token)).await?;
    tx.commit().await?;
    let tenant = tenant
        .map(TenantId::parse)
        .transpose()
        .map_err(|error| DatabaseError::Refused(error.into()))?;
    Ok(tenant.map(|tenant| TenantScope::of_swept_row(&PLATFORM, tenant)))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
