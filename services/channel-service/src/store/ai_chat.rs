//! `chats` as the AI sees them: who is meant, and where the AI stands.

use database::DatabaseError;
use diesel::sql_types::{Array, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::address::ChatAddress;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Longest kept explanation of an error, in characters (channel-service contract 3.3).
const EXPLANATION: usize = 500;
/// Begins the explanation where an answer was found and did not go out.
const NOT_SENT: &str = "send_failed";

/// A chat with somebody.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct AiChatRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The tenant's sender.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// Over what it runs.
    #[diesel(sql_type = Text)]
    pub channel: String,
    /// The message the AI has.
    #[diesel(sql_type = Nullable<Text>)]
    pub pending_message_id: Option<String>,
}

/// The tenant's chats with somebody, newest first; more than one only with several accounts. With `message`, those
/// that hold it come first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    who: &ChatAddress,
    message: Option<&ProviderMessageId>,
) -> Result<Vec<AiChatRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT c.id, c.account_id, c.channel, c.pending_message_id FROM chats c \
         WHERE c.tenant_id = $1 AND (c.address = $2 OR c.phone = $3 OR c.lid = $4) \
         ORDER BY $5 IS NOT NULL AND EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = c.tenant_id \
                    AND m.account_id = c.account_id AND m.provider_message_id = $5 AND m.chat_id = c.id) DESC, \
                  c.last_message_at DESC LIMIT 20",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(who.as_str())
    .bind::<Nullable<Text>, _>(who.phone().map(|phone| phone.as_str().to_owned()))
    .bind::<Nullable<Text>, _>(who.lid().map(|lid| lid.as_str().to_owned()))
    .bind::<Nullable<Text>, _>(message.map(ProviderMessageId::as_str))
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Holds the chat's row until the commit. False when there is no such chat.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock(tx: &mut TenantTransaction, chat: ChatId) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let found = database::sql("SELECT FROM chats WHERE tenant_id = $1 AND id = $2 FOR UPDATE")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(chat.as_uuid())
        .execute(tx.connection())
        .await?;
    Ok(found == 1)
}

/// The AI has this message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn processing(
    tx: &mut TenantTransaction,
    chat: ChatId,
    message: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE chats SET ai_status = 'processing', ai_error_message = NULL, pending_message_id = $3, \
                updated_at = now() \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<Text, _>(message)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// These messages are done with. Where the AI has a later one, or an answer did not go out (unless `even_not_sent`),
/// the chat stays as it is. Without ids everything is done with.
///
/// # Errors
/// [`DatabaseError`].
pub async fn settled(
    tx: &mut TenantTransaction,
    chat: ChatId,
    ids: &[ProviderMessageId],
    even_not_sent: bool,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE chats SET ai_status = NULL, ai_error_message = NULL, pending_message_id = NULL, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2 \
           AND (pending_message_id IS NULL OR cardinality($3) = 0 OR pending_message_id = ANY ($3)) \
           AND ($4 OR ai_error_message IS NULL OR NOT starts_with(ai_error_message, $5))",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<Array<Text>, _>(ids.iter().map(ProviderMessageId::as_str).collect::<Vec<_>>())
    .bind::<diesel::sql_types::Bool, _>(even_not_sent)
    .bind::<Text, _>(NOT_SENT)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The AI found no answer to these messages. Where it has a later one, the chat stays as it is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn failed(
    tx: &mut TenantTransaction,
    chat: ChatId,
    ids: &[ProviderMessageId],
    explanation: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE chats SET ai_status = 'error', ai_error_message = $4, \
                pending_message_id = coalesce($3[1], pending_message_id), updated_at = now() \
         WHERE tenant_id = $1 AND id = $2 \
           AND (pending_message_id IS NULL OR cardinality($3) = 0 OR pending_message_id = ANY ($3))",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<Array<Text>, _>(ids.iter().map(ProviderMessageId::as_str).collect::<Vec<_>>())
    .bind::<Text, _>(explanation.chars().take(EXPLANATION).collect::<String>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The AI's answer to these messages did not go out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn not_sent(
    tx: &mut TenantTransaction,
    chat: ChatId,
    ids: &[ProviderMessageId],
    reason: &str,
) -> Result<(), DatabaseError> {
    failed(tx, chat, ids, &format!("{NOT_SENT}: {reason}")).await
}

/// An answer went out: it is the newest the chat shows, and nobody has to read what it answers.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show_answer(
    tx: &mut TenantTransaction,
    chat: ChatId,
    answer: MessageId,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE chats c SET unread = 0, updated_at = now(), \
                last_text = CASE WHEN m.sent_at >= c.last_message_at THEN left(m.body, 500) ELSE c.last_text END, \
                last_message_at = greatest(m.sent_at, c.last_message_at) \
         FROM messages m WHERE m.tenant_id = $1 AND m.id = $3 AND c.tenant_id = $1 AND c.id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<SqlUuid, _>(answer.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(())
}
