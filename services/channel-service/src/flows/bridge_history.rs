//! What a service that copies chats elsewhere is told: which accounts a tenant has, and what they hold.

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::chat::Place;
use domain::ids::{AccountId, MessageId};
use serde::Serialize;
use serde_json::value::RawValue;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use crate::store::device::{self, DeviceRow};
use crate::store::history::{self, HistoryRow};

/// Most accounts of one answer.
const MOST_ACCOUNTS: i64 = 1_000;

/// A message as `message.received` tells it, and what else a copy has to know.
#[derive(Serialize)]
pub struct HistoryMessage {
    direction: String,
    /// Whoever asked for it finds its own messages by this.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    message: Told,
}

#[derive(Serialize)]
struct Told {
    account_id: Uuid,
    chat_id: Uuid,
    partner: Partner,
    message_id: Uuid,
    provider_message_id: String,
    kind: String,
    text: String,
    content: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quoted: Option<String>,
    sent_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Partner {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// A page, and where the next one begins.
pub struct HistoryPage {
    /// The messages, in the order in which they came.
    pub messages: Vec<HistoryMessage>,
    /// Where to go on; `None` at the end.
    pub next: Option<Uuid>,
}

/// The tenant's accounts that can speak for it, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn accounts(db: &Database, scope: &TenantScope) -> Result<Vec<DeviceRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list accounts for a bridge").await?;
    let mut rows = device::list(&mut tx, MOST_ACCOUNTS).await?;
    tx.commit().await?;
    rows.retain(|row| !row.is_going);
    Ok(rows)
}

/// One page of an account's messages with single people.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    db: &Database,
    scope: &TenantScope,
    account: AccountId,
    after: Option<MessageId>,
    since: Option<DateTime<Utc>>,
    most: i64,
) -> Result<HistoryPage, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "read history").await?;
    let rows = history::page(&mut tx, account, after, since, most).await?;
    tx.commit().await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == most);
    let next = rows.last().filter(|_| is_full).map(|row| row.id);
    let messages = rows
        .into_iter()
        .filter(|row| is_person(&row.address))
        .map(|row| told(account, row))
        .collect::<Result<_, _>>()?;
    Ok(HistoryPage { messages, next })
}

/// Groups, broadcast lists and status posts are no conversations.
fn is_person(address: &str) -> bool {
    ChatAddress::parse(address).is_ok_and(|address| Place::of(&address).is_none())
}

fn told(account: AccountId, row: HistoryRow) -> Result<HistoryMessage, DatabaseError> {
    let content = RawValue::from_string(row.content).map_err(|error| DatabaseError::Refused(error.into()))?;
    Ok(HistoryMessage {
        direction: row.direction,
        reference: row.reference,
        message: Told {
            account_id: account.as_uuid(),
            chat_id: row.chat_id,
            partner: Partner {
                address: row.address,
                phone: row.phone,
                name: row.name,
            },
            message_id: row.id,
            provider_message_id: row.provider_message_id,
            kind: row.kind,
            text: row.body,
            content,
            quoted: row.quoted,
            sent_at: row.sent_at,
        },
    })
}
