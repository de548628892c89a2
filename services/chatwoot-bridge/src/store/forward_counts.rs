//! How much waits for which route, how old it is, and what became of everything that was accepted.

use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use messaging::watch::{Stock, stock};
use serde::Serialize;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// What waits and what stays for people, over all routes and up to a bound.
///
/// # Errors
/// [`DatabaseError`].
pub async fn stocks(tx: &mut PlatformTransaction) -> Result<(Stock, Stock), DatabaseError> {
    let waiting = stock(
        tx,
        "SELECT received_at AS at FROM forward_events WHERE held IS NULL",
    )
    .await?;
    let held = stock(
        tx,
        "SELECT received_at AS at FROM forward_events WHERE held IS NOT NULL ORDER BY seq",
    )
    .await?;
    Ok((waiting, held))
}

/// What a route holds.
#[derive(Debug, Clone, QueryableByName)]
pub struct RouteLoad {
    /// The route.
    #[diesel(sql_type = SqlUuid)]
    pub route_id: Uuid,
    /// Bytes of what waits or stays for people.
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

/// What all routes hold.
///
/// # Errors
/// [`DatabaseError`].
pub async fn loads(tx: &mut PlatformTransaction) -> Result<Vec<RouteLoad>, DatabaseError> {
    Ok(database::sql(
        "SELECT route_id, sum(held_bytes)::bigint AS bytes FROM forward_lanes WHERE held > 0 GROUP BY route_id",
    )
    .load(tx.connection())
    .await?)
}

/// How long a route's oldest event waits.
#[derive(Debug, Clone, QueryableByName)]
pub struct Oldest {
    /// The route's number.
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    /// Since then.
    #[diesel(sql_type = Double)]
    pub seconds: f64,
}

/// The ages of what waits, route by route; routes where nothing does are left out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn oldest(tx: &mut PlatformTransaction) -> Result<Vec<Oldest>, DatabaseError> {
    Ok(database::sql(
        "SELECT r.number, extract(epoch FROM now() - min(e.received_at))::float8 AS seconds \
         FROM forward_lanes l \
         JOIN routes r ON r.tenant_id = l.tenant_id AND r.id = l.route_id \
         JOIN LATERAL (SELECT f.received_at FROM forward_events f WHERE f.tenant_id = l.tenant_id \
                AND f.route_id = l.route_id AND f.conversation = l.conversation AND f.held IS NULL \
              ORDER BY f.seq LIMIT 1) e ON true \
         WHERE l.ready_at IS NOT NULL GROUP BY r.number",
    )
    .load(tx.connection())
    .await?)
}

/// What became of a route's events: accepted = delivered + dropped + expired + held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, QueryableByName)]
pub struct ForwardCounts {
    /// The route.
    #[diesel(sql_type = SqlUuid)]
    pub route_id: Uuid,
    /// Taken from Chatwoot.
    #[diesel(sql_type = BigInt)]
    pub accepted: i64,
    /// Taken by the target.
    #[diesel(sql_type = BigInt)]
    pub delivered: i64,
    /// Passed on to nobody: the route was taken away.
    #[diesel(sql_type = BigInt)]
    pub dropped: i64,
    /// Deleted because they grew too old.
    #[diesel(sql_type = BigInt)]
    pub expired: i64,
    /// Waiting, or there for people.
    #[diesel(sql_type = BigInt)]
    pub held: i64,
    /// Bytes of those.
    #[diesel(sql_type = BigInt)]
    pub held_bytes: i64,
}

/// The counts of the tenant's routes, or of one of them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn counts(
    tx: &mut TenantTransaction,
    route: Option<Uuid>,
) -> Result<Vec<ForwardCounts>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(
        "SELECT route_id, sum(accepted)::bigint AS accepted, sum(delivered)::bigint AS delivered, \
             sum(dropped)::bigint AS dropped, sum(expired)::bigint AS expired, sum(held)::bigint AS held, \
             sum(held_bytes)::bigint AS held_bytes \
         FROM (SELECT route_id, accepted, delivered, dropped, expired, held, held_bytes FROM forward_lanes \
                WHERE tenant_id = $1 \
               UNION ALL SELECT route_id, accepted, delivered, dropped, expired, 0, 0 FROM forward_counts \
                WHERE tenant_id = $1) c \
         WHERE route_id = coalesce($2, route_id) GROUP BY route_id ORDER BY route_id",
    )
    .bind::<Text, _>(tenant)
    .bind::<Nullable<SqlUuid>, _>(route)
    .load(tx.connection())
    .await?)
}

/// Forgets lanes that held nothing for so many days, of whatever tenants: at most `most`. Their counts are kept. Returns
/// how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_idle(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let rows: Vec<Count> = database::sql(
        "WITH idle AS (SELECT tenant_id, route_id, conversation FROM forward_lanes \
                WHERE ready_at IS NULL AND held = 0 AND used_at < now() - $1 * interval '1 day' \
                LIMIT $2 FOR UPDATE SKIP LOCKED), \
              gone AS (DELETE FROM forward_lanes l USING idle i WHERE l.tenant_id = i.tenant_id \
                    AND l.route_id = i.route_id AND l.conversation = i.conversation \
                RETURNING l.tenant_id, l.route_id, l.accepted, l.delivered, l.dropped, l.expired), \
              counted AS (INSERT INTO forward_counts AS c (tenant_id, route_id, accepted, delivered, dropped, expired) \
                SELECT tenant_id, route_id, sum(accepted), sum(delivered), sum(dropped), sum(expired) FROM gone \
                GROUP BY tenant_id, route_id ORDER BY tenant_id, route_id \
                ON CONFLICT (tenant_id, route_id) DO UPDATE SET accepted = c.accepted + excluded.accepted, \
                    delivered = c.delivered + excluded.delivered, dropped = c.dropped + excluded.dropped, \
                    expired = c.expired + excluded.expired) \
         SELECT count(*) AS n FROM gone",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    let number = rows.into_iter().map(|row| row.n).sum::<i64>();
    Ok(usize::try_from(number).unwrap_or_default())
}
