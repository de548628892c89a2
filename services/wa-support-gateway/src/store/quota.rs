//! How many sends of a subscription's period are used.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{GroupTransaction, PlatformTransaction};

use super::PROVIDER;

/// How many sends a customer asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) tenant_id: String,
    /// Sends that wait for it.
    pub(crate) count: i64,
    /// Sends that are expected next.
    pub(crate) ahead: i64,
}

/// What one customer gets of what it asked for.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct Granted {
    #[diesel(sql_type = Text)]
    pub(crate) tenant_id: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) granted: i64,
    /// In which period they were charged: they are given back into this one, or not at all.
    #[diesel(sql_type = Timestamptz)]
    pub(crate) period_started_at: DateTime<Utc>,
}

/// Charges so many sends of each customer as it asks for and its period has left. Rows are locked in one order, and what
/// is left is read from the locked row: no two callers of any process are ever granted the same send.
///
/// What is expected next is charged along as far as it is no more than a thousandth of what is left: a process that does
/// not come to use it has given it back long before anybody else can need it.
pub(crate) async fn charge(
    tx: &mut GroupTransaction,
    wishes: &[Wish],
) -> Result<Vec<Granted>, DatabaseError> {
    let (mut tenants, mut counts, mut ahead) = (Vec::new(), Vec::new(), Vec::new());
    for wish in wishes {
        tenants.push(wish.tenant_id.as_str());
        counts.push(wish.count);
        ahead.push(wish.ahead);
    }
    Ok(database::sql(
        "WITH held AS MATERIALIZED ( \
             SELECT s.tenant_id, s.id, w.n, w.ahead, \
                    CASE WHEN s.max_messages > 0 THEN GREATEST(s.max_messages - s.messages_used, 0) END AS remains \
             FROM subscriptions s JOIN unnest($1, $2, $3) AS w (tenant_id, n, ahead) ON w.tenant_id = s.tenant_id \
             WHERE s.provider = $4 ORDER BY s.tenant_id FOR NO KEY UPDATE OF s), \
         own AS (SELECT tenant_id, id, LEAST(n, remains) + LEAST(ahead, remains / 1000) AS granted FROM held) \
         UPDATE subscriptions s SET messages_used = s.messages_used + own.granted FROM own \
         WHERE s.tenant_id = own.tenant_id AND s.id = own.id \
         RETURNING s.tenant_id, own.granted, s.period_started_at",
    )
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<BigInt>, _>(counts)
    .bind::<Array<BigInt>, _>(ahead)
    .bind::<Text, _>(PROVIDER)
    .load(tx.connection())
    .await?)
}

/// A number of charged sends that did not happen.
#[derive(Debug, Clone)]
pub(crate) struct Refund {
    pub(crate) tenant_id: String,
    pub(crate) period_started_at: DateTime<Utc>,
    pub(crate) count: i64,
}

/// Gives charged sends back, unless their period is over.
pub(crate) async fn give_back(tx: &mut GroupTransaction, refunds: &[Refund]) -> Result<(), DatabaseError> {
    database::sql(
        "WITH own AS MATERIALIZED ( \
             SELECT s.tenant_id, s.id, r.n \
             FROM subscriptions s \
             JOIN unnest($1, $2, $3) AS r (tenant_id, period, n) \
               ON r.tenant_id = s.tenant_id AND r.period = s.period_started_at \
             WHERE s.provider = $4 ORDER BY s.tenant_id FOR NO KEY UPDATE OF s) \
         UPDATE subscriptions s SET messages_used = GREATEST(s.messages_used - own.n, 0) FROM own \
         WHERE s.tenant_id = own.tenant_id AND s.id = own.id",
    )
    .bind::<Array<Text>, _>(
        refunds
            .iter()
            .map(|refund| refund.tenant_id.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Timestamptz>, _>(
        refunds
            .iter()
            .map(|refund| refund.period_started_at)
            .collect::<Vec<_>>(),
    )
    .bind::<Array<BigInt>, _>(refunds.iter().map(|refund| refund.count).collect::<Vec<_>>())
    .bind::<Text, _>(PROVIDER)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Subscriptions of which not much is left.
#[derive(Debug, Clone, Copy, diesel::QueryableByName)]
pub(crate) struct NearTheEnd {
    /// Nine tenths of the messages are sent, and not all.
    #[diesel(sql_type = BigInt)]
    pub(crate) nearly_used: i64,
    /// All are.
    #[diesel(sql_type = BigInt)]
    pub(crate) used_up: i64,
    /// They end within three days.
    #[diesel(sql_type = BigInt)]
    pub(crate) ending: i64,
}

/// Counts subscriptions of which not much is left, among ten thousand active ones at most: those that end first.
///
/// An index over what is used would make every send write to it.
pub(crate) async fn near_the_end(tx: &mut PlatformTransaction) -> Result<NearTheEnd, DatabaseError> {
    Ok(database::sql(
        "SELECT count(*) FILTER (WHERE max_messages > 0 AND messages_used < max_messages \
                AND messages_used >= max_messages * 0.9) AS nearly_used, \
                count(*) FILTER (WHERE max_messages > 0 AND messages_used >= max_messages) AS used_up, \
                count(*) FILTER (WHERE expires_at < now() + interval '3 days') AS ending \
         FROM (SELECT max_messages, messages_used, expires_at FROM subscriptions \
               WHERE status = 'active' AND expires_at > now() ORDER BY expires_at LIMIT 10000) first",
    )
    .get_result(tx.connection())
    .await?)
}
