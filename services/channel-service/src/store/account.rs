//! `accounts` and their entries in `tenant_directory`.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::account::AccountStatus;
use domain::endpoint::Provider;
use domain::ids::AccountId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Directory kind of `instanceName`.
pub const INSTANCE: &str = "genfity_instance";
/// Directory kind of `userID`, the WhatsApp server's id of the session.
pub const SESSION: &str = "genfity_session";
/// Directory kind of a GoWA's device: `{endpoint}/{device}`.
pub const GOWA_DEVICE: &str = "gowa_device";
/// Directory kind of the number such a device has: `{endpoint}/{address}`. Learned, never told by people; see
/// [`super::device_number`].
pub const GOWA_NUMBER: &str = "gowa_number";
/// Directory kind of an account's hold on such a number: `{endpoint}/{address}/{account}`.
pub const GOWA_HOLDER: &str = "gowa_holder";
/// By the id of its number at Meta.
pub const CLOUD_NUMBER: &str = "cloud_number";

/// A row of `accounts`, credentials still sealed.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct AccountRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// A [`Provider`](domain::endpoint::Provider).
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// The name of the endpoint it is bound to.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// The session's name on the WhatsApp server.
    #[diesel(sql_type = Text)]
    pub instance_name: String,
    /// The server's id of the session.
    #[diesel(sql_type = Nullable<Text>)]
    pub session_id: Option<String>,
    /// Sealed; see [`token_binding`]. None while the account has no session.
    #[diesel(sql_type = Nullable<Text>)]
    pub token_sealed: Option<String>,
    /// Sealed, newest first; see [`webhook_key_binding`].
    #[diesel(sql_type = Array<Text>)]
    pub webhook_keys_sealed: Vec<String>,
}

/// What a session's token is sealed for.
#[must_use]
pub fn token_binding(tx_tenant: &domain::ids::TenantId, account: AccountId) -> String {
    format!("accounts/{tx_tenant}/{account}/token")
}

/// What a webhook key is sealed for.
#[must_use]
pub fn webhook_key_binding(tx_tenant: &domain::ids::TenantId, account: AccountId) -> String {
    format!("accounts/{tx_tenant}/{account}/webhook_key")
}

const COLUMNS: &str = "id, provider, endpoint, instance_name, session_id, token_sealed, webhook_keys_sealed";

/// One account of the tenant.
///
/// # Errors
/// [`DatabaseError::NotFound`] when the tenant has no such account.
pub async fn find(tx: &mut TenantTransaction, id: AccountId) -> Result<AccountRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(format!(
        "SELECT {COLUMNS} FROM accounts WHERE tenant_id = $1 AND id = $2"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

/// The tenant's account with this instance name, if there is one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_by_instance(
    tx: &mut TenantTransaction,
    instance: &str,
) -> Result<Option<AccountRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<AccountRow> = database::sql(format!(
        "SELECT {COLUMNS} FROM accounts WHERE tenant_id = $1 AND instance_name = $2"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(instance)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// The tenant's first account: the one its webchat runs over and callers mean when they name none. `None`: it has none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_primary(tx: &mut TenantTransaction) -> Result<Option<AccountRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // By id, which is by time of birth.
    let mut rows: Vec<AccountRow> = database::sql(format!(
        "SELECT {COLUMNS} FROM accounts WHERE tenant_id = $1 ORDER BY id LIMIT 1"
    ))
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Where an account without a session belongs.
#[derive(Debug, Clone, Copy)]
pub struct Home<'a> {
    /// The name of the endpoint.
    pub endpoint: &'a str,
    /// Which kind of API that is.
    pub provider: Provider,
}

/// Makes the tenant's first account, without a session.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add_primary(tx: &mut TenantTransaction, home: Home<'_>) -> Result<AccountId, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // Two who find none at the same moment make one: the name is unique within the tenant.
    let row: IdRow = database::sql(
        "INSERT INTO accounts AS a (tenant_id, id, provider, endpoint, instance_name) \
         VALUES ($1, $2, $3, $4, $1) \
         ON CONFLICT (tenant_id, instance_name) DO UPDATE SET updated_at = a.updated_at RETURNING id",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(AccountId::generate().as_uuid())
    .bind::<Text, _>(home.provider.as_str())
    .bind::<Text, _>(home.endpoint)
    .get_result(tx.connection())
    .await?;
    Ok(AccountId::from_uuid(row.id))
}

/// Another account of the tenant, without a session. `placeholder` begins the name it has until its session has one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add(
    tx: &mut TenantTransaction,
    placeholder: &str,
    home: Home<'_>,
) -> Result<AccountRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let id = AccountId::generate();
    let row = database::sql(format!(
        "INSERT INTO accounts (tenant_id, id, provider, endpoint, instance_name) \
         VALUES ($1, $2, $4, $5, $3) RETURNING {COLUMNS}"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<Text, _>(format!("{placeholder}-{}", id.as_uuid().simple()))
    .bind::<Text, _>(home.provider.as_str())
    .bind::<Text, _>(home.endpoint)
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

/// Is it the tenant's first account?
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_primary(tx: &mut TenantTransaction, id: AccountId) -> Result<bool, DatabaseError> {
    let first = find_primary(tx).await?;
    Ok(first.is_some_and(|row| row.id == id.as_uuid()))
}

#[derive(diesel::QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Creates the account or replaces its session and credentials. The endpoint it is bound to stays. With a session it is a
/// device from now on.
///
/// # Errors
/// [`DatabaseError`].
pub async fn upsert(tx: &mut TenantTransaction, row: &AccountRow) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO accounts AS a (tenant_id, id, provider, endpoint, instance_name, session_id, token_sealed, \
                                    webhook_keys_sealed, device_since) \
         VALUES ($1, $2, $7, $8, $3, $4, $5, $6, CASE WHEN $5 IS NULL THEN NULL ELSE now() END) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET instance_name = excluded.instance_name, \
             session_id = excluded.session_id, \
             token_sealed = excluded.token_sealed, webhook_keys_sealed = excluded.webhook_keys_sealed, \
             device_since = coalesce(a.device_since, excluded.device_since), updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(row.id)
    .bind::<Text, _>(&row.instance_name)
    .bind::<Nullable<Text>, _>(&row.session_id)
    .bind::<Nullable<Text>, _>(&row.token_sealed)
    .bind::<Array<Text>, _>(&row.webhook_keys_sealed)
    .bind::<Text, _>(&row.provider)
    .bind::<Text, _>(&row.endpoint)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Points an outside id at the tenant's account. False when the id is another account's or another tenant's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn register(
    tx: &mut TenantTransaction,
    kind: &'static str,
    external_id: &str,
    account: AccountId,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // Another tenant's entry is invisible here, so the insert fails quietly on its key and nothing comes back.
    let inserted = database::sql(
        "INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (kind, external_id) DO NOTHING",
    )
    .bind::<Text, _>(kind)
    .bind::<Text, _>(external_id)
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .execute(tx.connection())
    .await?;
    if inserted == 1 {
        return Ok(true);
    }
    let ours = database::sql(
        "UPDATE tenant_directory SET subject_id = subject_id \
         WHERE kind = $1 AND external_id = $2 AND tenant_id = $3 AND subject_id = $4",
    )
    .bind::<Text, _>(kind)
    .bind::<Text, _>(external_id)
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(ours == 1)
}

/// Does the outside id lead to any account of the tenant?
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_registered(
    tx: &mut TenantTransaction,
    kind: &'static str,
    external_id: &str,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<IdRow> = database::sql(
        "SELECT subject_id AS id FROM tenant_directory WHERE kind = $1 AND external_id = $2 AND tenant_id = $3",
    )
    .bind::<Text, _>(kind)
    .bind::<Text, _>(external_id)
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(!rows.is_empty())
}

/// Every outside id that leads to one of the tenant's accounts: kind and id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn outside_ids(tx: &mut TenantTransaction) -> Result<Vec<(&'static str, String)>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Text)]
        external_id: String,
    }
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Row> = database::sql("SELECT kind, external_id FROM tenant_directory WHERE tenant_id = $1")
        .bind::<Text, _>(tenant)
        .load(tx.connection())
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((kind_of(&row.kind)?, row.external_id)))
        .collect())
}

/// The directory kind of this name, if it is one of accounts.
pub(super) fn kind_of(name: &str) -> Option<&'static str> {
    [
        INSTANCE,
        SESSION,
        GOWA_DEVICE,
        GOWA_NUMBER,
        GOWA_HOLDER,
        CLOUD_NUMBER,
    ]
    .into_iter()
    .find(|kind| *kind == name)
}

/// Takes every outside id back that leads to the account. Returns kind and id, for whoever keeps them at hand.
///
/// # Errors
/// [`DatabaseError`].
pub async fn unregister_all(
    tx: &mut TenantTransaction,
    id: AccountId,
) -> Result<Vec<(&'static str, String)>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Text)]
        external_id: String,
    }
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Row> = database::sql(
        "DELETE FROM tenant_directory WHERE tenant_id = $1 AND subject_id = $2 RETURNING kind, external_id",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((kind_of(&row.kind)?, row.external_id)))
        .collect())
}

/// Takes an outside id of the account back.
///
/// # Errors
/// [`DatabaseError`].
pub async fn unregister(
    tx: &mut TenantTransaction,
    kind: &'static str,
    external_id: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("DELETE FROM tenant_directory WHERE kind = $1 AND external_id = $2 AND tenant_id = $3")
        .bind::<Text, _>(kind)
        .bind::<Text, _>(external_id)
        .bind::<Text, _>(tenant)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// What stands between an account and its next message.
#[derive(Debug, Clone, Copy, Default)]
pub struct SendState {
    /// For how long the provider still wants to hear nothing of the account. `None`: it may send.
    pub pause: Option<std::time::Duration>,
    /// When it was last bound to another endpoint. `None`: never.
    pub moved_at: Option<DateTime<Utc>>,
}

/// What stands between the account and its next message. To be asked after [`find`]: who is shown the account as it was
/// after a move is told of the move here.
///
/// # Errors
/// [`DatabaseError`].
pub async fn send_state(tx: &mut TenantTransaction, id: AccountId) -> Result<SendState, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Double>)]
        seconds: Option<f64>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        moved_at: Option<DateTime<Utc>>,
    }
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<Row> = database::sql(
        "SELECT extract(epoch FROM send_paused_until - now())::double precision AS seconds, moved_at FROM accounts \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .load(tx.connection())
    .await?;
    let Some(row) = rows.pop() else {
        return Ok(SendState::default());
    };
    let left = row.seconds.filter(|seconds| *seconds > 0.0);
    Ok(SendState {
        pause: left.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok()),
        moved_at: row.moved_at,
    })
}

/// Lets the account send nothing for a while. A pause that lasts longer stands.
///
/// # Errors
/// [`DatabaseError`].
pub async fn pause_sending(
    tx: &mut TenantTransaction,
    id: AccountId,
    time: std::time::Duration,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET send_paused_until = greatest(send_paused_until, now() + $3 * interval '1 second') \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<Double, _>(time.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes what was learned about the account's connection.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_status(
    tx: &mut TenantTransaction,
    id: AccountId,
    status: AccountStatus,
    phone: Option<&str>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET status = $3, phone = coalesce($4, phone), updated_at = now(), \
             last_connected_at = CASE WHEN $3 = 'connected' THEN now() ELSE last_connected_at END \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<Text, _>(status.as_str())
    .bind::<Nullable<Text>, _>(phone)
    .execute(tx.connection())
    .await?;
    Ok(())
}
