//! Which message in Chatwoot a WhatsApp message is. A row is written before Chatwoot is asked, so that a lost answer
//! leaves a trace; the id follows when it is known.
//!
//! `direction` is the way over the bridge: what a person wrote, and what the tenant typed on the phone, came in; what an
//! agent wrote went out. A message is several parts where the other side needs several messages for it.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, ProviderMessageId};
use domain::message::Direction;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::agent_messages::AgentMessage;

/// The message itself, or the first file of an agent's.
pub const WHOLE: i16 = 0;
/// The file of a message whose words could not wait for it.
pub const LATE_FILE: i16 = 1;

/// A row of `message_links`.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct MessageLink {
    /// The inbox the message went to.
    #[diesel(sql_type = SqlUuid)]
    pub inbox_id: Uuid,
    /// The message's id in Chatwoot; `None` while nobody has seen it there.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub chatwoot_message_id: Option<i64>,
    /// The conversation that was last asked to take it.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_conversation_id: i64,
    /// When Chatwoot was first going to be asked.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Until when whoever asked last may still be at it.
    #[diesel(sql_type = Timestamptz)]
    pub settled_at: DateTime<Utc>,
    /// It was imported.
    #[diesel(sql_type = Bool)]
    pub from_history: bool,
    /// The words promise a file that comes later.
    #[diesel(sql_type = Bool)]
    pub file_follows: bool,
}

/// What Chatwoot is about to be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// The message's account.
    pub account: AccountId,
    /// The message.
    pub message: &'a ProviderMessageId,
    /// Which part of it.
    pub part: i16,
    /// The inbox it goes to.
    pub inbox: Uuid,
    /// The conversation that is asked to take it.
    pub conversation: i64,
    /// It is imported.
    pub from_history: bool,
    /// The words promise a file that comes later.
    pub file_follows: bool,
    /// After how long Chatwoot has made up its mind.
    pub settles_in: Duration,
}

/// The link of a WhatsApp message; of its first part, where it has several.
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
        "SELECT inbox_id, chatwoot_message_id, chatwoot_conversation_id, created_at, settled_at, \
             from_history, file_follows \
         FROM message_links \
         WHERE tenant_id = $1 AND account_id = $2 AND provider_message_id = $3 ORDER BY part LIMIT 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(message.as_str())
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// The link of one part of a WhatsApp message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_part(
    tx: &mut TenantTransaction,
    account: AccountId,
    message: &ProviderMessageId,
    part: i16,
) -> Result<Option<MessageLink>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<MessageLink> = database::sql(
        "SELECT inbox_id, chatwoot_message_id, chatwoot_conversation_id, created_at, settled_at, \
             from_history, file_follows \
         FROM message_links \
         WHERE tenant_id = $1 AND account_id = $2 AND provider_message_id = $3 AND part = $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(message.as_str())
    .bind::<SmallInt, _>(part)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// Notes that Chatwoot is about to be asked for this part of a message. Keeps the time of the first note.
///
/// # Errors
/// [`DatabaseError`].
pub async fn intend(tx: &mut TenantTransaction, intent: &Intent<'_>) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO message_links (tenant_id, account_id, provider_message_id, inbox_id, chatwoot_conversation_id, \
             direction, part, from_history, file_follows, settled_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + $10 * interval '1 second') \
         ON CONFLICT (tenant_id, account_id, provider_message_id, part) DO UPDATE \
         SET inbox_id = excluded.inbox_id, chatwoot_conversation_id = excluded.chatwoot_conversation_id, \
             from_history = excluded.from_history, file_follows = excluded.file_follows, \
             settled_at = excluded.settled_at",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(intent.account.as_uuid())
    .bind::<Text, _>(intent.message.as_str())
    .bind::<SqlUuid, _>(intent.inbox)
    .bind::<BigInt, _>(intent.conversation)
    .bind::<Text, _>(Direction::Inbound.as_str())
    .bind::<SmallInt, _>(intent.part)
    .bind::<Bool, _>(intent.from_history)
    .bind::<Bool, _>(intent.file_follows)
    .bind::<Double, _>(intent.settles_in.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes the id in Chatwoot of this part of a message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn made(
    tx: &mut TenantTransaction,
    account: AccountId,
    message: &ProviderMessageId,
    part: i16,
    chatwoot_message: i64,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "UPDATE message_links SET chatwoot_message_id = $4 \
         WHERE tenant_id = $1 AND account_id = $2 AND provider_message_id = $3 AND part = $5",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(message.as_str())
    .bind::<BigInt, _>(chatwoot_message)
    .bind::<SmallInt, _>(part)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes which WhatsApp message a part of an agent's message became, so that a quote of it finds its way back. What was
/// sent again is known by its newest WhatsApp message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn sent(
    tx: &mut TenantTransaction,
    account: AccountId,
    message: &ProviderMessageId,
    from: &AgentMessage,
    part: i16,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "DELETE FROM message_links WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = $3 AND part = $4 \
             AND direction = $5 AND provider_message_id <> $6",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(from.inbox_id)
    .bind::<BigInt, _>(from.message_id)
    .bind::<SmallInt, _>(part)
    .bind::<Text, _>(Direction::Outbound.as_str())
    .bind::<Text, _>(message.as_str())
    .execute(tx.connection())
    .await?;
    database::sql(
        "INSERT INTO message_links (tenant_id, account_id, provider_message_id, inbox_id, chatwoot_conversation_id, \
             chatwoot_message_id, direction, part) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(message.as_str())
    .bind::<SqlUuid, _>(from.inbox_id)
    .bind::<BigInt, _>(from.conversation_id)
    .bind::<BigInt, _>(from.message_id)
    .bind::<Text, _>(Direction::Outbound.as_str())
    .bind::<SmallInt, _>(part)
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

/// Which of these messages did we make in Chatwoot?
///
/// # Errors
/// [`DatabaseError`].
pub async fn ours_of(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    chatwoot_messages: &[i64],
) -> Result<HashSet<i64>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<One> = database::sql(
        "SELECT DISTINCT chatwoot_message_id AS one FROM message_links \
         WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = ANY($3) AND direction = $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Array<BigInt>, _>(chatwoot_messages)
    .bind::<Text, _>(Direction::Inbound.as_str())
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.one).collect())
}

#[derive(diesel::QueryableByName)]
struct Origin {
    #[diesel(sql_type = Bool)]
    from_history: bool,
}

/// Was the newest message that came into this conversation before this one of Chatwoot's an imported one? One that nobody
/// has seen in Chatwoot yet may be what is answered.
///
/// # Errors
/// [`DatabaseError`].
pub async fn follows_history(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    conversation: i64,
    chatwoot_message: i64,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Origin> = database::sql(
        "SELECT from_history FROM message_links \
         WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_conversation_id = $3 AND direction = 'inbound' \
           AND (chatwoot_message_id IS NULL OR chatwoot_message_id < $4) ORDER BY created_at DESC LIMIT 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(conversation)
    .bind::<BigInt, _>(chatwoot_message)
    .load(tx.connection())
    .await?;
    Ok(rows.iter().any(|row| row.from_history))
}

/// Forgets up to `most` links, of whatever tenants, that are older than `days`. Returns how many. Those of imported
/// messages stay: another import could not tell what the first one brought.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM message_links m USING (SELECT tenant_id, account_id, provider_message_id, part FROM message_links \
              WHERE created_at < now() - $1 * interval '1 day' AND NOT from_history ORDER BY created_at LIMIT $2) old \
         WHERE m.tenant_id = old.tenant_id AND m.account_id = old.account_id \
           AND m.provider_message_id = old.provider_message_id AND m.part = old.part",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
