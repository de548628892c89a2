//! `pending_messages`: what the AI has and has not answered (channel-service contract 3.4).

use database::DatabaseError;
use diesel::sql_types::{Array, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use tenant_isolation::TenantTransaction;

/// Failures after which nobody waits for an answer any more.
const MOST_FAILURES: i32 = 5;

/// Why a message has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The AI found none. It is the AI's business to try again, or a person's to ask it to.
    NoAnswer,
    /// The answer did not go out. Only a later answer changes that, not the AI's word that it is done.
    NotSent,
}

impl Failure {
    const fn state(self) -> &'static str {
        match self {
            Self::NoAnswer => "pending",
            Self::NotSent => "not_sent",
        }
    }
}

/// The AI gets a message, perhaps once more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn begin(
    tx: &mut TenantTransaction,
    message: MessageId,
    provider_id: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO pending_messages (tenant_id, message_id, provider_message_id) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id, message_id) DO UPDATE SET state = 'processing', error = NULL, updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.as_uuid())
    .bind::<Text, _>(provider_id)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A later message has taken these with it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn supersede(tx: &mut TenantTransaction, messages: &[MessageId]) -> Result<(), DatabaseError> {
    if messages.is_empty() {
        return Ok(());
    }
    let tenant = tx.scope().tenant().to_string();
    database::sql("DELETE FROM pending_messages WHERE tenant_id = $1 AND message_id = ANY ($2)")
        .bind::<Text, _>(tenant)
        .bind::<Array<SqlUuid>, _>(messages.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// These messages of a chat have their answer.
///
/// # Errors
/// [`DatabaseError`].
pub async fn answered(
    tx: &mut TenantTransaction,
    chat: ChatId,
    ids: &[ProviderMessageId],
) -> Result<(), DatabaseError> {
    delete(tx, chat, ids, "").await
}

/// The AI says that it is done with these. Where its answer did not go out, that stays to be seen.
///
/// # Errors
/// [`DatabaseError`].
pub async fn completed(
    tx: &mut TenantTransaction,
    chat: ChatId,
    ids: &[ProviderMessageId],
) -> Result<(), DatabaseError> {
    delete(tx, chat, ids, Failure::NotSent.state()).await
}

async fn delete(
    tx: &mut TenantTransaction,
    chat: ChatId,
    ids: &[ProviderMessageId],
    but: &str,
) -> Result<(), DatabaseError> {
    if ids.is_empty() {
        return Ok(());
    }
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "DELETE FROM pending_messages p USING messages m \
         WHERE p.tenant_id = $1 AND p.provider_message_id = ANY ($3) AND p.state <> $4 \
           AND m.tenant_id = p.tenant_id AND m.id = p.message_id AND m.chat_id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<Array<Text>, _>(texts(ids))
    .bind::<Text, _>(but)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// These messages of a chat have no answer. One that nobody waits for any more stays so, unless an answer was found
/// and did not go out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn failed(
    tx: &mut TenantTransaction,
    chat: ChatId,
    ids: &[ProviderMessageId],
    failure: Failure,
    error: &str,
) -> Result<(), DatabaseError> {
    if ids.is_empty() {
        return Ok(());
    }
    let tenant = tx.scope().tenant().to_string();
    let source = match failure {
        Failure::NoAnswer => {
            "SELECT p.tenant_id, p.message_id, p.provider_message_id FROM pending_messages p \
             JOIN messages m ON m.tenant_id = p.tenant_id AND m.id = p.message_id \
             WHERE p.tenant_id = $1 AND m.chat_id = $2 AND p.provider_message_id = ANY ($3)"
        }
        Failure::NotSent => {
            "SELECT m.tenant_id, m.id, m.provider_message_id FROM messages m \
             JOIN chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id \
             WHERE m.tenant_id = $1 AND c.id = $2 AND m.account_id = c.account_id AND m.direction = 'inbound' \
               AND m.provider_message_id = ANY ($3)"
        }
    };
    database::sql(format!(
        "INSERT INTO pending_messages AS p (tenant_id, message_id, provider_message_id, state, retry_count, error) \
         SELECT s.*, $4, 1, $5 FROM ({source}) s \
         ON CONFLICT (tenant_id, message_id) DO UPDATE SET retry_count = p.retry_count + 1, error = excluded.error, \
             state = CASE WHEN excluded.state = 'pending' AND p.retry_count + 1 >= $6 THEN 'failed' \
                          ELSE excluded.state END, \
             updated_at = now()"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<Array<Text>, _>(texts(ids))
    .bind::<Text, _>(failure.state())
    .bind::<Text, _>(error)
    .bind::<Integer, _>(MOST_FAILURES)
    .execute(tx.connection())
    .await?;
    Ok(())
}

fn texts(ids: &[ProviderMessageId]) -> Vec<&str> {
    ids.iter().map(ProviderMessageId::as_str).collect()
}
