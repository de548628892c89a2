//! Messages by any of their ids, of one tenant or whoever's they are. Nothing of what is in them.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Most messages that one id is found to mean.
pub const MOST_HITS: i64 = 20;
/// Most tasks of one state that are looked through for those that one request caused: the newest.
const MOST_TASKS: i64 = 5_000;

/// A message that an id means.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, diesel::QueryableByName)]
pub struct HitRow {
    /// Which of its ids it is: `message`, `provider`, `ordered_as`, `request`, `chatwoot`, `key`, `caused_by`.
    #[diesel(sql_type = Text)]
    pub found_by: String,
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub message_id: Uuid,
    /// Which way it goes.
    #[diesel(sql_type = Text)]
    pub direction: String,
    /// What sort.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Since when we have it.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// An id in the forms in which it may be stored.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// As it was given.
    pub text: &'a str,
    /// As one of ours.
    pub uuid: Option<Uuid>,
    /// The order that was taken under this key of the caller's.
    pub keyed: Option<Uuid>,
}

/// Begins the search by an id; the rest says whose messages are looked through.
macro_rules! hit {
    ($found_by:literal, $rest:literal) => {
        concat!(
            "SELECT '",
            $found_by,
            "' AS found_by, m.tenant_id, m.id AS message_id, m.direction, m.kind, m.status, m.created_at ",
            $rest
        )
    };
}

/// The tenant's messages that the id means.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, wanted: &Wanted<'_>) -> Result<Vec<HitRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(concat!(
        hit!("message", "FROM messages m WHERE m.tenant_id = $1 AND m.id = $3"),
        " UNION ALL (",
        hit!(
            "provider",
            "FROM messages m WHERE m.tenant_id = $1 AND m.provider_message_id = $2 LIMIT $5"
        ),
        ") UNION ALL (",
        hit!(
            "ordered_as",
            "FROM messages m WHERE m.tenant_id = $1 AND m.ordered_as = $2 LIMIT $5"
        ),
        ") UNION ALL ",
        hit!(
            "request",
            "FROM send_requests r JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id \
             WHERE r.tenant_id = $1 AND r.request_id IN ($3, $4)"
        ),
        " LIMIT $5"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(wanted.text)
    .bind::<Nullable<SqlUuid>, _>(wanted.uuid)
    .bind::<Nullable<SqlUuid>, _>(wanted.keyed)
    .bind::<BigInt, _>(MOST_HITS)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Messages of any tenant that the id means.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_everywhere(
    tx: &mut PlatformTransaction,
    wanted: &Wanted<'_>,
) -> Result<Vec<HitRow>, DatabaseError> {
    let rows = database::sql(concat!(
        "(",
        hit!("message", "FROM messages m WHERE m.id = $2 LIMIT $3"),
        ") UNION ALL (",
        hit!(
            "provider",
            "FROM messages m WHERE m.provider_message_id = $1 LIMIT $3"
        ),
        ") UNION ALL (",
        hit!("ordered_as", "FROM messages m WHERE m.ordered_as = $1 LIMIT $3"),
        ") UNION ALL (",
        hit!(
            "request",
            "FROM send_requests r JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id \
             WHERE r.request_id = $2 LIMIT $3"
        ),
        ") LIMIT $3"
    ))
    .bind::<Text, _>(wanted.text)
    .bind::<Nullable<SqlUuid>, _>(wanted.uuid)
    .bind::<BigInt, _>(MOST_HITS)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Messages that were ordered for this message of a Chatwoot's, of one tenant or of all. The key over the number is one over
/// an expression, which the tenant role's policy keeps from being used: hence as the platform, with the tenant named.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_by_chatwoot_id(
    tx: &mut PlatformTransaction,
    tenant: Option<&str>,
    number: &str,
) -> Result<Vec<HitRow>, DatabaseError> {
    let rows = database::sql(hit!(
        "chatwoot",
        "FROM messages m WHERE split_part(m.reference, ':', 3) = $1 AND starts_with(m.reference, 'chatwoot:') \
             AND ($2 IS NULL OR m.tenant_id = $2) LIMIT $3"
    ))
    .bind::<Text, _>(number)
    .bind::<Nullable<Text>, _>(tenant)
    .bind::<BigInt, _>(MOST_HITS)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Messages that were ordered under a key of their caller's, of whatever tenants: `keyed` is the key as each of `tenants`
/// would have it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_keyed(
    tx: &mut PlatformTransaction,
    tenants: &[String],
    keyed: &[Uuid],
) -> Result<Vec<HitRow>, DatabaseError> {
    Ok(database::sql(hit!(
        "key",
        "FROM unnest($1, $2) AS k (tenant_id, request_id) JOIN send_requests r USING (tenant_id, request_id) \
             JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id LIMIT $3"
    ))
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<SqlUuid>, _>(keyed)
    .bind::<BigInt, _>(MOST_HITS)
    .load(tx.connection())
    .await?)
}

/// Messages that this request brought and that are not sent yet; the newest of those are looked through.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_by_cause(
    tx: &mut PlatformTransaction,
    request: &str,
) -> Result<Vec<HitRow>, DatabaseError> {
    Ok(database::sql(hit!(
        "caused_by",
        "FROM ((SELECT tenant_id, id, payload FROM lane_tasks WHERE NOT parked AND last_error IS NULL \
                    AND kind IN ('send_text', 'send_ai_reply') ORDER BY id DESC LIMIT $2) UNION ALL \
               (SELECT tenant_id, id, payload FROM lane_tasks WHERE last_error IS NOT NULL AND NOT parked \
                    AND kind IN ('send_text', 'send_ai_reply') ORDER BY id DESC LIMIT $2) UNION ALL \
               (SELECT tenant_id, id, payload FROM lane_tasks WHERE last_error IS NOT NULL AND parked \
                    AND kind IN ('send_text', 'send_ai_reply') ORDER BY id DESC LIMIT $2)) t \
             JOIN messages m ON m.tenant_id = t.tenant_id AND m.id = t.id \
         WHERE t.payload::jsonb ->> 'request_id' = $1 LIMIT $3"
    ))
    .bind::<Text, _>(request)
    .bind::<BigInt, _>(MOST_TASKS)
    .bind::<BigInt, _>(MOST_HITS)
    .load(tx.connection())
    .await?)
}
