//! A tenant leaves and nothing of it stays: rows, cached values, outside ids, routes. Only the acts stay in the audit log, and
//! for two weeks that it was erased: what is on its way at the broker brings nothing back.
//!
//! Rows go in small batches: nobody else waits for them. What processes have in hand finds neither its lane nor its route any
//! more. An erasure that was interrupted is begun again by the same order, as long as anything is left. Chatwoot keeps what it
//! has, and goes on sending its webhooks until they are taken out there; here they are nobody's.

use cache::RedisLink;
use database::{Database, DatabaseError};
use messaging::ledger;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction, rows};

use crate::store::audit_log::{self, Actor};
use crate::store::erasures::{self, WHOLE_TENANT};
use crate::store::tenant_data;

const BATCH: i64 = 1_000;
/// The first time takes everything, the second one what was under way meanwhile. Whoever still adds something is no leftover.
const PASSES: usize = 5;

/// Why a tenant is not erased, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nothing here is the tenant's.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// Postgres failed; beginning again is safe.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Erases the tenant. Returns how many rows there were.
///
/// # Errors
/// [`EraseError`].
pub async fn erase(
    db: &Database,
    redis: Option<&RedisLink>,
    scope: &TenantScope,
    actor: &Actor,
) -> Result<usize, EraseError> {
    let mut tx = TenantTransaction::begin(db, scope, "begin erasure").await?;
    if !tenant_data::is_known(&mut tx).await? {
        return Err(EraseError::NoSuchTenant);
    }
    let tables = tenant_data::tables(&mut tx).await?;
    erasures::note(&mut tx, &[WHOLE_TENANT.to_vec()]).await?;
    audit_log::note(&mut tx, &actor.act("tenant.erase", None)).await?;
    tx.commit().await?;

    delete_outside(db, scope).await?;
    let mut erased = 0;
    for _ in 0..PASSES {
        let gone = pass(db, scope, &tables).await?;
        erased += gone;
        if gone == 0 {
            break;
        }
    }
    // Locks of workers that were at it.
    delete_outside(db, scope).await?;
    let forgotten = match redis {
        Some(redis) => redis.forget_tenant(scope).await,
        None => Some(0),
    };
    let mut tx = TenantTransaction::begin(db, scope, "end erasure").await?;
    erasures::note(&mut tx, &[WHOLE_TENANT.to_vec()]).await?;
    let detail = match forgotten {
        Some(keys) => format!("{erased} rows, {keys} cached values"),
        None => format!("{erased} rows; Redis was away, its values expire by themselves"),
    };
    audit_log::note(&mut tx, &actor.act("tenant.erased", None).saying(detail)).await?;
    tx.commit().await?;
    tracing::info!(tenant = %scope.tenant(), rows = erased, "a tenant was erased");
    Ok(erased)
}

async fn pass(db: &Database, scope: &TenantScope, tables: &[String]) -> Result<usize, DatabaseError> {
    let mut erased = 0;
    for table in tables {
        loop {
            let mut tx = TenantTransaction::begin(db, scope, "erase tenant").await?;
            let deleted = rows::delete(&mut tx, table, BATCH).await?;
            ledger::note_deleted(&mut tx, table, deleted);
            tx.commit().await?;
            erased += deleted;
            if i64::try_from(deleted).unwrap_or(BATCH) < BATCH {
                break;
            }
        }
    }
    Ok(erased)
}

async fn delete_outside(db: &Database, scope: &TenantScope) -> Result<(), DatabaseError> {
    let platform = PlatformScope::for_purpose("erase what names a tenant");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    tenant_data::delete_outside(&mut tx, scope).await?;
    tx.commit().await
}
