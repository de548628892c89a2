//! `early_receipts`: what phones confirmed before we knew under which id a message of ours went out. And that id.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, MessageId, ProviderMessageId};
use tenant_isolation::{GroupTransaction, TenantTransaction};

use super::cloud_status::{Named, columns};

/// Not a status of any message: the row of whoever has the answer and looks for receipts.
const NOTHING: &str = "";

/// Keeps a receipt for those of the messages that the account has not. Whoever is just learning one of these ids is waited
/// for, and afterwards the messages are to be looked at once more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn keep(
    tx: &mut TenantTransaction,
    account: AccountId,
    ids: &[ProviderMessageId],
    status: DeliveryStatus,
    at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // In one order, for two receipts may name the same messages in different ones.
    database::sql(
        "INSERT INTO early_receipts AS e (tenant_id, account_id, provider_message_id, status, at) \
         SELECT $1, $2, ids.id, $4, $5 FROM (SELECT DISTINCT unnest($3) AS id) ids \
         WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = $1 AND m.account_id = $2 \
                              AND m.provider_message_id = ids.id) \
         ORDER BY ids.id COLLATE \"C\" \
         ON CONFLICT (tenant_id, account_id, provider_message_id) DO UPDATE \
            SET status = CASE WHEN e.status = 'read' THEN e.status ELSE excluded.status END, at = excluded.at",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Array<Text>, _>(ids.iter().map(ProviderMessageId::as_str).collect::<Vec<_>>())
    .bind::<Text, _>(status.as_str())
    .bind::<Timestamptz, _>(at)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets receipts whose messages are there after all.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_known(
    tx: &mut TenantTransaction,
    account: AccountId,
    ids: &[ProviderMessageId],
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "DELETE FROM early_receipts e WHERE e.tenant_id = $1 AND e.account_id = $2 AND e.provider_message_id = ANY ($3) \
            AND EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = $1 AND m.account_id = $2 \
                           AND m.provider_message_id = e.provider_message_id)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Array<Text>, _>(ids.iter().map(ProviderMessageId::as_str).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// As [`forget_known`], for messages of several tenants.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_known_group(tx: &mut GroupTransaction, named: &[Named<'_>]) -> Result<(), DatabaseError> {
    let (tenants, accounts, ids) = columns(named);
    database::sql(
        "DELETE FROM early_receipts e USING unnest($1, $2, $3) AS n (tenant, account, pid) \
         WHERE e.tenant_id = n.tenant AND e.account_id = n.account AND e.provider_message_id = n.pid \
            AND EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = n.tenant AND m.account_id = n.account \
                           AND m.provider_message_id = n.pid)",
    )
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<SqlUuid>, _>(accounts)
    .bind::<Array<Text>, _>(ids)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What was told of a message before its id was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyReceipt {
    /// Where it stands.
    pub status: DeliveryStatus,
    /// When it got there.
    pub at: DateTime<Utc>,
    /// Why, when it failed.
    pub reason: Option<String>,
}

/// Takes the receipt that waits for a message with this id, if there is one. Receipts that are just coming wait until the
/// commit and then find the message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn claim(
    tx: &mut TenantTransaction,
    account: AccountId,
    id: &ProviderMessageId,
) -> Result<Option<EarlyReceipt>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        status: String,
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Text>)]
        reason: Option<String>,
    }
    let tenant = tx.scope().tenant().to_string();
    let row: Row = database::sql(
        "INSERT INTO early_receipts AS e (tenant_id, account_id, provider_message_id, status, at) \
         VALUES ($1, $2, $3, $4, now()) \
         ON CONFLICT (tenant_id, account_id, provider_message_id) DO UPDATE SET status = e.status \
         RETURNING e.status, e.at, e.reason",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(id.as_str())
    .bind::<Text, _>(NOTHING)
    .get_result(tx.connection())
    .await?;
    database::sql(
        "DELETE FROM early_receipts WHERE tenant_id = $1 AND account_id = $2 AND provider_message_id = $3",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(id.as_str())
    .execute(tx.connection())
    .await?;
    let Row { status, at, reason } = row;
    let status = status.parse().ok();
    Ok(status.map(|status| EarlyReceipt { status, at, reason }))
}

/// Notes the id in the dedup ledger, so that the message is not taken for one that was typed on the phone when the provider
/// tells of it. False: it did so already, and the id is another message's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_id(
    tx: &mut TenantTransaction,
    account: AccountId,
    id: &ProviderMessageId,
    message: MessageId,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let noted = database::sql(
        "INSERT INTO inbound_ledger AS l (tenant_id, account_id, provider_message_id, message_id) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id, account_id, provider_message_id) DO UPDATE \
            SET received_at = l.received_at WHERE l.message_id = excluded.message_id",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(id.as_str())
    .bind::<SqlUuid, _>(message.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(noted == 1)
}

/// A message of ours goes by the provider's id from now on. Its own is kept beside it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_id(
    tx: &mut TenantTransaction,
    message: MessageId,
    id: &ProviderMessageId,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE messages SET ordered_as = coalesce(ordered_as, provider_message_id), provider_message_id = $3, \
             updated_at = now() \
         WHERE tenant_id = $1 AND id = $2 AND direction = 'outbound'",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.as_uuid())
    .bind::<Text, _>(id.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}
