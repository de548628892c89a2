//! A customer leaves and nothing of it stays: keys, sessions, rows, cached values. Only its acts stay in the audit log.
//!
//! It is switched off and loses its keys first, so from then on nobody works for it. Its sessions are then removed at the
//! WA server one by one, as a customer removes them: intent, WA server, rows ([`super::session_remove`]). Where the WA
//! server does not answer, the erasure ends there with that error and is begun again later; nobody else can remove a
//! session there once its token is gone. The rest goes in one transaction with the customer's row, under its lock: whoever
//! makes a session holds the same lock, so none is made behind the last look.

use cache::RedisLink;
use serde::Serialize;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::customers::{Actor, Customers, SUSPENDED};
use super::sessions::Sessions;
use crate::error::Error;
use crate::store::{api_keys, audit, ownership, sessions, tenant_rows};

/// How often sessions are looked for that were begun before the customer was switched off.
const ROUNDS: usize = 3;

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Erased {
    /// Sessions that were removed at the WA server.
    pub(crate) sessions: usize,
    /// Redis was there: nothing of the customer is in it any more. Else what it holds ends by itself, within minutes.
    pub(crate) cache: bool,
}

/// Erases the customer. Begun again, an erasure that was interrupted is finished.
///
/// # Errors
/// [`Error::NotItsCustomer`], [`Error::NoCustomer`]; those of removing a session: then the customer is off and without
/// keys, and what is left of it waits for the next order.
pub(crate) async fn erase(
    customers: &Customers,
    sessions: &Sessions,
    redis: &RedisLink,
    by: &Actor,
    scope: &TenantScope,
) -> Result<Erased, Error> {
    switch_off(customers, by, scope).await?;
    let sessions = sessions.clone().acting_for(by.on_sessions());
    let mut erased = Erased::default();
    for _ in 0..ROUNDS {
        erased.sessions += remove_sessions(&sessions, scope).await?;
        if let Some(keys) = finish(customers, by, scope, erased.sessions).await? {
            forget(customers, scope, &keys).await;
            erased.cache = redis.forget_tenant(scope).await.is_some();
            tracing::info!(tenant = %scope.tenant(), sessions = erased.sessions, "a customer was erased");
            return Ok(erased);
        }
    }
    Err(Error::SessionBusy)
}

/// Nothing more comes in: the customer is off, and its keys are gone.
async fn switch_off(customers: &Customers, by: &Actor, scope: &TenantScope) -> Result<(), Error> {
    let mut tx = TenantTransaction::begin(&customers.db, scope, "begin erasing a customer").await?;
    by.owned(ownership::lock(&mut tx).await?)?;
    ownership::set_status(&mut tx, SUSPENDED).await?;
    let keys = api_keys::remove_all(&mut tx).await?;
    let detail = format!("{} key(s) ended", keys.len());
    audit::note(&mut tx, &by.act("customer.erase", Some(detail))).await?;
    tx.commit().await?;
    forget(customers, scope, &keys).await;
    Ok(())
}

async fn remove_sessions(work: &Sessions, scope: &TenantScope) -> Result<usize, Error> {
    let mut tx = TenantTransaction::begin(&work.db, scope, "sessions of a leaving customer").await?;
    let ids = sessions::ids(&mut tx).await?;
    tx.commit().await?;
    let mut removed = 0;
    for id in ids {
        match work.remove_of_leaving(scope, id).await {
            Ok(()) => removed += 1,
            // The sweep was faster.
            Err(Error::SessionNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Deletes what is left. Returns the hashes of keys that were made meanwhile; `None`: there is a session again.
async fn finish(
    customers: &Customers,
    by: &Actor,
    scope: &TenantScope,
    removed: usize,
) -> Result<Option<Vec<String>>, Error> {
    let mut tx = TenantTransaction::begin(&customers.db, scope, "end erasing a customer").await?;
    // It may have been given to another service since.
    by.owned(ownership::lock(&mut tx).await?)?;
    if !sessions::ids(&mut tx).await?.is_empty() {
        return Ok(None);
    }
    let keys = api_keys::remove_all(&mut tx).await?;
    tenant_rows::delete_all(&mut tx).await?;
    let detail = format!("{removed} session(s) removed");
    audit::note(&mut tx, &by.act("customer.erased", Some(detail))).await?;
    tx.commit().await?;
    Ok(Some(keys))
}

async fn forget(customers: &Customers, scope: &TenantScope, keys: &[String]) {
    customers.standings.forget(scope).await;
    for hash in keys {
        customers.keys.forget(hash).await;
    }
}
