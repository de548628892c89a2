//! Customer organisations come, are suspended, and come back.

use database::{Database, DatabaseError};
use domain::tenant::TenantStatus;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::route_account::AccountRoutes;
use super::tenant_config::ensure_primary;
use crate::endpoints::Endpoints;
use crate::store::account;
use crate::store::audit;
pub use crate::store::audit::Actor;
use crate::store::tenant::{self, TenantRow};
use crate::store::words::words_of;

/// Registers a tenant, with the account that its sessions and its webchat will run over. Registering it again gives
/// it the new name. Returns whether it is new.
///
/// # Errors
/// [`DatabaseError`].
pub async fn create(
    db: &Database,
    endpoints: &Endpoints,
    scope: &TenantScope,
    name: Option<&str>,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "create tenant").await?;
    let is_new = tenant::ensure(&mut tx, name).await?;
    ensure_primary(&mut tx, endpoints).await?;
    if is_new {
        audit::note(&mut tx, &actor.act("tenant.create", None)).await?;
    }
    tx.commit().await?;
    Ok(is_new)
}

/// Gives a tenant another name. False when there is no such tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn rename(
    db: &Database,
    scope: &TenantScope,
    name: &str,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "rename tenant").await?;
    if tenant::find(&mut tx).await?.is_none() {
        return Ok(false);
    }
    tenant::ensure(&mut tx, Some(name)).await?;
    audit::note(&mut tx, &actor.act("tenant.rename", None)).await?;
    tx.commit().await?;
    Ok(true)
}

/// Suspends a tenant or lifts it. False when there is no such tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_status(
    db: &Database,
    scope: &TenantScope,
    status: TenantStatus,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "set tenant status").await?;
    let found = tenant::set_status(&mut tx, status).await?;
    if found {
        let action = match status {
            TenantStatus::Active => "tenant.resume",
            TenantStatus::Suspended => "tenant.suspend",
        };
        audit::note(&mut tx, &actor.act(action, None)).await?;
    }
    tx.commit().await?;
    Ok(found)
}

/// Which of a tenant's kept places change. `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeptPlacesChange {
    /// Groups.
    pub groups: Option<bool>,
    /// Broadcast lists.
    pub broadcasts: Option<bool>,
    /// Status posts.
    pub status: Option<bool>,
}

/// Sets from which places besides conversations with one person messages are kept; receivers follow within a second.
/// False when there is no such tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_kept_places(
    db: &Database,
    routes: &AccountRoutes,
    scope: &TenantScope,
    change: KeptPlacesChange,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let KeptPlacesChange {
        groups,
        broadcasts,
        status,
    } = change;
    let mut tx = TenantTransaction::begin(db, scope, "set kept places").await?;
    if !tenant::set_kept_places(&mut tx, groups, broadcasts, status).await? {
        return Ok(false);
    }
    let mut act = actor.act("tenant.keep_places", None);
    act.detail = Some(format!(
        "groups {groups:?}, broadcasts {broadcasts:?}, status {status:?}"
    ));
    audit::note(&mut tx, &act).await?;
    let outside_ids = account::outside_ids(&mut tx).await?;
    tx.commit().await?;
    for (kind, external_id) in outside_ids {
        routes.forget(kind, &external_id).await;
    }
    Ok(true)
}

/// The tenant. `None`: nobody registered it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(db: &Database, scope: &TenantScope) -> Result<Option<TenantRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "find tenant").await?;
    let found = tenant::find(&mut tx).await?;
    tx.commit().await?;
    Ok(found)
}

/// A page of tenants in the order of their ids.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(db: &Database, after: Option<&str>, most: i64) -> Result<Vec<TenantRow>, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("list tenants")).await?;
    let rows = tenant::list(&mut tx, after, most).await?;
    tx.commit().await?;
    Ok(rows)
}

/// A page of tenants in whose ids or names every word of `typed` begins a word; of all of them when it holds none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn search(
    db: &Database,
    typed: &str,
    after: Option<&str>,
    most: i64,
) -> Result<Vec<TenantRow>, DatabaseError> {
    let words = words_of(typed);
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("search tenants")).await?;
    let rows = match words.is_empty() {
        true => tenant::list(&mut tx, after, most).await?,
        false => tenant::search(&mut tx, &words, after, most).await?,
    };
    tx.commit().await?;
    Ok(rows)
}

/// How many tenants there are, and how many of them are suspended.
///
/// # Errors
/// [`DatabaseError`].
pub async fn count(db: &Database) -> Result<(i64, i64), DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("count tenants")).await?;
    let counts = tenant::count(&mut tx).await?;
    tx.commit().await?;
    Ok(counts)
}
