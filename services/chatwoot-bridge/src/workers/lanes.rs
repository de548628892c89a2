//! Works the lanes: does the head, and decides between done, later and parked.

use std::time::Duration;

use domain::retry::RetrySchedule;
use messaging::lanes::{HandleTask, LaneError, Lease, Next, Task, Waits};
use messaging::outbox::Signal;
use tenant_isolation::TenantTransaction;
use tracing::Instrument as _;

use crate::chatwoot::Wait;
use crate::flows::contact_picture::show_picture;
use crate::flows::deliver_message::deliver_message;
use crate::flows::forward::write_back::write_back;
use crate::flows::history::bring_history;
use crate::flows::late_file::bring_late_file;
use crate::flows::merge_contact::merge_contact;
use crate::flows::order_replies::order_replies;
use crate::flows::reflect_status::reflect_status;
use crate::flows::render::Way;
use crate::flows::retry_reply::retry_reply;
use crate::flows::work::{self, Errand, Unreadable, Work};
use crate::flows::{NotDone, Tools};

/// Longest wait that a peer can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// Does tasks.
#[derive(Debug, Clone)]
pub struct Lanes {
    /// Tables and the way to Chatwoot.
    pub tools: Tools,
    /// When to try again.
    pub retry: RetrySchedule,
    /// How long an agent's reply waits for those that were written before it.
    pub reply_window: Duration,
    /// Rung when there is something to publish.
    pub outbox: Signal,
}

impl HandleTask for Lanes {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let errand = work::read(task);
        let known = errand.as_ref().ok();
        let request_id = known
            .and_then(|errand| errand.request_id.as_deref())
            .unwrap_or_default();
        let place = known.and_then(|errand| errand.traceparent);
        let trace = trace_context::Span::new(trace_context::Kind::Consumer, "do task", place);
        // At the level of errors, so that every line of ours has it, whichever lines are written.
        let span = tracing::error_span!(
            "task", tenant = %lease.scope().tenant(), task = %task.id, kind = task.kind, request_id,
            trace_id = %trace.context().trace_id(),
        );
        let work = Box::pin(async {
            trace_context::note_tenant(lease.scope().tenant().as_str());
            self.work(lease, task, errand).await
        });
        trace_context::within(trace, work).instrument(span).await
    }
}

impl Lanes {
    async fn work(
        &self,
        lease: &Lease,
        task: &Task,
        errand: Result<Errand, Unreadable>,
    ) -> Result<Next, LaneError> {
        let Errand { request_id, work, .. } = match errand {
            Ok(errand) => errand,
            Err(error) => {
                tracing::error!(%error, "a task cannot be read");
                return self.park(lease, task, "unreadable_task").await;
            }
        };
        let outcome = match &work {
            Work::IncomingMessage(message) => {
                deliver_message(&self.tools, lease, task, message, Way::FromPerson).await
            }
            Work::PhoneMessage(message) => {
                deliver_message(&self.tools, lease, task, message, Way::FromPhone).await
            }
            Work::History(work) => bring_history(&self.tools, lease, task, work).await,
            Work::LateFile(late) => bring_late_file(&self.tools, lease, task, late).await,
            Work::Profile(profile) => show_picture(&self.tools, lease, task, profile).await,
            Work::Merged(merged) => merge_contact(&self.tools, lease, task, merged).await,
            Work::Status(status) => {
                let reflected = reflect_status(&self.tools, lease, task, status, request_id).await;
                // A deleted message that has arrived is deleted there, too.
                self.outbox.ring();
                reflected
            }
            Work::Retry(work) => {
                let ordered = retry_reply(&self.tools, lease, task, work, request_id).await;
                self.outbox.ring();
                ordered
            }
            Work::WriteBack(shown) => write_back(&self.tools, lease, task, shown).await,
            Work::Reply(_) => {
                let next = order_replies(&self.tools.db, lease, task, self.reply_window).await?;
                self.outbox.ring();
                return Ok(next);
            }
        };
        match outcome {
            Ok(()) => Ok(Next::Continue),
            Err(NotDone::Lane(error)) => Err(error),
            Err(error) => match error.wait().and_then(|wait| self.time(task, wait)) {
                Some((time, waits)) => self.retry(lease, task, time, waits, &error).await,
                None if matches!(work, Work::Profile(_)) => self.give_up(lease, task, &error).await,
                None => self.park(lease, task, &error.reason()).await,
            },
        }
    }

    /// How long to wait and after what, or `None` when it was the last try.
    fn time(&self, task: &Task, wait: Wait) -> Option<(Duration, Waits)> {
        let times = |earlier: i32| u32::try_from(earlier).unwrap_or(0).saturating_add(1);
        let chance = rand::random();
        let at_least =
            |asked: Option<Duration>, scheduled: Duration| match asked.map(|it| it.min(LONGEST_ASKED)) {
                Some(asked) => asked.max(scheduled),
                None => scheduled,
            };
        match wait {
            Wait::Failed(asked) => {
                let scheduled = self.retry.wait_after(times(task.failures), chance)?;
                Some((at_least(asked, scheduled), Waits::Failed))
            }
            // Every beginning that was no failure was put off.
            Wait::Deferred(asked) => {
                let scheduled = self.retry.endless_wait(times(task.begun), chance);
                Some((at_least(asked, scheduled), Waits::PutOff))
            }
            Wait::Brief(time) => Some((time + time.mul_f64(0.2 * chance), Waits::NotBegun)),
        }
    }

    async fn retry(
        &self,
        lease: &Lease,
        task: &Task,
        time: Duration,
        waits: Waits,
        error: &NotDone,
    ) -> Result<Next, LaneError> {
        tracing::info!(
            reason = error.reason(),
            wait_ms = time.as_millis(),
            ?waits,
            "a task has to wait"
        );
        metrics::counter!("kanal_bridge_tasks_retried_total").increment(1);
        let mut tx = TenantTransaction::begin(&self.tools.db, lease.scope(), "retry task").await?;
        lease.retry(&mut tx, task, time, waits, &error.reason()).await?;
        tx.commit().await?;
        Ok(Next::Wait)
    }

    /// What is told again anyway is not kept for people.
    async fn give_up(&self, lease: &Lease, task: &Task, error: &NotDone) -> Result<Next, LaneError> {
        tracing::info!(reason = error.reason(), kind = task.kind, "a task is given up");
        metrics::counter!("kanal_bridge_tasks_given_up_total", "kind" => task.kind.clone()).increment(1);
        let mut tx = TenantTransaction::begin(&self.tools.db, lease.scope(), "give task up").await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        Ok(Next::Continue)
    }

    /// What the task was to bring about stays undone, so that a replay can still do it.
    async fn park(&self, lease: &Lease, task: &Task, reason: &str) -> Result<Next, LaneError> {
        tracing::error!(
            reason,
            "a task is parked; chatwoot-bridge task parked lists it, task replay tries it again"
        );
        metrics::counter!("kanal_bridge_tasks_parked_total", "kind" => task.kind.clone()).increment(1);
        let mut tx = TenantTransaction::begin(&self.tools.db, lease.scope(), "park task").await?;
        lease.park(&mut tx, task, reason).await?;
        tx.commit().await?;
        Ok(Next::Continue)
    }
}
