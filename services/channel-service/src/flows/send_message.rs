//! A message of ours goes out: the head of its chat's lane, under the lane's lease.
//!
//! | outcome | message | task |
//! |---|---|---|
//! | accepted | `sent` | done |
//! | retry later | stays `queued` | waits, counted; after the last attempt `parked` |
//! | rate limited | stays `queued` | waits, not counted, and with it every other chat of the account |
//! | rejected | `failed` | done |
//! | unknown, provider takes our id | `unknown` | repeated with the same id; after the last attempt put aside |
//! | unknown, provider makes its own id | `unknown` | put aside: never sent again by itself |

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache::CacheKey;
use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, MessageId, ProviderMessageId};
use domain::retry::RetrySchedule;
use domain::text::Text;
use messaging::cause::caused_by;
use messaging::lanes::{HandleTask, LaneError, Lease, Next, Task};
use messaging::outbox::Signal;
use runtime::encryption::KeyRing;
use secrecy::ExposeSecret as _;
use tenant_isolation::TenantTransaction;
use whatsapp::credentials::SessionToken;
use whatsapp::port::{OutboundText, ResendSafety, SendMessage, SendOutcome};

use super::announce_status::{announce, announce_put_aside};
use super::pace::Pace;
use super::queue_message::SendTask;
use crate::store::send_attempt::{self, SendAttempt};
use crate::store::{account, message};

/// A wait that is over sooner is not worth letting go of the lane; any longer one would hold a place that others need.
const SHORT_WAIT: Duration = Duration::from_millis(5);
/// Over so long a time the chats of an account come back after a pause, lest they do so all at once.
const AFTER_PAUSE_MS: u64 = 1_000;

/// The attempt that met the provider's limit.
const RATE_LIMITED: &str = "rate_limited";

/// Sends what stands at the head of a lane.
pub struct Sender {
    /// The tables.
    pub db: Database,
    /// Opens the accounts' tokens.
    pub keys: KeyRing,
    /// The way out.
    pub provider: Arc<dyn SendMessage>,
    /// What an account without a token of its own sends with.
    pub fallback_token: Option<SessionToken>,
    /// How fast an account may send.
    pub account_pace: Pace,
    /// How fast a tenant may send.
    pub tenant_pace: Pace,
    /// When a failure is repeated.
    pub retries: RetrySchedule,
    /// Wakes the relay.
    pub relay: Signal,
}

/// A message and what is needed to send it.
struct Ready {
    id: MessageId,
    account: AccountId,
    token: SessionToken,
    text: OutboundText,
}

/// What to do with a head before anything is sent.
enum Head {
    Send(Box<Ready>),
    /// The provider wants to hear nothing of the account for so long.
    Paused(Duration),
    /// It needs no sending: evidence came that it went out, or it is not there any more.
    Settled,
    /// It cannot be sent as things are.
    Impossible(&'static str),
}

/// What an outcome means for the message and its task.
struct Ruling {
    attempt: &'static str,
    reason: Option<&'static str>,
    detail: Option<String>,
    status: Option<DeliveryStatus>,
    at: DateTime<Utc>,
    task: TaskRuling,
}

enum TaskRuling {
    Done,
    Wait { time: Duration, counts: bool },
    PutAside,
}

impl HandleTask for Sender {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let request_id = serde_json::from_str(&task.payload)
            .ok()
            .and_then(|task: SendTask| task.request_id);
        caused_by(request_id, lease.scope(), self.work(lease, task)).await
    }
}

impl Sender {
    async fn work(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let ready = match self.head(lease, task).await? {
            Head::Send(ready) => ready,
            Head::Paused(wait) => return self.wait(lease, task, wait, "account_paused").await,
            Head::Settled => return self.settle(lease, task).await,
            Head::Impossible(reason) => return self.give_up(lease, task, reason).await,
        };
        if task.begun > task.failures && self.provider.resend_safety() == ResendSafety::EachCallIsAMessage {
            // A worker died with this message in hand and the provider would make a second one of it.
            return self.give_up(lease, task, "outcome_unknown").await;
        }
        if let Err(wait) = self.ask_pace(lease, &ready).await {
            return self.wait(lease, task, wait, "own_rate_limit").await;
        }
        let started = Instant::now();
        let outcome = self.provider.send_text(&ready.token, &ready.text).await;
        let took = started.elapsed();
        metrics::histogram!("kanal_provider_send_seconds").record(took);
        let ruling = self.rule(task, outcome);
        self.record(lease, task, &ready, took, &ruling).await
    }

    /// Nobody was called: the place is given to another lane, and it is as if the head had not been begun.
    async fn wait(
        &self,
        lease: &Lease,
        task: &Task,
        wait: Duration,
        reason: &'static str,
    ) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "wait before send").await?;
        lease.retry(&mut tx, task, wait, false, reason).await?;
        tx.commit().await?;
        Ok(Next::Wait)
    }

    async fn head(&self, lease: &Lease, task: &Task) -> Result<Head, LaneError> {
        let Ok(SendTask { message_id, .. }) = serde_json::from_str(&task.payload) else {
            return Ok(Head::Impossible("unreadable_task"));
        };
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "load outbound message").await?;
        let row = match message::find_outbound(&mut tx, message_id).await {
            Ok(row) => row,
            Err(DatabaseError::NotFound) => return Ok(Head::Settled),
            Err(error) => return Err(error.into()),
        };
        let account_id = AccountId::from_uuid(row.account_id);
        let account = account::find(&mut tx, account_id).await?;
        let pause = account::send_pause(&mut tx, account_id).await?;
        tx.commit().await?;
        if !matches!(
            row.status.parse(),
            Ok(DeliveryStatus::Queued | DeliveryStatus::Unknown)
        ) {
            return Ok(Head::Settled);
        }
        if let Some(pause) = pause {
            let apart = Duration::from_millis(rand::random_range(0..AFTER_PAUSE_MS));
            return Ok(Head::Paused(pause + apart));
        }
        let token = match self.token(lease, account_id, account.token_sealed.as_deref()) {
            Ok(token) => token,
            Err(reason) => return Ok(Head::Impossible(reason)),
        };
        let parts = (
            ProviderMessageId::parse(row.provider_message_id),
            ChatAddress::parse(&row.address),
        );
        let (Ok(id), Ok(to)) = parts else {
            return Ok(Head::Impossible("unreadable_message"));
        };
        let text = OutboundText {
            id,
            to,
            text: Text::new(&row.body),
        };
        Ok(Head::Send(Box::new(Ready {
            id: message_id,
            account: account_id,
            token,
            text,
        })))
    }

    /// What the account sends with: its own token, else the one for all who have none.
    fn token(
        &self,
        lease: &Lease,
        account: AccountId,
        sealed: Option<&str>,
    ) -> Result<SessionToken, &'static str> {
        let Some(sealed) = sealed else {
            return self.fallback_token.clone().ok_or("no_session");
        };
        let binding = account::token_binding(lease.scope().tenant(), account);
        let token = self
            .keys
            .open(sealed, &binding)
            .map_err(|_| "token_does_not_open")?;
        SessionToken::new(token.expose_secret()).map_err(|_| "unreadable_message")
    }

    async fn ask_pace(&self, lease: &Lease, ready: &Ready) -> Result<(), Duration> {
        let account = CacheKey::of_tenant(lease.scope(), "send_rate", &ready.account.to_string());
        let tenant = CacheKey::of_tenant(lease.scope(), "send_rate", "all");
        for (pace, key) in [(&self.account_pace, account), (&self.tenant_pace, tenant)] {
            while let Err(wait) = pace.ask(&key).await {
                if wait > SHORT_WAIT {
                    return Err(wait);
                }
                tokio::time::sleep(wait).await;
            }
        }
        Ok(())
    }

    fn rule(&self, task: &Task, outcome: SendOutcome) -> Ruling {
        let now = Utc::now();
        let failures = u32::try_from(task.failures).unwrap_or(0) + 1;
        let wait = self.retries.wait_after(failures, rand::random());
        let detail = |text: &whatsapp::port::OperatorText| Some(text.as_str().to_owned());
        match outcome {
            SendOutcome::Accepted { at, .. } => Ruling {
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
            } => Ruling {
                attempt: "retry_later",
                reason: Some(reason.as_str()),
                detail: detail(&text),
                status: wait.is_none().then_some(DeliveryStatus::Parked),
                at: now,
                task: match wait {
                    Some(wait) => TaskRuling::Wait {
                        time: after.map_or(wait, |after| after.max(wait)),
                        counts: true,
                    },
                    None => TaskRuling::PutAside,
                },
            },
            SendOutcome::RateLimited { after, detail: text } => Ruling {
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
                attempt: "rejected",
                reason: Some(reason.as_str()),
                detail: detail(&text),
                status: Some(DeliveryStatus::Failed),
                at: now,
                task: TaskRuling::Done,
            },
            SendOutcome::Unknown { reason, detail: text } => Ruling {
                attempt: "unknown",
                reason: Some(reason.as_str()),
                detail: detail(&text),
                status: Some(DeliveryStatus::Unknown),
                at: now,
                task: match (self.provider.resend_safety(), wait) {
                    (ResendSafety::SameIdIsOneMessage, Some(time)) => TaskRuling::Wait { time, counts: true },
                    (ResendSafety::SameIdIsOneMessage, None) | (ResendSafety::EachCallIsAMessage, _) => {
                        TaskRuling::PutAside
                    }
                },
            },
        }
    }

    async fn record(
        &self,
        lease: &Lease,
        task: &Task,
        ready: &Ready,
        took: Duration,
        ruling: &Ruling,
    ) -> Result<Next, LaneError> {
        let id = ready.id;
        metrics::counter!("kanal_send_attempts_total", "outcome" => ruling.attempt).increment(1);
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "record send").await?;
        let attempt = SendAttempt {
            message: id,
            outcome: ruling.attempt,
            reason: ruling.reason,
            detail: ruling.detail.as_deref(),
            took,
        };
        send_attempt::insert(&mut tx, &attempt).await?;
        if let Some(status) = ruling.status {
            // Nothing moves when a receipt was faster than the answer: then the message is further already.
            let mut moved = message::advance(&mut tx, id, status, ruling.reason).await?;
            if matches!(ruling.task, TaskRuling::PutAside) {
                if moved.is_none() {
                    // Unknown since an earlier attempt: new is that there will be no other.
                    moved = message::give_reason(&mut tx, id, status, ruling.reason).await?;
                }
                let moved = moved.into_iter().collect();
                announce_put_aside(&mut tx, moved, status, ruling.reason, ruling.at).await?;
            } else {
                let moved = moved.into_iter().collect();
                announce(&mut tx, moved, status, ruling.reason, ruling.at).await?;
            }
        }
        if let (TaskRuling::Wait { time, counts: false }, true) =
            (&ruling.task, ruling.attempt == RATE_LIMITED)
        {
            account::pause_sending(&mut tx, ready.account, *time).await?;
        }
        let reason = ruling.reason.unwrap_or_default();
        let next = match ruling.task {
            TaskRuling::Done => lease.done(&mut tx, task).await.map(|()| Next::Continue)?,
            TaskRuling::Wait { time, counts } => lease
                .retry(&mut tx, task, time, counts, reason)
                .await
                .map(|()| Next::Wait)?,
            TaskRuling::PutAside => lease.park(&mut tx, task, reason).await.map(|()| Next::Continue)?,
        };
        tx.commit().await?;
        self.relay.ring();
        if ruling.attempt != "accepted" {
            tracing::warn!(
                tenant = %lease.scope().tenant(), message = %id, outcome = ruling.attempt, reason, "a message did not go out"
            );
        }
        Ok(next)
    }

    async fn settle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "settle task").await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        Ok(Next::Continue)
    }

    async fn give_up(&self, lease: &Lease, task: &Task, reason: &'static str) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "park message").await?;
        let status = if reason == "outcome_unknown" {
            DeliveryStatus::Unknown
        } else {
            DeliveryStatus::Parked
        };
        let id = MessageId::from_uuid(task.id);
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
