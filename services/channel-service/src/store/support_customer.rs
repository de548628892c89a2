//! `support_customers`: tenants as customers of wa-support-gateways, one key for each endpoint that has one.

use database::DatabaseError;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::RunQueryDsl;
use domain::endpoint::EndpointName;
use domain::ids::TenantId;
use tenant_isolation::TenantTransaction;

/// What a customer's key is sealed for. The endpoint is part of it: a row that is moved to another one does not open there.
#[must_use]
pub fn key_binding(tenant: &TenantId, endpoint: &EndpointName) -> String {
    format!("support_customers/{tenant}/{endpoint}/key")
}

/// What keys were sealed for before there was more than one endpoint.
#[must_use]
pub fn key_binding_without_endpoint(tenant: &TenantId) -> String {
    format!("support_customers/{tenant}/key")
}

/// A key as it is stored.
#[derive(Debug, diesel::QueryableByName)]
pub struct KeyRow {
    /// Sealed; see [`key_binding`].
    #[diesel(sql_type = Text)]
    pub key_sealed: String,
    /// False: the seal is [without the endpoint](key_binding_without_endpoint).
    #[diesel(sql_type = Bool)]
    pub names_endpoint: bool,
}

/// The tenant's key at the endpoint's gateway. `None`: we have none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_key(
    tx: &mut TenantTransaction,
    endpoint: &EndpointName,
) -> Result<Option<KeyRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<KeyRow> = database::sql(
        "SELECT key_sealed, names_endpoint FROM support_customers WHERE tenant_id = $1 AND endpoint = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(endpoint.as_str())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Keeps the tenant's key at the endpoint's gateway.
///
/// # Errors
/// [`DatabaseError`].
pub async fn keep_key(
    tx: &mut TenantTransaction,
    endpoint: &EndpointName,
    key_sealed: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO support_customers (tenant_id, endpoint, key_sealed) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id, endpoint) DO UPDATE SET key_sealed = excluded.key_sealed, names_endpoint = true, \
             updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(endpoint.as_str())
    .bind::<Text, _>(key_sealed)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets the tenant's keys at endpoints where it has nothing any more: it does not belong there, no session of its is or
/// is being made there, and none is still to be unlinked.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_unused(
    tx: &mut TenantTransaction,
    belongs_to: Option<&str>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "DELETE FROM support_customers c WHERE c.tenant_id = $1 AND c.endpoint IS DISTINCT FROM $2 \
             AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.tenant_id = $1 AND a.endpoint = c.endpoint \
                 AND (a.token_sealed IS NOT NULL OR EXISTS (SELECT 1 FROM session_intents i \
                     WHERE i.tenant_id = $1 AND i.account_id = a.id))) \
             AND NOT EXISTS (SELECT 1 FROM sessions_to_unlink s WHERE s.tenant_id = $1 AND s.endpoint = c.endpoint)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Nullable<Text>, _>(belongs_to)
    .execute(tx.connection())
    .await?;
    Ok(())
}
