//! `provider_events`: what an account told us in words we do not know.

use database::DatabaseError;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::AccountId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Keeps an event as it came.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert(
    tx: &mut TenantTransaction,
    account: AccountId,
    type_name: &str,
    payload: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    diesel::sql_query(
        "INSERT INTO provider_events (tenant_id, id, account_id, type_name, payload) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(type_name)
    .bind::<Text, _>(payload)
    .execute(tx.connection())
    .await?;
    Ok(())
}
