//! A tenant's devices: accounts that have a session, are getting one, or had one that can be made anew.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::device::DeviceName;
use domain::ids::AccountId;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A device as it is stored.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct DeviceRow {
    /// The account's id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What people call it.
    #[diesel(sql_type = Nullable<Text>)]
    pub display_name: Option<String>,
    /// What its session is called at the provider.
    #[diesel(sql_type = Text)]
    pub instance_name: String,
    /// A [`Provider`](domain::endpoint::Provider).
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// The name of the endpoint it is bound to.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// An [`AccountStatus`](domain::account::AccountStatus).
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Its number, once it was learned.
    #[diesel(sql_type = Nullable<Text>)]
    pub phone: Option<String>,
    /// When it was last seen connected.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_connected_at: Option<DateTime<Utc>>,
    /// Since when it is connected without a break, where that is known.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub connected_since: Option<DateTime<Utc>>,
    /// Since when it is there.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// It is the one that is meant where none is named.
    #[diesel(sql_type = Bool)]
    pub is_primary: bool,
    /// It has a session.
    #[diesel(sql_type = Bool)]
    pub has_session: bool,
    /// Its session is being made.
    #[diesel(sql_type = Bool)]
    pub is_begun: bool,
    /// It is to be removed.
    #[diesel(sql_type = Bool)]
    pub is_going: bool,
}

impl DeviceRow {
    /// The account that it is.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId::from_uuid(self.id)
    }
}

const DEVICES: &str = "SELECT * FROM (SELECT a.id, a.display_name, a.instance_name, a.provider, a.endpoint, a.status, a.phone, \
         a.last_connected_at, a.connected_since, coalesce(a.device_since, a.session_created_at, a.created_at) AS created_at, \
         a.id = (SELECT f.id FROM accounts f WHERE f.tenant_id = a.tenant_id ORDER BY f.id LIMIT 1) AS is_primary, \
         a.token_sealed IS NOT NULL AS has_session, \
         EXISTS (SELECT 1 FROM session_intents i WHERE i.tenant_id = a.tenant_id AND i.account_id = a.id) AS is_begun, \
         a.removal_tried_at IS NOT NULL AS is_going, a.device_since, a.tenant_id FROM accounts a) AS device \
     WHERE tenant_id = $1 AND (has_session OR is_begun OR device_since IS NOT NULL)";

/// The tenant's devices, oldest first, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(tx: &mut TenantTransaction, most: i64) -> Result<Vec<DeviceRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!("{DEVICES} ORDER BY id LIMIT $2"))
        .bind::<Text, _>(tenant)
        .bind::<BigInt, _>(most)
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// One of the tenant's devices. `None`: it has no such device.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, id: AccountId) -> Result<Option<DeviceRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<DeviceRow> = database::sql(format!("{DEVICES} AND id = $2"))
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id.as_uuid())
        .load(tx.connection())
        .await?;
    Ok(rows.pop())
}

/// How many devices the tenant has besides this account: those with a session, and those that are getting one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn count_others(tx: &mut TenantTransaction, than: AccountId) -> Result<i64, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let tenant = tx.scope().tenant().to_string();
    let row: Row = database::sql(
        "SELECT count(*) AS count FROM accounts a WHERE a.tenant_id = $1 AND a.id <> $2 \
             AND (a.token_sealed IS NOT NULL OR EXISTS (SELECT 1 FROM session_intents i \
                 WHERE i.tenant_id = a.tenant_id AND i.account_id = a.id))",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(than.as_uuid())
    .get_result(tx.connection())
    .await?;
    Ok(row.count)
}

/// Gives the account a name that people call it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_name(
    tx: &mut TenantTransaction,
    id: AccountId,
    name: &DeviceName,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET display_name = $3, updated_at = now() WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<Text, _>(name.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Somebody wants the device removed, or it is tried once more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_removal(tx: &mut TenantTransaction, id: AccountId) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("UPDATE accounts SET removal_tried_at = now() WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id.as_uuid())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Nobody wants the account's device removed any more, unless it has a session that goes.
///
/// # Errors
/// [`DatabaseError`].
pub async fn keep(tx: &mut TenantTransaction, id: AccountId) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET removal_tried_at = NULL \
         WHERE tenant_id = $1 AND id = $2 AND removal_tried_at IS NOT NULL AND token_sealed IS NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The account is no device any more. One over which nobody ever wrote goes altogether, unless it is the first one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn end(tx: &mut TenantTransaction, id: AccountId) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET display_name = NULL, device_since = NULL, removal_tried_at = NULL, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .execute(tx.connection())
    .await?;
    forget_unused(tx, id).await
}

/// Forgets an account that is no device, if nobody ever wrote over it. The first account stays in any case.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_unused(tx: &mut TenantTransaction, id: AccountId) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "DELETE FROM accounts a WHERE a.tenant_id = $1 AND a.id = $2 AND a.token_sealed IS NULL \
             AND a.device_since IS NULL \
             AND EXISTS (SELECT 1 FROM accounts f WHERE f.tenant_id = $1 AND f.id < $2) \
             AND NOT EXISTS (SELECT 1 FROM chats c WHERE c.tenant_id = $1 AND c.account_id = $2) \
             AND NOT EXISTS (SELECT 1 FROM session_intents i WHERE i.tenant_id = $1 AND i.account_id = $2)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Devices that are still to be removed and were not tried for `age`, longest ago first, at most `most`: tenant and account.
///
/// # Errors
/// [`DatabaseError`].
pub async fn to_remove(
    tx: &mut PlatformTransaction,
    age: Duration,
    most: i64,
) -> Result<Vec<(String, AccountId)>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let rows: Vec<Row> = database::sql(
        "SELECT tenant_id, id FROM accounts WHERE removal_tried_at <= now() - make_interval(secs => $1) \
         ORDER BY removal_tried_at LIMIT $2",
    )
    .bind::<Double, _>(age.as_secs_f64())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.tenant_id, AccountId::from_uuid(row.id)))
        .collect())
}
