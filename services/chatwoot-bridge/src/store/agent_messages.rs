//! Messages of agents and what became of them.

use std::collections::HashMap;

use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::delivery::DeliveryStatus;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// An agent's message: where it is in Chatwoot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentMessage {
    /// Our inbox row.
    pub inbox_id: Uuid,
    /// Its id in Chatwoot.
    pub message_id: i64,
    /// Its conversation's display id.
    pub conversation_id: i64,
}

/// What an agent was shown of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Where the whole message stands.
    pub status: DeliveryStatus,
    /// Why, as a stable code.
    pub reason: Option<String>,
    /// Unknown, and nothing more is tried by itself.
    pub put_aside: bool,
}

/// Where an agent's message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its conversation's display id.
    pub conversation_id: i64,
    /// The order of its first part.
    pub request_id: Uuid,
    /// What the agent was shown last.
    pub shown: Shown,
    /// Chatwoot took it that the message failed: one that it shows as sent after that was asked for again.
    pub marked_failed: bool,
    /// To whom it goes; messages of before do not tell.
    pub recipient: Option<String>,
    /// The agent has deleted it.
    pub deleted: bool,
}

impl Standing {
    /// The person to whom it went was erased: all that is known of it is that it was there, and nothing more is noted.
    #[must_use]
    pub const fn is_erased(&self) -> bool {
        self.deleted && self.recipient.is_none()
    }
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    chatwoot_message_id: i64,
    #[diesel(sql_type = BigInt)]
    chatwoot_conversation_id: i64,
    #[diesel(sql_type = SqlUuid)]
    request_id: Uuid,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Bool)]
    put_aside: bool,
    #[diesel(sql_type = Nullable<Text>)]
    recipient: Option<String>,
    #[diesel(sql_type = Bool)]
    deleted: bool,
    #[diesel(sql_type = Bool)]
    marked_failed: bool,
}

const COLUMNS: &str = "chatwoot_message_id, chatwoot_conversation_id, request_id, status, reason, put_aside, recipient, \
                       deleted, marked_failed";

impl TryFrom<Row> for Standing {
    type Error = DatabaseError;

    fn try_from(row: Row) -> Result<Self, DatabaseError> {
        let status = row
            .status
            .parse()
            .map_err(|error| DatabaseError::Refused(Box::new(error)))?;
        Ok(Self {
            conversation_id: row.chatwoot_conversation_id,
            request_id: row.request_id,
            shown: Shown {
                status,
                reason: row.reason,
                put_aside: row.put_aside,
            },
            marked_failed: row.marked_failed,
            recipient: row.recipient,
            deleted: row.deleted,
        })
    }
}

/// Adds a message as queued under `request`. False when it is known already.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add(
    tx: &mut TenantTransaction,
    message: &AgentMessage,
    request: Uuid,
    recipient: Option<&str>,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let added = database::sql(
        "INSERT INTO agent_messages (tenant_id, inbox_id, chatwoot_message_id, chatwoot_conversation_id, request_id, \
             status, recipient) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (tenant_id, inbox_id, chatwoot_message_id) DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.inbox_id)
    .bind::<BigInt, _>(message.message_id)
    .bind::<BigInt, _>(message.conversation_id)
    .bind::<SqlUuid, _>(request)
    .bind::<Text, _>(DeliveryStatus::Queued.as_str())
    .bind::<Nullable<Text>, _>(recipient)
    .execute(tx.connection())
    .await?;
    Ok(added == 1)
}

/// Where a message stands. `None`: no agent of this inbox wrote it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
) -> Result<Option<Standing>, DatabaseError> {
    read(tx, inbox, message, "").await
}

/// The same, and nobody else changes the message or its parts until the transaction ends. Whoever also holds a lane takes
/// that first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
) -> Result<Option<Standing>, DatabaseError> {
    read(tx, inbox, message, "FOR UPDATE").await
}

async fn read(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
    how: &'static str,
) -> Result<Option<Standing>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> = database::sql(format!(
        "SELECT {COLUMNS} FROM agent_messages WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = $3 {how}"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .load(tx.connection())
    .await?;
    rows.into_iter().next().map(Standing::try_from).transpose()
}

/// Where those of these messages stand that agents of this inbox wrote.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_all(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    messages: &[i64],
) -> Result<HashMap<i64, Standing>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> = database::sql(format!(
        "SELECT {COLUMNS} FROM agent_messages \
         WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = ANY($3)"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Array<BigInt>, _>(messages)
    .load(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.chatwoot_message_id, row.try_into()?)))
        .collect()
}

/// Notes what the agent is shown.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
    shown: &Shown,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "UPDATE agent_messages SET status = $4, reason = $5, put_aside = $6, updated_at = now() \
         WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .bind::<Text, _>(shown.status.as_str())
    .bind::<Nullable<Text>, _>(shown.reason.as_deref())
    .bind::<Bool, _>(shown.put_aside)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes whether Chatwoot took it that the message failed.
///
/// # Errors
/// [`DatabaseError`].
pub async fn mark_failed(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
    marked: bool,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "UPDATE agent_messages SET marked_failed = $4, updated_at = now() WHERE tenant_id = $1 AND inbox_id = $2 \
             AND chatwoot_message_id = $3 AND marked_failed <> $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .bind::<Bool, _>(marked)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes that the agent has deleted the message, and to whom it went where that was not known.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
    recipient: Option<&str>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "UPDATE agent_messages SET deleted = true, recipient = coalesce(recipient, $4), updated_at = now() \
         WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .bind::<Nullable<Text>, _>(recipient)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets up to `most` messages and their parts, of whatever tenants, that are older than `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "WITH old AS (SELECT tenant_id, inbox_id, chatwoot_message_id FROM agent_messages \
                WHERE created_at < now() - $1 * interval '1 day' ORDER BY created_at LIMIT $2), \
              parts AS (DELETE FROM agent_parts p USING old WHERE p.tenant_id = old.tenant_id \
                AND p.inbox_id = old.inbox_id AND p.chatwoot_message_id = old.chatwoot_message_id) \
         DELETE FROM agent_messages m USING old \
         WHERE m.tenant_id = old.tenant_id AND m.inbox_id = old.inbox_id \
           AND m.chatwoot_message_id = old.chatwoot_message_id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
