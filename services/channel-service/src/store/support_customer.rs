//! `support_customers`: tenants as customers of wa-support-gateway.

use database::DatabaseError;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use domain::ids::TenantId;
use tenant_isolation::TenantTransaction;

/// What a customer's key is sealed for.
#[must_use]
pub fn key_binding(tenant: &TenantId) -> String {
    format!("support_customers/{tenant}/key")
}

/// The tenant's key at the gateway, sealed. `None`: we have none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_key(tx: &mut TenantTransaction) -> Result<Option<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        key_sealed: String,
    }
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<Row> =
        diesel::sql_query("SELECT key_sealed FROM support_customers WHERE tenant_id = $1")
            .bind::<Text, _>(tenant)
            .load(tx.connection())
            .await?;
    Ok(rows.pop().map(|row| row.key_sealed))
}

/// Keeps the tenant's key at the gateway.
///
/// # Errors
/// [`DatabaseError`].
pub async fn keep_key(tx: &mut TenantTransaction, key_sealed: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    diesel::sql_query(
        "INSERT INTO support_customers (tenant_id, key_sealed) VALUES ($1, $2) \
         ON CONFLICT (tenant_id) DO UPDATE SET key_sealed = excluded.key_sealed, updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(key_sealed)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets the tenant's key, which is a gateway's that it has left.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_key(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    diesel::sql_query("DELETE FROM support_customers WHERE tenant_id = $1")
        .bind::<Text, _>(tenant)
        .execute(tx.connection())
        .await?;
    Ok(())
}
