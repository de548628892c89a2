//! `ai_replies`: answers of the AI that were taken, and the rows the AI itself keeps of them.

use database::DatabaseError;
use diesel::sql_types::{Array, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// What an answer is recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyKey {
    /// The message it answers.
    Message(ProviderMessageId),
    /// Its own words, hashed, where it does not say what it answers. Said again much later it is another answer.
    Words(String),
}

impl ReplyKey {
    /// The key in the table.
    #[must_use]
    pub fn as_text(&self) -> String {
        match self {
            Self::Message(id) => format!("m:{id}"),
            Self::Words(hash) => format!("h:{hash}"),
        }
    }
}

/// Claims an answer. False when it was taken before.
///
/// # Errors
/// [`DatabaseError`].
pub async fn claim(
    tx: &mut TenantTransaction,
    key: &ReplyKey,
    answers: &[ProviderMessageId],
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let claimed = database::sql(
        "INSERT INTO ai_replies AS r (tenant_id, key, message_ids) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id, key) DO UPDATE SET received_at = now(), state = 'queued', reason = NULL \
             WHERE r.key LIKE 'h:%' AND r.received_at < now() - interval '10 minutes'",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(key.as_text())
    .bind::<Array<Text>, _>(answers.iter().map(ProviderMessageId::as_str).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(claimed == 1)
}

/// Lets go of the claim of an answer that did not go out, so that the next one may.
///
/// # Errors
/// [`DatabaseError`].
pub async fn release(tx: &mut TenantTransaction, message: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("DELETE FROM ai_replies WHERE tenant_id = $1 AND key = 'm:' || $2 AND state = 'failed'")
        .bind::<Text, _>(tenant)
        .bind::<Text, _>(message)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Where an answer stands.
#[derive(Debug, diesel::QueryableByName)]
pub struct ReplyRow {
    /// `queued`, `sent`, `failed` or `suppressed`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Why it did not go out, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// The provider's ids of the messages it answers.
    #[diesel(sql_type = Array<Text>)]
    pub message_ids: Vec<String>,
}

/// Finds an answer by its key in the table.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, key: &str) -> Result<Option<ReplyRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<ReplyRow> =
        database::sql("SELECT state, reason, message_ids FROM ai_replies WHERE tenant_id = $1 AND key = $2")
            .bind::<Text, _>(tenant)
            .bind::<Text, _>(key)
            .load(tx.connection())
            .await?;
    Ok(rows.pop())
}

/// Which of these messages have an answer that went out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn sent_for(
    tx: &mut TenantTransaction,
    ids: &[ProviderMessageId],
) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        id: String,
    }
    let tenant = tx.scope().tenant().to_string();
    let keys: Vec<String> = ids.iter().map(|id| format!("m:{id}")).collect();
    let rows: Vec<Row> = database::sql(
        "SELECT substr(key, 3) AS id FROM ai_replies WHERE tenant_id = $1 AND key = ANY ($2) AND state = 'sent'",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<Text>, _>(keys)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Notes where an answer stands. `None`: it stood there before, or there is no such answer.
///
/// # Errors
/// [`DatabaseError`].
pub async fn move_to(
    tx: &mut TenantTransaction,
    key: &str,
    state: &str,
    reason: Option<&str>,
) -> Result<Option<ReplyRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<ReplyRow> = database::sql(
        "UPDATE ai_replies SET state = $3, reason = $4 WHERE tenant_id = $1 AND key = $2 AND state <> $3 \
         RETURNING state, reason, message_ids",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(key)
    .bind::<Text, _>(state)
    .bind::<Nullable<Text>, _>(reason)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// What a part of an answer becomes, over the row that the AI itself has kept of it.
#[derive(Debug)]
pub struct Adoption<'a> {
    /// The chat.
    pub chat: ChatId,
    /// The words as the AI wrote them, and as they go out.
    pub words: [&'a str; 2],
    /// The content in the domain's JSON.
    pub content: &'a str,
    /// Our id for the provider.
    pub provider_message_id: &'a ProviderMessageId,
    /// What its statuses are known by.
    pub reference: &'a str,
}

/// The AI stores its words first and sends them afterwards: the row it stored becomes the message that goes out, so
/// that the history holds it once, with its delivery. `None`: it stored none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn adopt_stored(
    tx: &mut TenantTransaction,
    adoption: &Adoption<'_>,
) -> Result<Option<MessageId>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<Row> = database::sql(
        "UPDATE messages SET status = 'queued', reason = NULL, provider_message_id = $4, reference = $5, \
                body = $6, content = $7, source = 'ai', updated_at = now() \
         WHERE tenant_id = $1 AND id = (SELECT id FROM messages \
                WHERE tenant_id = $1 AND chat_id = $2 AND direction = 'outbound' AND lower(source) = 'ai' \
                  AND reference IS NULL AND body = ANY ($3) AND sent_at > now() - interval '15 minutes' \
                ORDER BY sent_at, id LIMIT 1 FOR UPDATE) \
         RETURNING id",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(adoption.chat.as_uuid())
    .bind::<Array<Text>, _>(adoption.words.to_vec())
    .bind::<Text, _>(adoption.provider_message_id.as_str())
    .bind::<Text, _>(adoption.reference)
    .bind::<Text, _>(adoption.words[1])
    .bind::<Text, _>(adoption.content)
    .load(tx.connection())
    .await?;
    Ok(rows.pop().map(|row| MessageId::from_uuid(row.id)))
}
