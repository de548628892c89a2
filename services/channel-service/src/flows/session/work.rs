//! Making and removing a tenant's session is done by one at a time, in whichever process.

use std::time::Duration;

use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::time::Instant;
use uuid::Uuid;

use super::{SessionError, Sessions};
use crate::store::session_lease;

/// Longer than any one call to the outside, so that whoever waits for an answer still has the lease when it comes.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// How long one waits for somebody else to finish.
const PATIENCE: Duration = Duration::from_secs(50);
/// How long the first wait is, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(25);
const LONGEST_WAIT: Duration = Duration::from_millis(400);

/// The right to make or remove a tenant's session.
pub(super) struct Work<'a> {
    sessions: &'a Sessions,
    scope: TenantScope,
    holder: Uuid,
}

impl Sessions {
    /// Waits for the right.
    pub(super) async fn begin_work(&self, scope: &TenantScope) -> Result<Work<'_>, SessionError> {
        let (begun, mut wait) = (Instant::now(), FIRST_WAIT);
        loop {
            if let Some(work) = self.try_work(scope).await? {
                return Ok(work);
            }
            if begun.elapsed() > PATIENCE {
                return Err(SessionError::Busy);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// The right, unless somebody else has it.
    pub(super) async fn try_work(&self, scope: &TenantScope) -> Result<Option<Work<'_>>, SessionError> {
        let work = Work {
            sessions: self,
            scope: scope.clone(),
            holder: Uuid::now_v7(),
        };
        match work.go_on().await {
            Ok(()) => Ok(Some(work)),
            Err(SessionError::Busy) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Work<'_> {
    pub(super) const fn scope(&self) -> &TenantScope {
        &self.scope
    }

    /// To be asked before every call to the outside: the right is good for the time of one.
    pub(super) async fn go_on(&self) -> Result<(), SessionError> {
        let mut tx = TenantTransaction::begin(&self.sessions.db, &self.scope, "lease session work").await?;
        let taken = session_lease::take(&mut tx, self.holder, LEASE).await?;
        tx.commit().await?;
        if taken { Ok(()) } else { Err(SessionError::Busy) }
    }

    /// A transaction in which the right is certain.
    pub(super) async fn transaction(&self, name: &'static str) -> Result<TenantTransaction, SessionError> {
        let mut tx = TenantTransaction::begin(&self.sessions.db, &self.scope, name).await?;
        if session_lease::is_held(&mut tx, self.holder).await? {
            Ok(tx)
        } else {
            Err(SessionError::Busy)
        }
    }

    /// Gives the right back. When that fails it ends by itself.
    pub(super) async fn end(self) {
        let released = async {
            let mut tx = TenantTransaction::begin(&self.sessions.db, &self.scope, "end session work").await?;
            session_lease::release(&mut tx, self.holder).await?;
            tx.commit().await
        };
        if let Err(error) = released.await {
            tracing::warn!(error = %crate::error::chain(&error), "a session's lease was not given back");
        }
    }
}
