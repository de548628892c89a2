//! An order to send becomes a message in its chat's lane: message, order, task and event in one transaction.

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use domain::message::{Direction, MessageContent, MessageKind};
use domain::text::Text;
use messaging::events::send_requested::SendRequested;
use messaging::lanes::{self, NewTask};
use messaging::outbox::Signal;
use serde::{Deserialize, Serialize};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::announce_status::announce;
use super::learn_lid;
use crate::store::chat::ChatUpdate;
use crate::store::message::NewMessage;
use crate::store::message_status::Moved;
use crate::store::{account, chat, message, message_chat, message_status, send_request};

/// Task kind of a message that has to go out. Named after the first kind there was; the content tells which it is.
pub const SEND_TEXT: &str = "send_text";

/// Why a message is not sent any more in whose place another one was ordered.
const REPLACED: &str = "replaced";

/// Most contact cards of one message: each is a call of its own.
const MOST_CARDS: usize = 10;

/// What the sender finds in the task.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendTask {
    /// The message.
    pub message_id: MessageId,
    /// The request that caused it, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The place in its trace.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "trace_context::lenient"
    )]
    pub traceparent: Option<trace_context::TraceContext>,
}

/// Why an order cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// To nobody WhatsApp knows.
    #[error("the recipient is not a WhatsApp address")]
    Recipient(#[source] domain::address::InvalidAddress),
    /// Nothing to say.
    #[error("the text is empty or too long")]
    Text,
    /// Nothing that can be kept and repeated.
    #[error("the reference is too long or holds a NUL")]
    Reference,
    /// It says nothing, or something that cannot be sent. Names what is wrong with it.
    #[error("the message cannot be sent: {0}")]
    Content(&'static str),
    /// It is about a message that the chat does not have, or that is not ours to change.
    #[error("the chat has no such message to react to, edit or delete")]
    Target,
    /// The tenant has no such account.
    #[error("the tenant has no such account")]
    NoSuchAccount,
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl QueueError {
    /// The stable code, for whoever asked.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Recipient(_) => "invalid_recipient",
            Self::Text => "invalid_text",
            Self::Content(_) => "invalid_content",
            Self::Target => "no_such_target",
            Self::Reference => "invalid_reference",
            Self::NoSuchAccount => "no_such_account",
            Self::Database(_) => "database",
        }
    }
}

/// Longest reference, in bytes.
const REFERENCE_LIMIT: usize = 1_024;

/// Takes an order. `None`: it was taken before.
///
/// # Errors
/// [`QueueError`].
pub async fn queue(
    db: &Database,
    relay: &Signal,
    workers: &Signal,
    scope: &TenantScope,
    order: &SendRequested,
) -> Result<Option<MessageId>, QueueError> {
    let to = ChatAddress::parse(&order.to).map_err(QueueError::Recipient)?;
    let content = content_of(order)?;
    let reference = order.reference.as_deref().unwrap_or_default();
    if reference.len() > REFERENCE_LIMIT || reference.contains('\0') {
        return Err(QueueError::Reference);
    }
    let id = MessageId::generate();
    let mut tx = TenantTransaction::begin(db, scope, "queue message").await?;
    if !send_request::note_new(&mut tx, order.request_id, id).await? {
        return Ok(None);
    }
    match account::find(&mut tx, order.account_id).await {
        Ok(_) => {}
        Err(DatabaseError::NotFound) => return Err(QueueError::NoSuchAccount),
        Err(error) => return Err(error.into()),
    }
    if let Some(replaced) = order.replaces {
        give_up(&mut tx, replaced).await?;
    }
    let (to, lid) = learn_lid::chat_address(&mut tx, order.account_id, to).await?;
    let now = Utc::now();
    let body = content.text_for_humans().into_string();
    let chat_id = chat::upsert_one(
        &mut tx,
        &ChatUpdate {
            tenant: scope.tenant().clone(),
            account: order.account_id,
            phone: to.phone().map(|phone| phone.as_str().to_owned()),
            lid: lid.map(|lid| lid.as_str().to_owned()),
            address: to,
            name: None,
            last_message_at: now,
            last_text: body.clone(),
            unread: 0,
            last_inbound_at: None,
        },
    )
    .await?;
    check_target(&mut tx, order, chat_id, &content).await?;
    let row = NewMessage {
        tenant: scope.tenant().clone(),
        id,
        account: order.account_id,
        chat: chat_id,
        direction: Direction::Outbound,
        source: "api",
        provider_message_id: ProviderMessageId::generate(),
        kind: content.kind(),
        body,
        content: serde_json::to_string(&content).map_err(|error| DatabaseError::Refused(error.into()))?,
        quoted: order.quoted.clone(),
        target: content.target().cloned(),
        sender: None,
        sender_name: None,
        sent_at: now,
        status: DeliveryStatus::Queued,
        reference: order.reference.clone(),
    };
    message::insert_one(&mut tx, &row).await?;
    let send = SendTask {
        message_id: id,
        request_id: messaging::cause::request_id(),
        traceparent: trace_context::current(),
    };
    let payload = serde_json::to_string(&send).map_err(|error| DatabaseError::Refused(error.into()))?;
    let task = NewTask {
        lane: chat_id.to_string(),
        id: id.as_uuid(),
        kind: SEND_TEXT,
        payload,
    };
    lanes::enqueue(&mut tx, &task).await?;
    let queued = Moved {
        id: id.as_uuid(),
        account_id: order.account_id.as_uuid(),
        chat_id: chat_id.as_uuid(),
        provider_message_id: row.provider_message_id.into(),
        reference: row.reference,
    };
    announce(&mut tx, vec![queued], DeliveryStatus::Queued, None, now).await?;
    tx.commit().await?;
    relay.ring();
    workers.ring();
    Ok(Some(id))
}

/// The order that another one takes the place of is over, if it was put aside: taken up again, it would be sent beside the
/// other one.
async fn give_up(tx: &mut TenantTransaction, replaced: Uuid) -> Result<(), DatabaseError> {
    let id = match send_request::find(tx, replaced).await {
        Ok(row) => MessageId::from_uuid(row.message_id),
        Err(DatabaseError::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    };
    message_chat::lock(tx, id).await?;
    message::lock(tx, id).await?;
    if lanes::discard_parked(tx, id.as_uuid()).await? {
        for status in [DeliveryStatus::Parked, DeliveryStatus::Unknown] {
            message_status::give_reason(tx, id, status, Some(REPLACED)).await?;
        }
    }
    Ok(())
}

/// What an order wants sent, if it is something that can be.
fn content_of(order: &SendRequested) -> Result<MessageContent, QueueError> {
    let Some(content) = &order.content else {
        let (text, cut) = Text::cut(&order.text, Text::MAX_CHARS);
        if text.is_empty() || cut {
            return Err(QueueError::Text);
        }
        return Ok(MessageContent::Text { text });
    };
    match content {
        MessageContent::Text { text } if text.is_empty() => return Err(QueueError::Text),
        MessageContent::Media(media) if media.sources.is_empty() => {
            return Err(QueueError::Content("the file is nowhere"));
        }
        MessageContent::Location {
            latitude, longitude, ..
        } if !(latitude.abs() <= 90.0 && longitude.abs() <= 180.0) => {
            return Err(QueueError::Content("the place is not on earth"));
        }
        MessageContent::Location { live: true, .. } => {
            return Err(QueueError::Content("live locations are not sent"));
        }
        MessageContent::Contacts { contacts } if contacts.is_empty() || contacts.len() > MOST_CARDS => {
            return Err(QueueError::Content(
                "there are no contact cards, or more than ten",
            ));
        }
        MessageContent::Contacts { contacts }
            if contacts.iter().any(|card| {
                card.vcard
                    .as_ref()
                    .is_none_or(|card| card.as_str().trim().is_empty())
            }) =>
        {
            return Err(QueueError::Content("a contact has no card"));
        }
        MessageContent::Edit { content, .. } => match &**content {
            MessageContent::Text { text } if text.is_empty() => return Err(QueueError::Text),
            MessageContent::Text { .. } => {}
            _ => return Err(QueueError::Content("only words can be edited")),
        },
        MessageContent::Text { .. }
        | MessageContent::Media(_)
        | MessageContent::Location { .. }
        | MessageContent::Contacts { .. }
        | MessageContent::Reaction { .. }
        | MessageContent::Revoke { .. } => {}
        MessageContent::Template { template } => template
            .validate()
            .map_err(|_| QueueError::Content("the template breaks a rule of WhatsApp's"))?,
        MessageContent::Interactive { interactive } => interactive
            .validate()
            .map_err(|_| QueueError::Content("the interactive message breaks a rule of WhatsApp's"))?,
        MessageContent::Poll { .. }
        | MessageContent::PollVote { .. }
        | MessageContent::InteractiveReply { .. }
        | MessageContent::Unsupported { .. } => {
            return Err(QueueError::Content("messages of this kind are not sent"));
        }
    }
    Ok(content.clone())
}

/// Whatever is about another message must be about one of this chat, and only our own may be changed.
async fn check_target(
    tx: &mut TenantTransaction,
    order: &SendRequested,
    chat: ChatId,
    content: &MessageContent,
) -> Result<(), QueueError> {
    let Some(target) = content.target() else {
        return Ok(());
    };
    let other = message::find_in_chat(tx, order.account_id, chat, target)
        .await?
        .ok_or(QueueError::Target)?;
    let ours = other.direction == Direction::Outbound.as_str();
    let allowed = match content.kind() {
        MessageKind::Edit => ours && other.kind == MessageKind::Text.as_str(),
        MessageKind::Revoke => ours && other.kind != MessageKind::Revoke.as_str(),
        _ => true,
    };
    if allowed { Ok(()) } else { Err(QueueError::Target) }
}
