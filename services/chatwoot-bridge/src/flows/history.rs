//! What an account's chats held before its inbox was connected comes to Chatwoot as well, if somebody asks for it.
//!
//! An import reads channel-service page by page, and each message becomes a task in its chat's lane, as if it had just
//! come: so it meets the same intents and links as every other one, and what is in Chatwoot already is left alone however
//! often an import is begun anew. The next page is read when the one in hand is done.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use database::{Database, DatabaseError};
use domain::ids::{AccountId, ChatId};
use domain::message::Direction;
use messaging::lanes::{self, Lease, NewTask, Task};
use messaging::outbox::Signal;
use runtime::encryption::KeyRing;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::deliver_message::{Crossing, cross};
use super::erased::is_of_erased;
use super::reference::Reference;
use super::render::Way;
use super::work::HistoryWork;
use super::{NotDone, Tools};
use crate::channel::{ChannelError, ChannelService, HistoryMessage, HistoryPage};
use crate::store::history_jobs::{self, HistoryJob, ReadyJob};
use crate::store::{inboxes, message_links};

/// Messages of one page.
const PAGE: i64 = 50;
/// Of these, so many of one chat at once: what is written there now waits behind no more of them.
const OF_ONE_CHAT: usize = 5;
/// Between two looks at a page in hand, in seconds.
const LOOK_AGAIN: f64 = 1.0;
/// Between two questions to a channel-service that is away, in seconds.
const COME_AGAIN: f64 = 30.0;
/// Imports that are looked at in one round.
const MOST_JOBS: i64 = 64;

/// What somebody may want of an inbox's import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Import what is not older than so many days; everything, without a number. Goes on with one that was stopped.
    Start {
        /// So many days.
        days: Option<u32>,
    },
    /// No further page.
    Stop,
    /// Go on where it was stopped.
    Resume,
}

/// Why a wish cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum NotMet {
    /// The tenant has no such inbox.
    #[error("the tenant has no such inbox")]
    NoInbox,
    /// There is none, or none in that state.
    #[error("there is no import to {0}")]
    NoJob(&'static str),
    /// One is there already.
    #[error("an import of this inbox is under way")]
    UnderWay,
    /// The database.
    #[error("the database cannot be used")]
    Database(#[from] DatabaseError),
}

/// Does what is wished, and tells where the import stands.
///
/// # Errors
/// [`NotMet`]: nothing changed.
pub async fn wish(db: &Database, scope: &TenantScope, inbox: Uuid, wish: Wish) -> Result<HistoryJob, NotMet> {
    let mut tx = TenantTransaction::begin(db, scope, "change history job").await?;
    if inboxes::find(&mut tx, inbox).await?.is_none() {
        return Err(NotMet::NoInbox);
    }
    match wish {
        Wish::Start { days } => {
            let since = days.map(|days| Utc::now() - TimeDelta::days(i64::from(days)));
            if !history_jobs::add(&mut tx, Uuid::now_v7(), inbox, since).await? {
                return Err(NotMet::UnderWay);
            }
        }
        Wish::Stop => change_state(&mut tx, inbox, "running", "stopped")
            .await?
            .ok_or(NotMet::NoJob("stop"))?,
        Wish::Resume => change_state(&mut tx, inbox, "stopped", "running")
            .await?
            .ok_or(NotMet::NoJob("resume"))?,
    }
    let job = history_jobs::newest(&mut tx, inbox).await?;
    tx.commit().await?;
    job.ok_or(NotMet::NoJob("show"))
}

async fn change_state(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    from: &str,
    to: &str,
) -> Result<Option<()>, DatabaseError> {
    let Some(newest) = history_jobs::newest(tx, inbox).await? else {
        return Ok(None);
    };
    let Some(mut job) = history_jobs::lock(tx, newest.id)
        .await?
        .filter(|job| job.state == from)
    else {
        return Ok(None);
    };
    to.clone_into(&mut job.state);
    history_jobs::put(tx, &job, 0.0).await?;
    Ok(Some(()))
}

/// Brings a message of before over and ends the task.
///
/// # Errors
/// [`NotDone`]: nothing about the task was written.
pub async fn bring_history(
    tools: &Tools,
    lease: &Lease,
    task: &Task,
    work: &HistoryWork,
) -> Result<(), NotDone> {
    let crossing = Crossing {
        message: &work.message,
        way: if work.is_own {
            Way::FromPhone
        } else {
            Way::FromPerson
        },
        is_history: true,
    };
    cross(tools, lease, Some(task), crossing).await?;
    Ok(())
}

/// Where the inbox's newest import stands.
///
/// # Errors
/// [`DatabaseError`].
pub async fn report(
    db: &Database,
    scope: &TenantScope,
    inbox: Uuid,
) -> Result<Option<HistoryJob>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "report history job").await?;
    let job = history_jobs::newest(&mut tx, inbox).await?;
    tx.commit().await?;
    Ok(job)
}

/// What an import needs.
#[derive(Debug, Clone)]
pub struct Importer {
    /// Tables.
    pub db: Database,
    /// Where the messages are.
    pub channel: ChannelService,
    /// What tells who was erased.
    pub keys: KeyRing,
    /// Rung when there are tasks.
    pub signal: Signal,
    /// Messages of one inbox in a minute.
    pub per_minute: u32,
    /// For how many days it is remembered what came by itself.
    pub links_days: f64,
}

impl Importer {
    /// Brings every import that may go on one step further. Returns how many there were.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn round(&self) -> Result<usize, DatabaseError> {
        let platform = PlatformScope::for_purpose("find history jobs");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        let ready = history_jobs::ready(&mut tx, MOST_JOBS).await?;
        tx.commit().await?;
        for job in &ready {
            self.step(job).await?;
        }
        Ok(ready.len())
    }

    /// One step of one import: look at the page in hand, or read the next one.
    async fn step(&self, ready: &ReadyJob) -> Result<(), DatabaseError> {
        let Ok(tenant) = domain::ids::TenantId::parse(ready.tenant_id.as_str()) else {
            return Ok(());
        };
        let scope = TenantScope::of_own_event(tenant);
        let Some((job, account)) = self.look(&scope, ready.id).await? else {
            return Ok(());
        };
        let tenant = scope.tenant();
        let page = self
            .channel
            .history(tenant, account, job.cursor, job.since, PAGE)
            .await;
        match page {
            Ok(page) => self.take(&scope, &job, page).await,
            Err(error) => self.wait(&scope, job.id, error).await,
        }
    }

    /// Looks at the page in hand. An import that is to read another page, and of which account.
    async fn look(
        &self,
        scope: &TenantScope,
        id: Uuid,
    ) -> Result<Option<(HistoryJob, AccountId)>, DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "look at history job").await?;
        let Some(mut job) = history_jobs::lock(&mut tx, id).await?.filter(is_running) else {
            tx.commit().await?;
            return Ok(None);
        };
        let Some(inbox) = inboxes::find(&mut tx, job.inbox_id).await? else {
            job.state = "failed".to_owned();
            job.reason = Some("inbox_gone".to_owned());
            history_jobs::put(&mut tx, &job, 0.0).await?;
            tx.commit().await?;
            return Ok(None);
        };
        let (waiting, put_aside) = history_jobs::unfinished(&mut tx, &job.page).await?;
        if waiting > 0 {
            history_jobs::put(&mut tx, &job, LOOK_AGAIN).await?;
            tx.commit().await?;
            return Ok(None);
        }
        job.put_aside += put_aside;
        job.imported += i64::try_from(job.page.len()).unwrap_or(i64::MAX) - put_aside;
        job.page.clear();
        if job.is_read {
            job.state = "done".to_owned();
            tracing::info!(
                inbox = %job.inbox_id, seen = job.seen, imported = job.imported, known = job.known,
                put_aside = job.put_aside, "history is imported"
            );
        }
        history_jobs::put(&mut tx, &job, 0.0).await?;
        tx.commit().await?;
        Ok(is_running(&job).then(|| (job, AccountId::from_uuid(inbox.account_id))))
    }

    /// Makes tasks of a page.
    async fn take(
        &self,
        scope: &TenantScope,
        seen: &HistoryJob,
        page: HistoryPage,
    ) -> Result<(), DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "take page of history").await?;
        let job = history_jobs::lock(&mut tx, seen.id).await?;
        // Somebody else may have read it meanwhile.
        let as_seen = |job: &HistoryJob| {
            is_running(job) && job.page.is_empty() && !job.is_read && job.cursor == seen.cursor
        };
        let Some(mut job) = job.filter(as_seen) else {
            return tx.commit().await;
        };
        job.is_read = page.next.is_none();
        job.reason = None;
        let forgotten = inboxes::connected_at(&mut tx, job.inbox_id)
            .await?
            .map(|connected| connected..days_ago(self.links_days));
        let mut of_chat: HashMap<ChatId, usize> = HashMap::new();
        let mut next = page.next;
        for entry in &page.messages {
            // It came by itself while the inbox was connected, and that is no longer remembered.
            let came = forgotten
                .as_ref()
                .is_some_and(|times| times.contains(&entry.message.sent_at));
            match task_of(entry)? {
                Some(task)
                    if !came
                        && !is_linked(&mut tx, entry).await?
                        && !is_of_erased(&mut tx, &self.keys, &task, entry.message.sent_at).await? =>
                {
                    let taken = of_chat.entry(entry.message.chat_id).or_default();
                    if *taken == OF_ONE_CHAT {
                        // This one and what follows it comes with the next page.
                        next = job.cursor;
                        job.is_read = false;
                        break;
                    }
                    *taken += 1;
                    lanes::enqueue(&mut tx, &task).await?;
                    job.page.push(task.id);
                }
                _ => job.known += 1,
            }
            job.seen += 1;
            job.cursor = Some(entry.message.message_id.as_uuid());
        }
        job.cursor = next;
        // A page that costs Chatwoot nothing need not be waited for.
        let wait = job.page.len() as f64 * 60.0 / f64::from(self.per_minute);
        history_jobs::put(&mut tx, &job, wait).await?;
        tx.commit().await?;
        self.signal.ring();
        metrics::counter!("kanal_bridge_history_messages_total").increment(job.page.len() as u64);
        Ok(())
    }

    async fn wait(&self, scope: &TenantScope, id: Uuid, error: ChannelError) -> Result<(), DatabaseError> {
        tracing::warn!(%error, "history cannot be read");
        let mut tx = TenantTransaction::begin(&self.db, scope, "history has to wait").await?;
        if let Some(mut job) = history_jobs::lock(&mut tx, id).await?.filter(is_running) {
            job.reason = Some(reason(error).to_owned());
            history_jobs::put(&mut tx, &job, COME_AGAIN).await?;
        }
        tx.commit().await
    }
}

/// So many days ago, or before all times.
fn days_ago(days: f64) -> DateTime<Utc> {
    Duration::try_from_secs_f64(days * 86_400.0)
        .ok()
        .and_then(|time| TimeDelta::from_std(time).ok())
        .and_then(|time| Utc::now().checked_sub_signed(time))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

fn is_running(job: &HistoryJob) -> bool {
    job.state == "running"
}

const fn reason(error: ChannelError) -> &'static str {
    match error {
        ChannelError::Away(_) => "channel_service_away",
        ChannelError::KeyRefused => "channel_service_key_refused",
        ChannelError::Refused(_) => "channel_service_refused",
    }
}

/// The message as a task; none for what an agent wrote here.
fn task_of(entry: &HistoryMessage) -> Result<Option<NewTask>, DatabaseError> {
    let is_an_agents = entry
        .reference
        .as_deref()
        .is_some_and(|reference| reference.parse::<Reference>().is_ok());
    if is_an_agents || entry.message.place.is_some() {
        return Ok(None);
    }
    let work = HistoryWork {
        is_own: entry.direction == Direction::Outbound,
        message: entry.message.clone(),
    };
    work.task(entry.message.message_id.as_uuid())
        .map(Some)
        .map_err(|error| DatabaseError::Refused(Box::new(error)))
}

async fn is_linked(tx: &mut TenantTransaction, entry: &HistoryMessage) -> Result<bool, DatabaseError> {
    let (account, message) = (entry.message.account_id, &entry.message.provider_message_id);
    let link = message_links::find(tx, account, message).await?;
    Ok(link.is_some_and(|link| link.chatwoot_message_id.is_some()))
}
