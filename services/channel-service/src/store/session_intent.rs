//! `session_intents`: sessions that are being made.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, TenantId};
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A row of `session_intents`.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct IntentRow {
    /// For which account.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// What the session is called.
    #[diesel(sql_type = Text)]
    pub session_name: String,
    /// A [`super::session::SessionVia`].
    #[diesel(sql_type = Text)]
    pub via: String,
    /// Sealed; see [`token_binding`]. Used where we choose the token.
    #[diesel(sql_type = Text)]
    pub token_sealed: String,
}

/// What the token of an intended session is sealed for.
#[must_use]
pub fn token_binding(tenant: &TenantId, account: AccountId) -> String {
    format!("session_intents/{tenant}/{account}/token")
}

impl IntentRow {
    /// For which account.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId::from_uuid(self.account_id)
    }
}

/// The tenant's intents, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(tx: &mut TenantTransaction) -> Result<Vec<IntentRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT account_id, session_name, via, token_sealed FROM session_intents WHERE tenant_id = $1 \
         ORDER BY created_at, account_id",
    )
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The intent of one of the tenant's accounts. `None`: nothing is being made for it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    account: AccountId,
) -> Result<Option<IntentRow>, DatabaseError> {
    let known = list(tx).await?;
    Ok(known.into_iter().find(|intent| intent.account() == account))
}

/// Writes an intent down.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert(tx: &mut TenantTransaction, row: &IntentRow) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO session_intents (tenant_id, account_id, session_name, via, token_sealed) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(row.account_id)
    .bind::<Text, _>(&row.session_name)
    .bind::<Text, _>(&row.via)
    .bind::<Text, _>(&row.token_sealed)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Somebody works on the intent: the sweep leaves it alone for a while.
///
/// # Errors
/// [`DatabaseError`].
pub async fn touch(tx: &mut TenantTransaction, account: AccountId) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("UPDATE session_intents SET updated_at = now() WHERE tenant_id = $1 AND account_id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(account.as_uuid())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The intent is carried out or given up.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete(tx: &mut TenantTransaction, account: AccountId) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = database::sql("DELETE FROM session_intents WHERE tenant_id = $1 AND account_id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(account.as_uuid())
        .execute(tx.connection())
        .await?;
    Ok(deleted > 0)
}

/// Intents that nobody has touched for `age`, oldest first, at most `most`: tenant and account.
///
/// # Errors
/// [`DatabaseError`].
pub async fn left_behind(
    tx: &mut PlatformTransaction,
    age: Duration,
    most: i64,
) -> Result<Vec<(String, AccountId)>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
        #[diesel(sql_type = SqlUuid)]
        account_id: Uuid,
    }
    let rows: Vec<Row> = database::sql(
        "SELECT tenant_id, account_id FROM session_intents WHERE updated_at <= now() - make_interval(secs => $1) \
         ORDER BY updated_at LIMIT $2",
    )
    .bind::<Double, _>(age.as_secs_f64())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.tenant_id, AccountId::from_uuid(row.account_id)))
        .collect())
}
