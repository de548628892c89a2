//! Everything the tables know of one message: where it stands, and what happened to it when. Never a word of it.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::MessageId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Most rows of one sort that a journey shows: the newest.
const MOST_ROWS: i64 = 200;
/// Most events of a tenant's that are looked through for those of one message: the newest. More wait only in an outage.
const MOST_EVENTS: i64 = 5_000;
/// Most tasks that are counted before a message's own.
const MOST_AHEAD: i64 = 1_000;

/// The message itself, but for its words and its person.
#[derive(Debug, Clone, serde::Serialize, diesel::QueryableByName)]
pub struct HeadRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub message_id: Uuid,
    /// On which account.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// In which chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// `inbound` or `outbound`.
    #[diesel(sql_type = Text)]
    pub direction: String,
    /// Who wrote or ordered it.
    #[diesel(sql_type = Text)]
    pub source: String,
    /// What sort.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The provider's id, or ours for the provider.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// The id it was ordered under, where it goes by another one since.
    #[diesel(sql_type = Nullable<Text>)]
    pub ordered_as: Option<String>,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// The message in Chatwoot for which it was ordered.
    #[diesel(sql_type = Nullable<Text>)]
    pub chatwoot_message: Option<String>,
    /// chatwoot-bridge's id of the inbox that it is in.
    #[diesel(sql_type = Nullable<Text>)]
    pub chatwoot_inbox: Option<String>,
    /// What became of it on the way to the AI.
    #[diesel(sql_type = Nullable<Text>)]
    pub ai_handling: Option<String>,
    /// When it was written, by its writer's clock.
    #[diesel(sql_type = Timestamptz)]
    pub sent_at: DateTime<Utc>,
    /// Since when we have it.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Since when it stands where it stands.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
    /// When it was edited.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub edited_at: Option<DateTime<Utc>>,
    /// When it was deleted.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Where its account's messages go out.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// Which kind of API that is.
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// The lane of its chat.
    #[diesel(sql_type = Text)]
    pub lane: String,
}

/// The message. `None`: the tenant has none with this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn head(tx: &mut TenantTransaction, id: MessageId) -> Result<Option<HeadRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<HeadRow> = database::sql(
        "SELECT m.tenant_id, m.id AS message_id, m.account_id, m.chat_id, m.direction, m.source, m.kind, \
                m.provider_message_id, m.ordered_as, m.status, m.reason, m.ai_handling, m.sent_at, m.created_at, \
                m.updated_at, m.edited_at, m.revoked_at, a.endpoint, a.provider, m.chat_id::text AS lane, \
                CASE WHEN m.reference LIKE 'chatwoot:%' THEN split_part(m.reference, ':', 3) END AS chatwoot_message, \
                CASE WHEN m.reference LIKE 'chatwoot:%' THEN split_part(m.reference, ':', 2) END AS chatwoot_inbox \
         FROM messages m JOIN accounts a ON a.tenant_id = m.tenant_id AND a.id = m.account_id \
         WHERE m.tenant_id = $1 AND m.id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// A call to the provider.
#[derive(Debug, diesel::QueryableByName)]
pub struct AttemptRow {
    /// Which one of all, from 1.
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    /// What came of it.
    #[diesel(sql_type = Text)]
    pub outcome: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// Through which endpoint.
    #[diesel(sql_type = Nullable<Text>)]
    pub endpoint: Option<String>,
    /// How long it took.
    #[diesel(sql_type = BigInt)]
    pub took_ms: i64,
    /// When it was answered.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
}

/// Calls to the provider, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn attempts(tx: &mut TenantTransaction, id: MessageId) -> Result<Vec<AttemptRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<AttemptRow> = database::sql(
        "SELECT row_number() OVER (ORDER BY seq) AS number, outcome, reason, nullif(endpoint, '') AS endpoint, \
                took_ms, at \
         FROM send_attempts WHERE tenant_id = $1 AND message_id = $2 ORDER BY seq DESC LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<BigInt, _>(MOST_ROWS)
    .load(tx.connection())
    .await?;
    rows.reverse();
    Ok(rows)
}

/// Where a message stood from a moment on.
#[derive(Debug, diesel::QueryableByName)]
pub struct StandingRow {
    /// A `DeliveryStatus`.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// From when on.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
}

/// Where it stood, oldest first, as far back as that is kept.
///
/// # Errors
/// [`DatabaseError`].
pub async fn standings(tx: &mut TenantTransaction, id: MessageId) -> Result<Vec<StandingRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<StandingRow> = database::sql(
        "SELECT status, reason, received_at AS at FROM message_standings \
         WHERE tenant_id = $1 AND message_id = $2 ORDER BY seq DESC LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<BigInt, _>(MOST_ROWS)
    .load(tx.connection())
    .await?;
    rows.reverse();
    Ok(rows)
}

/// Its place in its lane, and what holds it.
#[derive(Debug, Clone, serde::Serialize, diesel::QueryableByName)]
pub struct PlaceRow {
    /// It was put aside.
    #[diesel(sql_type = Bool)]
    pub parked: bool,
    /// Times it was begun.
    #[diesel(sql_type = Integer)]
    pub begun: i32,
    /// Failures that counted.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// Why it waits or was put aside.
    #[diesel(sql_type = Nullable<Text>)]
    pub last_error: Option<String>,
    /// The request that caused it, where that is known.
    #[diesel(sql_type = Nullable<Text>)]
    pub caused_by: Option<String>,
    /// When the lane's head is due.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub due_at: Option<DateTime<Utc>>,
    /// Until when a worker has the lane.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub leased_until: Option<DateTime<Utc>>,
    /// Tasks before it, up to a bound.
    #[diesel(sql_type = BigInt)]
    pub ahead: i64,
}

/// Where it stands in its lane. `None`: it is done, one way or another.
///
/// # Errors
/// [`DatabaseError`].
pub async fn place(tx: &mut TenantTransaction, id: MessageId) -> Result<Option<PlaceRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<PlaceRow> = database::sql(
        "SELECT t.parked, t.begun, t.failures, t.last_error, t.payload::jsonb ->> 'request_id' AS caused_by, \
                l.ready_at AS due_at, CASE WHEN l.leased_until > now() THEN l.leased_until END AS leased_until, \
                (SELECT count(*) FROM (SELECT 1 FROM lane_tasks e WHERE e.tenant_id = t.tenant_id AND e.lane = t.lane \
                     AND e.seq < t.seq AND NOT e.parked LIMIT $3) ahead) AS ahead \
         FROM lane_tasks t LEFT JOIN lanes l ON l.tenant_id = t.tenant_id AND l.lane = t.lane \
         WHERE t.tenant_id = $1 AND t.id = $2 AND t.kind IN ('send_text', 'send_ai_reply')",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<BigInt, _>(MOST_AHEAD)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Its file.
#[derive(Debug, diesel::QueryableByName)]
pub struct FileRow {
    /// A `MediaState`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// Fetches that failed.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// When we heard of it.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When its state changed last.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

/// What became of its file. `None`: it has none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn file(tx: &mut TenantTransaction, id: MessageId) -> Result<Option<FileRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<FileRow> = database::sql(
        "SELECT state, reason, attempts, created_at, updated_at FROM media WHERE tenant_id = $1 AND message_id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// When it was let in.
///
/// # Errors
/// [`DatabaseError`].
pub async fn accepted_at(
    tx: &mut TenantTransaction,
    head: &HeadRow,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
    }
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<Row> = database::sql(
        "SELECT received_at AS at FROM inbound_ledger \
         WHERE tenant_id = $1 AND account_id = $2 AND provider_message_id = $3 AND message_id = $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(head.account_id)
    .bind::<Text, _>(&head.provider_message_id)
    .bind::<SqlUuid, _>(head.message_id)
    .load(tx.connection())
    .await?;
    Ok(rows.pop().map(|row| row.at))
}

/// What the AI has or has not made of it.
#[derive(Debug, diesel::QueryableByName)]
pub struct AnswerRow {
    /// `processing`, `pending`, `not_sent`, `failed`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// How often it failed.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// When the AI got it.
    #[diesel(sql_type = Timestamptz)]
    pub received_at: DateTime<Utc>,
    /// When that changed last.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

/// The answer it waits for. `None`: it waits for none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn awaited_answer(
    tx: &mut TenantTransaction,
    id: MessageId,
) -> Result<Option<AnswerRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<AnswerRow> = database::sql(
        "SELECT state, retry_count AS failures, received_at, updated_at FROM pending_messages \
         WHERE tenant_id = $1 AND message_id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// What somebody did about it.
#[derive(Debug, diesel::QueryableByName)]
pub struct ActRow {
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// Who.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// What.
    #[diesel(sql_type = Text)]
    pub action: String,
}

/// What people did about it, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn acts(tx: &mut TenantTransaction, id: MessageId) -> Result<Vec<ActRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<ActRow> = database::sql(
        "SELECT at, actor, action FROM audit_log WHERE tenant_id = $1 AND subject = $2 \
             AND action IN ('dead_letter.show', 'dead_letter.replay', 'dead_letter.settle') \
         ORDER BY id DESC LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(id.to_string())
    .bind::<BigInt, _>(MOST_ROWS)
    .load(tx.connection())
    .await?;
    rows.reverse();
    Ok(rows)
}

/// An event about it that is not with the broker yet.
#[derive(Debug, Clone, serde::Serialize, diesel::QueryableByName)]
pub struct WaitingEventRow {
    /// What it tells.
    #[diesel(sql_type = Text)]
    pub event_type: String,
    /// Since when it waits.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
    /// Why it can never be published.
    #[diesel(sql_type = Nullable<Text>)]
    pub parked: Option<String>,
}

/// Events about it that the broker has not confirmed yet, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn waiting_events(
    tx: &mut TenantTransaction,
    head: &HeadRow,
) -> Result<Vec<WaitingEventRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT event_type, created_at AS since, parked \
         FROM (SELECT seq, lane, event_type, created_at, parked, envelope FROM outbox WHERE tenant_id = $1 \
               ORDER BY seq DESC LIMIT $4) o \
         WHERE lane = $2 AND position($3 IN envelope) > 0 ORDER BY seq LIMIT 50",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(&head.lane)
    .bind::<Text, _>(head.message_id.to_string())
    .bind::<BigInt, _>(MOST_EVENTS)
    .load(tx.connection())
    .await?;
    Ok(rows)
}
