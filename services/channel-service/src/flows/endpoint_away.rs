//! A message whose endpoint cannot be reached: it waits, uncounted, until the endpoint answers or its own time is over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::DeliveryStatus;
use domain::ids::MessageId;
use messaging::lanes::{LaneError, Lease, Next, Task};
use tenant_isolation::TenantTransaction;
use whatsapp::port::RetryReason;

use super::send_message::Sender;
use super::tenant_config::TenantConfig;
use crate::endpoints::LiveEndpoint;
use crate::endpoints::outage::{AWAY, UNREACHABLE, is_answer};
use crate::store::message::OutboundRow;
use crate::store::send_attempt;

/// The file was not to be had, so nobody was called.
pub(super) const NO_FILE: &str = "media_unavailable";

/// The end of a wait is looked for no sooner.
const SHORTEST: Duration = Duration::from_millis(50);

/// A message that waits for its endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// It was queued then, be it for the first time or by hand, or is unknown since.
    since: DateTime<Utc>,
    is_unknown: bool,
    /// A worker died with it in hand, which nobody has written down as a try yet.
    pub(super) is_orphaned: bool,
}

impl Waiting {
    pub(super) fn of(row: &OutboundRow, task: &Task) -> Self {
        Self {
            since: row.updated_at,
            is_unknown: row.status == DeliveryStatus::Unknown.as_str(),
            is_orphaned: task.begun > task.failures,
        }
    }

    #[cfg(test)]
    pub(super) fn since_now(is_unknown: bool, is_orphaned: bool) -> Self {
        Self {
            since: Utc::now(),
            is_unknown,
            is_orphaned,
        }
    }

    /// How long it may go on. `None`: its time is over.
    pub(super) fn time_left(self, longest: Duration) -> Option<Duration> {
        let waited = (Utc::now() - self.since).to_std().unwrap_or_default();
        let left = longest.checked_sub(waited).filter(|left| !left.is_zero());
        left.map(|left| left.max(SHORTEST))
    }

    /// What it is when nothing more is done about it.
    pub(super) const fn status_at_the_end(self) -> DeliveryStatus {
        if self.is_unknown || self.is_orphaned {
            DeliveryStatus::Unknown
        } else {
            DeliveryStatus::Parked
        }
    }
}

/// Does a failure like this use up one of the tenant's own retries? Only the endpoint's answers do.
pub(super) fn uses_up(reason: &str) -> bool {
    reason != NO_FILE && is_answer(reason)
}

/// Counts a message that is held for its endpoint.
pub(super) fn count_held(endpoint: &str, reason: &'static str) {
    metrics::counter!("kanal_sends_held_total", "endpoint" => endpoint.to_owned(), "reason" => reason)
        .increment(1);
}

impl Sender {
    /// Nobody was called, for nobody would have answered.
    pub(super) async fn hold(
        &self,
        lease: &Lease,
        task: &Task,
        endpoint: &LiveEndpoint,
        waiting: Waiting,
        wait: Duration,
    ) -> Result<Next, LaneError> {
        if let Some(left) = waiting.time_left(endpoint.outage.longest_wait()) {
            count_held(endpoint.name.as_str(), UNREACHABLE);
            return self.wait(lease, task, wait.min(left), UNREACHABLE).await;
        }
        if waiting.is_orphaned {
            let endpoint = endpoint.name.as_str();
            return self.give_up_unknown(lease, task, UNREACHABLE, endpoint).await;
        }
        let tx = TenantTransaction::begin(&self.db, lease.scope(), "park message").await?;
        self.put_aside(tx, lease, task, waiting.status_at_the_end(), UNREACHABLE)
            .await
    }

    /// How many of the failures that counted were answers of the endpoint; nobody asks where the tenant sets no limit.
    pub(super) async fn answered_before(
        &self,
        lease: &Lease,
        task: &Task,
        config: &TenantConfig,
        is_cloud: bool,
    ) -> Result<u32, LaneError> {
        if task.failures == 0 || config.webhook_retries().is_none() {
            return Ok(0);
        }
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "count answered tries").await?;
        let mut uncounted = AWAY.map(RetryReason::as_str).to_vec();
        if is_cloud {
            // The account waits for a token that is taken, and the message with it.
            uncounted.push(RetryReason::Unauthorized.as_str());
        }
        let id = MessageId::from_uuid(task.id);
        let reasons = send_attempt::last_reasons(&mut tx, id, &uncounted, task.failures).await?;
        tx.commit().await?;
        let answered = reasons.iter().filter(|reason| uses_up(reason)).count();
        Ok(u32::try_from(answered).unwrap_or(u32::MAX))
    }
}
