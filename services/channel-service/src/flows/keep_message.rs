//! A message that went over another way is kept: what a webchat visitor wrote and was answered, what the AI said.
//! Nothing is sent.

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use domain::ids::{MessageId, ProviderMessageId};
use domain::message::{Direction, MessageContent, MessageSource};
use domain::text::Text;
use rand::RngExt as _;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::chat::{ChatError, known_tenant, meant};
use crate::endpoints::Endpoints;
use crate::store::chat::{self, ChatUpdate};
use crate::store::message::{self, NewMessage};

/// Longest excerpt of such a message in the chat's list, in characters (contract channel-service 1.4).
const EXCERPT: usize = 100;

/// A message to be kept.
#[derive(Clone)]
pub struct Told {
    /// With whom.
    pub person: ChatAddress,
    /// Which way it went.
    pub direction: Direction,
    /// Who wrote it.
    pub source: MessageSource,
    /// Its id: whoever tells it again with the same id has told it once.
    pub id: ProviderMessageId,
    /// The words.
    pub text: Text,
}

/// A message that is kept, now or before.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Our id.
    pub id: MessageId,
    /// The id it was told with.
    pub provider_message_id: ProviderMessageId,
}

/// Keeps a message, once.
///
/// # Errors
/// [`ChatError`]; nothing is kept then.
pub async fn keep(
    db: &Database,
    endpoints: &Endpoints,
    scope: &TenantScope,
    told: Told,
) -> Result<Kept, ChatError> {
    let mut tx = TenantTransaction::begin(db, scope, "keep message").await?;
    known_tenant(&mut tx).await?;
    let chat = meant(&mut tx, endpoints, &told.person).await?;
    let account = chat.account;
    let id = MessageId::generate();
    if put(&mut tx, chat, &told, id).await? {
        tx.commit().await?;
        return Ok(Kept {
            id,
            provider_message_id: told.id,
        });
    }
    // Told before. Nothing of this transaction is needed, a chat that it made included.
    let id = message::find_by_provider_id(&mut tx, account, &told.id).await?;
    drop(tx);
    Ok(Kept {
        id,
        provider_message_id: told.id,
    })
}

/// Puts a message into its chat and the chat's list, in the caller's transaction. False when the account has a message
/// with this provider's id.
pub(super) async fn put(
    tx: &mut TenantTransaction,
    chat: ChatUpdate,
    told: &Told,
    id: MessageId,
) -> Result<bool, DatabaseError> {
    let now = Utc::now();
    let (unread, status) = match told.direction {
        Direction::Inbound => (1, DeliveryStatus::Delivered),
        Direction::Outbound => (0, DeliveryStatus::Sent),
    };
    let content = MessageContent::Text {
        text: told.text.clone(),
    };
    let row = NewMessage {
        tenant: chat.tenant.clone(),
        id,
        account: chat.account,
        chat: chat::ensure(tx, &chat).await?,
        direction: told.direction,
        source: told.source.as_str(),
        provider_message_id: told.id.clone(),
        kind: content.kind(),
        body: told.text.as_str().to_owned(),
        content: serde_json::to_string(&content).map_err(|error| DatabaseError::Refused(error.into()))?,
        quoted: None,
        target: None,
        sender: None,
        sender_name: None,
        sent_at: now,
        status,
        reference: None,
    };
    if !message::insert_if_new(tx, &row).await? {
        return Ok(false);
    }
    let shown = ChatUpdate {
        last_message_at: now,
        last_text: told.text.as_str().chars().take(EXCERPT).collect(),
        unread,
        ..chat
    };
    chat::upsert_one(tx, &shown).await?;
    Ok(true)
}

/// An id for a message that has none: `in-<ms>-<7 characters>`.
#[must_use]
pub fn local_id(prefix: &str) -> ProviderMessageId {
    const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut random = rand::rng();
    let end: String = (0..7)
        .map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]))
        .collect();
    let id = format!("{prefix}-{}-{end}", Utc::now().timestamp_millis());
    ProviderMessageId::parse(id).unwrap_or_else(|_| ProviderMessageId::generate())
}
