//! The session part of `accounts`: what an account is connected with, and where that stands.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::account::AccountStatus;
use domain::endpoint::Provider;
use domain::ids::AccountId;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// An account with a session, credentials still sealed.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct SessionRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// The account's id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// A [`Provider`](domain::endpoint::Provider).
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// The name of the endpoint it is bound to.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// What the session is called on the server.
    #[diesel(sql_type = Text)]
    pub instance_name: String,
    /// The server's id of the session.
    #[diesel(sql_type = Nullable<Text>)]
    pub session_id: Option<String>,
    /// Sealed; see [`super::account::token_binding`].
    #[diesel(sql_type = Text)]
    pub token_sealed: String,
    /// Sealed, newest first; see [`super::account::webhook_key_binding`].
    #[diesel(sql_type = Array<Text>)]
    pub webhook_keys_sealed: Vec<String>,
    /// Its number, once it was learned.
    #[diesel(sql_type = Nullable<Text>)]
    pub phone: Option<String>,
    /// An [`AccountStatus`].
    #[diesel(sql_type = Text)]
    pub status: String,
    /// A [`SessionVia`]; none when it was registered by hand.
    #[diesel(sql_type = Nullable<Text>)]
    pub session_via: Option<String>,
    /// When it was last seen connected.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_connected_at: Option<DateTime<Utc>>,
    /// Since when it is there.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

impl SessionRow {
    /// Whose session it is.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId::from_uuid(self.id)
    }

    /// It is a number of Meta's Cloud API: nothing was made for it outside.
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.provider == Provider::Cloud.as_str()
    }
}

/// Who made a session, and so who can take it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionVia {
    /// wa-support-gateway, for the tenant as its customer.
    Gateway,
    /// The WhatsApp server's administration.
    Server,
    /// A GoWA, whose device it is.
    Gowa,
    /// Nobody: it is a number at Meta.
    Cloud,
    /// Nobody: it exists on paper.
    DryRun,
}

impl SessionVia {
    /// The name in the tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Server => "server",
            Self::Gowa => "gowa",
            Self::Cloud => "cloud",
            Self::DryRun => "dry_run",
        }
    }

    /// Reads the name in the tables.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Gateway, Self::Server, Self::Gowa, Self::Cloud, Self::DryRun]
            .into_iter()
            .find(|via| via.as_str() == text)
    }
}

const COLUMNS: &str = "tenant_id, id, provider, endpoint, instance_name, session_id, token_sealed, webhook_keys_sealed, phone, status, \
                       session_via, last_connected_at, coalesce(session_created_at, created_at) AS created_at";

/// The session of the tenant's first account. `None`: it has none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction) -> Result<Option<SessionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<SessionRow> = database::sql(format!(
        "SELECT {COLUMNS} FROM (SELECT * FROM accounts WHERE tenant_id = $1 ORDER BY id LIMIT 1) first \
         WHERE token_sealed IS NOT NULL"
    ))
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// The sessions that these accounts of the tenant have.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_accounts(
    tx: &mut TenantTransaction,
    accounts: &[AccountId],
) -> Result<Vec<SessionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let accounts: Vec<Uuid> = accounts.iter().map(|account| account.as_uuid()).collect();
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM accounts WHERE tenant_id = $1 AND id = ANY ($2) AND token_sealed IS NOT NULL \
         ORDER BY id"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(accounts)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// All sessions of the tenant's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn all(tx: &mut TenantTransaction) -> Result<Vec<SessionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM accounts WHERE tenant_id = $1 AND token_sealed IS NOT NULL ORDER BY id"
    ))
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The session of one of the tenant's accounts. `None`: it has none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_of(
    tx: &mut TenantTransaction,
    account: AccountId,
) -> Result<Option<SessionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<SessionRow> = database::sql(format!(
        "SELECT {COLUMNS} FROM accounts WHERE tenant_id = $1 AND id = $2 AND token_sealed IS NOT NULL"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Notes who made the account's session.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_via(
    tx: &mut TenantTransaction,
    account: AccountId,
    via: SessionVia,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET session_via = $3, session_created_at = now(), status = 'unknown', phone = NULL, \
             last_connected_at = NULL, updated_at = now() WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(via.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes what the provider says about the account's connection. Writes only what is news, and when it was last seen
/// connected about once a minute: somebody asks every second. Down because it was unlinked says more than down, and may
/// have been told while the provider was asked.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_state(
    tx: &mut TenantTransaction,
    account: AccountId,
    status: AccountStatus,
    phone: Option<&str>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET status = $3, phone = coalesce($4, phone), updated_at = now(), \
             last_connected_at = CASE WHEN $3 = 'connected' THEN now() ELSE last_connected_at END \
         WHERE tenant_id = $1 AND id = $2 AND token_sealed IS NOT NULL \
           AND NOT (status = 'logged_out' AND $3 = 'disconnected') \
           AND (status <> $3 OR ($4 IS NOT NULL AND phone IS DISTINCT FROM $4) \
                OR ($3 = 'connected' AND coalesce(last_connected_at < now() - interval '1 minute', true)))",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(status.as_str())
    .bind::<Nullable<Text>, _>(phone)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes the account's session off it. The account stays, and its chats with it; it still is a device, which can get another
/// session.
///
/// # Errors
/// [`DatabaseError`].
pub async fn clear(tx: &mut TenantTransaction, account: AccountId) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET session_id = NULL, token_sealed = NULL, webhook_keys_sealed = '{}', phone = NULL, \
             status = 'unknown', last_connected_at = NULL, session_via = NULL, session_created_at = NULL, \
             device_since = CASE WHEN token_sealed IS NULL THEN device_since \
                 ELSE coalesce(device_since, session_created_at, created_at) END, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Another tenant with a connected session of this number.
///
/// # Errors
/// [`DatabaseError`].
pub async fn other_holder(
    tx: &mut PlatformTransaction,
    tenant: &str,
    phone: &str,
) -> Result<Option<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
    }
    let mut rows: Vec<Row> = database::sql(
        "SELECT tenant_id FROM accounts WHERE phone = $2 AND token_sealed IS NOT NULL AND status = 'connected' \
             AND tenant_id <> $1 ORDER BY tenant_id LIMIT 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(phone)
    .load(tx.connection())
    .await?;
    Ok(rows.pop().map(|row| row.tenant_id))
}

/// A connected session of some tenant's.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct NumberHolder {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Of which account.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
}

/// Other tenants' connected sessions of this number, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn other_holders(
    tx: &mut PlatformTransaction,
    tenant: &str,
    phone: &str,
    most: i64,
) -> Result<Vec<NumberHolder>, DatabaseError> {
    let rows = database::sql(
        "SELECT tenant_id, id AS account_id FROM accounts \
         WHERE phone = $2 AND token_sealed IS NOT NULL AND status = 'connected' AND tenant_id <> $1 \
         ORDER BY tenant_id, id LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(phone)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The first session of each of these tenants that has one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_tenants(
    tx: &mut PlatformTransaction,
    tenants: &[String],
) -> Result<Vec<SessionRow>, DatabaseError> {
    let rows = database::sql(format!(
        "SELECT DISTINCT ON (tenant_id) {COLUMNS} FROM accounts \
         WHERE tenant_id = ANY ($1) AND token_sealed IS NOT NULL ORDER BY tenant_id, id"
    ))
    .bind::<Array<Text>, _>(tenants)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The first sessions of all tenants that have a server which can be asked about them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn first(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<SessionRow>, DatabaseError> {
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM accounts WHERE token_sealed IS NOT NULL AND provider <> 'cloud' \
         ORDER BY tenant_id, id LIMIT $1"
    ))
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}
