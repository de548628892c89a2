//! `messages` on their way to the AI.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// What the AI gets to know of a message, and where it stands.
#[derive(Clone, diesel::QueryableByName)]
pub struct AiMessageRow {
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// The provider's id.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// What sort.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// What a person would read.
    #[diesel(sql_type = Text)]
    pub body: String,
    /// The content in the domain's JSON.
    #[diesel(sql_type = Text)]
    pub content: String,
    /// When it was written.
    #[diesel(sql_type = Timestamptz)]
    pub sent_at: DateTime<Utc>,
    /// When it reached us.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// What became of it, once that is decided.
    #[diesel(sql_type = Nullable<Text>)]
    pub ai_handling: Option<String>,
    /// With whom the chat is.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// The person's number, where known.
    #[diesel(sql_type = Nullable<Text>)]
    pub phone: Option<String>,
}

const COLUMNS: &str = "m.id, m.chat_id, m.provider_message_id, m.kind, m.body, m.content, m.sent_at, m.created_at, \
                       m.ai_handling, c.address, c.phone";

/// A person's message. `None`: there is no such message (any more).
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, id: MessageId) -> Result<Option<AiMessageRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<AiMessageRow> = database::sql(format!(
        "SELECT {COLUMNS} FROM messages m JOIN chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id \
         WHERE m.tenant_id = $1 AND m.id = $2 AND m.direction = 'inbound'"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// A person's message in a chat, by the provider's id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_in_chat(
    tx: &mut TenantTransaction,
    chat: ChatId,
    id: &ProviderMessageId,
) -> Result<Option<AiMessageRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<AiMessageRow> = database::sql(format!(
        "SELECT {COLUMNS} FROM messages m JOIN chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id \
         WHERE m.tenant_id = $1 AND m.account_id = c.account_id AND m.provider_message_id = $3 AND c.id = $2 \
           AND m.direction = 'inbound'"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<Text, _>(id.as_str())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Notes what became of a message. False when that was decided before, or the message is gone.
///
/// # Errors
/// [`DatabaseError`].
pub async fn settle(
    tx: &mut TenantTransaction,
    id: MessageId,
    handling: &str,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let settled = database::sql(
        "UPDATE messages SET ai_handling = $3 WHERE tenant_id = $1 AND id = $2 AND ai_handling IS NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<Text, _>(handling)
    .execute(tx.connection())
    .await?;
    Ok(settled == 1)
}

/// A message as the context of a later one.
#[derive(diesel::QueryableByName)]
pub struct ContextRow {
    /// The provider's id.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// What a person would read.
    #[diesel(sql_type = Text)]
    pub body: String,
    /// When it was written.
    #[diesel(sql_type = Timestamptz)]
    pub sent_at: DateTime<Utc>,
}

/// Messages of one chat that wait for an answer, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn context(
    tx: &mut TenantTransaction,
    chat: ChatId,
    ids: &[MessageId],
) -> Result<Vec<ContextRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT provider_message_id, body, sent_at FROM messages \
         WHERE tenant_id = $1 AND chat_id = $2 AND id = ANY ($3) ORDER BY created_at, id",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
    .load(tx.connection())
    .await?;
    Ok(rows)
}
