//! Whose customer it is, and whether it may do anything: the customer's own row, made and changed.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::OptionalExtension as _;
use diesel::sql_types::{Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;

/// A customer's own row.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct CustomerRow {
    #[diesel(sql_type = Text)]
    pub(crate) source_service: String,
    #[diesel(sql_type = Text)]
    pub(crate) status: String,
    #[diesel(sql_type = Text)]
    pub(crate) created_by: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) updated_at: DateTime<Utc>,
}

/// Makes the customer. False when it is there already; then nothing was changed. Of two that make the same customer at
/// once, the second waits for the first and is told so.
pub(crate) async fn make(
    tx: &mut TenantTransaction,
    source: &str,
    created_by: &str,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let made = database::sql(
        "INSERT INTO customers (tenant_id, source_service, created_by) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id) DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(source)
    .bind::<Text, _>(created_by)
    .execute(tx.connection())
    .await?;
    Ok(made == 1)
}

/// The customer's row.
pub(crate) async fn find(tx: &mut TenantTransaction) -> Result<Option<CustomerRow>, DatabaseError> {
    select(tx, "").await
}

/// The customer's row, locked: whoever changes the customer does so one after the other.
pub(crate) async fn lock(tx: &mut TenantTransaction) -> Result<Option<CustomerRow>, DatabaseError> {
    select(tx, "FOR UPDATE").await
}

async fn select(
    tx: &mut TenantTransaction,
    locking: &'static str,
) -> Result<Option<CustomerRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(format!(
        "SELECT source_service, status, created_by, created_at, updated_at FROM customers \
         WHERE tenant_id = $1 {locking}"
    ))
    .bind::<Text, _>(tenant)
    .get_result(tx.connection())
    .await
    .optional()?;
    Ok(row)
}

/// Gives the customer to a service.
pub(crate) async fn give_to(tx: &mut TenantTransaction, source: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("UPDATE customers SET source_service = $2, updated_at = now() WHERE tenant_id = $1")
        .bind::<Text, _>(tenant)
        .bind::<Text, _>(source)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Switches the customer on or off. False when it is so already.
pub(crate) async fn set_status(tx: &mut TenantTransaction, status: &str) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let changed = database::sql(
        "UPDATE customers SET status = $2, updated_at = now() WHERE tenant_id = $1 AND status <> $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(status)
    .execute(tx.connection())
    .await?;
    Ok(changed == 1)
}
