//! The service as operators look at it: what waits, who leads what, and which processes there are.

use std::time::Duration;

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::store::system::{self, Backlogs, LeaseRow, Replica};

/// What Postgres tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemView {
    /// What waits.
    pub backlogs: Backlogs,
    /// Who leads what.
    pub leases: Vec<LeaseRow>,
    /// The processes that were seen lately.
    pub replicas: Vec<Replica>,
}

/// Looks. Processes that have been silent for longer are not shown.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show(db: &Database, silent: Duration) -> Result<SystemView, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("show system")).await?;
    let view = SystemView {
        backlogs: system::backlogs(&mut tx).await?,
        leases: system::leases(&mut tx).await?,
        replicas: system::replicas(&mut tx, silent).await?,
    };
    tx.commit().await?;
    Ok(view)
}
