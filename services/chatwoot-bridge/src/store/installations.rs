//! What opens Chatwoot's API of an account where a route has no connected inbox of its own.

use std::fmt;

use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};

/// A row of `installations`.
#[derive(Clone, diesel::QueryableByName)]
pub struct Installation {
    /// Our name for the Chatwoot server.
    #[diesel(sql_type = Text)]
    pub installation: String,
    /// Chatwoot's account id.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_account_id: i64,
    /// Base URL of the Chatwoot server, without a slash at the end.
    #[diesel(sql_type = Text)]
    pub chatwoot_url: String,
    /// Sealed.
    #[diesel(sql_type = Text)]
    pub api_token_sealed: String,
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation")
            .field("installation", &self.installation)
            .field("chatwoot_account_id", &self.chatwoot_account_id)
            .finish_non_exhaustive()
    }
}

impl Installation {
    /// What the sealed token is bound to.
    #[must_use]
    pub fn token_place(tenant: &str, installation: &str, account: i64) -> String {
        format!("installations/{tenant}/{installation}/{account}/api_token")
    }
}

const COLUMNS: &str = "installation, chatwoot_account_id, chatwoot_url, api_token_sealed";

/// What opens this account.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    installation: &str,
    account: i64,
) -> Result<Option<Installation>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Installation> = database::sql(format!(
        "SELECT {COLUMNS} FROM installations WHERE tenant_id = $1 AND installation = $2 AND chatwoot_account_id = $3"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(installation)
    .bind::<BigInt, _>(account)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// What the tenant has, by name and account.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(tx: &mut TenantTransaction) -> Result<Vec<Installation>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM installations WHERE tenant_id = $1 ORDER BY installation, chatwoot_account_id"
    ))
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Writes the whole row.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(tx: &mut TenantTransaction, row: &Installation) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO installations (tenant_id, installation, chatwoot_account_id, chatwoot_url, api_token_sealed) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, installation, chatwoot_account_id) DO UPDATE \
         SET chatwoot_url = excluded.chatwoot_url, api_token_sealed = excluded.api_token_sealed, updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(&row.installation)
    .bind::<BigInt, _>(row.chatwoot_account_id)
    .bind::<Text, _>(&row.chatwoot_url)
    .bind::<Text, _>(&row.api_token_sealed)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets what opens an account. False when nothing did.
///
/// # Errors
/// [`DatabaseError`].
pub async fn remove(
    tx: &mut TenantTransaction,
    installation: &str,
    account: i64,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let removed = database::sql(
        "DELETE FROM installations WHERE tenant_id = $1 AND installation = $2 AND chatwoot_account_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(installation)
    .bind::<BigInt, _>(account)
    .execute(tx.connection())
    .await?;
    Ok(removed == 1)
}

/// What opens an account, and whose it is; without the token.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct OwnedInstallation {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Our name for the Chatwoot server.
    #[diesel(sql_type = Text)]
    pub installation: String,
    /// Chatwoot's account id.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_account_id: i64,
    /// Base URL of the Chatwoot server.
    #[diesel(sql_type = Text)]
    pub chatwoot_url: String,
}

/// Everybody's, by tenant, name and account: those behind the place `after`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    tx: &mut PlatformTransaction,
    after: Option<&(String, String, i64)>,
    most: i64,
) -> Result<Vec<OwnedInstallation>, DatabaseError> {
    let rows = database::sql(
        "SELECT tenant_id, installation, chatwoot_account_id, chatwoot_url FROM installations \
         WHERE $1::text IS NULL OR (tenant_id, installation, chatwoot_account_id) > ($1, $2, $3) \
         ORDER BY tenant_id, installation, chatwoot_account_id LIMIT $4",
    )
    .bind::<Nullable<Text>, _>(after.map(|place| place.0.as_str()))
    .bind::<Nullable<Text>, _>(after.map(|place| place.1.as_str()))
    .bind::<Nullable<BigInt>, _>(after.map(|place| place.2))
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}
