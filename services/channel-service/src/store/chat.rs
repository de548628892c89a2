//! `chats`.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::address::ChatAddress;
use domain::ids::{AccountId, ChatId, TenantId};
use tenant_isolation::{GroupTransaction, TenantTransaction};
use uuid::Uuid;

/// Longest kept excerpt of the last message, in characters.
const EXCERPT: usize = 500;

/// What the newest messages of one chat do to its row.
#[derive(Debug, Clone)]
pub struct ChatUpdate {
    /// Whose chat.
    pub tenant: TenantId,
    /// On which account.
    pub account: AccountId,
    /// With whom.
    pub address: ChatAddress,
    /// The number, when known.
    pub phone: Option<String>,
    /// The hidden id, when known.
    pub lid: Option<String>,
    /// The name the person gave themselves.
    pub name: Option<String>,
    /// When the newest of the messages was written.
    pub last_message_at: DateTime<Utc>,
    /// What it says.
    pub last_text: String,
    /// How many of the messages nobody has read.
    pub unread: i32,
}

/// Identifies a chat before its id is known.
pub type ChatKey = (TenantId, AccountId, ChatAddress);

impl ChatUpdate {
    /// The chat's key.
    #[must_use]
    pub fn key(&self) -> ChatKey {
        (self.tenant.clone(), self.account, self.address.clone())
    }

    /// Adds a later or earlier update of the same chat.
    pub fn merge(&mut self, other: Self) {
        self.unread += other.unread;
        self.phone = other.phone.or_else(|| self.phone.take());
        self.lid = other.lid.or_else(|| self.lid.take());
        self.name = other.name.or_else(|| self.name.take());
        if other.last_message_at >= self.last_message_at {
            self.last_message_at = other.last_message_at;
            self.last_text = other.last_text;
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Upserted {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
    #[diesel(sql_type = Text)]
    address: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Creates or brings forward the chats of a group, and locks them until the commit. Keys must be distinct and
/// sorted, so that two groups take the locks in one order.
///
/// # Errors
/// [`DatabaseError`].
pub async fn upsert_group(
    tx: &mut GroupTransaction,
    updates: &[ChatUpdate],
) -> Result<Vec<(ChatKey, ChatId)>, DatabaseError> {
    upsert(tx.connection(), updates).await
}

/// As [`upsert_group`], for one chat of one tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn upsert_one(tx: &mut TenantTransaction, update: &ChatUpdate) -> Result<ChatId, DatabaseError> {
    let rows = upsert(tx.connection(), std::slice::from_ref(update)).await?;
    rows.into_iter()
        .next()
        .map(|(_, id)| id)
        .ok_or(DatabaseError::NotFound)
}

async fn upsert(
    connection: &mut AsyncPgConnection,
    updates: &[ChatUpdate],
) -> Result<Vec<(ChatKey, ChatId)>, DatabaseError> {
    let excerpt = |text: &str| text.chars().take(EXCERPT).collect::<String>();
    let rows: Vec<Upserted> = diesel::sql_query(
        "INSERT INTO chats AS c (tenant_id, id, account_id, address, phone, lid, name, last_message_at, last_text, \
                                 unread) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (tenant_id, account_id, address) DO UPDATE SET \
             phone = coalesce(excluded.phone, c.phone), lid = coalesce(excluded.lid, c.lid), \
             name = coalesce(excluded.name, c.name), unread = c.unread + excluded.unread, \
             last_text = CASE WHEN excluded.last_message_at >= c.last_message_at \
                              THEN excluded.last_text ELSE c.last_text END, \
             last_message_at = greatest(excluded.last_message_at, c.last_message_at) \
         RETURNING tenant_id, account_id, address, id",
    )
    .bind::<Array<Text>, _>(updates.iter().map(|u| u.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(updates.iter().map(|_| ChatId::generate().as_uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(updates.iter().map(|u| u.account.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(updates.iter().map(|u| u.address.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(updates.iter().map(|u| u.phone.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(updates.iter().map(|u| u.lid.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(updates.iter().map(|u| u.name.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(updates.iter().map(|u| u.last_message_at).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(updates.iter().map(|u| excerpt(&u.last_text)).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(updates.iter().map(|u| u.unread).collect::<Vec<_>>())
    .load(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let refused = |error| DatabaseError::Refused(error);
            let tenant = TenantId::parse(row.tenant_id).map_err(|error| refused(Box::new(error)))?;
            let address = ChatAddress::parse(&row.address).map_err(|error| refused(Box::new(error)))?;
            Ok((
                (tenant, AccountId::from_uuid(row.account_id), address),
                ChatId::from_uuid(row.id),
            ))
        })
        .collect()
}
