//! Events that are over, for whoever asks where one is. Nothing depends on their being here.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

/// An event that is over.
#[derive(Debug, Clone)]
pub struct DoneEvent {
    /// Whose.
    pub tenant: String,
    /// Ours.
    pub event: Uuid,
    /// Our id of the route.
    pub route: Uuid,
    /// The conversation's display id; 0 for events of none.
    pub conversation: i64,
    /// What sort of event it was.
    pub class: String,
    /// Chatwoot's message.
    pub message: Option<i64>,
    /// The request that brought it.
    pub request_id: Option<String>,
    /// `delivered` or `dropped`.
    pub outcome: &'static str,
    /// Failures before that.
    pub failures: i32,
    /// When it was accepted.
    pub received_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// Writes them down, but for those of a tenant that was erased since.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add(tx: &mut PlatformTransaction, done: &[DoneEvent]) -> Result<(), DatabaseError> {
    database::sql(
        "INSERT INTO forward_done (tenant_id, event_id, route_id, conversation, class, message, request_id, outcome, \
             failures, received_at, ended_at) \
         SELECT n.* FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             AS n (tenant_id, event_id, route_id, conversation, class, message, request_id, outcome, failures, \
                 received_at, ended_at) \
         WHERE NOT EXISTS (SELECT FROM erasures e \
             WHERE e.tenant_id = n.tenant_id AND e.who = '' AND e.erased_at >= n.received_at) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Text>, _>(done.iter().map(|one| one.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(done.iter().map(|one| one.event).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(done.iter().map(|one| one.route).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(done.iter().map(|one| one.conversation).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(done.iter().map(|one| one.class.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(done.iter().map(|one| one.message).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(done.iter().map(|one| one.request_id.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(done.iter().map(|one| one.outcome).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(done.iter().map(|one| one.failures).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(done.iter().map(|one| one.received_at).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(done.iter().map(|one| one.ended_at).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets up to `most` of them, of whatever tenants, that ended more than `days` ago. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    Ok(database::sql(
        "DELETE FROM forward_done d USING (SELECT tenant_id, event_id FROM forward_done \
              WHERE ended_at < now() - $1 * interval '1 day' ORDER BY ended_at LIMIT $2) old \
         WHERE d.tenant_id = old.tenant_id AND d.event_id = old.event_id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?)
}
