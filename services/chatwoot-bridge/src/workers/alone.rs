//! Work of which one process at a time is enough. Where a slow round outlives the lease two of them do it, so what they do
//! must bear that.

use std::time::Duration;

use database::{Database, DatabaseError};
use messaging::leases;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

/// This process's claim on a sort of work.
#[derive(Debug)]
pub(super) struct Alone {
    db: Database,
    name: &'static str,
    length: Duration,
    holder: Uuid,
}

impl Alone {
    /// A claim on the work of this name, for `length` each time.
    pub(super) fn new(db: Database, name: &'static str, length: Duration) -> Self {
        Self {
            db,
            name,
            length,
            holder: Uuid::now_v7(),
        }
    }

    /// Is it for this process to do?
    pub(super) async fn is_it(&self) -> Result<bool, DatabaseError> {
        let mut tx = self.begin().await?;
        let held = leases::hold(tx.connection(), self.name, self.holder, self.length).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Lets another process begin at once.
    pub(super) async fn give_back(&self) {
        let given = async {
            let mut tx = self.begin().await?;
            leases::release(tx.connection(), self.name, self.holder).await?;
            tx.commit().await
        };
        if let Err(error) = given.await {
            tracing::debug!(%error, lease = self.name, "a lease was not given back");
        }
    }

    async fn begin(&self) -> Result<PlatformTransaction, DatabaseError> {
        PlatformTransaction::begin(&self.db, PlatformScope::for_purpose(self.name)).await
    }
}
