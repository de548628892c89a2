//! An order to send becomes a message in its chat's lane: message, order, task and event in one transaction.

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use domain::ids::{MessageId, ProviderMessageId};
use domain::message::{Direction, MessageContent};
use domain::text::Text;
use messaging::events::send_requested::SendRequested;
use messaging::lanes::{self, NewTask};
use messaging::outbox::Signal;
use serde::{Deserialize, Serialize};
use tenant_isolation::{TenantScope, TenantTransaction};

use super::announce_status::announce;
use crate::store::chat::ChatUpdate;
use crate::store::message::{Moved, NewMessage};
use crate::store::{account, chat, message, send_request};

/// Task kind of a text that has to go out.
pub const SEND_TEXT: &str = "send_text";

/// What the sender finds in the task.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendTask {
    /// The message.
    pub message_id: MessageId,
    /// The request that caused it, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
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
    let (text, cut) = Text::cut(&order.text, Text::MAX_CHARS);
    if text.is_empty() || cut {
        return Err(QueueError::Text);
    }
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
    let now = Utc::now();
    let chat_id = chat::upsert_one(
        &mut tx,
        &ChatUpdate {
            tenant: scope.tenant().clone(),
            account: order.account_id,
            phone: to.phone().map(|phone| phone.as_str().to_owned()),
            lid: to.lid().map(|lid| lid.as_str().to_owned()),
            address: to,
            name: None,
            last_message_at: now,
            last_text: text.as_str().to_owned(),
            unread: 0,
        },
    )
    .await?;
    let content = MessageContent::Text { text: text.clone() };
    let row = NewMessage {
        tenant: scope.tenant().clone(),
        id,
        account: order.account_id,
        chat: chat_id,
        direction: Direction::Outbound,
        source: "api",
        provider_message_id: ProviderMessageId::generate(),
        kind: content.kind(),
        body: text.into_string(),
        content: serde_json::to_string(&content).map_err(|error| DatabaseError::Refused(error.into()))?,
        quoted: None,
        sent_at: now,
        status: DeliveryStatus::Queued,
        reference: order.reference.clone(),
    };
    message::insert_one(&mut tx, &row).await?;
    let send = SendTask {
        message_id: id,
        request_id: messaging::cause::request_id(),
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
