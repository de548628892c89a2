//! Which Chatwoot inbox speaks for which account. A route leads to it, see [`routes`](super::routes).

use std::fmt;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::AccountId;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Kind of our entries in the tenant directory.
pub const DIRECTORY_KIND: &str = "chatwoot_inbox";

/// An inbox as Chatwoot's webhooks name it: ids repeat from installation to installation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboxKey {
    /// Our name for the Chatwoot server.
    pub installation: String,
    /// Chatwoot's account id.
    pub account_id: i64,
    /// Chatwoot's inbox id.
    pub inbox_id: i64,
}

impl InboxKey {
    /// Longest name of an installation, in characters.
    pub const MAX_INSTALLATION: usize = 64;

    /// Can a server be called that? Letters, digits, `.`, `_` and `-`.
    #[must_use]
    pub fn is_installation(name: &str) -> bool {
        (1..=Self::MAX_INSTALLATION).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    }
}

/// The place's name in the tenant directory; a star for whichever account.
pub(super) fn directory_name(installation: &str, account: Option<i64>, inbox: i64) -> String {
    match account {
        Some(account) => format!("{installation}/{account}/{inbox}"),
        None => format!("{installation}/*/{inbox}"),
    }
}

/// A row of `inboxes`.
#[derive(Clone, QueryableByName)]
pub struct Inbox {
    /// Ours; a connection to another inbox has another one, and one under another address the same.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Our name for the Chatwoot server.
    #[diesel(sql_type = Text)]
    pub installation: String,
    /// Base URL of the Chatwoot server, without a slash at the end.
    #[diesel(sql_type = Text)]
    pub chatwoot_url: String,
    /// Chatwoot's account id.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_account_id: i64,
    /// Chatwoot's inbox id.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_inbox_id: i64,
    /// The tenant's sender.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// Sealed.
    #[diesel(sql_type = Text)]
    pub api_token_sealed: String,
    /// Sealed; none where the server signs nothing.
    #[diesel(sql_type = Array<Text>)]
    pub webhook_secrets_sealed: Vec<String>,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("id", &self.id)
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}

impl Inbox {
    /// How webhooks name it.
    #[must_use]
    pub fn key(&self) -> InboxKey {
        InboxKey {
            installation: self.installation.clone(),
            account_id: self.chatwoot_account_id,
            inbox_id: self.chatwoot_inbox_id,
        }
    }

    /// What the sealed token is bound to.
    #[must_use]
    pub fn token_place(tenant: &str, id: Uuid) -> String {
        format!("inboxes/{tenant}/{id}/api_token")
    }

    /// What a sealed webhook secret is bound to.
    #[must_use]
    pub fn secret_place(tenant: &str, id: Uuid) -> String {
        format!("inboxes/{tenant}/{id}/webhook_secret")
    }
}

const COLUMNS: &str = "id, installation, chatwoot_url, chatwoot_account_id, chatwoot_inbox_id, account_id, \
                       api_token_sealed, webhook_secrets_sealed";

/// The inbox with this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<Inbox>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Inbox> = database::sql(format!(
        "SELECT {COLUMNS} FROM inboxes WHERE tenant_id = $1 AND id = $2"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// The inbox that speaks for this account.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_by_account(
    tx: &mut TenantTransaction,
    account: AccountId,
) -> Result<Option<Inbox>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let query = format!("SELECT {COLUMNS} FROM inboxes WHERE tenant_id = $1 AND account_id = $2");
    let rows: Vec<Inbox> = database::sql(query)
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(account.as_uuid())
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().next())
}

/// Our ids of the tenant's inboxes at this place; of any account where none is named.
///
/// # Errors
/// [`DatabaseError`].
pub async fn ids_at(
    tx: &mut TenantTransaction,
    installation: &str,
    account: Option<i64>,
    inbox: i64,
) -> Result<Vec<Uuid>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let query = format!(
        "SELECT {COLUMNS} FROM inboxes WHERE tenant_id = $1 AND installation = $2 AND chatwoot_inbox_id = $3 \
         AND ($4::bigint IS NULL OR chatwoot_account_id = $4)"
    );
    let rows: Vec<Inbox> = database::sql(query)
        .bind::<Text, _>(tenant)
        .bind::<Text, _>(installation)
        .bind::<BigInt, _>(inbox)
        .bind::<Nullable<BigInt>, _>(account)
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

#[derive(QueryableByName)]
struct Connected {
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
}

/// Since when the inbox speaks for its account.
///
/// # Errors
/// [`DatabaseError`].
pub async fn connected_at(
    tx: &mut TenantTransaction,
    id: Uuid,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Connected> =
        database::sql("SELECT created_at FROM inboxes WHERE tenant_id = $1 AND id = $2")
            .bind::<Text, _>(tenant)
            .bind::<SqlUuid, _>(id)
            .load(tx.connection())
            .await?;
    Ok(rows.into_iter().next().map(|row| row.created_at))
}

#[derive(QueryableByName)]
struct OwnedInbox {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(embed)]
    inbox: Inbox,
}

/// Everybody's inboxes and whose they are.
///
/// # Errors
/// [`DatabaseError`].
pub async fn all(tx: &mut PlatformTransaction) -> Result<Vec<(String, Inbox)>, DatabaseError> {
    let rows: Vec<OwnedInbox> = database::sql(format!("SELECT tenant_id, {COLUMNS} FROM inboxes"))
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.inbox)).collect())
}

/// Everybody's inboxes, by tenant and id: those behind the place `after`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    tx: &mut PlatformTransaction,
    after: Option<&(String, Uuid)>,
    most: i64,
) -> Result<Vec<(String, Inbox)>, DatabaseError> {
    let rows: Vec<OwnedInbox> = database::sql(format!(
        "SELECT tenant_id, {COLUMNS} FROM inboxes WHERE $1::text IS NULL OR (tenant_id, id) > ($1, $2) \
         ORDER BY tenant_id, id LIMIT $3"
    ))
    .bind::<Nullable<Text>, _>(after.map(|place| place.0.as_str()))
    .bind::<Nullable<SqlUuid>, _>(after.map(|place| place.1))
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.inbox)).collect())
}

/// Writes the whole row. Of one that is there its address, its token and its secrets change, and its place never does.
///
/// # Errors
/// [`DatabaseError::Conflict`] when the account has an inbox with another id.
pub async fn put(tx: &mut TenantTransaction, inbox: &Inbox) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO inboxes (tenant_id, id, installation, chatwoot_url, chatwoot_account_id, chatwoot_inbox_id, \
             account_id, api_token_sealed, webhook_secrets_sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET chatwoot_url = excluded.chatwoot_url, \
             api_token_sealed = excluded.api_token_sealed, webhook_secrets_sealed = excluded.webhook_secrets_sealed, updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox.id)
    .bind::<Text, _>(&inbox.installation)
    .bind::<Text, _>(&inbox.chatwoot_url)
    .bind::<BigInt, _>(inbox.chatwoot_account_id)
    .bind::<BigInt, _>(inbox.chatwoot_inbox_id)
    .bind::<SqlUuid, _>(inbox.account_id)
    .bind::<Text, _>(&inbox.api_token_sealed)
    .bind::<Array<Text>, _>(&inbox.webhook_secrets_sealed)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes an inbox away. What hangs off it, its route first of all, is the caller's business.
///
/// # Errors
/// [`DatabaseError`].
pub async fn remove(tx: &mut TenantTransaction, id: Uuid) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql("DELETE FROM inboxes WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(&tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Makes connections of one tenant take turns: two at once would both find nothing to replace.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock_connecting(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql("SELECT pg_advisory_xact_lock(hashtextextended('connect inbox ' || $1, 0))")
        .bind::<Text, _>(tenant)
        .execute(tx.connection())
        .await?;
    Ok(())
}
