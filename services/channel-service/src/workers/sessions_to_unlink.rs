//! Unlinks sessions that were left on other endpoints. One of several processes does it at a time, under a lease in `leases`; every
//! process shows in its metrics how many there are.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::flows::session::{SessionError, Sessions, Unlinking};
use crate::store::{lease, session_to_unlink};

const LEASE: &str = "sessions to unlink";
const EVERY: Duration = Duration::from_secs(5);
/// Longer than one session takes, so that whoever waits for an answer still leads when it comes.
const LEASE_LENGTH: Duration = Duration::from_secs(60);
/// Most sessions of one round.
const SWEPT: i64 = 100;
/// Most endpoints that are shown: those with the most sessions.
const SHOWN: i64 = 100;

/// What the worker works with.
pub struct UnlinkWorker {
    /// The tables.
    pub db: Database,
    /// Unlinks.
    pub sessions: Arc<Sessions>,
}

impl UnlinkWorker {
    /// Looks every few seconds until the end begins.
    pub async fn run(self, shutdown: Shutdown) {
        let holder = Uuid::now_v7();
        let mut shown = HashSet::new();
        while shutdown.sleep(EVERY).await {
            let round = async {
                self.round(holder).await?;
                self.show(&mut shown).await?;
                Ok::<_, SessionError>(())
            };
            // Dropping one in the middle harms nothing: it is tried again, and removing what is gone succeeds.
            let done = tokio::select! {
                done = round => done,
                () = shutdown.begun() => break,
            };
            if let Err(error) = done {
                tracing::warn!(error = %crate::error::chain(&error), "sessions to unlink could not be looked for");
            }
        }
        if let Err(error) = self.release(holder).await {
            tracing::debug!(error = %crate::error::chain(&error), "the lease for unlinking sessions was not given back");
        }
    }

    async fn round(&self, holder: Uuid) -> Result<(), SessionError> {
        if !self.leads(holder).await? {
            return Ok(());
        }
        let mut away = HashSet::new();
        for due in self.sessions.due_to_unlink(SWEPT).await? {
            // One that hangs is enough.
            if away.contains(&due.endpoint) {
                continue;
            }
            if !self.leads(holder).await? {
                break;
            }
            match self.sessions.unlink_left(&due).await {
                Ok(Unlinking::Later { away: true }) => {
                    self.sessions.rest_unlinking_at(&due.endpoint).await?;
                    away.insert(due.endpoint);
                }
                Ok(_) => {}
                Err(SessionError::Database(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(tenant = due.tenant_id, error = %crate::error::chain(&error),
                        "it is not known what became of a session that was to be unlinked");
                }
            }
        }
        Ok(())
    }

    async fn show(&self, shown: &mut HashSet<String>) -> Result<(), DatabaseError> {
        let mut tx = self.platform().await?;
        let counts = session_to_unlink::count(&mut tx, SHOWN).await?;
        tx.commit().await?;
        let mut none_left = std::mem::take(shown);
        for count in counts {
            none_left.remove(&count.endpoint);
            #[expect(clippy::cast_precision_loss, reason = "sessions are fewer than 2^52")]
            metrics::gauge!("kanal_sessions_to_unlink", "endpoint" => count.endpoint.clone())
                .set(count.sessions as f64);
            shown.insert(count.endpoint);
        }
        for endpoint in none_left {
            metrics::gauge!("kanal_sessions_to_unlink", "endpoint" => endpoint).set(0.0);
        }
        Ok(())
    }

    async fn leads(&self, holder: Uuid) -> Result<bool, DatabaseError> {
        let mut tx = self.platform().await?;
        let held = lease::hold(&mut tx, LEASE, holder, LEASE_LENGTH).await?;
        tx.commit().await?;
        Ok(held)
    }

    async fn release(&self, holder: Uuid) -> Result<(), DatabaseError> {
        let mut tx = self.platform().await?;
        lease::release(&mut tx, LEASE, holder).await?;
        tx.commit().await
    }

    async fn platform(&self) -> Result<PlatformTransaction, DatabaseError> {
        PlatformTransaction::begin(&self.db, PlatformScope::for_purpose("lead unlinking")).await
    }
}
