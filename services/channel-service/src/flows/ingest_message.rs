//! A message becomes durable: ledger, chat, message and outbox row in one transaction, under the tenants' scopes.
//!
//! Webhooks that wait at the same moment share a commit: writing to disk costs the same for one message and for
//! sixty. The caller notices nothing of it: it is answered when its own message is safe.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use database::{Database, DatabaseError};
use domain::chat::Place;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, MessageId, TenantId};
use domain::message::{Direction, InboundMessage, MediaState, MessageKind};
use messaging::Envelope;
use messaging::cause::Cause;
use messaging::events::message_received::{
    ChatMessage, ChatPartner, ChatSender, MediaLink, MessageReceived, MessageSentElsewhere,
};
use messaging::lanes::{self, NewTask};
use messaging::outbox::{NewRow, Signal, enqueue_group};
use tenant_isolation::{GroupTransaction, ScopeSet, TenantScope};
use tokio::sync::{mpsc, oneshot};

use super::learn_lid;
use super::media::FetchTask;
use crate::media::MediaLinks;
use crate::store::chat::{ChatKey, ChatUpdate};
use crate::store::contact_lid::HiddenId;
use crate::store::inbound_ledger::LedgerEntry;
use crate::store::media::NewMedia;
use crate::store::message::NewMessage;
use crate::store::message_change::{self, MessageChange};
use crate::store::{chat, inbound_ledger, media, message};
use crate::traffic::{Counted, Traffic};

/// One message that wants to be kept.
#[derive(Debug, Clone)]
pub struct IngestJob {
    /// For whom.
    pub scope: TenantScope,
    /// On which account.
    pub account: AccountId,
    /// Which request brought it.
    pub request_id: Option<String>,
    /// At which place in a trace.
    pub traceparent: Option<trace_context::TraceContext>,
    /// The message.
    pub message: InboundMessage,
    /// Its file, if it has one.
    pub media: Option<NewMedia>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingested {
    /// It is kept.
    New(MessageId),
    /// It had been kept before.
    Duplicate,
}

/// Why it is not kept.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// As many wait as we allow.
    #[error("too many messages wait for a commit")]
    Overloaded,
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A job whose message was not known before.
pub(super) struct Fresh<'a> {
    /// The job; a copy of its own when something about it was learned meanwhile.
    pub(super) job: Cow<'a, IngestJob>,
    /// The message's id.
    pub(super) id: MessageId,
}

/// A job and where its answer goes.
pub type Waiting = (IngestJob, oneshot::Sender<Result<Ingested, DatabaseError>>);

/// The way into the queues of the committers. Cheap to clone.
///
/// All messages of one chat go to one committer: two would take neighbours, and whichever came first to the chat's row
/// would decide about their order.
#[derive(Debug, Clone)]
pub struct Ingest {
    queues: Arc<[mpsc::Sender<Waiting>]>,
    spread: RandomState,
}

impl Ingest {
    /// Queues for at most `capacity` messages together; each receiver goes to one of `committers`.
    #[must_use]
    pub fn new(capacity: usize, committers: usize) -> (Self, Vec<mpsc::Receiver<Waiting>>) {
        let committers = committers.max(1);
        let each = capacity.div_ceil(committers).max(1);
        let (queues, jobs): (Vec<_>, Vec<_>) = (0..committers).map(|_| mpsc::channel(each)).unzip();
        let ingest = Self {
            queues: queues.into(),
            spread: RandomState::new(),
        };
        (ingest, jobs)
    }

    fn queue_of(&self, job: &IngestJob) -> Option<&mpsc::Sender<Waiting>> {
        let chat = (job.scope.tenant(), job.account, &job.message.chat);
        let number = self.spread.hash_one(chat) % u64::try_from(self.queues.len()).ok()?;
        self.queues.get(usize::try_from(number).ok()?)
    }

    /// Keeps a message; returns when it is durable.
    ///
    /// # Errors
    /// [`IngestError`]: then it is not kept, or nobody knows, and the provider has to bring it again.
    pub async fn submit(&self, job: IngestJob) -> Result<Ingested, IngestError> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue_of(&job).ok_or(IngestError::Overloaded)?;
        queue
            .try_send((job, answer))
            .map_err(|_| IngestError::Overloaded)?;
        Submitted(answered).outcome().await
    }

    /// Puts a message behind those that were put before it, waiting for room at most so long. For one of many that came
    /// together: a message of a chat that is put later is kept later, whoever is waited for first.
    ///
    /// # Errors
    /// [`IngestError::Overloaded`].
    pub async fn put(&self, job: IngestJob, patience: Duration) -> Result<Submitted, IngestError> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue_of(&job).ok_or(IngestError::Overloaded)?;
        match tokio::time::timeout(patience, queue.send((job, answer))).await {
            Ok(Ok(())) => Ok(Submitted(answered)),
            Ok(Err(_)) | Err(_) => Err(IngestError::Overloaded),
        }
    }
}

/// A message that waits for its commit.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<Result<Ingested, DatabaseError>>);

impl Submitted {
    /// What becomes of it; known when it is durable.
    ///
    /// # Errors
    /// As [`Ingest::submit`].
    pub async fn outcome(self) -> Result<Ingested, IngestError> {
        match self.0.await {
            Ok(outcome) => Ok(outcome?),
            // The committers are gone: the process ends.
            Err(_) => Err(IngestError::Overloaded),
        }
    }
}

/// Commits a group. When the group fails for another reason than Postgres being away, each message is tried alone,
/// so that one that Postgres does not like harms no other. Returns the chats in which a person wrote.
pub async fn commit(
    db: &Database,
    links: &MediaLinks,
    signal: &Signal,
    traffic: &Traffic,
    mut group: Vec<Waiting>,
) -> Vec<(TenantScope, ChatId)> {
    // What came over several connections at once may have overtaken its neighbour. Those of one second stay as they came.
    group.sort_by_key(|(job, _)| job.message.sent_at);
    let (jobs, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    metrics::histogram!("kanal_ingest_group_size")
        .record(f64::from(u32::try_from(jobs.len()).unwrap_or(u32::MAX)));
    match commit_group(db, links, traffic, &jobs).await {
        Ok(Committed { outcomes, written_in }) => {
            signal.ring();
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // A caller that has left gets no answer; its message is kept all the same.
                drop(answer.send(Ok(outcome)));
            }
            written_in
        }
        Err(error) if jobs.len() == 1 && !matches!(error, DatabaseError::Unavailable(_)) => {
            tracing::warn!(error = %crate::error::chain(&error), "a message was not kept");
            if let Some(answer) = answers.into_iter().next() {
                drop(answer.send(Err(error)));
            }
            Vec::new()
        }
        Err(error) if matches!(error, DatabaseError::Unavailable(_)) => {
            tracing::warn!(waiting = jobs.len(), error = %crate::error::chain(&error), "messages were not kept");
            for answer in answers {
                drop(answer.send(Err(DatabaseError::Unavailable(
                    "the group was not committed".into(),
                ))));
            }
            Vec::new()
        }
        Err(_) => {
            let mut written_in = Vec::new();
            for (job, answer) in jobs.into_iter().zip(answers) {
                let outcome = commit_group(db, links, traffic, std::slice::from_ref(&job)).await;
                let outcome = outcome.and_then(|one| {
                    written_in.extend(one.written_in);
                    one.outcomes.into_iter().next().ok_or(DatabaseError::NotFound)
                });
                drop(answer.send(outcome));
            }
            signal.ring();
            written_in
        }
    }
}

/// What a transaction kept.
struct Committed {
    /// What became of each job.
    outcomes: Vec<Ingested>,
    /// The chats in which a person wrote.
    written_in: Vec<(TenantScope, ChatId)>,
}

/// The transaction.
async fn commit_group(
    db: &Database,
    links: &MediaLinks,
    traffic: &Traffic,
    jobs: &[IngestJob],
) -> Result<Committed, DatabaseError> {
    let scopes: ScopeSet = jobs.iter().map(|job| &job.scope).collect();
    let mut tx = GroupTransaction::begin(&db.keeping_plans(), scopes, "ingest messages").await?;

    let ids: Vec<MessageId> = jobs.iter().map(|_| MessageId::generate()).collect();
    let mut entries: Vec<LedgerEntry> = jobs
        .iter()
        .zip(&ids)
        .map(|(job, id)| ledger_entry(job, *id))
        .collect();
    entries.sort_by(|a, b| {
        (&a.tenant, a.account, &a.provider_message_id).cmp(&(&b.tenant, b.account, &b.provider_message_id))
    });
    let new = inbound_ledger::note_new(&mut tx, &entries).await?;
    let mut fresh: Vec<Fresh<'_>> = jobs
        .iter()
        .zip(ids.iter().copied())
        .filter(|(_, id)| new.contains_key(id))
        .map(|(job, id)| Fresh {
            job: Cow::Borrowed(job),
            id,
        })
        .collect();

    let mut kept = HashSet::new();
    let mut written_in = Vec::new();
    if !fresh.is_empty() {
        let learned = learn_lid::learn(&mut tx, &mut fresh, &new).await?;
        learned.lock_chats(&mut tx, &fresh).await?;
        let chats = upsert_chats(&mut tx, &fresh).await?;
        learned.merge_chats(&mut tx, &chats, &fresh).await?;
        let mut messages = Vec::with_capacity(fresh.len());
        for Fresh { job, id } in &fresh {
            messages.push(new_message(job, *id, &chats)?);
        }
        kept = message::insert_group(&mut tx, &messages).await?;
        message_change::apply_group(&mut tx, &changes(&fresh, &messages, &kept)).await?;
        let mut rows = Vec::with_capacity(kept.len());
        for (Fresh { job, id }, message) in fresh.iter().zip(&messages) {
            if kept.contains(id) {
                rows.push(NewRow {
                    lane: message.chat.to_string(),
                    envelope: envelope(job, message, links)?,
                });
                if message.direction == Direction::Inbound && job.message.chat.is_direct() {
                    written_in.push((job.scope.clone(), message.chat));
                }
            }
        }
        enqueue_group(&mut tx, rows).await?;
        keep_media(&mut tx, &fresh, &kept).await?;
    }
    tx.commit().await?;

    for (job, id) in jobs.iter().zip(&ids) {
        if job.message.direction == Direction::Inbound && kept.contains(id) {
            traffic.count(job.scope.tenant(), Counted::Received, 1);
        }
    }
    metrics::counter!("kanal_messages_received_total").increment(kept.len() as u64);
    metrics::counter!("kanal_messages_duplicate_total").increment((jobs.len() - kept.len()) as u64);
    let outcome = |id| {
        // What is new to the ledger may still be a message of ours that comes back: there is a row, not this one.
        if kept.contains(&id) {
            Ingested::New(id)
        } else {
            Ingested::Duplicate
        }
    };
    Ok(Committed {
        outcomes: ids.into_iter().map(outcome).collect(),
        written_in,
    })
}

/// The files of the messages that were kept, and the tasks of fetching those that are not there yet.
async fn keep_media(
    tx: &mut GroupTransaction,
    fresh: &[Fresh<'_>],
    kept: &HashSet<MessageId>,
) -> Result<(), DatabaseError> {
    let with_files: Vec<(&IngestJob, MessageId, &NewMedia)> = fresh
        .iter()
        .filter(|fresh| kept.contains(&fresh.id))
        .filter_map(|Fresh { job, id }| Some((job.as_ref(), *id, job.media.as_ref()?)))
        .collect();
    if with_files.is_empty() {
        return Ok(());
    }
    let files: Vec<(&TenantId, MessageId, &NewMedia)> = with_files
        .iter()
        .map(|(job, id, file)| (job.scope.tenant(), *id, *file))
        .collect();
    media::insert_group(tx, &files).await?;
    let tasks = with_files
        .iter()
        .filter(|(.., file)| file.state == MediaState::Pending)
        .map(|(job, id, _)| {
            let cause = Cause {
                request_id: job.request_id.clone(),
                traceparent: job.traceparent,
            };
            Ok((
                job.scope.tenant().clone(),
                FetchTask::of(*id, cause).map_err(|error| DatabaseError::Refused(error.into()))?,
            ))
        })
        .collect::<Result<Vec<(TenantId, NewTask)>, DatabaseError>>()?;
    if tasks.is_empty() {
        return Ok(());
    }
    lanes::enqueue_group(tx, &tasks).await
}

fn ledger_entry(job: &IngestJob, id: MessageId) -> LedgerEntry {
    LedgerEntry {
        tenant: job.scope.tenant().clone(),
        account: job.account,
        provider_message_id: job.message.provider_message_id.clone(),
        message: id,
        hidden: HiddenId::shown_by(&job.message),
    }
}

/// What the edits and deletions of a group do to the messages they are about.
fn changes(fresh: &[Fresh<'_>], messages: &[NewMessage], kept: &HashSet<MessageId>) -> Vec<MessageChange> {
    let of = |(fresh, row): (&Fresh<'_>, &NewMessage)| {
        let (target, revoked) = MessageChange::of(&fresh.job.message.content)?;
        Some(MessageChange {
            tenant: row.tenant.clone(),
            account: row.account,
            chat: row.chat,
            target: target.clone(),
            direction: row.direction,
            sender: row.sender.clone(),
            at: row.sent_at,
            revoked,
            body: row.body.clone(),
        })
    };
    let kept = fresh
        .iter()
        .zip(messages)
        .filter(|(fresh, _)| kept.contains(&fresh.id));
    kept.filter_map(of).collect()
}

/// One row a chat, by tenant, account and address as text: the order in which chats are locked everywhere.
async fn upsert_chats(
    tx: &mut GroupTransaction,
    fresh: &[Fresh<'_>],
) -> Result<HashMap<ChatKey, ChatId>, DatabaseError> {
    let mut updates: BTreeMap<ChatKey, ChatUpdate> = BTreeMap::new();
    for Fresh { job, id: _ } in fresh {
        let update = chat_update(job);
        match updates.entry(update.key()) {
            std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(update)),
            std::collections::btree_map::Entry::Occupied(mut place) => place.get_mut().merge(update),
        }
    }
    let mut updates: Vec<ChatUpdate> = updates.into_values().collect();
    updates.sort_by(|a, b| {
        (&a.tenant, a.account, a.address.as_str()).cmp(&(&b.tenant, b.account, b.address.as_str()))
    });
    Ok(chat::upsert_group(tx, &updates).await?.into_iter().collect())
}

fn chat_update(job: &IngestJob) -> ChatUpdate {
    let message = &job.message;
    let inbound = message.direction == Direction::Inbound;
    ChatUpdate {
        tenant: job.scope.tenant().clone(),
        account: job.account,
        address: message.chat.clone(),
        phone: message.chat_phone.as_ref().map(|phone| phone.as_str().to_owned()),
        lid: message.chat_lid.as_ref().map(|lid| lid.as_str().to_owned()),
        // The push name of a message that the tenant typed is the tenant's own, and a place is not called like
        // whoever wrote there.
        name: message
            .push_name
            .as_ref()
            .filter(|_| inbound && message.chat.is_direct())
            .map(|name| name.as_str().to_owned()),
        last_message_at: message.sent_at,
        last_text: message.content.text_for_humans().into_string(),
        unread: i32::from(
            inbound
                && asks_for_attention(message.content.kind())
                && Place::of(&message.chat) != Some(Place::Status),
        ),
        last_inbound_at: inbound.then_some(message.sent_at),
    }
}

/// A reaction or a correction is no new thing to answer.
const fn asks_for_attention(kind: MessageKind) -> bool {
    !matches!(
        kind,
        MessageKind::Reaction | MessageKind::PollVote | MessageKind::Edit | MessageKind::Revoke
    )
}

fn new_message(
    job: &IngestJob,
    id: MessageId,
    chats: &HashMap<ChatKey, ChatId>,
) -> Result<NewMessage, DatabaseError> {
    let message = &job.message;
    let tenant = job.scope.tenant().clone();
    let chat = *chats
        .get(&(tenant.clone(), job.account, message.chat.clone()))
        .ok_or(DatabaseError::NotFound)?;
    let (source, status) = match message.direction {
        Direction::Inbound => ("webhook", DeliveryStatus::Delivered),
        Direction::Outbound => ("phone", DeliveryStatus::Sent),
    };
    Ok(NewMessage {
        tenant,
        id,
        account: job.account,
        chat,
        direction: message.direction,
        source,
        provider_message_id: message.provider_message_id.clone(),
        kind: message.content.kind(),
        body: message.content.text_for_humans().into_string(),
        content: serde_json::to_string(&message.content)
            .map_err(|error| DatabaseError::Refused(error.into()))?,
        quoted: message
            .quoted
            .as_ref()
            .map(|quoted| quoted.provider_message_id.clone()),
        target: message.content.target().cloned(),
        sender: sender(message).map(|sender| sender.address),
        sender_name: sender(message).and_then(|sender| sender.name),
        sent_at: message.sent_at,
        status,
        reference: None,
    })
}

/// Who of several people wrote; in a chat with one person nobody needs to be told.
fn sender(message: &InboundMessage) -> Option<ChatSender> {
    let address = message.sender.as_ref().filter(|_| !message.chat.is_direct())?;
    Some(ChatSender {
        address: address.as_str().to_owned(),
        name: message.push_name.as_ref().map(|name| name.as_str().to_owned()),
    })
}

/// Where the file is, or will be. One that is never handed out has no address.
fn link(job: &IngestJob, message: MessageId, links: &MediaLinks) -> Option<MediaLink> {
    job.media
        .as_ref()
        .filter(|media| matches!(media.state, MediaState::Pending | MediaState::Stored))?;
    let url = links.of(job.scope.tenant(), message).internal;
    Some(MediaLink { url })
}

fn envelope(job: &IngestJob, row: &NewMessage, links: &MediaLinks) -> Result<Envelope, DatabaseError> {
    let refused = |error: serde_json::Error| DatabaseError::Refused(error.into());
    let message = &job.message;
    let event = ChatMessage {
        account_id: row.account,
        chat_id: row.chat,
        partner: ChatPartner {
            address: message.chat.as_str().to_owned(),
            phone: message.chat_phone.as_ref().map(|phone| phone.as_str().to_owned()),
            name: message
                .push_name
                .as_ref()
                .filter(|_| row.direction == Direction::Inbound && message.chat.is_direct())
                .map(|name| name.as_str().to_owned()),
        },
        place: Place::of(&message.chat),
        sender: sender(message),
        message_id: row.id,
        provider_message_id: row.provider_message_id.clone(),
        kind: row.kind.as_str().to_owned(),
        text: row.body.clone(),
        content: serde_json::value::RawValue::from_string(row.content.clone()).map_err(refused)?,
        media: link(job, row.id, links),
        quoted: row.quoted.clone(),
        sent_at: row.sent_at,
    };
    let envelope = match row.direction {
        Direction::Inbound => Envelope::new(&job.scope, &MessageReceived(event)),
        Direction::Outbound => Envelope::new(&job.scope, &MessageSentElsewhere(event)),
    };
    Ok(envelope
        .map_err(refused)?
        .caused_by(job.request_id.clone())
        .traced(job.traceparent))
}
