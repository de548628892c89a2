//! An answer of the AI goes out: claimed once, queued in its chat's lane, looked at again before it is sent.
//!
//! The AI keeps its words by `POST /internal/messages` before it publishes the answer. The row it made becomes the
//! message that goes out, so the history holds the words once, with their delivery; where there is no such row, one is
//! made. An answer that came too late because a person has taken the chat over stays in the history as a note:
//! `failed`, with the reason `takeover`, never sent.

use std::sync::Arc;

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId};
use domain::message::{Direction, MessageContent};
use domain::text::Text;
use messaging::events::govconnect::AiReply;
use messaging::lanes::{self, HandleTask, LaneError, Lease, NewTask, Next, Task};
use messaging::outbox::Signal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tenant_isolation::{TenantScope, TenantTransaction};

use super::ai_person::{self, AiEventError};
use super::ai_words::{contact, tidy};
use super::announce_status::announce;
use super::chat::new_chat;
use super::hand_over::answers_are_kept_back;
use super::learn_lid;
use super::send_message::Sender;
use crate::store::ai_reply::{self, Adoption, ReplyKey};
use crate::store::message::NewMessage;
use crate::store::message_status::Moved;
use crate::store::{account, ai_chat, chat, message, message_chat, message_status};

/// Task kind of a part of an answer. Its payload is that of any send, and says to which answer it belongs.
pub const SEND_REPLY: &str = "send_ai_reply";

/// Most contact cards of one answer.
const MOST_CONTACTS: usize = 20;
/// Where a message came from, in its row.
const SOURCE: &str = "ai";
/// Why a part does not go out when the first one did not.
const WITHOUT_THE_FIRST: &str = "earlier_part_failed";

/// What the sender finds in the task, and more.
#[derive(Debug, Serialize, Deserialize)]
struct ReplyTask {
    message_id: MessageId,
    reply: String,
    part: usize,
}

/// By what the statuses of a part are known: `ai:<part>:<key of the answer>`.
fn reference(part: usize, key: &str) -> String {
    format!("ai:{part}:{key}")
}

/// The answer whose first part is known by this reference.
#[must_use]
pub fn answer_behind(reference: &str) -> Option<&str> {
    reference.strip_prefix("ai:0:")
}

/// One message of an answer.
struct Part {
    /// As the AI wrote it, if it is its words.
    written: Option<String>,
    body: String,
    content: MessageContent,
}

/// Takes an answer. False: it was taken before.
///
/// # Errors
/// [`AiEventError`].
pub async fn take(
    db: &Database,
    relay: &Signal,
    workers: &Signal,
    reply: &AiReply,
) -> Result<bool, AiEventError> {
    let parts = parts(reply)?;
    let (scope, person) = ai_person::find(db, reply.village_id.as_deref(), &reply.wa_user_id).await?;
    let answers = ai_person::message_ids(
        reply
            .message_id
            .iter()
            .chain(&reply.batched_message_ids)
            .map(String::as_str),
    );
    let named = reply
        .message_id
        .as_deref()
        .and_then(|id| ProviderMessageId::parse(id).ok());
    let key = named
        .clone()
        .map_or_else(|| words_key(reply, &person), ReplyKey::Message);

    let mut tx = TenantTransaction::begin(db, &scope, "take AI reply").await?;
    // The chat first: whoever shows in it what became of an answer has it, and then looks at the answer.
    let (chat, account) = chat_with(&mut tx, &scope, &person, named.as_ref()).await?;
    if !ai_reply::claim(&mut tx, &key, &answers).await? {
        return Ok(false);
    }
    let key = key.as_text();
    let mut queued = Vec::with_capacity(parts.len());
    for (number, part) in parts.into_iter().enumerate() {
        queued.push(queue_part(&mut tx, chat, account, &key, number, part).await?);
    }
    announce(&mut tx, queued, DeliveryStatus::Queued, None, Utc::now()).await?;
    tx.commit().await?;
    relay.ring();
    workers.ring();
    Ok(true)
}

fn parts(reply: &AiReply) -> Result<Vec<Part>, AiEventError> {
    let words = |written: &str| {
        let (text, cut) = Text::cut(&tidy(written), Text::MAX_CHARS);
        if text.as_str().trim().is_empty() || cut {
            return Err(AiEventError::Text);
        }
        Ok(Part {
            written: Some(written.replace('\0', "")),
            body: text.as_str().to_owned(),
            content: MessageContent::Text { text },
        })
    };
    let mut parts = vec![words(&reply.reply_text)?];
    if let Some(guidance) = reply
        .guidance_text
        .as_deref()
        .filter(|text| !text.trim().is_empty())
    {
        parts.push(words(guidance)?);
    }
    let cards = reply.contacts.iter().take(MOST_CONTACTS).filter_map(contact);
    parts.extend(cards.map(|(content, body)| Part {
        written: None,
        body,
        content,
    }));
    Ok(parts)
}

fn words_key(reply: &AiReply, person: &ChatAddress) -> ReplyKey {
    let mut hash = Sha256::new();
    let contacts = reply
        .contacts
        .iter()
        .flat_map(|contact| [contact.name.as_str(), contact.phone.as_str()]);
    for text in [
        person.as_str(),
        &reply.reply_text,
        reply.guidance_text.as_deref().unwrap_or_default(),
    ]
    .into_iter()
    .chain(contacts)
    .chain(reply.batched_message_ids.iter().map(String::as_str))
    {
        hash.update(text.len().to_le_bytes());
        hash.update(text.as_bytes());
    }
    let digest = hash.finalize();
    ReplyKey::Words(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The chat with a person, held until the commit; made on the tenant's first account when there is none.
async fn chat_with(
    tx: &mut TenantTransaction,
    scope: &TenantScope,
    person: &ChatAddress,
    message: Option<&ProviderMessageId>,
) -> Result<(ChatId, AccountId), AiEventError> {
    if let Some(row) = ai_chat::find(tx, person, message).await?.into_iter().next() {
        let chat = ChatId::from_uuid(row.id);
        if ai_chat::lock(tx, chat).await? {
            return Ok((chat, AccountId::from_uuid(row.account_id)));
        }
    }
    let account = account::find_primary(tx).await?.ok_or(AiEventError::NoAccount)?;
    let account = AccountId::from_uuid(account.id);
    let (address, _) = learn_lid::chat_address(tx, account, person.clone()).await?;
    let update = new_chat(scope, account, address);
    Ok((chat::upsert_one(tx, &update).await?, account))
}

/// Queues one message of an answer behind what the chat's lane holds.
async fn queue_part(
    tx: &mut TenantTransaction,
    chat: ChatId,
    account: AccountId,
    key: &str,
    number: usize,
    part: Part,
) -> Result<Moved, DatabaseError> {
    let refused = |error: serde_json::Error| DatabaseError::Refused(error.into());
    let reference = reference(number, key);
    let content = serde_json::to_string(&part.content).map_err(refused)?;
    let provider_message_id = ProviderMessageId::generate();
    let adopted = match &part.written {
        Some(written) => {
            let adoption = Adoption {
                chat,
                words: [written, &part.body],
                content: &content,
                provider_message_id: &provider_message_id,
                reference: &reference,
            };
            ai_reply::adopt_stored(tx, &adoption).await?
        }
        None => None,
    };
    let id = match adopted {
        Some(id) => id,
        None => {
            let row = NewMessage {
                tenant: tx.scope().tenant().clone(),
                id: MessageId::generate(),
                account,
                chat,
                direction: Direction::Outbound,
                source: SOURCE,
                provider_message_id: provider_message_id.clone(),
                kind: part.content.kind(),
                body: part.body,
                content,
                quoted: None,
                target: None,
                sender: None,
                sender_name: None,
                sent_at: Utc::now(),
                status: DeliveryStatus::Queued,
                reference: Some(reference.clone()),
            };
            message::insert_one(tx, &row).await?;
            row.id
        }
    };
    let payload = ReplyTask {
        message_id: id,
        reply: key.to_owned(),
        part: number,
    };
    let task = NewTask {
        lane: chat.to_string(),
        id: id.as_uuid(),
        kind: SEND_REPLY,
        payload: serde_json::to_string(&payload).map_err(refused)?,
    };
    lanes::enqueue(tx, &task).await?;
    Ok(Moved {
        id: id.as_uuid(),
        account_id: account.as_uuid(),
        chat_id: chat.as_uuid(),
        provider_message_id: provider_message_id.into(),
        reference: Some(reference),
    })
}

/// Sends parts of answers, unless the AI has no business in the chat any more.
#[derive(Clone)]
pub struct ReplySender {
    /// The tables.
    pub db: Database,
    /// Sends what may go out.
    pub sender: Arc<Sender>,
    /// Wakes the relay.
    pub relay: Signal,
}

impl HandleTask for ReplySender {
    const BEGINS_ITSELF: bool = Sender::BEGINS_ITSELF;

    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        if let Ok(part) = serde_json::from_str::<ReplyTask>(&task.payload)
            && let Some(next) = self.hold_back(lease, task, &part).await?
        {
            return Ok(next);
        }
        self.sender.handle(lease, task).await
    }
}

impl ReplySender {
    /// Keeps a part as a note when it must not go out. `None`: it may.
    async fn hold_back(
        &self,
        lease: &Lease,
        task: &Task,
        part: &ReplyTask,
    ) -> Result<Option<Next>, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "look at AI reply").await?;
        // Not the lane's: two chats of one person may have become one.
        let Some(chat) = message_chat::lock(&mut tx, part.message_id).await? else {
            return Ok(None);
        };
        let mut reason = answers_are_kept_back(&mut tx, chat).await?;
        if reason.is_none() && part.part > 0 {
            let first = ai_reply::find(&mut tx, &part.reply).await?;
            let is_out = first.is_none_or(|first| matches!(first.state.as_str(), "queued" | "sent"));
            reason = (!is_out).then_some(WITHOUT_THE_FIRST);
        }
        let Some(reason) = reason else {
            tx.commit().await?;
            return Ok(None);
        };
        let status = DeliveryStatus::Failed;
        if let Some(moved) = message_status::advance(&mut tx, part.message_id, status, Some(reason)).await? {
            announce(&mut tx, vec![moved], status, Some(reason), Utc::now()).await?;
        }
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        self.relay.ring();
        metrics::counter!("kanal_ai_replies_held_back_total", "reason" => reason).increment(1);
        tracing::info!(tenant = %lease.scope().tenant(), message = %part.message_id, reason, "an answer of the AI is kept as a note and not sent");
        Ok(Some(Next::Continue))
    }
}
