//! `message_status_details`, and what it means for `messages` and `early_receipts`: many statuses of several tenants' accounts
//! at once.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, MessageId, ProviderMessageId, TenantId};
use tenant_isolation::{GroupTransaction, TenantTransaction};
use uuid::Uuid;

use super::message_status::Moved;

/// What was told of one message. As JSON it is a row of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, diesel::QueryableByName)]
pub struct StatusDetails {
    /// The provider's id.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// When the provider sent it on.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub sent_at: Option<DateTime<Utc>>,
    /// When it reached a phone.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub delivered_at: Option<DateTime<Utc>>,
    /// When it was opened.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub read_at: Option<DateTime<Utc>>,
    /// When it was played.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub played_at: Option<DateTime<Utc>>,
    /// When it failed.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub failed_at: Option<DateTime<Utc>>,
    /// The provider's code for why.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub error_code: Option<i64>,
    /// The same in a few words.
    #[diesel(sql_type = Nullable<Text>)]
    pub error_title: Option<String>,
    /// The same in more words.
    #[diesel(sql_type = Nullable<Text>)]
    pub error_details: Option<String>,
    /// Does it cost anything?
    #[diesel(sql_type = Nullable<Bool>)]
    pub billable: Option<bool>,
    /// How it is charged.
    #[diesel(sql_type = Nullable<Text>)]
    pub pricing_model: Option<String>,
    /// What sort of charge.
    #[diesel(sql_type = Nullable<Text>)]
    pub pricing_type: Option<String>,
    /// As what it is charged.
    #[diesel(sql_type = Nullable<Text>)]
    pub pricing_category: Option<String>,
    /// The provider's conversation.
    #[diesel(sql_type = Nullable<Text>)]
    pub conversation_id: Option<String>,
    /// What that one began with.
    #[diesel(sql_type = Nullable<Text>)]
    pub conversation_origin: Option<String>,
}

/// What was told of a message, and whose it is. As JSON it is a row of the table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DetailsRow {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its account.
    pub account_id: AccountId,
    /// What was told.
    #[serde(flatten)]
    pub details: StatusDetails,
}

/// How far a message went at least, or that it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Whose it is.
    pub tenant: TenantId,
    /// On which account.
    pub account: AccountId,
    /// The provider's id.
    pub id: ProviderMessageId,
    /// Where it stands by what was told.
    pub status: DeliveryStatus,
    /// When it got there.
    pub at: DateTime<Utc>,
    /// With [`DeliveryStatus::Failed`]: why, as a stable code.
    pub reason: Option<String>,
}

/// A message that moved, and where to.
#[derive(Debug, diesel::QueryableByName)]
pub struct MovedTo {
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    chat_id: Uuid,
    #[diesel(sql_type = Text)]
    provider_message_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    reference: Option<String>,
    /// A [`DeliveryStatus`].
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why it failed.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it got there.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// Why it failed, in the provider's words.
    #[diesel(sql_type = Nullable<Text>)]
    pub detail: Option<String>,
}

impl MovedTo {
    /// The message.
    #[must_use]
    pub fn moved(&self) -> Moved {
        Moved {
            id: self.id,
            account_id: self.account_id,
            chat_id: self.chat_id,
            provider_message_id: self.provider_message_id.clone(),
            reference: self.reference.clone(),
        }
    }
}

/// A message of ours that does not go by the provider's id yet.
#[derive(Debug, diesel::QueryableByName)]
pub struct UnsettledRow {
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    /// Our id for the provider.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
}

impl UnsettledRow {
    /// Our id.
    #[must_use]
    pub const fn message(&self) -> MessageId {
        MessageId::from_uuid(self.id)
    }

    /// On which account it is.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId::from_uuid(self.account_id)
    }
}

/// An id of a provider's, whose message it is and on which account.
pub type Named<'a> = (&'a TenantId, AccountId, &'a ProviderMessageId);

/// The same, in columns.
pub(super) fn columns<'a>(named: &[Named<'a>]) -> (Vec<&'a str>, Vec<Uuid>, Vec<&'a str>) {
    let tenants = named.iter().map(|(tenant, ..)| tenant.as_str()).collect();
    let accounts = named.iter().map(|(_, account, _)| account.as_uuid()).collect();
    (
        tenants,
        accounts,
        named.iter().map(|(.., id)| id.as_str()).collect(),
    )
}

/// Those of our messages that still go by these ids of ours for the provider.
///
/// # Errors
/// [`DatabaseError`].
pub async fn unsettled(
    tx: &mut GroupTransaction,
    ours: &[Named<'_>],
) -> Result<Vec<UnsettledRow>, DatabaseError> {
    let (tenants, accounts, ids) = columns(ours);
    let rows = database::sql(
        "SELECT m.tenant_id, m.account_id, m.id, m.provider_message_id \
         FROM unnest($1, $2, $3) AS n (tenant, account, pid) \
         JOIN messages m ON m.tenant_id = n.tenant AND m.account_id = n.account AND m.provider_message_id = n.pid \
         WHERE m.direction = 'outbound' ORDER BY m.id",
    )
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<SqlUuid>, _>(accounts)
    .bind::<Array<Text>, _>(ids)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Adds to what is known of messages; no two rows may be of one message. Of each moment the earliest counts and of
/// everything else what was told first, so that a repetition changes nothing.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add_details(tx: &mut GroupTransaction, details: &[DetailsRow]) -> Result<(), DatabaseError> {
    let rows = serde_json::to_string(details).map_err(|error| DatabaseError::Refused(error.into()))?;
    database::sql(
        "INSERT INTO message_status_details AS d (tenant_id, account_id, provider_message_id, sent_at, delivered_at, read_at, \
                played_at, failed_at, error_code, error_title, error_details, billable, pricing_model, pricing_type, \
                pricing_category, conversation_id, conversation_origin) \
         SELECT n.* FROM jsonb_to_recordset($1::jsonb) AS n (tenant_id text, account_id uuid, \
                provider_message_id text, sent_at timestamptz, \
                delivered_at timestamptz, read_at timestamptz, played_at timestamptz, failed_at timestamptz, \
                error_code bigint, error_title text, error_details text, billable boolean, pricing_model text, \
                pricing_type text, pricing_category text, conversation_id text, conversation_origin text) \
         ORDER BY n.tenant_id COLLATE \"C\", n.account_id, n.provider_message_id COLLATE \"C\" \
         ON CONFLICT (tenant_id, account_id, provider_message_id) DO UPDATE SET \
                sent_at = least(d.sent_at, excluded.sent_at), \
                delivered_at = least(d.delivered_at, excluded.delivered_at), \
                read_at = least(d.read_at, excluded.read_at), played_at = least(d.played_at, excluded.played_at), \
                failed_at = least(d.failed_at, excluded.failed_at), \
                error_code = coalesce(d.error_code, excluded.error_code), \
                error_title = coalesce(d.error_title, excluded.error_title), \
                error_details = coalesce(d.error_details, excluded.error_details), \
                billable = coalesce(d.billable, excluded.billable), \
                pricing_model = coalesce(d.pricing_model, excluded.pricing_model), \
                pricing_type = coalesce(d.pricing_type, excluded.pricing_type), \
                pricing_category = coalesce(d.pricing_category, excluded.pricing_category), \
                conversation_id = coalesce(d.conversation_id, excluded.conversation_id), \
                conversation_origin = coalesce(d.conversation_origin, excluded.conversation_origin)",
    )
    .bind::<Text, _>(rows)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What the provider told of a message besides how far it went. `None`: nothing.
///
/// # Errors
/// [`DatabaseError`].
pub async fn details_of(
    tx: &mut TenantTransaction,
    message: MessageId,
) -> Result<Option<StatusDetails>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<StatusDetails> = database::sql(
        "SELECT d.provider_message_id, d.sent_at, d.delivered_at, d.read_at, d.played_at, d.failed_at, d.error_code, \
                d.error_title, d.error_details, d.billable, d.pricing_model, d.pricing_type, d.pricing_category, \
                d.conversation_id, d.conversation_origin \
         FROM messages m JOIN message_status_details d ON d.tenant_id = m.tenant_id \
             AND d.account_id = m.account_id AND d.provider_message_id = m.provider_message_id \
         WHERE m.tenant_id = $1 AND m.id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Keeps what was told of messages that the account has not, until it has; see [`super::early_receipt::keep`].
///
/// # Errors
/// [`DatabaseError`].
pub async fn keep_early(tx: &mut GroupTransaction, reached: &[Reached]) -> Result<(), DatabaseError> {
    // The further one counts, and a failure counts until the message is known to have arrived.
    database::sql(
        "INSERT INTO early_receipts AS e (tenant_id, account_id, provider_message_id, status, at, reason) \
         SELECT n.tenant, n.account, n.id, n.status, n.at, n.reason \
         FROM unnest($1, $2, $3, $4, $5, $6) AS n (tenant, account, id, status, at, reason) \
         WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = n.tenant AND m.account_id = n.account \
                              AND m.provider_message_id = n.id) \
         ORDER BY n.tenant COLLATE \"C\", n.account, n.id COLLATE \"C\" \
         ON CONFLICT (tenant_id, account_id, provider_message_id) DO UPDATE \
            SET status = excluded.status, at = excluded.at, reason = excluded.reason \
          WHERE coalesce(array_position(ARRAY['sent', 'failed', 'delivered', 'read'], e.status), 0) \
              < array_position(ARRAY['sent', 'failed', 'delivered', 'read'], excluded.status)",
    )
    .bind::<Array<Text>, _>(reached.iter().map(|one| one.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(reached.iter().map(|one| one.account.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(reached.iter().map(|one| one.id.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(reached.iter().map(|one| one.status.as_str()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(reached.iter().map(|one| one.at).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(reached.iter().map(|one| one.reason.as_deref()).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Moves our messages as far as they went, each if its road allows; no two may be of one message. Returns those that did
/// move. What the provider called failed is not sent again because it also calls it sent.
///
/// # Errors
/// [`DatabaseError`].
pub async fn advance(tx: &mut GroupTransaction, reached: &[Reached]) -> Result<Vec<MovedTo>, DatabaseError> {
    let rows = database::sql(
        "UPDATE messages m SET status = r.status, reason = r.reason, updated_at = now() \
         FROM (SELECT o.tenant_id, o.id, n.status, n.reason, n.at, d.detail \
               FROM unnest($1, $2, $3, $4, $5, $6) AS n (tenant, account, pid, status, at, reason) \
               JOIN messages o ON o.tenant_id = n.tenant AND o.account_id = n.account AND o.provider_message_id = n.pid \
               LEFT JOIN LATERAL (SELECT x.failed_at, coalesce(x.error_details, x.error_title) AS detail \
                      FROM message_status_details x \
                      WHERE x.tenant_id = n.tenant AND x.account_id = n.account AND x.provider_message_id = n.pid) d ON true \
               WHERE o.direction = 'outbound' AND o.status || '>' || n.status = ANY ($7) \
                 AND NOT (o.status = 'failed' AND n.status = 'sent' AND d.failed_at IS NOT NULL) \
               ORDER BY o.id FOR UPDATE OF o) r \
         WHERE m.tenant_id = r.tenant_id AND m.id = r.id \
         RETURNING m.tenant_id, m.id, m.account_id, m.chat_id, m.provider_message_id, m.reference, m.status, m.reason, r.at, \
             CASE WHEN m.status = 'failed' THEN r.detail END AS detail",
    )
    .bind::<Array<Text>, _>(reached.iter().map(|one| one.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(reached.iter().map(|one| one.account.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(reached.iter().map(|one| one.id.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(reached.iter().map(|one| one.status.as_str()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(reached.iter().map(|one| one.at).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(reached.iter().map(|one| one.reason.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(moves())
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Every move that the road allows, as `from>to`.
fn moves() -> Vec<String> {
    let of = |from: DeliveryStatus| {
        let next = DeliveryStatus::ALL
            .into_iter()
            .filter(move |to| from.may_become(*to));
        next.map(move |to| format!("{from}>{to}"))
    };
    DeliveryStatus::ALL.into_iter().flat_map(of).collect()
}
