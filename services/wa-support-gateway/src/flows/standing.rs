//! What a customer may do right now, at hand for every request (contract §10, W-18).

use std::sync::Arc;

use cache::{CacheKey, NotLoaded, ReadThrough, RedisLink};
use chrono::Utc;
use database::{Database, DatabaseError};
use tenant_isolation::{TenantScope, TenantTransaction};

use crate::error::Error;
use crate::store::customers::{self, Standing};
use crate::store::subscriptions::Entitlement;

/// Customers that one process keeps at hand.
const CACHED: u64 = 100_000;

/// Customers' standings. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Standings {
    db: Database,
    cache: ReadThrough<Standing>,
}

impl std::fmt::Debug for Standings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standings").finish_non_exhaustive()
    }
}

impl Standings {
    pub(crate) fn new(db: Database, redis: RedisLink) -> Self {
        Self {
            db,
            cache: ReadThrough::new(redis, CACHED),
        }
    }

    /// The customer as it stands; at most a second old. `None`: there is no such customer.
    ///
    /// # Errors
    /// A database that cannot be asked.
    pub(crate) async fn of(
        &self,
        scope: &TenantScope,
    ) -> Result<Option<Standing>, Arc<NotLoaded<DatabaseError>>> {
        self.cache
            .get(&Self::key(scope), || async {
                let mut tx = TenantTransaction::begin(&self.db, scope, "customer's standing").await?;
                let standing = customers::standing(&mut tx).await?;
                tx.commit().await?;
                Ok(standing)
            })
            .await
    }

    /// As [`of`](Self::of), if this process has it at hand: asks nobody.
    pub(crate) async fn at_hand(&self, scope: &TenantScope) -> Option<Standing> {
        self.cache.at_hand(&Self::key(scope)).await
    }

    /// Makes a change of the customer or its subscription known to every process within a second. Called after the
    /// commit of whoever changed it.
    pub(crate) async fn forget(&self, scope: &TenantScope) {
        self.cache.forget(&Self::key(scope)).await;
    }

    /// Waits until every change is known everywhere, for a process that ends soon after it made one.
    pub(crate) async fn settled(&self) {
        self.cache.settled().await;
    }

    fn key(scope: &TenantScope) -> CacheKey {
        CacheKey::of_tenant(scope, "standing", "")
    }
}

impl Standing {
    /// May the customer do anything at all?
    ///
    /// # Errors
    /// [`Error::CustomerNotActive`].
    pub(crate) fn active(&self) -> Result<(), Error> {
        if self.active {
            Ok(())
        } else {
            Err(Error::CustomerNotActive)
        }
    }

    /// What the customer is entitled to now.
    ///
    /// # Errors
    /// [`Error::CustomerNotActive`], [`Error::SubscriptionExpired`].
    pub(crate) fn entitled(&self) -> Result<&Entitlement, Error> {
        self.active()?;
        self.entitlement
            .as_ref()
            .filter(|it| it.status.is_usable(Utc::now(), Some(it.expires_at)))
            .ok_or(Error::SubscriptionExpired)
    }
}
