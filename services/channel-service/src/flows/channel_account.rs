//! Which channels a tenant has switched on.

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::tenant::Actor;
use super::tenant_config::ensure_primary;
use crate::endpoints::Endpoints;
use crate::store::channel_account::{self, ChannelAccountChange, ChannelAccountRow};
use crate::store::{audit, tenant};

/// Most rows of one list; an installation has some hundred tenants.
const MOST: i64 = 10_000;

/// The tenant's switches. `None`: never set.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(db: &Database, scope: &TenantScope) -> Result<Option<ChannelAccountRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "find channel account").await?;
    let row = channel_account::find(&mut tx).await?;
    tx.commit().await?;
    Ok(row)
}

/// Sets the tenant's switches. This is also how the dashboard registers a tenant (contract 8.2), so one that is new
/// is made.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set(
    db: &Database,
    endpoints: &Endpoints,
    scope: &TenantScope,
    change: ChannelAccountChange<'_>,
    actor: &Actor,
) -> Result<ChannelAccountRow, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "set channel account").await?;
    if tenant::ensure(&mut tx, None).await? {
        ensure_primary(&mut tx, endpoints).await?;
        audit::note(&mut tx, &actor.act("tenant.create", None)).await?;
    }
    let row = channel_account::upsert(&mut tx, change).await?;
    let mut act = actor.act("channel_account.set", None);
    act.detail = Some(format!(
        "whatsapp {}, webchat {}",
        on_or_off(row.enabled_wa),
        on_or_off(row.enabled_webchat)
    ));
    audit::note(&mut tx, &act).await?;
    tx.commit().await?;
    Ok(row)
}

const fn on_or_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// The switches of all tenants; with `enabled_webchat`, of those that have it so.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    db: &Database,
    enabled_webchat: Option<bool>,
) -> Result<Vec<ChannelAccountRow>, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("list channel accounts")).await?;
    let rows = channel_account::list(&mut tx, enabled_webchat, MOST).await?;
    tx.commit().await?;
    Ok(rows)
}
