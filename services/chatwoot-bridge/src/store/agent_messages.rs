//! Messages of agents and what became of them.

use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Double, Nullable, Text, Uuid as SqlUuid};
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

/// Where an agent's message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its conversation's display id.
    pub conversation_id: i64,
    /// The last status that was applied.
    pub status: DeliveryStatus,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    chatwoot_conversation_id: i64,
    #[diesel(sql_type = Text)]
    status: String,
}

/// Adds a message as queued under `request`. False when it is known already.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add(
    tx: &mut TenantTransaction,
    message: &AgentMessage,
    request: Uuid,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let added = database::sql(
        "INSERT INTO agent_messages (tenant_id, inbox_id, chatwoot_message_id, chatwoot_conversation_id, request_id, \
             status) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (tenant_id, inbox_id, chatwoot_message_id) DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.inbox_id)
    .bind::<BigInt, _>(message.message_id)
    .bind::<BigInt, _>(message.conversation_id)
    .bind::<SqlUuid, _>(request)
    .bind::<Text, _>(DeliveryStatus::Queued.as_str())
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
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> = database::sql(
        "SELECT chatwoot_conversation_id, status FROM agent_messages \
         WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .load(tx.connection())
    .await?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(None);
    };
    let status = row
        .status
        .parse()
        .map_err(|error| DatabaseError::Refused(Box::new(error)))?;
    Ok(Some(Standing {
        conversation_id: row.chatwoot_conversation_id,
        status,
    }))
}

/// Moves a message forward; a step that is none is not taken.
///
/// # Errors
/// [`DatabaseError`].
pub async fn advance(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
    status: DeliveryStatus,
    reason: Option<&str>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let from: Vec<&str> = status
        .predecessors()
        .into_iter()
        .map(DeliveryStatus::as_str)
        .collect();
    database::sql(
        "UPDATE agent_messages SET status = $4, reason = $5, updated_at = now() \
         WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = $3 AND status = ANY ($6)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .bind::<Text, _>(status.as_str())
    .bind::<Nullable<Text>, _>(reason)
    .bind::<Array<Text>, _>(from)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets up to `most` messages, of whatever tenants, that are older than `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM agent_messages m USING (SELECT tenant_id, inbox_id, chatwoot_message_id FROM agent_messages \
              WHERE created_at < now() - $1 * interval '1 day' ORDER BY created_at LIMIT $2) old \
         WHERE m.tenant_id = old.tenant_id AND m.inbox_id = old.inbox_id \
           AND m.chatwoot_message_id = old.chatwoot_message_id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
