//! `chats`.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::address::ChatAddress;
use domain::chat::Channel;
use domain::ids::{AccountId, ChatId, TenantId};
use tenant_isolation::{GroupTransaction, PlatformTransaction, TenantTransaction};
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
    /// When the newest of those that the person wrote was written, where there is one.
    pub last_inbound_at: Option<DateTime<Utc>>,
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
        self.last_inbound_at = self.last_inbound_at.max(other.last_inbound_at);
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
    let rows: Vec<Upserted> = database::sql(
        "INSERT INTO chats AS c (tenant_id, id, account_id, address, phone, lid, name, last_message_at, last_text, \
                                 unread, channel, last_inbound_at) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (tenant_id, account_id, address) DO UPDATE SET \
             phone = coalesce(excluded.phone, c.phone), lid = coalesce(excluded.lid, c.lid), \
             name = coalesce(excluded.name, c.name), unread = c.unread + excluded.unread, \
             last_text = CASE WHEN excluded.last_message_at >= c.last_message_at \
                              THEN excluded.last_text ELSE c.last_text END, \
             last_message_at = greatest(excluded.last_message_at, c.last_message_at), \
             last_inbound_at = greatest(excluded.last_inbound_at, c.last_inbound_at), updated_at = now() \
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
    .bind::<Array<Text>, _>(updates.iter().map(|u| Channel::of(&u.address).as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(updates.iter().map(|u| u.last_inbound_at).collect::<Vec<_>>())
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

/// A chat as people see it in their list.
#[derive(Clone, diesel::QueryableByName)]
pub struct ChatRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// On which account.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// With whom.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// The number, when known.
    #[diesel(sql_type = Nullable<Text>)]
    pub phone: Option<String>,
    /// Over what: a `domain::chat::Channel`.
    #[diesel(sql_type = Text)]
    pub channel: String,
    /// The name the person gave the AI, else the one WhatsApp tells.
    #[diesel(sql_type = Nullable<Text>)]
    pub user_name: Option<String>,
    /// The number the person gave the AI, else the one WhatsApp tells.
    #[diesel(sql_type = Nullable<Text>)]
    pub user_phone: Option<String>,
    /// When the newest message was written.
    #[diesel(sql_type = Timestamptz)]
    pub last_message_at: DateTime<Utc>,
    /// What it says; empty while there is none.
    #[diesel(sql_type = Text)]
    pub last_text: String,
    /// Messages that nobody has read.
    #[diesel(sql_type = Integer)]
    pub unread: i32,
    /// A person has taken it over from the AI.
    #[diesel(sql_type = Bool)]
    pub is_takeover: bool,
    /// What the AI is doing with it.
    #[diesel(sql_type = Nullable<Text>)]
    pub ai_status: Option<String>,
    /// Why the AI failed.
    #[diesel(sql_type = Nullable<Text>)]
    pub ai_error_message: Option<String>,
    /// The message that the AI owes an answer to.
    #[diesel(sql_type = Nullable<Text>)]
    pub pending_message_id: Option<String>,
    /// Since when we know it.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Last changed.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

pub(super) const ROW: &str = "c.id, c.account_id, c.address, c.phone, c.channel, coalesce(c.profile_name, c.name) AS user_name, \
                   coalesce(c.profile_phone, c.phone) AS user_phone, c.last_message_at, c.last_text, c.unread, \
                   EXISTS (SELECT 1 FROM takeovers t WHERE t.tenant_id = c.tenant_id AND t.chat_id = c.id \
                           AND t.ended_at IS NULL) AS is_takeover, \
                   c.ai_status, c.ai_error_message, c.pending_message_id, c.created_at, c.updated_at";

/// Most chats one person has with a tenant: one on each account, and a nameless one before a hidden id is known.
const MOST_OF_ONE_PERSON: i64 = 50;

/// The tenant's chats with this person, newest first: by address, by number, by hidden id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_person(
    tx: &mut TenantTransaction,
    address: &ChatAddress,
) -> Result<Vec<ChatRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!(
        "SELECT {ROW} FROM chats c WHERE c.tenant_id = $1 AND (c.address = $2 OR c.phone = $3 OR c.lid = $4) \
         ORDER BY c.last_message_at DESC, c.id DESC LIMIT $5"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(address.as_str())
    .bind::<Nullable<Text>, _>(address.phone().map(domain::address::PhoneNumber::as_str))
    .bind::<Nullable<Text>, _>(address.lid().map(domain::address::Lid::as_str))
    .bind::<BigInt, _>(MOST_OF_ONE_PERSON)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// One chat of the tenant.
///
/// # Errors
/// [`DatabaseError::NotFound`] when the tenant has no such chat.
pub async fn find(tx: &mut TenantTransaction, id: ChatId) -> Result<ChatRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(format!(
        "SELECT {ROW} FROM chats c WHERE c.tenant_id = $1 AND c.id = $2"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

/// The tenant's chats, newest first, at most `most`; with `taken_over`, those that are or are not.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    tx: &mut TenantTransaction,
    taken_over: Option<bool>,
    most: i64,
) -> Result<Vec<ChatRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!(
        "SELECT {ROW} FROM chats c WHERE c.tenant_id = $1 AND ($2 IS NULL OR $2 = \
             EXISTS (SELECT 1 FROM takeovers t WHERE t.tenant_id = c.tenant_id AND t.chat_id = c.id \
                     AND t.ended_at IS NULL)) \
         ORDER BY c.last_message_at DESC, c.id DESC LIMIT $3"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Nullable<Bool>, _>(taken_over)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The chat, made of `new` when it is not there and otherwise left as it is; locked until the commit either way.
///
/// # Errors
/// [`DatabaseError`].
pub async fn ensure(tx: &mut TenantTransaction, new: &ChatUpdate) -> Result<ChatId, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row: IdRow = database::sql(
        "INSERT INTO chats AS c (tenant_id, id, account_id, address, phone, lid, name, channel, last_message_at, \
                                 last_text, unread) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (tenant_id, account_id, address) DO UPDATE SET updated_at = c.updated_at RETURNING id",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(ChatId::generate().as_uuid())
    .bind::<SqlUuid, _>(new.account.as_uuid())
    .bind::<Text, _>(new.address.as_str())
    .bind::<Nullable<Text>, _>(&new.phone)
    .bind::<Nullable<Text>, _>(&new.lid)
    .bind::<Nullable<Text>, _>(&new.name)
    .bind::<Text, _>(Channel::of(&new.address).as_str())
    .bind::<Timestamptz, _>(new.last_message_at)
    .bind::<Text, _>(new.last_text.chars().take(EXCERPT).collect::<String>())
    .bind::<Integer, _>(new.unread)
    .get_result(tx.connection())
    .await?;
    Ok(ChatId::from_uuid(row.id))
}

/// Locks chats of the tenant until the commit, in one order. Returns those that are still there.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock(tx: &mut TenantTransaction, ids: &[Uuid]) -> Result<Vec<ChatId>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<IdRow> = database::sql(
        "SELECT id FROM chats WHERE tenant_id = $1 AND id = ANY ($2) ORDER BY account_id, address COLLATE \"C\" FOR UPDATE",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| ChatId::from_uuid(row.id)).collect())
}

/// Somebody has read these chats of the tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn mark_read(tx: &mut TenantTransaction, ids: &[Uuid]) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE chats SET unread = 0, updated_at = now() WHERE tenant_id = $1 AND id = ANY ($2) AND unread <> 0",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes what the person said about themselves. `None` leaves a thing as it is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_profile(
    tx: &mut TenantTransaction,
    ids: &[Uuid],
    name: Option<&str>,
    phone: Option<&str>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE chats SET profile_name = coalesce($3, profile_name), profile_phone = coalesce($4, profile_phone), \
             updated_at = now() WHERE tenant_id = $1 AND id = ANY ($2)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Nullable<Text>, _>(name)
    .bind::<Nullable<Text>, _>(phone)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes chats of the tenant. What hangs on them must be gone.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete(tx: &mut TenantTransaction, ids: &[Uuid]) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = database::sql("DELETE FROM chats WHERE tenant_id = $1 AND id = ANY ($2)")
        .bind::<Text, _>(tenant)
        .bind::<Array<SqlUuid>, _>(ids)
        .execute(tx.connection())
        .await?;
    Ok(deleted)
}

/// Up to `most` tenants that have a chat with this person, of all tenants or of those in `among`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tenants_of_person(
    tx: &mut PlatformTransaction,
    address: &ChatAddress,
    among: Option<&[String]>,
    most: i64,
) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
    }
    let rows: Vec<Row> = database::sql(
        "SELECT DISTINCT tenant_id FROM chats WHERE (address = $1 OR phone = $2 OR lid = $3) \
             AND ($4 IS NULL OR tenant_id = ANY ($4)) LIMIT $5",
    )
    .bind::<Text, _>(address.as_str())
    .bind::<Nullable<Text>, _>(address.phone().map(domain::address::PhoneNumber::as_str))
    .bind::<Nullable<Text>, _>(address.lid().map(domain::address::Lid::as_str))
    .bind::<Nullable<Array<Text>>, _>(among)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.tenant_id).collect())
}

#[derive(diesel::QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}
