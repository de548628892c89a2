//! `messages`: where those of ours stand. They only move forward on their road.

use database::DatabaseError;
use diesel::sql_types::{Array, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, MessageId, ProviderMessageId};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// A message of ours that moved along its road.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct Moved {
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The sender.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// The provider's id.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// What the sender wanted repeated.
    #[diesel(sql_type = Nullable<Text>)]
    pub reference: Option<String>,
}

/// Moves one message of ours to `status`, if its road allows. `None`: it is further already.
///
/// # Errors
/// [`DatabaseError`].
pub async fn advance(
    tx: &mut TenantTransaction,
    id: MessageId,
    status: DeliveryStatus,
    reason: Option<&str>,
) -> Result<Option<Moved>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<Moved> = database::sql(
        "UPDATE messages SET status = $3, reason = $5, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2 AND direction = 'outbound' AND status = ANY ($4) \
         RETURNING id, account_id, chat_id, provider_message_id, reference",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<Text, _>(status.as_str())
    .bind::<Array<Text>, _>(predecessors(status))
    .bind::<Nullable<Text>, _>(reason)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// A message of ours that stays in `status` gets another reason. `None`: it is elsewhere by now.
///
/// # Errors
/// [`DatabaseError`].
pub async fn give_reason(
    tx: &mut TenantTransaction,
    id: MessageId,
    status: DeliveryStatus,
    reason: Option<&str>,
) -> Result<Option<Moved>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<Moved> = database::sql(
        "UPDATE messages SET reason = $4, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2 AND direction = 'outbound' AND status = $3 \
         RETURNING id, account_id, chat_id, provider_message_id, reference",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<Text, _>(status.as_str())
    .bind::<Nullable<Text>, _>(reason)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Moves the messages that a receipt names. Returns those that did move.
///
/// # Errors
/// [`DatabaseError`].
pub async fn advance_by_provider_id(
    tx: &mut TenantTransaction,
    account: AccountId,
    ids: &[ProviderMessageId],
    status: DeliveryStatus,
) -> Result<Vec<Moved>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // Locked in one order, because two receipts may name the same messages in different orders.
    let rows = database::sql(
        "UPDATE messages m SET status = $4, reason = NULL, updated_at = now() \
         FROM (SELECT id FROM messages WHERE tenant_id = $1 AND account_id = $2 AND provider_message_id = ANY ($3) \
                  AND direction = 'outbound' AND status = ANY ($5) ORDER BY id FOR UPDATE) locked \
         WHERE m.tenant_id = $1 AND m.id = locked.id \
         RETURNING m.id, m.account_id, m.chat_id, m.provider_message_id, m.reference",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Array<Text>, _>(ids.iter().map(ProviderMessageId::as_str).collect::<Vec<_>>())
    .bind::<Text, _>(status.as_str())
    .bind::<Array<Text>, _>(predecessors(status))
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Where a message of ours stands.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct StandingRow {
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// The provider's id, or ours for the provider.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// A [`DeliveryStatus`].
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
}

/// Where a message of ours stands. `None`: the tenant has no such message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn standing(
    tx: &mut TenantTransaction,
    id: MessageId,
) -> Result<Option<StandingRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<StandingRow> = database::sql(
        "SELECT chat_id, provider_message_id, status, reason FROM messages WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

pub(super) fn predecessors(status: DeliveryStatus) -> Vec<&'static str> {
    status
        .predecessors()
        .into_iter()
        .map(DeliveryStatus::as_str)
        .collect()
}
