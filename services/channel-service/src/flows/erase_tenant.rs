//! A tenant leaves and nothing of it stays: rows, files, cached values, outside ids. Only the acts stay in the audit log.
//!
//! The row in `tenants` goes last, so that an erasure that was interrupted can be begun again. Rows go in small batches:
//! nobody else waits for them. The names of its files stay until the files are gone: where the object store is away, or is
//! not at hand, the sweep of files deletes both. Its sessions are unlinked where they are by the sweep that does it for tenants
//! that moved: until then, and for a week or little more, their names and sealed tokens stay. What is on its way at the broker is read by consumers that find no tenant any more.

use cache::RedisLink;
use database::{Database, DatabaseError};
use domain::tenant::TenantStatus;
use runtime::encryption::KeyRing;
use tenant_isolation::{TenantScope, TenantTransaction, rows};

use super::media_garbage;
use super::route_account::AccountRoutes;
use super::session::{SessionError, leave_all};
use super::tenant::Actor;
use crate::media::MediaStorage;
use crate::store::{account, audit, support_customer, tenant, tenant_data};

const BATCH: i64 = 1_000;

/// Why a tenant is not erased, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nobody is registered under this id.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// Postgres failed; beginning again is safe.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What its sessions are could not be written down; nothing was erased yet.
    #[error(transparent)]
    Sessions(#[from] SessionError),
}

/// Erases the tenant, and its files in `files`. Tokens of its sessions are sealed anew with `keys` until they are unlinked. Returns how many rows there were.
///
/// # Errors
/// [`EraseError`].
pub async fn erase(
    db: &Database,
    keys: &KeyRing,
    redis: &RedisLink,
    routes: &AccountRoutes,
    files: Option<&MediaStorage>,
    scope: &TenantScope,
    actor: &Actor,
) -> Result<usize, EraseError> {
    // First nothing more comes in: suspended, and no outside id leads here.
    let mut tx = TenantTransaction::begin(db, scope, "begin erasure").await?;
    if !tenant::set_status(&mut tx, TenantStatus::Suspended).await? {
        return Err(EraseError::NoSuchTenant);
    }
    let outside = account::outside_ids(&mut tx).await?;
    let tables = rows::tables(&mut tx).await?;
    let left = leave_all(&mut tx, keys).await?;
    let mut act = actor.act("tenant.erase", None);
    act.detail = (left > 0).then(|| format!("{left} sessions to be unlinked"));
    audit::note(&mut tx, &act).await?;
    tx.commit().await?;

    let mut erased = 0;
    // The directory goes before everything else, and what was under way meanwhile goes in the second pass.
    let directory = tables.iter().filter(|table| *table == "tenant_directory");
    let passes = directory.chain(&tables).chain(&tables);
    for table in passes {
        loop {
            let mut tx = TenantTransaction::begin(db, scope, "erase tenant").await?;
            let deleted = tenant_data::delete_rows(&mut tx, table, BATCH).await?;
            tx.commit().await?;
            erased += deleted;
            if i64::try_from(deleted).unwrap_or(BATCH) < BATCH {
                break;
            }
        }
        if table == "tenant_directory" {
            for (kind, external_id) in &outside {
                routes.forget(kind, external_id).await;
            }
        }
    }
    if let Some(files) = files
        && let Err(error) = media_garbage::take_out_of(db, files, scope).await
    {
        tracing::warn!(error = %crate::error::chain(&error), "files of an erased tenant are left to the sweep");
    }
    let forgotten = redis.forget_tenant(scope).await;
    let mut tx = TenantTransaction::begin(db, scope, "end erasure").await?;
    support_customer::forget_unused(&mut tx, None).await?;
    tenant_data::delete_tenant(&mut tx).await?;
    let mut act = actor.act("tenant.erased", None);
    act.detail = Some(match forgotten {
        Some(keys) => format!("{erased} rows, {keys} cached values"),
        None => format!("{erased} rows; Redis was away, its values expire by themselves"),
    });
    audit::note(&mut tx, &act).await?;
    tx.commit().await?;
    tracing::info!(tenant = %scope.tenant(), rows = erased, "a tenant was erased");
    Ok(erased)
}
