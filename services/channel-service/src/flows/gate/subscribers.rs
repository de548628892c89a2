//! Which tenants are told anything at all: known to every process, and never out of date for longer than it says.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use database::{Database, DatabaseError};
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::store::gate_subscriptions;

/// For so long a process goes by what it was told of the table.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// Tenants that have a subscription, so that the events of all others cost no look at the table. Cheap to clone.
///
/// Nothing is dropped by what was known too long ago: whoever subscribes waits [`Self::known_everywhere`] before it says
/// that it has, and by then no process goes by an older look.
#[derive(Debug, Clone)]
pub struct Subscribers {
    known: Arc<RwLock<Known>>,
    good_for: Duration,
}

#[derive(Debug, Default)]
struct Known {
    tenants: HashSet<TenantId>,
    /// When the table was asked: what was committed before is among it.
    asked: Option<Instant>,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self::good_for(GOOD_FOR)
    }
}

impl Subscribers {
    /// Knows nobody yet, and goes by each look at the table for so long.
    #[must_use]
    pub fn good_for(good_for: Duration) -> Self {
        Self {
            known: Arc::default(),
            good_for,
        }
    }

    /// Is the tenant told anything? Looks at the table where the last look is too old.
    ///
    /// # Errors
    /// [`DatabaseError`]: nobody knows.
    pub async fn have(&self, db: &Database, tenant: &TenantId) -> Result<bool, DatabaseError> {
        if let Some(has) = self.remembered(tenant) {
            return Ok(has);
        }
        let asked = Instant::now();
        let mut tx =
            PlatformTransaction::begin(db, PlatformScope::for_purpose("find gate subscribers")).await?;
        let names = gate_subscriptions::subscribed_tenants(&mut tx).await?;
        tx.commit().await?;
        let tenants: HashSet<TenantId> = names
            .into_iter()
            .filter_map(|name| TenantId::parse(name).ok())
            .collect();
        let has = tenants.contains(tenant);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known {
            tenants,
            asked: Some(asked),
        };
        Ok(has)
    }

    fn remembered(&self, tenant: &TenantId) -> Option<bool> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_good = known.asked?.elapsed() < self.good_for;
        is_good.then(|| known.tenants.contains(tenant))
    }

    /// Waits until every process knows of a subscription that is committed: what comes in from now on is told.
    pub async fn known_everywhere(&self) {
        tokio::time::sleep(self.good_for).await;
    }
}
