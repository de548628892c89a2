//! `messages`: kept, found and deleted. Where they stand: [`message_status`](super::message_status).

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId, TenantId};
use domain::message::{Direction, MessageKind};
use tenant_isolation::{GroupTransaction, TenantTransaction};
use uuid::Uuid;

/// A message to be kept.
#[derive(Clone)]
pub struct NewMessage {
    /// Whose.
    pub tenant: TenantId,
    /// Our id.
    pub id: MessageId,
    /// On which account.
    pub account: AccountId,
    /// In which chat.
    pub chat: ChatId,
    /// Which way.
    pub direction: Direction,
    /// Where it came from: `webhook`, `phone`, `api`.
    pub source: &'static str,
    /// The provider's id, or ours for the provider.
    pub provider_message_id: ProviderMessageId,
    /// What sort.
    pub kind: MessageKind,
    /// What a person would read.
    pub body: String,
    /// The content in the domain's JSON.
    pub content: String,
    /// The message it answers.
    pub quoted: Option<ProviderMessageId>,
    /// The message it is about: edited, deleted or reacted to.
    pub target: Option<ProviderMessageId>,
    /// Who wrote, where the chat has several people.
    pub sender: Option<String>,
    /// The name that person goes by.
    pub sender_name: Option<String>,
    /// When it was written.
    pub sent_at: DateTime<Utc>,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// What the one who asked for it wants repeated.
    pub reference: Option<String>,
}

#[derive(diesel::QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Keeps the messages of a group. A message of ours that comes back by webhook is there already and is left out of
/// the answer.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert_group(
    tx: &mut GroupTransaction,
    messages: &[NewMessage],
) -> Result<HashSet<MessageId>, DatabaseError> {
    insert(tx.connection(), messages).await
}

/// Keeps one message of one tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert_one(tx: &mut TenantTransaction, message: &NewMessage) -> Result<(), DatabaseError> {
    insert(tx.connection(), std::slice::from_ref(message))
        .await
        .map(drop)
}

async fn insert(
    connection: &mut AsyncPgConnection,
    messages: &[NewMessage],
) -> Result<HashSet<MessageId>, DatabaseError> {
    let target = |m: &NewMessage| m.target.as_ref().map(|id| id.as_str().to_owned());
    let quoted = |m: &NewMessage| m.quoted.as_ref().map(|id| id.as_str().to_owned());
    // A change may be here before the message it is about, for webhooks come in any order.
    let rows: Vec<IdRow> = database::sql(
        "INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, \
                               body, content, quoted, sent_at, status, reference, target, sender, sender_name, \
                               edited_at, revoked_at) \
         SELECT n.tenant_id, n.id, n.account_id, n.chat_id, n.direction, n.source, n.provider_message_id, n.kind, \
                coalesce(c.body, n.body), n.content, n.quoted, n.sent_at, n.status, n.reference, n.target, n.sender, \
                n.sender_name, CASE WHEN c.kind = 'edit' THEN c.sent_at END, \
                CASE WHEN c.kind = 'revoke' THEN c.sent_at END \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) AS n \
             (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, body, content, quoted, \
              sent_at, status, reference, target, sender, sender_name) \
         LEFT JOIN LATERAL (SELECT e.kind, e.body, e.sent_at FROM messages e \
                WHERE e.tenant_id = n.tenant_id AND e.account_id = n.account_id AND e.target = n.provider_message_id \
                  AND e.kind IN ('edit', 'revoke') AND e.chat_id = n.chat_id AND e.direction = n.direction \
                  AND e.sender IS NOT DISTINCT FROM n.sender \
                ORDER BY e.kind = 'revoke' DESC, e.sent_at DESC LIMIT 1) c ON n.target IS NULL \
         ON CONFLICT (tenant_id, account_id, provider_message_id) DO NOTHING RETURNING id",
    )
    .bind::<Array<Text>, _>(messages.iter().map(|m| m.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(messages.iter().map(|m| m.id.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(messages.iter().map(|m| m.account.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(messages.iter().map(|m| m.chat.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|m| m.direction.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|m| m.source).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|m| m.provider_message_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|m| m.kind.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|m| m.body.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|m| m.content.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(messages.iter().map(quoted).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(messages.iter().map(|m| m.sent_at).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(messages.iter().map(|m| m.status.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(messages.iter().map(|m| m.reference.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(messages.iter().map(target).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(messages.iter().map(|m| m.sender.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(messages.iter().map(|m| m.sender_name.as_deref()).collect::<Vec<_>>())
    .load(connection)
    .await?;
    Ok(rows.into_iter().map(|row| MessageId::from_uuid(row.id)).collect())
}

/// Keeps one message of one tenant. False when the account has a message with this provider's id already.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert_if_new(tx: &mut TenantTransaction, message: &NewMessage) -> Result<bool, DatabaseError> {
    let kept = insert(tx.connection(), std::slice::from_ref(message)).await?;
    Ok(!kept.is_empty())
}

/// A message of ours that has to go out.
#[derive(diesel::QueryableByName)]
pub struct OutboundRow {
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The sender.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// Our id for the provider.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// To whom.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// What it says, in the domain's JSON.
    #[diesel(sql_type = Text)]
    pub content: String,
    /// The message it answers.
    #[diesel(sql_type = Nullable<Text>)]
    pub quoted: Option<String>,
    /// The sender's own number, where it is known.
    #[diesel(sql_type = Nullable<Text>)]
    pub own_phone: Option<String>,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Where its tenant stands.
    #[diesel(sql_type = Nullable<Text>)]
    pub tenant_status: Option<String>,
    /// When it was queued, be it by hand, or came to stand where it stands.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

/// Finds a message of ours and to whom it goes.
///
/// # Errors
/// [`DatabaseError::NotFound`].
pub async fn find_outbound(tx: &mut TenantTransaction, id: MessageId) -> Result<OutboundRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(
        "SELECT m.id, m.account_id, m.chat_id, m.provider_message_id, c.address, m.content, m.quoted, m.status, \
                a.phone AS own_phone, t.status AS tenant_status, m.updated_at \
         FROM messages m JOIN chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id \
         JOIN accounts a ON a.tenant_id = m.tenant_id AND a.id = m.account_id \
         LEFT JOIN tenants t ON t.tenant_id = m.tenant_id \
         WHERE m.tenant_id = $1 AND m.id = $2 AND m.direction = 'outbound'",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

/// Another message of a chat, as one that answers it or is about it needs to know it.
#[derive(diesel::QueryableByName)]
pub struct OtherRow {
    /// The provider's id.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// Which way it went.
    #[diesel(sql_type = Text)]
    pub direction: String,
    /// What sort.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// What people read.
    #[diesel(sql_type = Text)]
    pub body: String,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Who wrote, where the chat has several people.
    #[diesel(sql_type = Nullable<Text>)]
    pub sender: Option<String>,
}

/// The message of this chat that the provider knows by this id, or that was ordered under it. `None`: the chat has none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_in_chat(
    tx: &mut TenantTransaction,
    account: AccountId,
    chat: ChatId,
    id: &ProviderMessageId,
) -> Result<Option<OtherRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<OtherRow> = database::sql(
        "SELECT provider_message_id, direction, kind, body, status, sender FROM messages \
         WHERE tenant_id = $1 AND account_id = $2 AND (provider_message_id = $3 OR ordered_as = $3) AND chat_id = $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(id.as_str())
    .bind::<SqlUuid, _>(chat.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Where a message came in, and with whom it is.
#[derive(Debug, diesel::QueryableByName)]
pub struct InboundRow {
    /// On which account.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// The chat's address.
    #[diesel(sql_type = Text)]
    pub address: String,
}

/// A message that came in on any of the tenant's accounts.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_inbound(
    tx: &mut TenantTransaction,
    id: &ProviderMessageId,
) -> Result<Option<InboundRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<InboundRow> = database::sql(
        "SELECT m.account_id, c.address FROM accounts a \
         JOIN messages m ON m.tenant_id = a.tenant_id AND m.account_id = a.id AND m.provider_message_id = $2 \
         JOIN chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id \
         WHERE a.tenant_id = $1 AND m.direction = 'inbound' ORDER BY m.id DESC LIMIT 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(id.as_str())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Holds a message until the commit. Whoever needs a message and its lane takes them in this order.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock(tx: &mut TenantTransaction, id: MessageId) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("SELECT id FROM messages WHERE tenant_id = $1 AND id = $2 FOR UPDATE")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id.as_uuid())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// A message in a chat's history.
#[derive(diesel::QueryableByName)]
pub struct HistoryRow {
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The provider's id.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// What a person would read.
    #[diesel(sql_type = Text)]
    pub body: String,
    /// A [`Direction`].
    #[diesel(sql_type = Text)]
    pub direction: String,
    /// A `domain::message::MessageSource`.
    #[diesel(sql_type = Text)]
    pub source: String,
    /// A [`DeliveryStatus`].
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why it stands there, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it was written.
    #[diesel(sql_type = Timestamptz)]
    pub sent_at: DateTime<Utc>,
    /// Since when we have it.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// The newest messages of these chats of the tenant, at most `most`, oldest first. Messages of ours that never went
/// out are not part of what was said; with `notes`, those of the AI are there all the same: whoever else sends hears
/// of a failure, the AI's would be seen by nobody.
///
/// # Errors
/// [`DatabaseError`].
pub async fn history(
    tx: &mut TenantTransaction,
    chats: &[Uuid],
    most: i64,
    notes: bool,
) -> Result<Vec<HistoryRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<HistoryRow> = database::sql(
        // Each chat by itself, so that the index gives its newest and no chat is read to its beginning.
        "SELECT m.* FROM unnest($2) AS c (id) CROSS JOIN LATERAL \
             (SELECT id, provider_message_id, body, direction, source, status, reason, sent_at, created_at \
              FROM messages WHERE tenant_id = $1 AND chat_id = c.id \
                AND (status NOT IN ('failed', 'parked') OR ($4 AND source = 'ai')) \
              ORDER BY sent_at DESC, id DESC LIMIT $3) m \
         ORDER BY m.sent_at DESC, m.id DESC LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(chats)
    .bind::<diesel::sql_types::BigInt, _>(most)
    .bind::<diesel::sql_types::Bool, _>(notes)
    .load(tx.connection())
    .await?;
    rows.reverse();
    Ok(rows)
}

/// Our id of the account's message with this provider's id.
///
/// # Errors
/// [`DatabaseError::NotFound`].
pub async fn find_by_provider_id(
    tx: &mut TenantTransaction,
    account: AccountId,
    id: &ProviderMessageId,
) -> Result<MessageId, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row: IdRow = database::sql(
        "SELECT id FROM messages WHERE tenant_id = $1 AND account_id = $2 \
             AND (provider_message_id = $3 OR ordered_as = $3)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(id.as_str())
    .get_result(tx.connection())
    .await?;
    Ok(MessageId::from_uuid(row.id))
}

/// Deletes every message of a chat, with its attempts. The dedup ledger stays: what was accepted once is not let in
/// again.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_of_chat(tx: &mut TenantTransaction, chat: ChatId) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let gone: Vec<IdRow> =
        database::sql("DELETE FROM messages WHERE tenant_id = $1 AND chat_id = $2 RETURNING id")
            .bind::<Text, _>(&tenant)
            .bind::<SqlUuid, _>(chat.as_uuid())
            .load(tx.connection())
            .await?;
    // A statement of its own: it sees the attempts of whoever held one of the messages until now.
    for table in ["send_attempts", "message_standings"] {
        database::sql(format!(
            "DELETE FROM {table} WHERE tenant_id = $1 AND message_id = ANY ($2)"
        ))
        .bind::<Text, _>(&tenant)
        .bind::<Array<SqlUuid>, _>(gone.iter().map(|row| row.id).collect::<Vec<_>>())
        .execute(tx.connection())
        .await?;
    }
    Ok(gone.len())
}
