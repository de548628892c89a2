//! Passing one event on, and what becomes of it then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use database::{Database, DatabaseError};
use domain::retry::RetrySchedule;
use messaging::Envelope;
use messaging::events::webhook_parked::WebhookParked;
use messaging::lanes::{LaneError, Lease, Next, Task, Waits};
use messaging::outbox::{self, NewRow, Signal};
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::ExposeSecret as _;
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;
use whatsapp::credentials::WebhookKey;

use crate::receivers::{Answer, Delivery, Receivers};
use crate::secrets;
use crate::store::hook_events::{self, End, Outgoing, Whole};

/// While a body is read there is one copy beside it.
const COPIES: usize = 2;

/// Passes events on. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Deliveries {
    db: Database,
    keys: KeyRing,
    receivers: Receivers,
    retry: RetrySchedule,
    memory: Memory,
    /// Rung when a parked event is to be announced; `None` where there is nobody to announce it to.
    announce: Option<Signal>,
}

/// How a try ended, before it is written down.
enum Outcome {
    Done(End),
    Failed {
        reason: String,
        wait: Option<Duration>,
    },
    /// Nobody was asked.
    NotTried(Duration),
}

impl Deliveries {
    pub(crate) fn new(
        db: Database,
        keys: KeyRing,
        receivers: Receivers,
        retry: RetrySchedule,
        memory: usize,
        announce: Option<Signal>,
    ) -> Self {
        Self {
            db,
            keys,
            receivers,
            retry,
            memory: Memory::of(memory / COPIES),
            announce,
        }
    }

    /// Passes on the event at the head of a lane.
    ///
    /// # Errors
    /// [`LaneError`]: nothing was written, and whoever has the lane next tries again.
    pub(crate) async fn deliver(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let Some(event) = self.find(lease.scope(), task.id).await? else {
            // It grew too old, or its session is going.
            return self.finish(lease, task, End::Dropped, "no_session").await;
        };
        match self.attempt(lease.scope(), task, &event).await? {
            Outcome::Done(End::Delivered) => self.finish(lease, task, End::Delivered, "delivered").await,
            Outcome::Done(End::Dropped) => self.finish(lease, task, End::Dropped, "no_receiver").await,
            Outcome::NotTried(wait) => {
                let wait = wait + wait.mul_f64(0.2 * rand::random::<f64>());
                self.retry(lease, task, wait, Waits::NotBegun, "host_resting")
                    .await
            }
            Outcome::Failed { reason, wait } => {
                let failures = times(task.failures);
                match self.retry.wait_after(failures, rand::random()) {
                    Some(scheduled) => {
                        let wait = wait.map_or(scheduled, |asked| asked.max(scheduled));
                        self.retry(lease, task, wait, Waits::Failed, &reason).await
                    }
                    None => self.park(lease, task, &event, &reason).await,
                }
            }
        }
    }

    async fn find(&self, scope: &TenantScope, event: Uuid) -> Result<Option<Outgoing>, DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find webhook").await?;
        let found = hook_events::outgoing(&mut tx, event).await?;
        tx.commit().await?;
        Ok(found)
    }

    async fn attempt(
        &self,
        scope: &TenantScope,
        task: &Task,
        event: &Outgoing,
    ) -> Result<Outcome, DatabaseError> {
        let Some(url) = event.webhook_url.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(Outcome::Done(End::Dropped));
        };
        let key = match self.signing_key(scope, event) {
            Ok(key) => key,
            Err(error) => {
                tracing::error!(%error, "the key that signs a session's webhooks cannot be used");
                return Ok(failed("unusable_key"));
            }
        };
        let _place = self.memory.take(event.size).await;
        let mut tx = TenantTransaction::begin(&self.db, scope, "read webhook").await?;
        let whole = hook_events::whole(&mut tx, task.id).await?;
        tx.commit().await?;
        let Some(Whole { content_type, body }) = whole else {
            return Ok(Outcome::Done(End::Dropped));
        };
        let delivery = Delivery {
            event: task.id,
            attempt: times(task.begun),
            content_type,
            key,
            body: Bytes::from(body),
        };
        Ok(match self.receivers.post(url, delivery).await {
            Answer::Taken => Outcome::Done(End::Delivered),
            Answer::Gone => Outcome::Done(End::Dropped),
            Answer::Failed { reason, wait } => Outcome::Failed { reason, wait },
            Answer::Resting(wait) => Outcome::NotTried(wait),
        })
    }

    /// The customer's own key, else the session's: then the signature is the one that the WA server made.
    fn signing_key(&self, scope: &TenantScope, event: &Outgoing) -> Result<WebhookKey, UnusableKey> {
        let (sealed, binding) = match &event.customer_hmac_key_sealed {
            Some(sealed) => (sealed, secrets::customer_hmac_key_binding(scope, event.session)),
            None => (
                &event.hmac_key_sealed,
                secrets::hmac_key_binding(scope, event.session),
            ),
        };
        let key = self.keys.open(sealed, &binding)?;
        WebhookKey::new(key.expose_secret()).map_err(|_| UnusableKey::Form)
    }

    async fn finish(
        &self,
        lease: &Lease,
        task: &Task,
        end: End,
        outcome: &'static str,
    ) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "finish webhook").await?;
        lease.done(&mut tx, task).await?;
        hook_events::finish(&mut tx, task.id, end).await?;
        tx.commit().await?;
        metrics::counter!("kanal_hook_events_finished_total", "outcome" => outcome).increment(1);
        if end == End::Dropped {
            tracing::warn!(outcome, "a webhook was passed on to nobody");
        }
        Ok(Next::Continue)
    }

    async fn retry(
        &self,
        lease: &Lease,
        task: &Task,
        wait: Duration,
        waits: Waits,
        reason: &str,
    ) -> Result<Next, LaneError> {
        tracing::info!(
            reason,
            wait_ms = wait.as_millis(),
            ?waits,
            "a webhook has to wait"
        );
        metrics::counter!("kanal_hook_events_retried_total").increment(1);
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "retry webhook").await?;
        lease.retry(&mut tx, task, wait, waits, reason).await?;
        tx.commit().await?;
        Ok(Next::Wait)
    }

    async fn park(
        &self,
        lease: &Lease,
        task: &Task,
        event: &Outgoing,
        reason: &str,
    ) -> Result<Next, LaneError> {
        tracing::error!(
            reason,
            "a webhook is parked; wa-support-gateway hook parked lists it, hook replay tries it again"
        );
        metrics::counter!("kanal_hook_events_parked_total").increment(1);
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "park webhook").await?;
        lease.park(&mut tx, task, reason).await?;
        if self.announce.is_some() {
            let parked = WebhookParked {
                session: event.session,
                session_id: event.session_id.clone(),
                event_id: task.id,
                event_type: event.event_type.clone(),
                reason: reason.to_owned(),
                attempts: times(task.failures),
                received_at: event.received_at,
                at: Utc::now(),
            };
            let envelope = Envelope::new(lease.scope(), &parked)
                .map_err(|error| DatabaseError::Refused(Box::new(error)))?;
            let row = NewRow {
                lane: lease.lane().to_owned(),
                envelope,
            };
            outbox::enqueue(&mut tx, vec![row]).await?;
        }
        tx.commit().await?;
        if let Some(announce) = &self.announce {
            announce.ring();
        }
        Ok(Next::Continue)
    }
}

/// Which time this is, given how often it was before.
fn times(before: i32) -> u32 {
    u32::try_from(before).unwrap_or_default().saturating_add(1)
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed {
        reason: reason.to_owned(),
        wait: None,
    }
}

#[derive(Debug, thiserror::Error)]
enum UnusableKey {
    #[error(transparent)]
    Sealed(#[from] EncryptionError),
    #[error("it is empty or too long")]
    Form,
}

/// How many bytes of bodies may be on their way at once.
#[derive(Debug, Clone)]
struct Memory {
    bytes: Arc<Semaphore>,
    all: u32,
}

impl Memory {
    fn of(bytes: usize) -> Self {
        let all = u32::try_from(bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self {
            bytes: Arc::new(Semaphore::new(
                usize::try_from(all).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            all,
        }
    }

    /// Waits for room. A body that is larger than all of it (the limit was lowered) goes alone.
    async fn take(&self, size: i64) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(size).unwrap_or(u32::MAX).min(self.all);
        // Never closed.
        Arc::clone(&self.bytes).acquire_many_owned(wanted).await.ok()
    }
}
