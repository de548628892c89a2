//! Which message in Chatwoot a WhatsApp message is. A row is written before Chatwoot is asked, so that a lost answer
//! leaves a trace; the id follows when it is known.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, ProviderMessageId};
use domain::message::Direction;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::agent_messages::AgentMessage;

/// A row of `message_links`.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct MessageLink {
    /// The inbox the message went to.
    #[diesel(sql_type = SqlUuid)]
    pub inbox_id: Uuid,
    /// The message's id in Chatwoot; `None` while nobody has seen it there.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub chatwoot_message_id: Option<i64>,
    /// When Chatwoot was first going to be asked.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// The link of a WhatsApp message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    account: AccountId,
    message: &ProviderMessageId,
) -> Result<Option<MessageLink>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<MessageLink> = database::sql(
        "SELECT inbox_id, chatwoot_message_id, created_at FROM message_links \
         WHERE tenant_id = $1 AND account_id = $2 AND provider_message_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(message.as_str())
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// Notes that Chatwoot is about to be asked for this message. Keeps the time of the first note.
///
/// # Errors
/// [`DatabaseError`].
pub async fn intend(
    tx: &mut TenantTransaction,
    account: AccountId,
    message: &ProviderMessageId,
    inbox: Uuid,
    conversation: i64,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO message_links (tenant_id, account_id, provider_message_id, inbox_id, chatwoot_conversation_id, \
             direction) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (tenant_id, account_id, provider_message_id) DO UPDATE \
         SET inbox_id = excluded.inbox_id, chatwoot_conversation_id = excluded.chatwoot_conversation_id",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(message.as_str())
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(conversation)
    .bind::<Text, _>(Direction::Inbound.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes the message's id in Chatwoot.
///
/// # Errors
/// [`DatabaseError`].
pub async fn made(
    tx: &mut TenantTransaction,
    account: AccountId,
    message: &ProviderMessageId,
    chatwoot_message: i64,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "UPDATE message_links SET chatwoot_message_id = $4 \
         WHERE tenant_id = $1 AND account_id = $2 AND provider_message_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(message.as_str())
    .bind::<BigInt, _>(chatwoot_message)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes which WhatsApp message an agent's message became, so that a quote of it finds its way back.
///
/// # Errors
/// [`DatabaseError`].
pub async fn sent(
    tx: &mut TenantTransaction,
    account: AccountId,
    message: &ProviderMessageId,
    from: &AgentMessage,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO message_links (tenant_id, account_id, provider_message_id, inbox_id, chatwoot_conversation_id, \
             chatwoot_message_id, direction) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (tenant_id, account_id, provider_message_id) DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(message.as_str())
    .bind::<SqlUuid, _>(from.inbox_id)
    .bind::<BigInt, _>(from.conversation_id)
    .bind::<BigInt, _>(from.message_id)
    .bind::<Text, _>(Direction::Outbound.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct One {
    #[diesel(sql_type = BigInt)]
    one: i64,
}

/// Did we make this message in Chatwoot? Messages that agents made and we sent do not count.
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_ours(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    chatwoot_message: i64,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<One> = database::sql(
        "SELECT count(*) AS one FROM message_links \
         WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = $3 AND direction = $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(chatwoot_message)
    .bind::<Text, _>(Direction::Inbound.as_str())
    .load(tx.connection())
    .await?;
    Ok(rows.iter().any(|row| row.one > 0))
}

/// Forgets up to `most` links, of whatever tenants, that are older than `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM message_links m USING (SELECT tenant_id, account_id, provider_message_id FROM message_links \
              WHERE created_at < now() - $1 * interval '1 day' ORDER BY created_at LIMIT $2) old \
         WHERE m.tenant_id = old.tenant_id AND m.account_id = old.account_id \
           AND m.provider_message_id = old.provider_message_id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
