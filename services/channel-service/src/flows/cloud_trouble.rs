//! Messages of the Cloud API that cannot go on as others do: what became of them is not known, or their account's token is not
//! taken.
//!
//! Meta takes no id of ours, so what may have gone out is not repeated. It stands at the head of its chat until a report
//! that names it tells what became of it, or until its time is over; then it is put aside.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, MessageId};
use messaging::lanes::{LaneError, Lease, Next, Task, Waits};
use tenant_isolation::TenantTransaction;
use whatsapp::credentials::SessionToken;
use whatsapp::port::{RetryReason, SendOutcome};
use whatsapp::session::FailureReason;

use super::announce_status::announce;
use super::send_message::Sender;
use crate::endpoints::LiveEndpoint;
use crate::store::message::OutboundRow;
use crate::store::send_attempt::{self, SendAttempt};
use crate::store::{cloud_sending, message_chat, message_status};

/// Its account's token is not taken.
pub(super) const TOKEN_REFUSED: &str = "token_refused";
/// Nobody knows what became of it, and a report may still tell.
const AWAITING_REPORT: &str = "awaiting_report";
/// No report has come.
const NO_REPORT: &str = "no_report";
/// A worker died with it in hand.
const ORPHANED: &str = "outcome_unknown";

/// The longest time until it is looked whether a report has come.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
const SHORTEST_LOOK: Duration = Duration::from_millis(50);
/// The longest wait for the answer that tells whether a token is taken.
const PROBE_PATIENCE: Duration = Duration::from_secs(15);

/// What is to be done about the message of an account whose token was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The token is taken again: all of the account's messages go on.
    Released,
    /// What was asked for the number's sake says nothing about sending: this message tells, and only this one.
    Tell,
    /// Nothing is sent.
    Held,
}

/// Did Meta take the token, whatever it made of the message?
pub(super) const fn took_token(outcome: &SendOutcome) -> bool {
    matches!(
        outcome,
        SendOutcome::Accepted { .. }
            | SendOutcome::RateLimited { .. }
            | SendOutcome::Rejected { .. }
            | SendOutcome::RetryLater {
                reason: RetryReason::Forbidden,
                ..
            }
    )
}

/// How often it is looked whether a report has come that is waited for so long.
pub(super) fn look_every(wait: Duration) -> Duration {
    (wait / 50).clamp(SHORTEST_LOOK, LONGEST_LOOK)
}

impl Sender {
    /// What became of it is not known since it was last changed.
    pub(super) async fn await_report(
        &self,
        lease: &Lease,
        task: &Task,
        row: &OutboundRow,
    ) -> Result<Next, LaneError> {
        let longest = self.cloud.settings.unknown_wait;
        let waited = (Utc::now() - row.updated_at).to_std().unwrap_or_default();
        let left = longest.checked_sub(waited).filter(|left| !left.is_zero());
        if let Some(left) = left {
            let wait = look_every(longest).min(left.max(SHORTEST_LOOK));
            return self.wait(lease, task, wait, AWAITING_REPORT).await;
        }
        let tx = TenantTransaction::begin(&self.db, lease.scope(), "give up waiting for report").await?;
        self.put_aside(tx, lease, task, DeliveryStatus::Unknown, NO_REPORT)
            .await
    }

    /// A worker died with it in hand: from now on a report is waited for.
    pub(super) async fn begin_to_await(
        &self,
        lease: &Lease,
        task: &Task,
        endpoint: &LiveEndpoint,
    ) -> Result<Next, LaneError> {
        let id = MessageId::from_uuid(task.id);
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "wait for report").await?;
        message_chat::lock(&mut tx, id).await?;
        let attempt = SendAttempt {
            message: id,
            outcome: "unknown",
            reason: Some(ORPHANED),
            detail: None,
            endpoint: Some(endpoint.name.as_str()),
            took: Duration::ZERO,
        };
        send_attempt::insert(&mut tx, &attempt).await?;
        let status = DeliveryStatus::Unknown;
        let moved = message_status::advance(&mut tx, id, status, Some(ORPHANED)).await?;
        let counted = moved.as_ref().map(|_| status);
        announce(
            &mut tx,
            moved.into_iter().collect(),
            status,
            Some(ORPHANED),
            Utc::now(),
        )
        .await?;
        let wait = look_every(self.cloud.settings.unknown_wait);
        lease
            .retry(&mut tx, task, wait, Waits::NotBegun, AWAITING_REPORT)
            .await?;
        tx.commit().await?;
        self.relay.ring();
        self.traffic.moved(lease.scope().tenant(), counted);
        Ok(Next::Wait)
    }

    /// May an account send again whose token was not taken? One message of it asks, now and then: first for the number,
    /// which costs nothing. A token may send and not see the number, so an answer that is not about the token is no reason
    /// to hold on for ever.
    pub(super) async fn is_taken_again(
        &self,
        lease: &Lease,
        account: AccountId,
        endpoint: &Arc<LiveEndpoint>,
        token: &SessionToken,
    ) -> Result<Asked, LaneError> {
        let every = self.cloud.settings.probe_every;
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "ask for held account").await?;
        let may = cloud_sending::may_probe(&mut tx, account, every).await?;
        tx.commit().await?;
        if !may {
            return Ok(Asked::Held);
        }
        let asked = tokio::time::timeout(PROBE_PATIENCE, endpoint.sessions.status(token)).await;
        match asked.map_err(|_| FailureReason::NoAnswer) {
            Ok(Ok(_)) => {
                self.release(lease, account).await?;
                Ok(Asked::Released)
            }
            Ok(Err(failure))
                if matches!(failure.reason, FailureReason::NotVisible | FailureReason::Refused) =>
            {
                Ok(Asked::Tell)
            }
            Ok(Err(_)) | Err(_) => Ok(Asked::Held),
        }
    }

    /// An account's token is taken again.
    pub(super) async fn release(&self, lease: &Lease, account: AccountId) -> Result<(), LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "release account").await?;
        cloud_sending::release(&mut tx, account).await?;
        tx.commit().await?;
        tracing::info!(tenant = %lease.scope().tenant(), %account, "an account's token is taken again: its chats go on");
        Ok(())
    }
}
