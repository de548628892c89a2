//! Marking a person's message as read on WhatsApp, for sessions that want it. Nothing depends on it: it is tried a few
//! times and then let go.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use database::{Database, DatabaseError};
use messaging::lanes::{LaneError, Lease, Next, Task, Waits};
use runtime::encryption::KeyRing;
use secrecy::ExposeSecret as _;
use tenant_isolation::TenantTransaction;
use whatsapp::courtesy::{NotShown, ShowCourtesy};
use whatsapp::credentials::SessionToken;

use super::{READ_LANES, ReadErrand, session_of};
use crate::secrets;
use crate::store::hooked_sessions;

/// Tries in all.
const TRIES: i32 = 3;

/// The wait after the first failure; the one after the second is twice as long.
const PAUSE: Duration = Duration::from_secs(2);

/// A mark that comes later than this says something untrue.
const TOO_LATE: chrono::TimeDelta = chrono::TimeDelta::minutes(15);

/// Marks messages as read. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ReadMarks {
    db: Database,
    keys: KeyRing,
    provider: Arc<dyn ShowCourtesy>,
}

impl std::fmt::Debug for ReadMarks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadMarks").finish_non_exhaustive()
    }
}

impl ReadMarks {
    pub(crate) fn new(db: Database, keys: KeyRing, provider: Arc<dyn ShowCourtesy>) -> Self {
        Self { db, keys, provider }
    }

    /// Marks the message at the head of a lane.
    ///
    /// # Errors
    /// [`LaneError`].
    pub(crate) async fn mark(
        &self,
        lease: &Lease,
        task: &Task,
        errand: &ReadErrand,
    ) -> Result<Next, LaneError> {
        if Utc::now() - task.created_at > TOO_LATE {
            return self.finish(lease, task, "too_late").await;
        }
        let Some(token) = self.token(lease).await? else {
            return self.finish(lease, task, "not_wanted").await;
        };
        let marked = self
            .provider
            .mark_read(&token, &errand.chat, std::slice::from_ref(&errand.message))
            .await;
        match marked {
            Ok(()) => self.finish(lease, task, "marked").await,
            Err(NotShown::NotOnWhatsApp | NotShown::NotSendable) => {
                self.finish(lease, task, "impossible").await
            }
            Err(error @ (NotShown::NoAnswer | NotShown::Refused(_))) => {
                let failures = task.failures.saturating_add(1);
                if failures >= TRIES {
                    tracing::warn!(%error, "a message was not marked as read");
                    return self.finish(lease, task, "given_up").await;
                }
                let wait = PAUSE.saturating_mul(u32::try_from(failures).unwrap_or(1));
                let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "retry read mark").await?;
                lease
                    .retry(&mut tx, task, wait, Waits::Failed, "not_marked")
                    .await?;
                tx.commit().await?;
                Ok(Next::Wait)
            }
        }
    }

    /// Lets a mark go.
    ///
    /// # Errors
    /// [`LaneError`].
    pub(crate) async fn finish(
        &self,
        lease: &Lease,
        task: &Task,
        outcome: &'static str,
    ) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "finish read mark").await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        metrics::counter!("kanal_hook_read_marks_total", "outcome" => outcome).increment(1);
        Ok(Next::Continue)
    }

    /// The session's token, as long as the session is there and wants its messages read.
    async fn token(&self, lease: &Lease) -> Result<Option<SessionToken>, DatabaseError> {
        let Some(session) = session_of(lease.lane(), READ_LANES) else {
            return Ok(None);
        };
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "find reader").await?;
        let sealed = hooked_sessions::reader_token_sealed(&mut tx, session).await?;
        tx.commit().await?;
        let binding = secrets::token_binding(lease.scope(), session);
        let opened = sealed.and_then(|sealed| match self.keys.open(&sealed, &binding) {
            Ok(token) => SessionToken::new(token.expose_secret()).ok(),
            Err(error) => {
                tracing::error!(%error, "a session's token cannot be opened");
                None
            }
        });
        Ok(opened)
    }
}
