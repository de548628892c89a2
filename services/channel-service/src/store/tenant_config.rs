//! `tenant_whatsapp_config`: which endpoint a tenant was given, and how it is used for it.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Bool, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::endpoint::EndpointName;
use domain::tenant_config::TenantSettings;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A row of `tenant_whatsapp_config`.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct TenantConfigRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Where the tenant's devices are made.
    #[diesel(sql_type = Text)]
    pub endpoint_name: String,
    #[diesel(sql_type = Bool)]
    auto_reconnect: bool,
    #[diesel(sql_type = Integer)]
    reconnect_interval: i32,
    #[diesel(sql_type = Integer)]
    health_check_interval: i32,
    #[diesel(sql_type = Integer)]
    webhook_retries: i32,
    #[diesel(sql_type = Integer)]
    message_timeout: i32,
    /// Since when the tenant has one.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Since when it is this one.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

impl TenantConfigRow {
    /// How the endpoint is used for the tenant.
    #[must_use]
    pub const fn settings(&self) -> TenantSettings {
        TenantSettings {
            auto_reconnect: self.auto_reconnect,
            reconnect_interval: self.reconnect_interval,
            health_check_interval: self.health_check_interval,
            webhook_retries: self.webhook_retries,
            message_timeout: self.message_timeout,
        }
    }
}

/// The tenant's row. `None`: it was given no endpoint.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction) -> Result<Option<TenantConfigRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<TenantConfigRow> = database::sql(
        "SELECT id, endpoint_name, auto_reconnect, reconnect_interval, health_check_interval, webhook_retries, \
                message_timeout, created_at, updated_at \
         FROM tenant_whatsapp_config WHERE tenant_id = $1",
    )
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Writes the tenant's row, whole.
///
/// # Errors
/// [`DatabaseError`].
pub async fn upsert(
    tx: &mut TenantTransaction,
    endpoint: &EndpointName,
    settings: &TenantSettings,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO tenant_whatsapp_config (tenant_id, id, endpoint_name, auto_reconnect, reconnect_interval, \
                health_check_interval, webhook_retries, message_timeout) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (tenant_id) DO UPDATE SET endpoint_name = excluded.endpoint_name, \
                auto_reconnect = excluded.auto_reconnect, reconnect_interval = excluded.reconnect_interval, \
                health_check_interval = excluded.health_check_interval, \
                webhook_retries = excluded.webhook_retries, message_timeout = excluded.message_timeout, \
                updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(endpoint.as_str())
    .bind::<Bool, _>(settings.auto_reconnect)
    .bind::<Integer, _>(settings.reconnect_interval)
    .bind::<Integer, _>(settings.health_check_interval)
    .bind::<Integer, _>(settings.webhook_retries)
    .bind::<Integer, _>(settings.message_timeout)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes the tenant's row away. False when there was none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete(tx: &mut TenantTransaction) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = database::sql("DELETE FROM tenant_whatsapp_config WHERE tenant_id = $1")
        .bind::<Text, _>(tenant)
        .execute(tx.connection())
        .await?;
    Ok(deleted == 1)
}

/// How many tenants were given an endpoint.
#[derive(Debug, diesel::QueryableByName)]
pub struct EndpointTenants {
    /// Which one; empty for those that were given none.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub tenants: i64,
}

/// How many tenants each endpoint was given to, and how many were given none; at most `most` endpoints.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tenants_of_endpoints(
    tx: &mut PlatformTransaction,
    most: i64,
) -> Result<Vec<EndpointTenants>, DatabaseError> {
    let rows = database::sql(
        "SELECT coalesce(c.endpoint_name, '') AS endpoint, count(*) AS tenants \
         FROM tenants t LEFT JOIN tenant_whatsapp_config c USING (tenant_id) \
         GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $1",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}
