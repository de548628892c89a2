//! What the dashboard's first page counts: a statement each, bounded where a table may be large.

use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};

/// Counted no further than this.
pub const ENOUGH: i64 = 1_000;
/// So many of the newest chats are looked at for unread ones.
pub const NEWEST_CHATS: i64 = 200;

/// The whole platform at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, diesel::QueryableByName)]
pub struct Platform {
    /// Tenants.
    #[diesel(sql_type = BigInt)]
    pub tenants: i64,
    /// Those that are suspended.
    #[diesel(sql_type = BigInt)]
    pub suspended: i64,
    /// Endpoints that are unhealthy or degraded.
    #[diesel(sql_type = BigInt)]
    pub ailing: i64,
    /// Work that was put aside for people, up to [`ENOUGH`].
    #[diesel(sql_type = BigInt)]
    pub aside: i64,
}

/// A tenant at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, diesel::QueryableByName)]
pub struct Tenant {
    /// Devices.
    #[diesel(sql_type = BigInt)]
    pub devices: i64,
    /// Those that are connected.
    #[diesel(sql_type = BigInt)]
    pub connected: i64,
    /// Unread ones among the [`NEWEST_CHATS`].
    #[diesel(sql_type = BigInt)]
    pub unread: i64,
    /// Work that was put aside for people, up to [`ENOUGH`].
    #[diesel(sql_type = BigInt)]
    pub aside: i64,
}

/// Counts of all tenants; `endpoints` are those that are configured.
///
/// # Errors
/// [`DatabaseError`].
pub async fn platform(tx: &mut PlatformTransaction, endpoints: &[String]) -> Result<Platform, DatabaseError> {
    let row = database::sql(
        "SELECT t.tenants, t.suspended, \
           (SELECT count(*) FROM endpoint_health WHERE endpoint = ANY($1) AND status IN ('unhealthy', 'degraded')) AS ailing, \
           (SELECT count(*) FROM (SELECT 1 FROM lane_tasks WHERE parked LIMIT $2) AS parked) AS aside \
         FROM (SELECT count(*) AS tenants, count(*) FILTER (WHERE status <> 'active') AS suspended FROM tenants) AS t",
    )
    .bind::<Array<Text>, _>(endpoints)
    .bind::<BigInt, _>(ENOUGH)
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

/// Counts of the tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tenant(tx: &mut TenantTransaction) -> Result<Tenant, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(
        "SELECT a.devices, a.connected, \
           (SELECT count(*) FILTER (WHERE unread > 0) FROM (SELECT unread FROM chats WHERE tenant_id = $1 \
              ORDER BY last_message_at DESC LIMIT $2) AS newest) AS unread, \
           (SELECT count(*) FROM (SELECT 1 FROM lane_tasks WHERE tenant_id = $1 AND parked LIMIT $3) AS parked) AS aside \
         FROM (SELECT count(*) AS devices, count(*) FILTER (WHERE status = 'connected') AS connected FROM accounts \
                WHERE tenant_id = $1 AND (token_sealed IS NOT NULL OR device_since IS NOT NULL)) AS a",
    )
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(NEWEST_CHATS)
    .bind::<BigInt, _>(ENOUGH)
    .get_result(tx.connection())
    .await?;
    Ok(row)
}
