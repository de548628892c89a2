//! What stands between an account of the Cloud API and its next message: columns of `accounts` and `chats`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, ChatId};
use tenant_isolation::TenantTransaction;

/// How an account of the Cloud API stands.
#[derive(Debug, Clone, Default, diesel::QueryableByName)]
pub struct CloudState {
    /// Why it sends nothing until something is done about it.
    #[diesel(sql_type = Nullable<Text>)]
    pub held: Option<String>,
    /// Its number may send faster than others.
    #[diesel(sql_type = Bool)]
    pub is_upgraded: bool,
    /// The business account that its number is in.
    #[diesel(sql_type = Nullable<Text>)]
    pub waba_id: Option<String>,
}

/// How the account stands.
///
/// # Errors
/// [`DatabaseError`].
pub async fn state(tx: &mut TenantTransaction, account: AccountId) -> Result<CloudState, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<CloudState> = database::sql(
        "SELECT a.send_held AS held, a.is_upgraded, n.waba_id FROM accounts a \
         LEFT JOIN cloud_numbers n ON n.tenant_id = a.tenant_id AND n.account_id = a.id AND n.valid_to IS NULL \
         WHERE a.tenant_id = $1 AND a.id = $2 LIMIT 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop().unwrap_or_default())
}

/// Lets the account send nothing until it is released. False: it did not before.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hold(
    tx: &mut TenantTransaction,
    account: AccountId,
    reason: &str,
    ask_after: Duration,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let held = database::sql(
        "UPDATE accounts SET send_held = $3, send_probe_at = now() + $4 * interval '1 second' \
         WHERE tenant_id = $1 AND id = $2 AND send_held IS DISTINCT FROM $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(reason)
    .bind::<Double, _>(ask_after.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(held == 1)
}

/// Is it time to ask whether a held account can send again? Whoever is told so asks, and nobody else for a while.
///
/// # Errors
/// [`DatabaseError`].
pub async fn may_probe(
    tx: &mut TenantTransaction,
    account: AccountId,
    again_after: Duration,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let taken = database::sql(
        "UPDATE accounts SET send_probe_at = now() + $3 * interval '1 second' \
         WHERE tenant_id = $1 AND id = $2 AND send_held IS NOT NULL AND send_probe_at <= now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Double, _>(again_after.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(taken == 1)
}

/// The account may send again.
///
/// # Errors
/// [`DatabaseError`].
pub async fn release(tx: &mut TenantTransaction, account: AccountId) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET send_held = NULL, send_probe_at = NULL WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The account's number may send faster from now on.
///
/// # Errors
/// [`DatabaseError`].
pub async fn upgrade(tx: &mut TenantTransaction, account: AccountId) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("UPDATE accounts SET is_upgraded = true WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(account.as_uuid())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// When the person of a chat last wrote. `None`: never.
///
/// # Errors
/// [`DatabaseError`].
pub async fn last_inbound(
    tx: &mut TenantTransaction,
    chat: ChatId,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Timestamptz>)]
        last_inbound_at: Option<DateTime<Utc>>,
    }
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<Row> =
        database::sql("SELECT last_inbound_at FROM chats WHERE tenant_id = $1 AND id = $2")
            .bind::<Text, _>(tenant)
            .bind::<SqlUuid, _>(chat.as_uuid())
            .load(tx.connection())
            .await?;
    Ok(rows.pop().and_then(|row| row.last_inbound_at))
}
