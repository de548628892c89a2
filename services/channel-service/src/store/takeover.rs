//! `takeovers`: who answers a chat in the AI's place.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::ChatId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// A row of `takeovers`.
#[derive(Debug, Clone, QueryableByName)]
pub struct TakeoverRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// Who has it, by the dashboard's id.
    #[diesel(sql_type = Text)]
    pub admin_id: String,
    /// Who has it, by name.
    #[diesel(sql_type = Nullable<Text>)]
    pub admin_name: Option<String>,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub started_at: DateTime<Utc>,
    /// Until when; none while it is active.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
}

/// Who has the chat now. `None`: the AI.
///
/// # Errors
/// [`DatabaseError`].
pub async fn active(tx: &mut TenantTransaction, chat: ChatId) -> Result<Option<TakeoverRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<TakeoverRow> = database::sql(
        "SELECT id, chat_id, admin_id, admin_name, reason, started_at, ended_at FROM takeovers \
         WHERE tenant_id = $1 AND chat_id = $2 AND ended_at IS NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// What is noted of a takeover that begins.
#[derive(Clone)]
pub struct NewTakeover {
    /// Who has the chat, by the dashboard's id.
    pub admin_id: String,
    /// By name.
    pub admin_name: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// Begins a takeover of a chat that has none. Hold the chat's lock and end the one before first.
///
/// # Errors
/// [`DatabaseError::Conflict`] when somebody has the chat.
pub async fn begin(
    tx: &mut TenantTransaction,
    chat: ChatId,
    new: &NewTakeover,
) -> Result<TakeoverRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(
        "INSERT INTO takeovers (tenant_id, id, chat_id, admin_id, admin_name, reason, started_at) \
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp()) \
         RETURNING id, chat_id, admin_id, admin_name, reason, started_at, ended_at",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<Text, _>(&new.admin_id)
    .bind::<Nullable<Text>, _>(&new.admin_name)
    .bind::<Nullable<Text>, _>(&new.reason)
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

/// Ends the takeovers of these chats of the tenant. Returns how many there were.
///
/// # Errors
/// [`DatabaseError`].
pub async fn end(tx: &mut TenantTransaction, chats: &[Uuid]) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let ended = database::sql(
        "UPDATE takeovers SET ended_at = clock_timestamp() \
         WHERE tenant_id = $1 AND chat_id = ANY ($2) AND ended_at IS NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(chats)
    .execute(tx.connection())
    .await?;
    Ok(ended)
}

/// Who has any of these chats of the tenant: the newest takeover.
///
/// # Errors
/// [`DatabaseError`].
pub async fn active_of(
    tx: &mut TenantTransaction,
    chats: &[Uuid],
) -> Result<Option<TakeoverRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<TakeoverRow> = database::sql(
        "SELECT id, chat_id, admin_id, admin_name, reason, started_at, ended_at FROM takeovers \
         WHERE tenant_id = $1 AND chat_id = ANY ($2) AND ended_at IS NULL ORDER BY started_at DESC LIMIT 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(chats)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// A takeover and the chat it is of.
#[derive(Clone, QueryableByName)]
pub struct TakenChatRow {
    /// The takeover.
    #[diesel(embed)]
    pub takeover: TakeoverRow,
    /// With whom the chat is.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// The number, when known.
    #[diesel(sql_type = Nullable<Text>)]
    pub phone: Option<String>,
    /// Over what: a `domain::chat::Channel`.
    #[diesel(sql_type = Text)]
    pub channel: String,
}

/// The tenant's active takeovers, newest first, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list_active(tx: &mut TenantTransaction, most: i64) -> Result<Vec<TakenChatRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT t.id, t.chat_id, t.admin_id, t.admin_name, t.reason, t.started_at, t.ended_at, \
                c.address, c.phone, c.channel \
         FROM takeovers t JOIN chats c ON c.tenant_id = t.tenant_id AND c.id = t.chat_id \
         WHERE t.tenant_id = $1 AND t.ended_at IS NULL ORDER BY t.started_at DESC, t.id DESC LIMIT $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Deletes the takeovers of a chat, past ones included.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_of_chat(tx: &mut TenantTransaction, chat: ChatId) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = database::sql("DELETE FROM takeovers WHERE tenant_id = $1 AND chat_id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(chat.as_uuid())
        .execute(tx.connection())
        .await?;
    Ok(deleted)
}
