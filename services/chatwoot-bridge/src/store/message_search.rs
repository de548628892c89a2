//! Messages between Chatwoot and WhatsApp by any of their ids, whoever's they are. Nothing of what is in them, and nobody's
//! number.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A message, by its ids.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct MessageFound {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Our inbox row.
    #[diesel(sql_type = SqlUuid)]
    pub inbox_id: Uuid,
    /// Chatwoot's message.
    #[diesel(sql_type = BigInt)]
    pub message: i64,
    /// The conversation's display id.
    #[diesel(sql_type = BigInt)]
    pub conversation: i64,
    /// The inbox's route.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub route: Option<i64>,
    /// An agent's, on its way to WhatsApp; a person's otherwise.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub is_agents: bool,
}

const ROUTE: &str = "LEFT JOIN routes r ON r.tenant_id = m.tenant_id AND r.link_id = m.inbox_id";

/// By Chatwoot's id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn by_message(
    tx: &mut PlatformTransaction,
    message: i64,
    most: i64,
) -> Result<Vec<MessageFound>, DatabaseError> {
    Ok(database::sql(format!(
        "SELECT DISTINCT m.tenant_id, m.inbox_id, m.message, m.conversation, r.number AS route, m.is_agents FROM ( \
            (SELECT tenant_id, inbox_id, chatwoot_message_id AS message, chatwoot_conversation_id AS conversation, \
                true AS is_agents FROM agent_messages WHERE chatwoot_message_id = $1 LIMIT $2) UNION ALL \
            (SELECT tenant_id, inbox_id, chatwoot_message_id, chatwoot_conversation_id, direction = 'outbound' \
                FROM message_links WHERE chatwoot_message_id = $1 LIMIT $2)) m {ROUTE} LIMIT $2"
    ))
    .bind::<BigInt, _>(message)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// By its id in WhatsApp.
///
/// # Errors
/// [`DatabaseError`].
pub async fn by_provider_id(
    tx: &mut PlatformTransaction,
    id: &str,
    most: i64,
) -> Result<Vec<MessageFound>, DatabaseError> {
    Ok(database::sql(format!(
        "SELECT DISTINCT m.tenant_id, m.inbox_id, m.message, m.conversation, r.number AS route, m.is_agents FROM ( \
            (SELECT p.tenant_id, p.inbox_id, p.chatwoot_message_id AS message, a.chatwoot_conversation_id AS conversation, \
                true AS is_agents FROM agent_parts p JOIN agent_messages a USING (tenant_id, inbox_id, chatwoot_message_id) \
                WHERE p.provider_message_id = $1 LIMIT $2) UNION ALL \
            (SELECT tenant_id, inbox_id, chatwoot_message_id, chatwoot_conversation_id, direction = 'outbound' \
                FROM message_links WHERE provider_message_id = $1 AND chatwoot_message_id IS NOT NULL LIMIT $2)) m \
         {ROUTE} LIMIT $2"
    ))
    .bind::<Text, _>(id)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// By the id of the order that was made of it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn by_order(
    tx: &mut PlatformTransaction,
    order: Uuid,
    most: i64,
) -> Result<Vec<MessageFound>, DatabaseError> {
    Ok(database::sql(format!(
        "SELECT m.tenant_id, m.inbox_id, m.message, m.conversation, r.number AS route, m.is_agents FROM \
            (SELECT DISTINCT p.tenant_id, p.inbox_id, p.chatwoot_message_id AS message, \
                a.chatwoot_conversation_id AS conversation, true AS is_agents \
              FROM agent_parts p JOIN agent_messages a USING (tenant_id, inbox_id, chatwoot_message_id) \
              WHERE p.request_id = $1 LIMIT $2) m {ROUTE}"
    ))
    .bind::<SqlUuid, _>(order)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// One part of a message on its way.
#[derive(Debug, Clone, QueryableByName)]
pub struct PartRow {
    /// Its place in the message.
    #[diesel(sql_type = Integer)]
    pub part: i32,
    /// How often the agent asked for it to be sent again; none where it came from WhatsApp.
    #[diesel(sql_type = Nullable<Integer>)]
    pub attempt: Option<i32>,
    /// The order, as channel-service knows it.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub request_id: Option<Uuid>,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// What it is in WhatsApp.
    #[diesel(sql_type = Nullable<Text>)]
    pub provider_message_id: Option<String>,
    /// When the bridge first knew of it.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When something last happened.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

/// What became of a message of this inbox: an agent's parts on their way to WhatsApp, or a person's that came from there.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parts(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
) -> Result<Vec<PartRow>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(
        "SELECT coalesce(p.part, 0) AS part, p.attempt, coalesce(p.request_id, m.request_id) AS request_id, \
             coalesce(p.status, m.status) AS status, coalesce(p.reason, m.reason) AS reason, p.provider_message_id, \
             m.created_at, m.updated_at \
         FROM agent_messages m LEFT JOIN agent_parts p USING (tenant_id, inbox_id, chatwoot_message_id) \
         WHERE m.tenant_id = $1 AND m.inbox_id = $2 AND m.chatwoot_message_id = $3 \
         UNION ALL SELECT part::integer, NULL, NULL, 'in_chatwoot', NULL, provider_message_id, created_at, created_at \
         FROM message_links WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = $3 AND direction = 'inbound' \
         ORDER BY part LIMIT 100",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .load(tx.connection())
    .await?)
}

/// A task that was put aside.
#[derive(Debug, Clone, QueryableByName)]
pub struct TaskRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Ours.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What was to be done.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Failures that counted.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it was enqueued.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Its place among all.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
}

/// Tasks of whatever tenants that were put aside, oldest first, behind the place `after`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked_tasks(
    tx: &mut PlatformTransaction,
    after: i64,
    most: i64,
) -> Result<Vec<TaskRow>, DatabaseError> {
    Ok(database::sql(
        "SELECT tenant_id, id, kind, failures, last_error AS reason, created_at, seq FROM lane_tasks \
         WHERE parked AND seq > $1 ORDER BY seq LIMIT $2",
    )
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// An event that was taken off the broker, and the task that it became if that is not done.
#[derive(Debug, Clone, QueryableByName)]
pub struct HandledRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// When it was taken.
    #[diesel(sql_type = Timestamptz)]
    pub received_at: DateTime<Utc>,
    /// What is to be done. `None`: nothing any more.
    #[diesel(sql_type = Nullable<Text>)]
    pub task: Option<String>,
    /// Was that put aside?
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub parked: bool,
    /// Why it waits or was put aside, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
}

/// The event with this id, of whatever tenants that have an inbox.
///
/// # Errors
/// [`DatabaseError`].
pub async fn handled(tx: &mut PlatformTransaction, event: Uuid) -> Result<Vec<HandledRow>, DatabaseError> {
    // The key begins with the tenant; there are far fewer of those than events.
    Ok(database::sql(
        "SELECT h.tenant_id, h.received_at, t.kind AS task, coalesce(t.parked, false) AS parked, t.last_error AS reason \
         FROM (SELECT DISTINCT tenant_id FROM inboxes) i \
         JOIN handled_events h ON h.tenant_id = i.tenant_id AND h.event_id = $1 \
         LEFT JOIN lane_tasks t ON t.tenant_id = h.tenant_id AND t.id = h.event_id",
    )
    .bind::<SqlUuid, _>(event)
    .load(tx.connection())
    .await?)
}
