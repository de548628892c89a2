//! Where the AI stands with a chat (channel-service contract 3.3 and 3.4): what it says itself, and what became of its
//! answers.

use database::{Database, DatabaseError};
use domain::delivery::DeliveryStatus;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use messaging::events::govconnect::{AiError, AiProgress, MessageStatus};
use tenant_isolation::TenantTransaction;

use super::ai_person::{self, AiEventError, message_ids};
use super::ai_reply::answer_behind;
use super::hand_over::{answers_are_kept_back, request_clearing};
use crate::store::message_status::Moved;
use crate::store::pending_message::{self, Failure};
use crate::store::{ai_chat, ai_reply};

/// What is said of a failure that nobody explained.
const UNEXPLAINED: &str = "Unknown error";

/// The AI could not answer.
///
/// # Errors
/// [`AiEventError`].
pub async fn error(db: &Database, event: &AiError) -> Result<(), AiEventError> {
    let ids = event
        .pending_message_id
        .iter()
        .chain(&event.message_id)
        .chain(&event.batched_message_ids);
    let about = About {
        village: event.village_id.as_deref(),
        wa_user_id: &event.wa_user_id,
        ids: message_ids(ids.map(String::as_str)),
    };
    failed(db, about, Some(&event.error_message)).await
}

/// The AI says where it stands.
///
/// # Errors
/// [`AiEventError`].
pub async fn status(db: &Database, event: &MessageStatus) -> Result<(), AiEventError> {
    let about = About {
        village: event.village_id.as_deref(),
        wa_user_id: &event.wa_user_id,
        ids: message_ids(event.message_ids.iter().map(String::as_str)),
    };
    match event.status {
        AiProgress::Processing => Ok(()),
        AiProgress::Completed => completed(db, about).await,
        AiProgress::Failed => failed(db, about, event.error_message.as_deref()).await,
    }
}

struct About<'a> {
    village: Option<&'a str>,
    wa_user_id: &'a str,
    ids: Vec<ProviderMessageId>,
}

impl About<'_> {
    /// The chat, held until the commit. `None`: there is none (any more), and nothing to note about it.
    async fn chat(&self, db: &Database) -> Result<Option<(TenantTransaction, ChatId)>, AiEventError> {
        let (scope, person) = ai_person::find(db, self.village, self.wa_user_id).await?;
        let mut tx = TenantTransaction::begin(db, &scope, "note AI progress").await?;
        let found = ai_chat::find(&mut tx, &person, self.ids.first()).await?;
        let Some(chat) = found.first().map(|row| ChatId::from_uuid(row.id)) else {
            tracing::info!(tenant = %scope.tenant(), "the AI speaks of a chat that is not there");
            return Ok(None);
        };
        Ok(ai_chat::lock(&mut tx, chat).await?.then_some((tx, chat)))
    }
}

async fn completed(db: &Database, about: About<'_>) -> Result<(), AiEventError> {
    let Some((mut tx, chat)) = about.chat(db).await? else {
        return Ok(());
    };
    if !about.ids.is_empty() {
        pending_message::completed(&mut tx, chat, &about.ids).await?;
        ai_chat::settled(&mut tx, chat, &about.ids, false).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn failed(db: &Database, about: About<'_>, explanation: Option<&str>) -> Result<(), AiEventError> {
    let Some((mut tx, chat)) = about.chat(db).await? else {
        return Ok(());
    };
    // What has its answer has not failed, however late somebody says so.
    let answered = ai_reply::sent_for(&mut tx, &about.ids).await?;
    let has_ids = !about.ids.is_empty();
    let mut ids = about.ids;
    ids.retain(|id| !answered.iter().any(|known| known == id.as_str()));
    if !has_ids || !ids.is_empty() {
        let explanation = explanation.unwrap_or_default().replace('\0', "");
        let explanation = match explanation.trim() {
            "" => UNEXPLAINED,
            explanation => explanation,
        };
        let kept: String = explanation.chars().take(500).collect();
        pending_message::failed(&mut tx, chat, &ids, Failure::NoAnswer, &kept).await?;
        ai_chat::failed(&mut tx, chat, &ids, &kept).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The AI's answer that begins with this message, if it is one.
#[must_use]
pub fn answer_of(message: &Moved) -> Option<&str> {
    message.reference.as_deref().and_then(answer_behind)
}

/// A message of ours moved: if it is an answer of the AI, its chat shows what became of it. In the transaction that
/// moved it, which holds the message's chat (see [`message_chat`](crate::store::message_chat)).
///
/// # Errors
/// [`DatabaseError`].
pub async fn follow_answer(
    tx: &mut TenantTransaction,
    message: &Moved,
    status: DeliveryStatus,
    reason: Option<&str>,
) -> Result<(), DatabaseError> {
    let Some(key) = answer_of(message) else {
        return Ok(());
    };
    let chat = ChatId::from_uuid(message.chat_id);
    match status {
        DeliveryStatus::Queued => ai_reply::move_to(tx, key, "queued", None).await.map(drop),
        DeliveryStatus::Sent | DeliveryStatus::Delivered | DeliveryStatus::Read => {
            let Some(answer) = ai_reply::move_to(tx, key, "sent", None).await? else {
                return Ok(());
            };
            let ids = message_ids(answer.message_ids.iter().map(String::as_str));
            pending_message::answered(tx, chat, &ids).await?;
            ai_chat::settled(tx, chat, &ids, true).await?;
            ai_chat::show_answer(tx, chat, MessageId::from_uuid(message.id)).await?;
            request_clearing(tx, chat).await
        }
        DeliveryStatus::Failed | DeliveryStatus::Parked | DeliveryStatus::Unknown => {
            let reason = reason.unwrap_or_default();
            let held_back = status == DeliveryStatus::Failed
                && answers_are_kept_back(tx, chat)
                    .await?
                    .is_some_and(|why| why == reason);
            let state = if held_back { "suppressed" } else { "failed" };
            let Some(answer) = ai_reply::move_to(tx, key, state, Some(reason)).await? else {
                return Ok(());
            };
            let ids = message_ids(answer.message_ids.iter().map(String::as_str));
            if held_back {
                pending_message::answered(tx, chat, &ids).await?;
                ai_chat::settled(tx, chat, &ids, true).await?;
                return request_clearing(tx, chat).await;
            }
            pending_message::failed(tx, chat, &ids, Failure::NotSent, reason).await?;
            ai_chat::not_sent(tx, chat, &ids, reason).await
        }
    }
}
