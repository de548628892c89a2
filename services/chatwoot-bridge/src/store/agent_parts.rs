//! What agents' messages are made of on WhatsApp, and where each part stands.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::delivery::DeliveryStatus;
use domain::ids::ProviderMessageId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::agent_messages::Standing;

/// One part of an agent's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place in the message, from 0.
    pub number: i32,
    /// How often the agent asked for it to be sent again.
    pub attempt: i32,
    /// The order of this attempt.
    pub request_id: Uuid,
    /// Where this attempt stands.
    pub status: DeliveryStatus,
    /// Why, as a stable code.
    pub reason: Option<String>,
    /// Unknown, and nothing more is tried by itself.
    pub put_aside: bool,
    /// What it is in WhatsApp, once it is there.
    pub known_as: Option<ProviderMessageId>,
    /// The order to delete it for everyone was given.
    pub revoked: bool,
}

impl Part {
    /// A part that is about to be ordered for the first time.
    #[must_use]
    pub const fn new(number: i32, request_id: Uuid) -> Self {
        Self {
            number,
            attempt: 0,
            request_id,
            status: DeliveryStatus::Queued,
            reason: None,
            put_aside: false,
            known_as: None,
            revoked: false,
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Integer)]
    part: i32,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = SqlUuid)]
    request_id: Uuid,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Bool)]
    put_aside: bool,
    #[diesel(sql_type = Nullable<Text>)]
    provider_message_id: Option<String>,
    #[diesel(sql_type = Bool)]
    revoked: bool,
}

impl TryFrom<Row> for Part {
    type Error = DatabaseError;

    fn try_from(row: Row) -> Result<Self, DatabaseError> {
        let status = row
            .status
            .parse()
            .map_err(|error| DatabaseError::Refused(Box::new(error)))?;
        Ok(Self {
            number: row.part,
            attempt: row.attempt,
            request_id: row.request_id,
            status,
            reason: row.reason,
            put_aside: row.put_aside,
            known_as: row
                .provider_message_id
                .and_then(|id| ProviderMessageId::parse(id).ok()),
            revoked: row.revoked,
        })
    }
}

/// The parts of a message, in order. One that was accepted before there were parts is one of them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
    standing: &Standing,
) -> Result<Vec<Part>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> = database::sql(
        "SELECT part, attempt, request_id, status, reason, put_aside, provider_message_id, revoked FROM agent_parts \
         WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_message_id = $3 ORDER BY part",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .load(tx.connection())
    .await?;
    if rows.is_empty() {
        return Ok(vec![Part {
            status: standing.shown.status,
            reason: standing.shown.reason.clone(),
            put_aside: standing.shown.put_aside,
            ..Part::new(0, standing.request_id)
        }]);
    }
    rows.into_iter().map(Part::try_from).collect()
}

/// Writes a whole part.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
    part: &Part,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO agent_parts (tenant_id, inbox_id, chatwoot_message_id, part, attempt, request_id, status, reason, \
             put_aside, provider_message_id, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (tenant_id, inbox_id, chatwoot_message_id, part) DO UPDATE \
         SET attempt = excluded.attempt, request_id = excluded.request_id, status = excluded.status, \
             reason = excluded.reason, put_aside = excluded.put_aside, \
             provider_message_id = excluded.provider_message_id, revoked = excluded.revoked",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .bind::<Integer, _>(part.number)
    .bind::<Integer, _>(part.attempt)
    .bind::<SqlUuid, _>(part.request_id)
    .bind::<Text, _>(part.status.as_str())
    .bind::<Nullable<Text>, _>(part.reason.as_deref())
    .bind::<Bool, _>(part.put_aside)
    .bind::<Nullable<Text>, _>(part.known_as.as_ref().map(ProviderMessageId::as_str))
    .bind::<Bool, _>(part.revoked)
    .execute(tx.connection())
    .await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Known {
    #[diesel(sql_type = Text)]
    provider_message_id: String,
}

/// What a message of this inbox is in WhatsApp, whoever wrote it: an agent's by its first part that is there, a person's
/// by its link.
///
/// # Errors
/// [`DatabaseError`].
pub async fn known_as(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
) -> Result<Option<ProviderMessageId>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Known> = database::sql(
        "SELECT provider_message_id FROM ( \
            (SELECT provider_message_id, 0 AS source FROM agent_parts WHERE tenant_id = $1 AND inbox_id = $2 \
                AND chatwoot_message_id = $3 AND provider_message_id IS NOT NULL ORDER BY part LIMIT 1) \
            UNION ALL \
            (SELECT provider_message_id, 1 FROM message_links WHERE tenant_id = $1 AND inbox_id = $2 \
                AND chatwoot_message_id = $3 ORDER BY part, created_at LIMIT 1)) known ORDER BY source LIMIT 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(message)
    .load(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .find_map(|row| ProviderMessageId::parse(row.provider_message_id).ok()))
}
