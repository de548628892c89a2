//! What became of a message that was to go out, and what follows: the table at the head of [`super::send_message`].

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, MessageId, ProviderMessageId};
use messaging::lanes::{LaneError, Lease, Next, Task, Waits};
use tenant_isolation::TenantTransaction;
use whatsapp::port::{ResendSafety, SendOutcome};

use super::announce_status::{announce, announce_put_aside};
use super::early_receipt;
use super::endpoint_away::{Waiting, count_held, uses_up};
use super::outbound_message;
use super::send_message::Sender;
use super::tenant_config::TenantConfig;
use crate::endpoints::LiveEndpoint;
use crate::endpoints::outage::UNREACHABLE;
use crate::store::message::OutboundRow;
use crate::store::send_attempt::{self, SendAttempt};
use crate::store::{account, message, message_change, message_chat};

/// The attempt that met the provider's limit.
const RATE_LIMITED: &str = "rate_limited";

/// What an outcome means for the message and its task.
pub(super) struct Ruling {
    attempt: &'static str,
    reason: Option<&'static str>,
    detail: Option<String>,
    status: Option<DeliveryStatus>,
    at: DateTime<Utc>,
    task: TaskRuling,
    /// Why the task waits or is put aside, where that is not why the attempt failed.
    held: Option<&'static str>,
    /// The id it went out under.
    sent_as: Option<ProviderMessageId>,
}

pub(super) enum TaskRuling {
    Done,
    Wait { time: Duration, counts: bool },
    PutAside,
}

/// What bounds the tries of a message besides the schedule for everybody.
#[derive(Clone, Copy)]
pub(super) struct Tries<'a> {
    pub(super) config: &'a TenantConfig,
    /// Failures before this one that the endpoint answered.
    pub(super) answered: u32,
}

/// The endpoint could not be reached and the message certainly did not go out: it waits, uncounted, until its time is
/// over.
pub(super) fn rule_away(
    endpoint: &LiveEndpoint,
    waiting: Waiting,
    wait: Duration,
    outcome: SendOutcome,
) -> Ruling {
    let (reason, after, detail) = match outcome {
        SendOutcome::RetryLater {
            reason,
            after,
            detail,
        } => (reason.as_str(), after, Some(detail)),
        _ => (UNREACHABLE, None, None),
    };
    let left = waiting.time_left(endpoint.outage.longest_wait());
    if left.is_some() {
        count_held(endpoint.name.as_str(), UNREACHABLE);
    }
    Ruling {
        // At the end it is written down that an earlier try may have gone out.
        attempt: if left.is_none() && waiting.is_orphaned {
            "unknown"
        } else {
            "retry_later"
        },
        reason: Some(reason),
        detail: detail.map(|detail| detail.as_str().to_owned()),
        status: left.is_none().then(|| waiting.status_at_the_end()),
        at: Utc::now(),
        task: match left {
            Some(left) => TaskRuling::Wait {
                time: after.map_or(wait, |after| after.max(wait)).min(left),
                counts: false,
            },
            None => TaskRuling::PutAside,
        },
        held: Some(UNREACHABLE),
        sent_as: None,
    }
}

impl Sender {
    /// It did not go out, and may at another time: waits, or is parked after the last attempt.
    pub(super) fn try_later(
        &self,
        task: &Task,
        tries: Tries<'_>,
        reason: &'static str,
        after: Option<Duration>,
        detail: Option<String>,
    ) -> Ruling {
        let wait = self.wait_after(task, tries, reason);
        Ruling {
            sent_as: None,
            held: None,
            attempt: "retry_later",
            reason: Some(reason),
            detail,
            status: wait.is_none().then_some(DeliveryStatus::Parked),
            at: Utc::now(),
            task: match wait {
                Some(wait) => TaskRuling::Wait {
                    time: after.map_or(wait, |after| after.max(wait)),
                    counts: true,
                },
                None => TaskRuling::PutAside,
            },
        }
    }

    /// How long to wait after this failure. `None`: it was the last attempt.
    fn wait_after(&self, task: &Task, tries: Tries<'_>, reason: &str) -> Option<Duration> {
        if uses_up(reason) && tries.config.gives_up_after(tries.answered + 1) {
            return None;
        }
        let failures = u32::try_from(task.failures).unwrap_or(0) + 1;
        self.retries.wait_after(failures, rand::random())
    }

    pub(super) fn rule(
        &self,
        task: &Task,
        tries: Tries<'_>,
        resend: ResendSafety,
        outcome: SendOutcome,
    ) -> Ruling {
        let now = Utc::now();
        let detail = |text: &whatsapp::port::OperatorText| Some(text.as_str().to_owned());
        match outcome {
            SendOutcome::Accepted {
                at,
                provider_message_id,
            } => Ruling {
                sent_as: Some(provider_message_id),
                held: None,
                attempt: "accepted",
                reason: None,
                detail: None,
                status: Some(DeliveryStatus::Sent),
                at,
                task: TaskRuling::Done,
            },
            SendOutcome::RetryLater {
                reason,
                after,
                detail: text,
            } => self.try_later(task, tries, reason.as_str(), after, detail(&text)),
            SendOutcome::RateLimited {
                after,
                detail: text,
                scope: _,
            } => Ruling {
                sent_as: None,
                held: None,
                attempt: RATE_LIMITED,
                reason: Some("rate_limited"),
                detail: detail(&text),
                status: None,
                at: now,
                task: TaskRuling::Wait {
                    time: after,
                    counts: false,
                },
            },
            SendOutcome::Rejected { reason, detail: text } => Ruling {
                sent_as: None,
                held: None,
                attempt: "rejected",
                reason: Some(reason.as_str()),
                detail: detail(&text),
                status: Some(DeliveryStatus::Failed),
                at: now,
                task: TaskRuling::Done,
            },
            SendOutcome::Unknown { reason, detail: text } => Ruling {
                sent_as: None,
                held: None,
                attempt: "unknown",
                reason: Some(reason.as_str()),
                detail: detail(&text),
                status: Some(DeliveryStatus::Unknown),
                at: now,
                task: match self.wait_after(task, tries, reason.as_str()) {
                    Some(time) if resend.may_repeat() => TaskRuling::Wait { time, counts: true },
                    _ => TaskRuling::PutAside,
                },
            },
        }
    }

    pub(super) async fn record(
        &self,
        lease: &Lease,
        task: &Task,
        row: &OutboundRow,
        endpoint: &LiveEndpoint,
        took: Duration,
        ruling: &Ruling,
    ) -> Result<Next, LaneError> {
        metrics::counter!("kanal_send_attempts_total", "outcome" => ruling.attempt,
            "endpoint" => endpoint.name.to_string())
        .increment(1);
        let why = ruling.held.or(ruling.reason);
        let id = MessageId::from_uuid(row.id);
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "record send").await?;
        let theirs = ruling
            .sent_as
            .as_ref()
            .filter(|theirs| theirs.as_str() != row.provider_message_id);
        let learned = match theirs {
            Some(theirs) => {
                let account = AccountId::from_uuid(row.account_id);
                Some(early_receipt::learn(&mut tx, account, id, theirs).await?)
            }
            None => None,
        };
        message_chat::lock(&mut tx, id).await?;
        if let Some(learned) = &learned {
            learned.adopt(&mut tx, id).await?;
        }
        let attempt = SendAttempt {
            message: id,
            outcome: ruling.attempt,
            reason: ruling.reason,
            detail: ruling.detail.as_deref(),
            endpoint: Some(endpoint.name.as_str()),
            took,
        };
        send_attempt::insert(&mut tx, &attempt).await?;
        if ruling.attempt == "accepted"
            && let Some(change) = outbound_message::change(lease.scope().tenant(), row, ruling.at)
        {
            // The older message before the newer one: messages are locked in the order of their ids.
            message_change::apply_one(&mut tx, &change).await?;
        }
        if let Some(status) = ruling.status {
            // Nothing moves when a receipt was faster than the answer: then the message is further already.
            let mut moved = message::advance(&mut tx, id, status, why).await?;
            if matches!(ruling.task, TaskRuling::PutAside) {
                if moved.is_none() {
                    // Unknown since an earlier attempt: new is that there will be no other.
                    moved = message::give_reason(&mut tx, id, status, why).await?;
                }
                let moved = moved.into_iter().collect();
                announce_put_aside(&mut tx, moved, status, why, ruling.at).await?;
            } else {
                let moved = moved.into_iter().collect();
                announce(&mut tx, moved, status, why, ruling.at).await?;
            }
        }
        if let Some(learned) = &learned {
            learned.confirm(&mut tx, id).await?;
        }
        if let (TaskRuling::Wait { time, counts: false }, true) =
            (&ruling.task, ruling.attempt == RATE_LIMITED)
        {
            account::pause_sending(&mut tx, AccountId::from_uuid(row.account_id), *time).await?;
        }
        let reason = why.unwrap_or_default();
        let next = match ruling.task {
            TaskRuling::Done => lease.done(&mut tx, task).await.map(|()| Next::Continue)?,
            TaskRuling::Wait { time, counts } => lease
                .retry(
                    &mut tx,
                    task,
                    time,
                    if counts { Waits::Failed } else { Waits::NotBegun },
                    reason,
                )
                .await
                .map(|()| Next::Wait)?,
            TaskRuling::PutAside => lease.park(&mut tx, task, reason).await.map(|()| Next::Continue)?,
        };
        tx.commit().await?;
        self.relay.ring();
        let (tenant, endpoint, took_ms) = (lease.scope().tenant(), &endpoint.name, took.as_millis());
        if ruling.attempt == "accepted" {
            tracing::info!(%tenant, %endpoint, message = %id, took_ms, "a message went out");
        } else {
            tracing::warn!(%tenant, %endpoint, message = %id, outcome = ruling.attempt, reason, took_ms,
                "a message did not go out");
        }
        Ok(next)
    }

    pub(super) async fn settle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "settle task").await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        Ok(Next::Continue)
    }

    pub(super) async fn fail(
        &self,
        lease: &Lease,
        task: &Task,
        reason: &'static str,
    ) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "fail message").await?;
        let (id, status) = (MessageId::from_uuid(task.id), DeliveryStatus::Failed);
        message_chat::lock(&mut tx, id).await?;
        let moved = message::advance(&mut tx, id, status, Some(reason)).await?;
        let moved = moved.into_iter().collect();
        announce(&mut tx, moved, status, Some(reason), Utc::now()).await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        self.relay.ring();
        tracing::warn!(tenant = %lease.scope().tenant(), message = %id, reason, "a message will never go out");
        Ok(Next::Continue)
    }

    pub(super) async fn give_up(
        &self,
        lease: &Lease,
        task: &Task,
        reason: &'static str,
    ) -> Result<Next, LaneError> {
        let tx = TenantTransaction::begin(&self.db, lease.scope(), "park message").await?;
        self.put_aside(tx, lease, task, DeliveryStatus::Parked, reason)
            .await
    }

    /// A try may have gone out that nobody has written down. It is written down now, so that the message is not repeated
    /// when its account is at another endpoint; an empty name is that of an endpoint that is not known any more.
    pub(super) async fn give_up_unknown(
        &self,
        lease: &Lease,
        task: &Task,
        reason: &'static str,
        endpoint: &str,
    ) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "park message").await?;
        message_chat::lock(&mut tx, MessageId::from_uuid(task.id)).await?;
        let attempt = SendAttempt {
            message: MessageId::from_uuid(task.id),
            outcome: "unknown",
            reason: Some(reason),
            detail: None,
            endpoint: Some(endpoint),
            took: Duration::ZERO,
        };
        send_attempt::insert(&mut tx, &attempt).await?;
        self.put_aside(tx, lease, task, DeliveryStatus::Unknown, reason)
            .await
    }

    pub(super) async fn put_aside(
        &self,
        mut tx: TenantTransaction,
        lease: &Lease,
        task: &Task,
        status: DeliveryStatus,
        reason: &'static str,
    ) -> Result<Next, LaneError> {
        let id = MessageId::from_uuid(task.id);
        message_chat::lock(&mut tx, id).await?;
        let moved = match message::advance(&mut tx, id, status, Some(reason)).await? {
            Some(moved) => Some(moved),
            None => message::give_reason(&mut tx, id, status, Some(reason)).await?,
        };
        let moved = moved.into_iter().collect();
        announce_put_aside(&mut tx, moved, status, Some(reason), Utc::now()).await?;
        lease.park(&mut tx, task, reason).await?;
        tx.commit().await?;
        self.relay.ring();
        tracing::error!(tenant = %lease.scope().tenant(), task = %task.id, reason, "a message cannot be sent");
        Ok(Next::Continue)
    }
}
