//! What became of a message that was to go out is written down, with what follows.

use std::time::Duration;

use chrono::Utc;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, MessageId};
use messaging::lanes::{LaneError, Lease, Next, Task, Waits};
use tenant_isolation::TenantTransaction;
use whatsapp::port::RejectReason;

use super::announce_status::{announce, announce_put_aside};
use super::early_receipt;
use super::outbound_message;
use super::send_message::Sender;
use super::send_ruling::{Ruling, TaskRuling};
use crate::endpoints::LiveEndpoint;
use crate::store::message::OutboundRow;
use crate::store::send_attempt::{self, SendAttempt};
use crate::store::{account, cloud_sending, message_change, message_chat, message_status};

impl Sender {
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
        if let Some(class) = why {
            metrics::counter!("kanal_send_errors_total", "class" => class,
                "endpoint" => endpoint.name.to_string())
            .increment(1);
        }
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
        let mut counted = Vec::new();
        if let Some(status) = ruling.status {
            // Nothing moves when a receipt was faster than the answer: then the message is further already.
            let mut moved = message_status::advance(&mut tx, id, status, why).await?;
            // What was taken is counted as such below, wherever a receipt has brought it meanwhile.
            counted.extend(
                moved
                    .as_ref()
                    .filter(|_| status != DeliveryStatus::Sent)
                    .map(|_| status),
            );
            if matches!(ruling.task, TaskRuling::PutAside) {
                if moved.is_none() {
                    // Unknown since an earlier attempt: new is that there will be no other.
                    moved = message_status::give_reason(&mut tx, id, status, why).await?;
                }
                let moved = moved.into_iter().collect();
                announce_put_aside(&mut tx, moved, status, why, ruling.at).await?;
            } else {
                let moved = moved.into_iter().collect();
                announce(&mut tx, moved, status, why, ruling.at).await?;
            }
        }
        if let Some(learned) = &learned {
            counted.extend(learned.confirm(&mut tx, id).await?);
        }
        let account = AccountId::from_uuid(row.account_id);
        if let Some(time) = ruling.pause {
            account::pause_sending(&mut tx, account, time).await?;
        }
        let mut is_newly_held = false;
        if let Some(reason) = ruling.hold {
            let every = self.cloud.settings.probe_every;
            is_newly_held = cloud_sending::hold(&mut tx, account, reason, every).await?;
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
        self.count(lease, row, ruling, counted);
        self.alert(lease, account, endpoint, ruling, is_newly_held);
        let (tenant, endpoint, took_ms) = (lease.scope().tenant(), &endpoint.name, took.as_millis());
        if ruling.attempt == "accepted" {
            tracing::info!(%tenant, %endpoint, message = %id, took_ms, "a message went out");
        } else {
            tracing::warn!(%tenant, %endpoint, message = %id, outcome = ruling.attempt, reason, took_ms,
                "a message did not go out");
        }
        Ok(next)
    }

    fn count(&self, lease: &Lease, row: &OutboundRow, ruling: &Ruling, counted: Vec<DeliveryStatus>) {
        let tenant = lease.scope().tenant();
        if ruling.attempt == "accepted" {
            // One whose outcome was unknown was not waiting for its turn.
            let was_queued = row.status == DeliveryStatus::Queued.as_str();
            self.traffic.sent(tenant, was_queued.then_some(row.updated_at));
        }
        self.traffic.moved(tenant, counted);
    }

    /// Tells the operators of what the message's account has to be looked after for.
    fn alert(
        &self,
        lease: &Lease,
        account: AccountId,
        endpoint: &LiveEndpoint,
        ruling: &Ruling,
        is_newly_held: bool,
    ) {
        let trouble = if is_newly_held {
            ruling.hold
        } else {
            let grave = [RejectReason::SpamLimited.as_str(), RejectReason::Policy.as_str()];
            ruling.reason.filter(|reason| grave.contains(reason))
        };
        let Some(trouble) = trouble else { return };
        metrics::counter!("kanal_account_troubles_total", "endpoint" => endpoint.name.to_string(),
            "trouble" => trouble)
        .increment(1);
        tracing::error!(tenant = %lease.scope().tenant(), %account, endpoint = %endpoint.name, trouble,
            "the provider refuses an account: somebody has to look after it");
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
        let moved = message_status::advance(&mut tx, id, status, Some(reason)).await?;
        let counted = moved.as_ref().map(|_| status);
        let moved = moved.into_iter().collect();
        announce(&mut tx, moved, status, Some(reason), Utc::now()).await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        self.relay.ring();
        self.traffic.moved(lease.scope().tenant(), counted);
        tracing::warn!(tenant = %lease.scope().tenant(), message = %id, reason, "a message will never go out");
        Ok(Next::Continue)
    }

    /// It cannot go out as things are. What may have gone out at an earlier try stays unknown.
    pub(super) async fn give_up(
        &self,
        lease: &Lease,
        task: &Task,
        reason: &'static str,
    ) -> Result<Next, LaneError> {
        if task.begun > task.failures {
            return self.give_up_unknown(lease, task, reason, "").await;
        }
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
        let mut moved = message_status::advance(&mut tx, id, status, Some(reason)).await?;
        let counted = moved.as_ref().map(|_| status);
        if moved.is_none() {
            moved = message_status::give_reason(&mut tx, id, status, Some(reason)).await?;
        }
        let moved = moved.into_iter().collect();
        announce_put_aside(&mut tx, moved, status, Some(reason), Utc::now()).await?;
        lease.park(&mut tx, task, reason).await?;
        tx.commit().await?;
        self.relay.ring();
        self.traffic.moved(lease.scope().tenant(), counted);
        tracing::error!(tenant = %lease.scope().tenant(), task = %task.id, reason, "a message cannot be sent");
        Ok(Next::Continue)
    }
}
