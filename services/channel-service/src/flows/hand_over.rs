//! A person's message is handed over to the tenant's AI: decided on a lane of its own beside the chat's, in the order in
//! which the chat's messages came, each message once.
//!
//! | what is found | message's `ai_handling` | bubble |
//! |---|---|---|
//! | nothing that anybody answers (reaction, vote, edit, group, …) | `not_answerable` | stays |
//! | the tenant is suspended | `tenant_suspended` | ends |
//! | WhatsApp is switched off | `whatsapp_disabled` | ends |
//! | a person has taken the chat over | `takeover` | ends |
//! | the spam guard says no | `spam: <its reason>` | stays |
//! | its file is still being fetched, for up to ten seconds | waits | |
//! | else | `handed_over` | grows |
//!
//! The message itself is kept in every case.

use std::borrow::Cow;
use std::time::Duration;

use cache::{Incoming, SpamGuard, Verdict};
use chrono::{SecondsFormat, TimeDelta, Utc};
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::ids::{ChatId, MessageId};
use domain::message::{MediaSource, MediaState, MessageContent, MessageKind};
use messaging::Envelope;
use messaging::cause::{self, left_by};
use messaging::events::govconnect::{ContextMessage, MessageForAi, SpamGuardBlock, WhatsappMessage};
use messaging::lanes::{self, HandleTask, LaneError, Lease, NewTask, Next, Task, Waits};
use messaging::outbox::{NewRow, Signal, enqueue};
use serde::{Deserialize, Serialize};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::identifier::write_identifier;
use crate::media::{MediaLinks, MediaUrls};
use crate::store::ai_message::{self, AiMessageRow};
use crate::store::{ai_chat, channel_account, media, message_chat, pending_message, takeover, tenant};

/// Task kind: a message wants to be handed over.
pub const HAND_OVER: &str = "ai_hand_over";
/// Task kind: nothing in the chat waits for an answer any more.
pub const CLEAR_BUBBLE: &str = "ai_clear_bubble";

/// What became of a message that the AI got.
const HANDED_OVER: &str = "handed_over";
/// Makes the task's id of the message's: a message may be the subject of other tasks, too.
const TASKS: Uuid = Uuid::from_u128(0x6f0c_1d4a_98b1_4c0e_8f5d_3a77_21c9_e604);

/// The lane on which a chat's messages are handed over.
#[must_use]
pub fn lane(chat: ChatId) -> String {
    format!("ai:{chat}")
}

#[derive(Serialize, Deserialize)]
struct HandOverTask {
    message_id: MessageId,
    /// The request that brought the message, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// The place in its trace.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "trace_context::lenient"
    )]
    traceparent: Option<trace_context::TraceContext>,
}

#[derive(Serialize, Deserialize)]
struct ClearTask {
    chat_id: ChatId,
}

/// Puts a message on its chat's lane: that of the chat it is in now, which two chats of one person may have become since
/// the message was told of. Told twice about one message, it does so once while the first task is there; a later one
/// finds that all is decided. A message that is gone is nobody's any more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn request(db: &Database, scope: &TenantScope, message: MessageId) -> Result<(), DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "request hand-over").await?;
    let Some(chat) = message_chat::lock(&mut tx, message).await? else {
        return Ok(());
    };
    let task = NewTask {
        lane: lane(chat),
        id: Uuid::new_v5(&TASKS, message.as_uuid().as_bytes()),
        kind: HAND_OVER,
        payload: payload(&HandOverTask {
            message_id: message,
            request_id: cause::request_id(),
            traceparent: trace_context::current(),
        })?,
    };
    lanes::enqueue(&mut tx, &task).await?;
    tx.commit().await
}

/// Lets the chat's bubble end, once the caller's transaction is committed.
///
/// # Errors
/// [`DatabaseError`].
pub async fn request_clearing(tx: &mut TenantTransaction, chat: ChatId) -> Result<(), DatabaseError> {
    let task = NewTask {
        lane: lane(chat),
        id: Uuid::now_v7(),
        kind: CLEAR_BUBBLE,
        payload: payload(&ClearTask { chat_id: chat })?,
    };
    lanes::enqueue(tx, &task).await.map(drop)
}

fn payload(task: &impl Serialize) -> Result<String, DatabaseError> {
    serde_json::to_string(task).map_err(|error| DatabaseError::Refused(error.into()))
}

/// Decides what is handed over.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// The tables.
    pub db: Database,
    /// Who writes too much.
    pub guard: SpamGuard,
    /// Makes the links to files.
    pub links: MediaLinks,
    /// Wakes the relay.
    pub relay: Signal,
}

/// Why a message is kept from the AI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    NotAnswerable,
    TenantSuspended,
    WhatsappDisabled,
    Takeover,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnswerable => "not_answerable",
            Self::TenantSuspended => "tenant_suspended",
            Self::WhatsappDisabled => "whatsapp_disabled",
            Self::Takeover => "takeover",
        }
    }

    /// What was said to somebody else is no part of the next conversation with the AI.
    const fn ends_bubble(self) -> bool {
        !matches!(self, Self::NotAnswerable)
    }
}

/// What is found before anybody outside is asked.
enum Found {
    /// The message is gone, or its handling was decided before.
    Settled,
    Kept(Reason, ChatId),
    /// Its file is still being fetched; the AI is to get both.
    Unfinished,
    Askable(Box<AiMessageRow>),
}

/// How long a message waits for its file. Then the AI gets what it says; the file stays in the history.
const FILE_PATIENCE: TimeDelta = TimeDelta::seconds(10);
/// How often it is looked at meanwhile.
const FILE_PAUSE: Duration = Duration::from_millis(500);

impl HandleTask for HandOver {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        if task.kind == CLEAR_BUBBLE {
            if let Ok(ClearTask { chat_id }) = serde_json::from_str(&task.payload) {
                self.guard.clear(lease.scope(), chat_id).await;
            }
            return self.done(lease, task).await;
        }
        let Ok(asked) = serde_json::from_str::<HandOverTask>(&task.payload) else {
            return self.put_aside(lease, task).await;
        };
        let work = self.decide(lease, task, asked.message_id);
        left_by(
            "hand over",
            asked.request_id,
            asked.traceparent,
            lease.scope(),
            work,
        )
        .await
    }
}

impl HandOver {
    async fn decide(&self, lease: &Lease, task: &Task, message_id: MessageId) -> Result<Next, LaneError> {
        let message = match self.look(lease, message_id).await? {
            Found::Settled => return self.done(lease, task).await,
            Found::Kept(reason, chat) => return self.keep(lease, task, message_id, chat, reason).await,
            Found::Unfinished => {
                let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "wait for file").await?;
                lease
                    .retry(&mut tx, task, FILE_PAUSE, Waits::NotBegun, "file_is_fetched")
                    .await?;
                tx.commit().await?;
                return Ok(Next::Wait);
            }
            Found::Askable(message) => message,
        };
        let user = write_identifier(&message.address, message.phone.as_deref());
        let words = own_words(&message);
        let incoming = Incoming {
            chat: ChatId::from_uuid(message.chat_id),
            user,
            message: message_id,
            text: &words,
            at: message.created_at.timestamp_millis(),
        };
        match self.guard.judge(lease.scope(), incoming).await {
            Verdict::Accepted {
                superseded,
                is_repeated,
                reason: _,
            } => self.give(lease, task, &message, &superseded, is_repeated).await,
            Verdict::Spam { reason } => {
                tracing::info!(tenant = %lease.scope().tenant(), message = %message_id, reason, "the spam guard kept a message from the AI");
                self.settle(lease, task, message_id, &format!("spam: {reason}"), "spam")
                    .await
            }
        }
    }

    async fn look(&self, lease: &Lease, id: MessageId) -> Result<Found, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "look at message for AI").await?;
        let Some(message) = ai_message::find(&mut tx, id).await? else {
            return Ok(Found::Settled);
        };
        let chat = ChatId::from_uuid(message.chat_id);
        let found = if message.ai_handling.is_some() {
            Found::Settled
        } else if !is_answerable(&message.kind) || !is_with_a_person(&message.address) {
            Found::Kept(Reason::NotAnswerable, chat)
        } else if let Some(reason) = kept_back(&mut tx, chat).await? {
            Found::Kept(reason, chat)
        } else if Utc::now() - message.created_at < FILE_PATIENCE
            && file_state(&mut tx, id).await? == Some(MediaState::Pending)
        {
            Found::Unfinished
        } else {
            Found::Askable(Box::new(message))
        };
        tx.commit().await?;
        Ok(found)
    }

    /// The AI gets the message: noted, and published by the relay, in one transaction.
    async fn give(
        &self,
        lease: &Lease,
        task: &Task,
        message: &AiMessageRow,
        superseded: &[MessageId],
        is_repeated: bool,
    ) -> Result<Next, LaneError> {
        let (id, chat) = (
            MessageId::from_uuid(message.id),
            ChatId::from_uuid(message.chat_id),
        );
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "hand over to AI").await?;
        if !ai_chat::lock(&mut tx, chat).await? {
            drop(tx);
            return self.done(lease, task).await;
        }
        // Whoever took the chat over while the guard was asked has it.
        if let Some(reason) = kept_back(&mut tx, chat).await? {
            drop(tx);
            return self.keep(lease, task, id, chat, reason).await;
        }
        if ai_message::settle(&mut tx, id, HANDED_OVER).await? {
            pending_message::supersede(&mut tx, superseded).await?;
            pending_message::begin(&mut tx, id, &message.provider_message_id).await?;
            ai_chat::processing(&mut tx, chat, &message.provider_message_id).await?;
            let block = block(&mut tx, message, superseded, is_repeated).await?;
            let stored = file_state(&mut tx, id).await? == Some(MediaState::Stored);
            let urls = stored.then(|| self.links.of(lease.scope().tenant(), id));
            let event = WhatsappMessage::Received(for_ai(lease.scope(), message, urls, block));
            publish(&mut tx, chat, &event).await?;
        }
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        self.relay.ring();
        metrics::counter!("kanal_ai_messages_total", "handling" => HANDED_OVER).increment(1);
        Ok(Next::Continue)
    }

    async fn keep(
        &self,
        lease: &Lease,
        task: &Task,
        id: MessageId,
        chat: ChatId,
        reason: Reason,
    ) -> Result<Next, LaneError> {
        if reason.ends_bubble() {
            self.guard.clear(lease.scope(), chat).await;
        }
        self.settle(lease, task, id, reason.as_str(), reason.as_str())
            .await
    }

    async fn settle(
        &self,
        lease: &Lease,
        task: &Task,
        id: MessageId,
        handling: &str,
        label: &'static str,
    ) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "keep from AI").await?;
        ai_message::settle(&mut tx, id, handling).await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        metrics::counter!("kanal_ai_messages_total", "handling" => label).increment(1);
        Ok(Next::Continue)
    }

    async fn done(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "settle AI task").await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        Ok(Next::Continue)
    }

    async fn put_aside(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "put AI task aside").await?;
        lease.park(&mut tx, task, "unreadable_task").await?;
        tx.commit().await?;
        Ok(Next::Continue)
    }
}

/// Nobody wants these answered: an AI would reply to each.
fn is_answerable(kind: &str) -> bool {
    !matches!(
        kind.parse(),
        Ok(MessageKind::Reaction
            | MessageKind::PollVote
            | MessageKind::Edit
            | MessageKind::Revoke
            | MessageKind::Unsupported)
            | Err(_)
    )
}

/// The AI answers single people on WhatsApp: nobody wants it in a group, and webchat brings its words itself.
fn is_with_a_person(address: &str) -> bool {
    ChatAddress::parse(address).is_ok_and(|chat| chat.is_direct())
}

/// Why the AI has no business in the chat at present.
async fn kept_back(tx: &mut TenantTransaction, chat: ChatId) -> Result<Option<Reason>, DatabaseError> {
    let reason = if !tenant::find(tx).await?.is_some_and(|tenant| tenant.is_active()) {
        Some(Reason::TenantSuspended)
    } else if !channel_account::whatsapp_is_on(tx).await? {
        Some(Reason::WhatsappDisabled)
    } else if takeover::active(tx, chat).await?.is_some() {
        Some(Reason::Takeover)
    } else {
        None
    };
    Ok(reason)
}

/// Why an answer of the AI must not go out at present, as a stable code.
///
/// # Errors
/// [`DatabaseError`].
pub async fn answers_are_kept_back(
    tx: &mut TenantTransaction,
    chat: ChatId,
) -> Result<Option<&'static str>, DatabaseError> {
    Ok(kept_back(tx, chat).await?.map(Reason::as_str))
}

/// Puts what is for the AI into the outbox, behind what the chat's AI lane holds already. The caller holds the chat.
///
/// # Errors
/// [`DatabaseError`].
pub async fn publish(
    tx: &mut TenantTransaction,
    chat: ChatId,
    event: &WhatsappMessage,
) -> Result<(), DatabaseError> {
    let envelope = Envelope::new(tx.scope(), event).map_err(|error| DatabaseError::Refused(error.into()))?;
    let row = NewRow {
        lane: lane(chat),
        envelope,
    };
    enqueue(tx, vec![row]).await
}

async fn block(
    tx: &mut TenantTransaction,
    message: &AiMessageRow,
    superseded: &[MessageId],
    is_repeated: bool,
) -> Result<SpamGuardBlock, DatabaseError> {
    if superseded.is_empty() {
        return Ok(SpamGuardBlock::default());
    }
    let earlier = ai_message::context(tx, ChatId::from_uuid(message.chat_id), superseded).await?;
    let context = |id: &str, text: &str, at| ContextMessage {
        message_id: id.to_owned(),
        text: text.to_owned(),
        received_at: wire_time(at),
    };
    let suppressed_message_ids = earlier
        .iter()
        .map(|row| row.provider_message_id.clone())
        .collect();
    let mut context_messages: Vec<ContextMessage> = earlier
        .iter()
        .map(|row| context(&row.provider_message_id, &row.body, row.sent_at))
        .collect();
    context_messages.push(context(
        &message.provider_message_id,
        &message.body,
        message.sent_at,
    ));
    Ok(SpamGuardBlock {
        is_duplicate: is_repeated,
        supersede_previous: true,
        suppressed_message_ids,
        context_messages,
    })
}

fn for_ai(
    scope: &TenantScope,
    message: &AiMessageRow,
    urls: Option<MediaUrls>,
    spam_guard: SpamGuardBlock,
) -> MessageForAi {
    let media = media_of(message, urls);
    MessageForAi {
        village_id: scope.tenant().as_str().to_owned(),
        // Never the bare digits of a hidden id, which would be taken for a number.
        wa_user_id: write_identifier(&message.address, message.phone.as_deref()).to_owned(),
        message: message.body.clone(),
        message_id: message.provider_message_id.clone(),
        received_at: wire_time(message.sent_at),
        batched_message_ids: vec![message.provider_message_id.clone()],
        has_media: media.is_some(),
        media_type: media.as_ref().map(|media| media.kind.to_owned()),
        media_url: media.as_ref().and_then(|media| media.url.clone()),
        media_public_url: media.and_then(|media| media.public_url),
        spam_guard,
    }
}

/// A file, as far as the AI is told about it.
struct AiMedia {
    /// In GovConnect's words.
    kind: &'static str,
    /// For services of the installation.
    url: Option<String>,
    /// For everybody with the link.
    public_url: Option<String>,
}

/// What the spam guard compares. A file without a caption has only a placeholder of ours for words, and many photos of
/// one damaged road are no repetition: each is its own.
fn own_words(message: &AiMessageRow) -> Cow<'_, str> {
    let content: Option<MessageContent> = serde_json::from_str(&message.content).ok();
    let file = content.as_ref().and_then(MessageContent::media);
    if file.is_some_and(|file| file.caption.is_none()) {
        return Cow::Owned(message.id.to_string());
    }
    Cow::Borrowed(&message.body)
}

/// What became of the message's file. `None`: it has none.
async fn file_state(tx: &mut TenantTransaction, id: MessageId) -> Result<Option<MediaState>, DatabaseError> {
    let row = media::find(tx, id).await?;
    Ok(row.and_then(|row| row.state.parse().ok()))
}

/// The file of a message: where we keep it, else where the provider has put it.
fn media_of(message: &AiMessageRow, urls: Option<MediaUrls>) -> Option<AiMedia> {
    let kind = match message.kind.parse().ok()? {
        MessageKind::Image => "image",
        MessageKind::Video => "video",
        MessageKind::Audio | MessageKind::Voice => "audio",
        MessageKind::Document => "document",
        MessageKind::Sticker => "sticker",
        _ => return None,
    };
    if let Some(MediaUrls { internal, public }) = urls {
        return Some(AiMedia {
            kind,
            url: Some(internal),
            public_url: Some(public),
        });
    }
    let content: Option<MessageContent> = serde_json::from_str(&message.content).ok();
    let file = content.as_ref().and_then(MessageContent::media);
    let url = file.and_then(|file| {
        file.sources.iter().find_map(|source| match source {
            MediaSource::S3 { url, .. } => Some(url.clone()),
            MediaSource::Inline { .. }
            | MediaSource::WhatsApp(_)
            | MediaSource::Server(_)
            | MediaSource::Graph(_)
            | MediaSource::Link { .. } => None,
        })
    });
    Some(AiMedia {
        kind,
        url,
        public_url: None,
    })
}

fn wire_time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_person_says_wants_an_answer() {
        for kind in [
            "text",
            "image",
            "voice",
            "location",
            "contact",
            "poll",
            "interactive_reply",
        ] {
            assert!(is_answerable(kind), "{kind}");
        }
        for kind in [
            "reaction",
            "poll_vote",
            "edit",
            "revoke",
            "unsupported",
            "from the future",
        ] {
            assert!(!is_answerable(kind), "{kind}");
        }
        for person in ["6281290000011@s.whatsapp.net", "204466881133557@lid"] {
            assert!(is_with_a_person(person), "{person}");
        }
        for other in ["120363000000000001@g.us", "web_abc", "status@broadcast", ""] {
            assert!(!is_with_a_person(other), "{other}");
        }
    }
}
