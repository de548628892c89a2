//! Who may use the proxy: from a presented token to the session it stands for (contract §8.2).
//!
//! The directory leads from the token's hash to the customer, and one query inside the customer's own scope then
//! judges session, customer and subscription together (W-18). A cache would stand in front of [`admit`] and keep
//! nothing but its outcome.

use chrono::Utc;
use database::Database;
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use tenant_isolation::resolve::{ExternalId, resolve};
use tenant_isolation::{TenantScope, TenantTransaction};

use crate::error::Error;
use crate::secrets;
use crate::store::{directory, sessions};

/// A caller that may use its session on the WA server.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Whose session it is.
    pub(crate) scope: TenantScope,
    /// The token of the session's row: the only one that ever goes upstream (W-02).
    pub(crate) token: SecretString,
}

/// Judges a presented token.
///
/// # Errors
/// [`Error::InvalidToken`], [`Error::CustomerNotActive`], [`Error::SubscriptionExpired`]; a database that cannot be
/// asked is an error of its own and never "unknown".
pub(crate) async fn admit(
    db: &Database,
    keys: &KeyRing,
    presented: &SecretString,
) -> Result<Admitted, Error> {
    let hash = secrets::token_hash(presented);
    let external = ExternalId::new(directory::SESSION_TOKEN, &hash).ok_or(Error::InvalidToken)?;
    let resolved = resolve(db, &external).await?.ok_or(Error::InvalidToken)?;
    let scope = resolved.scope();

    let mut tx = TenantTransaction::begin(db, &scope, "admit to proxy").await?;
    let standing = sessions::standing(&mut tx, resolved.subject(), &hash).await?;
    tx.commit().await?;

    let standing = standing.ok_or(Error::InvalidToken)?;
    if !standing.customer_active {
        return Err(Error::CustomerNotActive);
    }
    if !standing
        .subscription
        .is_some_and(|(status, end)| status.is_usable(Utc::now(), Some(end)))
    {
        return Err(Error::SubscriptionExpired);
    }
    let token = keys.open(
        &standing.token_sealed,
        &secrets::token_binding(&scope, resolved.subject()),
    )?;
    Ok(Admitted { scope, token })
}
