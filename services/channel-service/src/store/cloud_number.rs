//! `cloud_numbers`: whose a number of Meta's Cloud API is, and whose it was.
//!
//! A row ends by itself when its account loses its session (a trigger of the table `accounts`).

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, PhoneNumberId, TenantId, WabaId};
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Since when an account has its number, and in which business account.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, diesel::QueryableByName)]
pub struct NumberRow {
    /// The number's id.
    #[diesel(sql_type = Text)]
    pub phone_number_id: String,
    /// The WhatsApp Business Account it is in, once that is known.
    #[diesel(sql_type = Nullable<Text>)]
    pub waba_id: Option<String>,
    /// What people dial, once that is known; digits only.
    #[diesel(sql_type = Nullable<Text>)]
    pub display_number: Option<String>,
    /// What was written before is not this account's.
    #[diesel(sql_type = Timestamptz)]
    pub valid_from: DateTime<Utc>,
}

/// Whose a number was.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct OwnerRow {
    /// The tenant.
    #[diesel(sql_type = Text)]
    tenant_id: String,
    /// Its account.
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
    /// The account's provider as it is bound now.
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// The endpoint the account is bound to now.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// The number.
    #[diesel(sql_type = Text)]
    pub phone_number_id: String,
    /// What people dial.
    #[diesel(sql_type = Nullable<Text>)]
    pub display_number: Option<String>,
    /// The business account it was in.
    #[diesel(sql_type = Nullable<Text>)]
    pub waba_id: Option<String>,
}

impl OwnerRow {
    /// The account.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId::from_uuid(self.account_id)
    }

    /// The tenant.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`] for what is no tenant's id.
    pub fn tenant(&self) -> Result<TenantId, DatabaseError> {
        TenantId::parse(self.tenant_id.as_str()).map_err(|error| DatabaseError::Refused(error.into()))
    }
}

/// Most accounts that are looked at of those that had one number.
const MOST_HOLDERS: i64 = 64;

const OWNERS: &str = "SELECT n.tenant_id, n.account_id, a.provider, a.endpoint, n.phone_number_id, n.display_number, n.waba_id \
     FROM cloud_numbers n JOIN accounts a ON a.tenant_id = n.tenant_id AND a.id = n.account_id";

/// Gives a number to an account. What was written to it before is the account's only where nobody had the number before, or
/// nobody but this tenant since its last time. False: somebody has it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn take(
    tx: &mut TenantTransaction,
    number: &PhoneNumberId,
    waba: Option<&WabaId>,
    account: AccountId,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // Another tenant's row is invisible here, so the insert fails quietly on its index.
    let inserted = database::sql(
        "INSERT INTO cloud_numbers (tenant_id, phone_number_id, waba_id, account_id, valid_from) \
         VALUES ($1, $2, $3, $4, 'infinity') ON CONFLICT (phone_number_id) WHERE valid_to IS NULL DO NOTHING",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(number.as_str())
    .bind::<Nullable<Text>, _>(waba.map(WabaId::as_str))
    .bind::<SqlUuid, _>(account.as_uuid())
    .execute(tx.connection())
    .await?;
    if inserted == 0 {
        return Ok(false);
    }
    // Only now: the insert may have waited for whoever was giving the number up, and an earlier look would not have seen it.
    database::sql(
        "UPDATE cloud_numbers SET valid_from = CASE WHEN before.anybodys IS NULL THEN 'epoch' \
                WHEN before.anybodys = before.own THEN before.own ELSE greatest(now(), before.anybodys) END \
         FROM (SELECT (SELECT ended_at FROM cloud_number_ends WHERE phone_number_id = $2) AS anybodys, \
                (SELECT max(valid_to) FROM cloud_numbers WHERE tenant_id = $1 AND phone_number_id = $2) AS own) AS before \
         WHERE tenant_id = $1 AND phone_number_id = $2 AND valid_to IS NULL",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(number.as_str())
    .execute(tx.connection())
    .await?;
    Ok(true)
}

/// The number that the account has now.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_account(
    tx: &mut TenantTransaction,
    account: AccountId,
) -> Result<Option<NumberRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<NumberRow> = database::sql(
        "SELECT phone_number_id, waba_id, display_number, valid_from FROM cloud_numbers \
         WHERE tenant_id = $1 AND account_id = $2 AND valid_to IS NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Notes what a webhook told of the account's number and what is not known of it yet. True when it was news.
///
/// # Errors
/// [`DatabaseError`].
pub async fn learn(
    tx: &mut TenantTransaction,
    account: AccountId,
    waba: Option<&str>,
    display_number: Option<&str>,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let learned = database::sql(
        "UPDATE cloud_numbers SET waba_id = coalesce(waba_id, $3), display_number = coalesce($4, display_number) \
         WHERE tenant_id = $1 AND account_id = $2 AND valid_to IS NULL \
           AND (waba_id IS NULL AND $3 IS NOT NULL OR display_number IS DISTINCT FROM coalesce($4, display_number))",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Nullable<Text>, _>(waba)
    .bind::<Nullable<Text>, _>(display_number)
    .execute(tx.connection())
    .await?;
    Ok(learned == 1)
}

/// Whose the number was at a time.
///
/// # Errors
/// [`DatabaseError`].
pub async fn owner_at(
    tx: &mut PlatformTransaction,
    number: &PhoneNumberId,
    at: DateTime<Utc>,
) -> Result<Option<OwnerRow>, DatabaseError> {
    let mut rows: Vec<OwnerRow> = database::sql(format!(
        "{OWNERS} WHERE n.phone_number_id = $1 AND n.valid_from <= $2 AND (n.valid_to IS NULL OR n.valid_to > $2) \
         ORDER BY n.valid_from LIMIT 1"
    ))
    .bind::<Text, _>(number.as_str())
    .bind::<Timestamptz, _>(at)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// An account that has or had a number.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, diesel::QueryableByName)]
pub struct HolderRow {
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
    /// When it had it for the last time. `None`: it has it.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub until: Option<DateTime<Utc>>,
}

impl HolderRow {
    /// The account.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId::from_uuid(self.account_id)
    }
}

/// Accounts that have or had the number, the last ones of them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn holders(tx: &mut PlatformTransaction, number: &str) -> Result<Vec<HolderRow>, DatabaseError> {
    let rows = database::sql(
        "SELECT account_id, CASE WHEN bool_and(valid_to IS NOT NULL) THEN max(valid_to) END AS until \
         FROM cloud_numbers WHERE phone_number_id = $1 GROUP BY tenant_id, account_id \
         ORDER BY 2 DESC NULLS FIRST LIMIT $2",
    )
    .bind::<Text, _>(number)
    .bind::<BigInt, _>(MOST_HOLDERS)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Whoever has or had the number and sent messages that go by some of these ids, with the id of each.
///
/// # Errors
/// [`DatabaseError`].
pub async fn owners_of_messages(
    tx: &mut PlatformTransaction,
    number: &PhoneNumberId,
    ids: &[&str],
) -> Result<Vec<(String, OwnerRow)>, DatabaseError> {
    use diesel::QueryableByName;
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        message: String,
        #[diesel(embed)]
        owner: OwnerRow,
    }
    let rows: Vec<Row> = database::sql(
        "SELECT DISTINCT ON (m.provider_message_id) m.provider_message_id AS message, n.tenant_id, n.account_id, a.provider, \
                a.endpoint, n.phone_number_id, n.display_number, n.waba_id \
         FROM cloud_numbers n JOIN accounts a ON a.tenant_id = n.tenant_id AND a.id = n.account_id \
         JOIN messages m ON m.tenant_id = n.tenant_id AND m.account_id = n.account_id \
             AND m.provider_message_id = ANY ($2) AND m.direction = 'outbound' \
         WHERE n.phone_number_id = $1 ORDER BY m.provider_message_id, n.valid_from",
    )
    .bind::<Text, _>(number.as_str())
    .bind::<Array<Text>, _>(ids)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.message, row.owner)).collect())
}

/// Everybody who has a number in this business account, through one of these endpoints.
///
/// # Errors
/// [`DatabaseError`].
pub async fn owners_of_waba(
    tx: &mut PlatformTransaction,
    waba: &WabaId,
    endpoints: &[String],
) -> Result<Vec<OwnerRow>, DatabaseError> {
    let rows = database::sql(format!(
        "{OWNERS} WHERE n.waba_id = $1 AND n.valid_to IS NULL AND a.provider = 'cloud' AND a.endpoint = ANY ($2) \
         ORDER BY n.tenant_id, n.account_id"
    ))
    .bind::<Text, _>(waba.as_str())
    .bind::<Array<Text>, _>(endpoints)
    .load(tx.connection())
    .await?;
    Ok(rows)
}
