//! What WhatsApp shows of a tenant's reading and writing.

use database::{Database, DatabaseError};
use tenant_isolation::{TenantScope, TenantTransaction};

use super::tenant::Actor;
use super::tenant_config::ensure_primary;
use crate::endpoints::Endpoints;
use crate::store::{audit, tenant};

/// The tenant's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Courtesies {
    /// What it reads is shown as read.
    pub auto_read: bool,
    /// People see when an answer is being written.
    pub typing_indicator: bool,
}

/// What holds for a tenant that never set anything.
const DEFAULTS: Courtesies = Courtesies {
    auto_read: true,
    typing_indicator: true,
};

/// The tenant's settings.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(db: &Database, scope: &TenantScope) -> Result<Courtesies, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "find courtesies").await?;
    let row = tenant::find(&mut tx).await?;
    tx.commit().await?;
    Ok(row.map_or(DEFAULTS, |row| Courtesies {
        auto_read: row.auto_read,
        typing_indicator: row.typing_indicator,
    }))
}

/// Changes what is given, and returns what holds then. A tenant that is new is made, as with its other switches.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set(
    db: &Database,
    endpoints: &Endpoints,
    scope: &TenantScope,
    auto_read: Option<bool>,
    typing_indicator: Option<bool>,
    actor: &Actor,
) -> Result<Courtesies, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "set courtesies").await?;
    if tenant::ensure(&mut tx, None).await? {
        ensure_primary(&mut tx, endpoints).await?;
        audit::note(&mut tx, &actor.act("tenant.create", None)).await?;
    }
    tenant::set_courtesies(&mut tx, auto_read, typing_indicator).await?;
    let mut act = actor.act("session_settings.set", None);
    act.detail = Some(format!(
        "auto read {}, typing {}",
        word(auto_read),
        word(typing_indicator)
    ));
    audit::note(&mut tx, &act).await?;
    tx.commit().await?;
    find(db, scope).await
}

const fn word(change: Option<bool>) -> &'static str {
    match change {
        Some(true) => "on",
        Some(false) => "off",
        None => "as it was",
    }
}
