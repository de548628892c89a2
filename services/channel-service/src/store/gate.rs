//! `gate_tokens`, `gate_media` and `gate_subscriptions`, and what the gate needs to know of accounts and messages.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Binary, Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, ChatId, MessageId, PhoneNumberId, ProviderMessageId};
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A token of the gate, without the token.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct TokenRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What it is for.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Who made it.
    #[diesel(sql_type = Text)]
    pub created_by: String,
}

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
    let rows = diesel::sql_query(format!("{NUMBERS} ORDER BY a.id"))
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
    let mut rows: Vec<NumberRow> = diesel::sql_query(format!(
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
    let mut rows: Vec<NumberRow> = diesel::sql_query(format!("{NUMBERS} AND a.id = $2"))
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(account.as_uuid())
        .load(tx.connection())
        .await?;
    Ok(rows.pop())
}

/// Holds the tenant until the commit, so that what is counted before something is added stays true.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hold_tenant(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    diesel::sql_query("SELECT tenant_id FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE")
        .bind::<Text, _>(tenant)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Keeps a token. False: the tenant has as many as it may have.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert_token(
    tx: &mut TenantTransaction,
    id: Uuid,
    name: &str,
    hash: &[u8],
    by: &str,
    most: i64,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let inserted = diesel::sql_query(
        "INSERT INTO gate_tokens (tenant_id, id, name, token_hash, created_by) SELECT $1, $2, $3, $4, $5 \
         WHERE (SELECT count(*) FROM gate_tokens WHERE tenant_id = $1) < $6",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(name)
    .bind::<Binary, _>(hash)
    .bind::<Text, _>(by)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(inserted == 1)
}

/// The tenant's tokens, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tokens(tx: &mut TenantTransaction) -> Result<Vec<TokenRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = diesel::sql_query(
        "SELECT id, name, created_at, created_by FROM gate_tokens WHERE tenant_id = $1 ORDER BY id",
    )
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Takes a token back. False: there is none of this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_token(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = diesel::sql_query("DELETE FROM gate_tokens WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    Ok(deleted == 1)
}

/// Whose token this is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tenant_of_token(
    tx: &mut PlatformTransaction,
    hash: &[u8],
) -> Result<Option<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
    }
    let mut rows: Vec<Row> = diesel::sql_query("SELECT tenant_id FROM gate_tokens WHERE token_hash = $1")
        .bind::<Binary, _>(hash)
        .load(tx.connection())
        .await?;
    Ok(rows.pop().map(|row| row.tenant_id))
}

/// A file that a client put up.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct UploadRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// For which number.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// What its sender calls it.
    #[diesel(sql_type = Nullable<Text>)]
    pub file_name: Option<String>,
    /// What it is, by its content.
    #[diesel(sql_type = Text)]
    pub mime_type: String,
    /// How many bytes.
    #[diesel(sql_type = BigInt)]
    pub size: i64,
    /// SHA-256 in hexadecimal.
    #[diesel(sql_type = Text)]
    pub sha256: String,
    /// The object's name.
    #[diesel(sql_type = Text)]
    pub object_key: String,
}

/// What a tenant holds of files that clients put up.
#[derive(Debug, Clone, Copy, diesel::QueryableByName)]
pub struct HeldRow {
    /// Files.
    #[diesel(sql_type = BigInt)]
    pub files: i64,
    /// Bytes of all of them together.
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

/// What the tenant holds of files that clients put up, also of those that aged out and have not been swept yet.
///
/// # Errors
/// [`DatabaseError`].
pub async fn held_uploads(tx: &mut TenantTransaction) -> Result<HeldRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = diesel::sql_query(
        "SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes FROM gate_media WHERE tenant_id = $1",
    )
    .bind::<Text, _>(tenant)
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

/// Keeps what is known of a file that a client put up.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert_upload(
    tx: &mut TenantTransaction,
    row: &UploadRow,
    expires_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    diesel::sql_query(
        "INSERT INTO gate_media (tenant_id, id, account_id, file_name, mime_type, size, sha256, object_key, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(row.id)
    .bind::<SqlUuid, _>(row.account_id)
    .bind::<Nullable<Text>, _>(&row.file_name)
    .bind::<Text, _>(&row.mime_type)
    .bind::<BigInt, _>(row.size)
    .bind::<Text, _>(&row.sha256)
    .bind::<Text, _>(&row.object_key)
    .bind::<Timestamptz, _>(expires_at)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A file that a client put up, if it has not aged out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn upload(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<UploadRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<UploadRow> = diesel::sql_query(
        "SELECT id, account_id, file_name, mime_type, size, sha256, object_key FROM gate_media \
         WHERE tenant_id = $1 AND id = $2 AND expires_at > now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Takes a file away that a client put up. False: there is none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_upload(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = diesel::sql_query("DELETE FROM gate_media WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    Ok(deleted == 1)
}

/// Takes files away that have aged out, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_aged_uploads(tx: &mut PlatformTransaction, most: i64) -> Result<usize, DatabaseError> {
    let deleted = diesel::sql_query(
        "DELETE FROM gate_media m USING (SELECT tenant_id, id FROM gate_media WHERE expires_at < now() \
                ORDER BY expires_at LIMIT $1) aged WHERE m.tenant_id = aged.tenant_id AND m.id = aged.id",
    )
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}

/// Where a tenant wants to be told.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct SubscriptionRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Of one number only.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub account_id: Option<Uuid>,
    /// Where webhooks go.
    #[diesel(sql_type = Text)]
    pub callback_url: String,
    /// What they are signed with, sealed.
    #[diesel(sql_type = Text)]
    pub app_secret_sealed: String,
    /// What the receiver knows us by, sealed.
    #[diesel(sql_type = Text)]
    pub verify_token_sealed: String,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it was changed.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

const SUBSCRIPTIONS: &str = "SELECT id, account_id, callback_url, app_secret_sealed, verify_token_sealed, created_at, \
        updated_at FROM gate_subscriptions WHERE tenant_id = $1";

/// Keeps a subscription, or replaces the one for the same number or for all of them. Returns its id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put_subscription(
    tx: &mut TenantTransaction,
    row: &SubscriptionRow,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    diesel::sql_query(
        "DELETE FROM gate_subscriptions WHERE tenant_id = $1 AND account_id IS NOT DISTINCT FROM $2",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Nullable<SqlUuid>, _>(row.account_id)
    .execute(tx.connection())
    .await?;
    diesel::sql_query(
        "INSERT INTO gate_subscriptions (tenant_id, id, account_id, callback_url, app_secret_sealed, \
                                         verify_token_sealed, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(row.id)
    .bind::<Nullable<SqlUuid>, _>(row.account_id)
    .bind::<Text, _>(&row.callback_url)
    .bind::<Text, _>(&row.app_secret_sealed)
    .bind::<Text, _>(&row.verify_token_sealed)
    .bind::<Timestamptz, _>(row.created_at)
    .bind::<Timestamptz, _>(row.updated_at)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The tenant's subscriptions, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn subscriptions(tx: &mut TenantTransaction) -> Result<Vec<SubscriptionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = diesel::sql_query(format!("{SUBSCRIPTIONS} ORDER BY id"))
        .bind::<Text, _>(tenant)
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// Who is told about an account: whoever subscribed to it, else whoever subscribed to all.
///
/// # Errors
/// [`DatabaseError`].
pub async fn subscription_for(
    tx: &mut TenantTransaction,
    account: AccountId,
) -> Result<Option<SubscriptionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<SubscriptionRow> = diesel::sql_query(format!(
        "{SUBSCRIPTIONS} AND (account_id = $2 OR account_id IS NULL) ORDER BY account_id NULLS LAST LIMIT 1"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Ends a subscription. False: there is none of this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_subscription(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = diesel::sql_query("DELETE FROM gate_subscriptions WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    Ok(deleted == 1)
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
            diesel::sql_query(format!(
                "SELECT {columns} WHERE m.tenant_id = $1 AND m.account_id = $2 AND m.id = $3"
            ))
            .bind::<Text, _>(tenant)
            .bind::<SqlUuid, _>(account.as_uuid())
            .bind::<SqlUuid, _>(id.as_uuid())
            .load(tx.connection())
            .await?
        }
        None => {
            diesel::sql_query(format!(
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
    let mut rows: Vec<PersonRow> = diesel::sql_query(
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
    let rows = diesel::sql_query(
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
    let rows: Vec<ParkedRow> = diesel::sql_query(
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

/// Takes deliveries away that were given up and are older than this many days, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_aged_parked(
    tx: &mut PlatformTransaction,
    kind: &str,
    days: f64,
    most: i64,
) -> Result<usize, DatabaseError> {
    let deleted = diesel::sql_query(
        "DELETE FROM lane_tasks t USING (SELECT tenant_id, id FROM lane_tasks WHERE parked AND kind = $1 \
                AND created_at < now() - make_interval(secs => $2 * 86400) LIMIT $3 FOR UPDATE SKIP LOCKED) aged \
         WHERE t.tenant_id = aged.tenant_id AND t.id = aged.id",
    )
    .bind::<Text, _>(kind)
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}

/// Every tenant that has a subscription.
///
/// # Errors
/// [`DatabaseError`].
pub async fn subscribed_tenants(tx: &mut PlatformTransaction) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
    }
    let rows: Vec<Row> = diesel::sql_query("SELECT DISTINCT tenant_id FROM gate_subscriptions")
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| row.tenant_id).collect())
}
