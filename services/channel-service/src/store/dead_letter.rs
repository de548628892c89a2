//! Messages of ours that were put aside: parked tasks of `lane_tasks`, with their rows of `messages`.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::ids::MessageId;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Which dead letters are meant. `None` leaves a side open.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Put aside for this reason.
    pub reason: Option<String>,
    /// Put aside before this time.
    pub older_than: Option<DateTime<Utc>>,
    /// Put aside at or after this time.
    pub newer_than: Option<DateTime<Utc>>,
    /// At most so many, those first that have lain longest.
    pub limit: i64,
}

/// A message that was put aside, without its words.
#[derive(Debug, serde::Serialize, diesel::QueryableByName)]
pub struct DeadLetterRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub message_id: Uuid,
    /// The sender.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// What sort of message.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// `parked`, or `unknown` when nobody knows whether it went out.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// How often it was tried.
    #[diesel(sql_type = BigInt)]
    pub attempts: i64,
    /// When it was ordered.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it was put aside.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
}

/// What its own tenant may see of it besides.
#[derive(diesel::QueryableByName)]
pub struct DeadLetterWords {
    /// To whom.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// What people would have read.
    #[diesel(sql_type = Text)]
    pub body: String,
    /// What the one who ordered it wanted repeated.
    #[diesel(sql_type = Nullable<Text>)]
    pub reference: Option<String>,
}

/// One try at sending it.
#[derive(Debug, serde::Serialize, diesel::QueryableByName)]
pub struct AttemptRow {
    /// What came of it.
    #[diesel(sql_type = Text)]
    pub outcome: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// How long it took.
    #[diesel(sql_type = BigInt)]
    pub took_ms: i64,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
}

/// Begins every query; what turned out to have gone out is none any more. The tenant, where there is one, is `$1`.
const ROWS: &str = "SELECT m.tenant_id, m.id AS message_id, m.account_id, m.chat_id, m.kind, m.status, \
         coalesce(m.reason, t.last_error) AS reason, m.created_at, m.updated_at AS since, \
         (SELECT count(*) FROM send_attempts s WHERE s.tenant_id = m.tenant_id AND s.message_id = m.id) AS attempts \
     FROM lane_tasks t JOIN messages m ON m.tenant_id = t.tenant_id AND m.id = t.id \
     WHERE t.parked AND m.status IN ('parked', 'unknown', 'failed')";

/// The tenant's dead letters.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    tx: &mut TenantTransaction,
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetterRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    select(tx.connection(), Some(tenant), filter).await
}

/// Everybody's dead letters.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list_all(
    tx: &mut PlatformTransaction,
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetterRow>, DatabaseError> {
    select(tx.connection(), None, filter).await
}

async fn select(
    connection: &mut AsyncPgConnection,
    tenant: Option<String>,
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetterRow>, DatabaseError> {
    let rows = database::sql(format!(
        "{ROWS} AND ($1 IS NULL OR t.tenant_id = $1) AND ($2 IS NULL OR coalesce(m.reason, t.last_error) = $2) \
             AND ($3 IS NULL OR m.updated_at < $3) AND ($4 IS NULL OR m.updated_at >= $4) \
         ORDER BY m.updated_at, m.id LIMIT $5"
    ))
    .bind::<Nullable<Text>, _>(tenant)
    .bind::<Nullable<Text>, _>(&filter.reason)
    .bind::<Nullable<Timestamptz>, _>(filter.older_than)
    .bind::<Nullable<Timestamptz>, _>(filter.newer_than)
    .bind::<BigInt, _>(filter.limit)
    .load(connection)
    .await?;
    Ok(rows)
}

/// One dead letter of the tenant. `None`: there is no such message, or it is not put aside.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    id: MessageId,
) -> Result<Option<(DeadLetterRow, DeadLetterWords, Vec<AttemptRow>)>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<DeadLetterRow> = database::sql(format!("{ROWS} AND t.tenant_id = $1 AND t.id = $2"))
        .bind::<Text, _>(&tenant)
        .bind::<SqlUuid, _>(id.as_uuid())
        .load(tx.connection())
        .await?;
    let Some(row) = rows.pop() else {
        return Ok(None);
    };
    let words = database::sql(
        "SELECT c.address, m.body, m.reference FROM messages m \
         JOIN chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id WHERE m.tenant_id = $1 AND m.id = $2",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .get_result(tx.connection())
    .await?;
    let attempts = database::sql(
        "SELECT outcome, reason, took_ms, at FROM (SELECT * FROM send_attempts \
             WHERE tenant_id = $1 AND message_id = $2 ORDER BY seq DESC LIMIT 100) newest ORDER BY seq",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(Some((row, words, attempts)))
}
