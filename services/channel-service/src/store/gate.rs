//! What the gate needs to know of accounts, messages and people, and what waits to be told.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, ChatId, MessageId, PhoneNumberId, ProviderMessageId};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// An account as clients of the gate see it.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct NumberRow {
    /// The account.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// Its provider.
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// The endpoint it is bound to.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// Its phone number id: Meta's, where Meta has given one.
    #[diesel(sql_type = Text)]
    pub number_id: String,
    /// The id of its business account: Meta's, or one that stands for the tenant.
    #[diesel(sql_type = Text)]
    pub waba_id: String,
    /// The number that people dial, where it is known.
    #[diesel(sql_type = Nullable<Text>)]
    pub display: Option<String>,
    /// What its session proves itself with, sealed.
    #[diesel(sql_type = Nullable<Text>)]
    pub token_sealed: Option<String>,
    /// What the tenant is called.
    #[diesel(sql_type = Text)]
    pub tenant_name: String,
    /// Where the tenant stands.
    #[diesel(sql_type = Text)]
    pub tenant_status: String,
}

impl NumberRow {
    /// May the tenant do anything?
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.tenant_status == "active"
    }
}

const NUMBERS: &str = "SELECT a.id AS account_id, a.provider, a.endpoint, a.token_sealed, \
        coalesce(n.phone_number_id, a.gate_number) AS number_id, \
        coalesce(n.waba_id, gate_digits('business:' || a.tenant_id)) AS waba_id, \
        coalesce(n.display_number, a.phone) AS display, coalesce(t.name, a.tenant_id) AS tenant_name, \
        coalesce(t.status, 'active') AS tenant_status \
     FROM accounts a LEFT JOIN cloud_numbers n \
          ON n.tenant_id = a.tenant_id AND n.account_id = a.id AND n.valid_to IS NULL \
     LEFT JOIN tenants t ON t.tenant_id = a.tenant_id WHERE a.tenant_id = $1";

/// The tenant's numbers, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn numbers(tx: &mut TenantTransaction) -> Result<Vec<NumberRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!("{NUMBERS} ORDER BY a.id"))
        .bind::<Text, _>(tenant)
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// The tenant's number of this id. `None`: it has none, whoever else may.
///
/// # Errors
/// [`DatabaseError`].
pub async fn number(tx: &mut TenantTransaction, id: &str) -> Result<Option<NumberRow>, DatabaseError> {
    // What can be no id is not asked for: not every text may be.
    if PhoneNumberId::parse(id).is_err() {
        return Ok(None);
    }
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<NumberRow> = database::sql(format!(
        "{NUMBERS} AND coalesce(n.phone_number_id, a.gate_number) = $2"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(id)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// The number of an account.
///
/// # Errors
/// [`DatabaseError`].
pub async fn number_of(
    tx: &mut TenantTransaction,
    account: AccountId,
) -> Result<Option<NumberRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<NumberRow> = database::sql(format!("{NUMBERS} AND a.id = $2"))
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(account.as_uuid())
        .load(tx.connection())
        .await?;
    Ok(rows.pop())
}

/// A message, as somebody means it who names it at the gate.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct MeantRow {
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The provider's id.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// Its chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// With whom.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// Did it come from a person?
    #[diesel(sql_type = Bool)]
    pub inbound: bool,
    /// Who wrote, where the chat has several people.
    #[diesel(sql_type = Nullable<Text>)]
    pub sender: Option<String>,
    /// The words of whoever had it sent, to be repeated.
    #[diesel(sql_type = Nullable<Text>)]
    pub reference: Option<String>,
}

/// The message of this account by our id, or by what the provider calls it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn meant(
    tx: &mut TenantTransaction,
    account: AccountId,
    id: Option<MessageId>,
    provider_id: &str,
) -> Result<Option<MeantRow>, DatabaseError> {
    if id.is_none() && ProviderMessageId::parse(provider_id).is_err() {
        return Ok(None);
    }
    let tenant = tx.scope().tenant().to_string();
    let columns = "m.id, m.provider_message_id, m.chat_id, c.address, m.direction = 'inbound' AS inbound, m.sender, \
                   m.reference FROM messages m JOIN chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id";
    let mut rows: Vec<MeantRow> = match id {
        Some(id) => {
            database::sql(format!(
                "SELECT {columns} WHERE m.tenant_id = $1 AND m.account_id = $2 AND m.id = $3"
            ))
            .bind::<Text, _>(tenant)
            .bind::<SqlUuid, _>(account.as_uuid())
            .bind::<SqlUuid, _>(id.as_uuid())
            .load(tx.connection())
            .await?
        }
        None => {
            database::sql(format!(
                "SELECT {columns} WHERE m.tenant_id = $1 AND m.account_id = $2 \
                   AND (m.provider_message_id = $3 OR m.ordered_as = $3)"
            ))
            .bind::<Text, _>(tenant)
            .bind::<SqlUuid, _>(account.as_uuid())
            .bind::<Text, _>(provider_id)
            .load(tx.connection())
            .await?
        }
    };
    Ok(rows.pop())
}

/// The person at the other end of a chat.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct PersonRow {
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// The chat's address.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// What the person is called.
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
}

/// The person of a chat, also of one that has become another one since. `None`: the account has no such chat.
///
/// # Errors
/// [`DatabaseError`].
pub async fn person(
    tx: &mut TenantTransaction,
    account: AccountId,
    chat: ChatId,
) -> Result<Option<PersonRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<PersonRow> = database::sql(
        "SELECT id AS chat_id, address, coalesce(profile_name, name) AS name FROM chats \
         WHERE tenant_id = $1 AND account_id = $2 \
           AND id = coalesce((SELECT chat_id FROM merged_chats WHERE tenant_id = $1 AND merged_id = $3), $3)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<SqlUuid, _>(chat.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// A delivery that was given up.
#[derive(Debug, Clone, serde::Serialize, diesel::QueryableByName)]
pub struct ParkedRow {
    /// The delivery.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// Since when it was to be delivered.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// The tenant's deliveries that were given up, oldest first. Without what is in them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked(
    tx: &mut TenantTransaction,
    kind: &str,
    most: i64,
) -> Result<Vec<ParkedRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT id, last_error AS reason, created_at FROM lane_tasks \
         WHERE tenant_id = $1 AND parked AND kind = $2 ORDER BY created_at, id LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(kind)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Was this one given up? Other work that was put aside lies in the same table.
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_parked(tx: &mut TenantTransaction, kind: &str, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<ParkedRow> = database::sql(
        "SELECT id, last_error AS reason, created_at FROM lane_tasks \
         WHERE tenant_id = $1 AND id = $2 AND parked AND kind = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(kind)
    .load(tx.connection())
    .await?;
    Ok(!rows.is_empty())
}
