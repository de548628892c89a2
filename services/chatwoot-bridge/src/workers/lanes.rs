//! Works the lanes: does the head, and decides between done, later and parked.

use domain::retry::{RetrySchedule, clamp_retry_after};
use messaging::lanes::{HandleTask, LaneError, Lease, Next, Task};
use std::time::Duration;
use tenant_isolation::TenantTransaction;

use crate::chatwoot::Wait;
use crate::flows::deliver_message::deliver_message;
use crate::flows::reflect_status::{self, reflect_status};
use crate::flows::work::{self, Work};
use crate::flows::{NotDone, Tools};

/// Longest wait that a `Retry-After` is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Does tasks.
#[derive(Debug, Clone)]
pub struct Lanes {
    /// Tables and the way to Chatwoot.
    pub tools: Tools,
    /// When to try again.
    pub retry: RetrySchedule,
}

impl HandleTask for Lanes {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let work = match work::read(task) {
            Ok(work) => work,
            Err(error) => {
                tracing::error!(tenant = %lease.scope().tenant(), task = %task.id, %error, "a task is put aside");
                return self.park(lease, task, None, "unreadable_task").await;
            }
        };
        let outcome = match &work {
            Work::IncomingMessage(message) => deliver_message(&self.tools, lease, task, message).await,
            Work::Status(status) => reflect_status(&self.tools, lease, task, status).await,
        };
        match outcome {
            Ok(()) => Ok(Next::Continue),
            Err(NotDone::Lane(error)) => Err(error),
            Err(error) => match error.wait().and_then(|wait| Some((wait, self.time(task, wait)?))) {
                Some((wait, time)) => self.retry(lease, task, time, wait.counts, &error).await,
                None => self.park(lease, task, Some(&work), &error.reason()).await,
            },
        }
    }
}

impl Lanes {
    /// How long to wait, or `None` when that was the last try.
    fn time(&self, task: &Task, wait: Wait) -> Option<Duration> {
        let failures = u32::try_from(task.failures).unwrap_or(0).saturating_add(1);
        let chance = rand::random();
        let scheduled = if wait.counts {
            self.retry.wait_after(failures, chance)?
        } else {
            self.retry.endless_wait(failures, chance)
        };
        let asked = wait
            .at_least
            .map(|asked| clamp_retry_after(asked, LONGEST_RETRY_AFTER));
        Some(asked.map_or(scheduled, |asked| asked.max(scheduled)))
    }

    async fn retry(
        &self,
        lease: &Lease,
        task: &Task,
        time: Duration,
        counts: bool,
        error: &NotDone,
    ) -> Result<Next, LaneError> {
        tracing::info!(
            tenant = %lease.scope().tenant(), task = %task.id, reason = error.reason(), wait_ms = time.as_millis(),
            "a task has to wait"
        );
        metrics::counter!("kanal_bridge_tasks_retried_total").increment(1);
        let mut tx = TenantTransaction::begin(&self.tools.db, lease.scope(), "retry task").await?;
        lease.retry(&mut tx, task, time, counts, &error.reason()).await?;
        tx.commit().await?;
        Ok(Next::Wait)
    }

    async fn park(
        &self,
        lease: &Lease,
        task: &Task,
        work: Option<&Work>,
        reason: &str,
    ) -> Result<Next, LaneError> {
        tracing::error!(tenant = %lease.scope().tenant(), task = %task.id, kind = task.kind, reason, "a task is parked");
        let mut tx = TenantTransaction::begin(&self.tools.db, lease.scope(), "park task").await?;
        if let Some(Work::Status(status)) = work {
            reflect_status::note(&mut tx, status).await?;
        }
        lease.park(&mut tx, task, reason).await?;
        tx.commit().await?;
        Ok(Next::Continue)
    }
}
