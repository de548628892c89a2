//! Events as operators look through them, whoever's: what is put aside, what waits, what is over. Nothing of what is in them.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::forward_steps::{self, StepRow};

/// So many of those that ended last are looked through where nothing tells which they are.
const LOOKED_THROUGH: i64 = 20_000;

/// An event, wherever it stands.
#[derive(Debug, Clone, QueryableByName)]
pub struct Delivery {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Ours.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// Our id of the route.
    #[diesel(sql_type = SqlUuid)]
    pub route_id: Uuid,
    /// The route's number; none when it was taken away.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub route: Option<i64>,
    /// The conversation's display id; 0 for events of none.
    #[diesel(sql_type = BigInt)]
    pub conversation: i64,
    /// Chatwoot's message, for events about one.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub message: Option<i64>,
    /// Chatwoot's name of the event while it is here, what sort it was afterwards.
    #[diesel(sql_type = Text)]
    pub event: String,
    /// `waiting`, `parked`, `unknown`, `delivered` or `dropped`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Failures.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// Why it did not arrive the last time.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// The request that brought it.
    #[diesel(sql_type = Nullable<Text>)]
    pub request_id: Option<String>,
    /// When it was accepted.
    #[diesel(sql_type = Timestamptz)]
    pub received_at: DateTime<Utc>,
    /// When it ended.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
    /// Its place among all that are here; 0 when it is over.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
}

const HERE: &str = "SELECT e.tenant_id, e.id AS event_id, e.route_id, r.number AS route, e.conversation, e.message, e.event, \
        coalesce(e.held, 'waiting') AS state, e.failures, e.reason, e.request_id, e.received_at, \
        NULL::timestamptz AS ended_at, e.seq \
     FROM forward_events e LEFT JOIN routes r ON r.tenant_id = e.tenant_id AND r.id = e.route_id";
const OVER: &str = "SELECT e.tenant_id, e.event_id, e.route_id, r.number AS route, e.conversation, e.message, \
        e.class AS event, e.outcome AS state, e.failures, NULL::text AS reason, e.request_id, e.received_at, \
        e.ended_at, 0::bigint AS seq FROM";
const ROUTE_OF_OVER: &str = "LEFT JOIN routes r ON r.tenant_id = e.tenant_id AND r.id = e.route_id";

/// Which ones. What is not given is not asked for.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Our id of the route; together with the tenant.
    pub route: Option<Uuid>,
    /// Only those that the target may have, or only the others.
    pub how: Option<&'static str>,
    /// With this code.
    pub reason: Option<String>,
}

/// Those that stay for people, oldest first, behind the place `after`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn aside(
    tx: &mut PlatformTransaction,
    which: &Which,
    after: i64,
    most: i64,
) -> Result<Vec<Delivery>, DatabaseError> {
    // Of one route they are found by the route's own index.
    let of = if which.route.is_some() {
        "e.tenant_id = $1 AND e.route_id = $2"
    } else {
        "($1::text IS NULL OR e.tenant_id = $1) AND $2::uuid IS NULL"
    };
    Ok(database::sql(format!(
        "{HERE} WHERE e.held IS NOT NULL AND e.seq > $3 AND {of} AND ($4::text IS NULL OR e.held = $4) \
             AND ($5::text IS NULL OR e.reason = $5) ORDER BY e.seq LIMIT $6"
    ))
    .bind::<Nullable<Text>, _>(which.tenant.as_deref())
    .bind::<Nullable<SqlUuid>, _>(which.route)
    .bind::<BigInt, _>(after)
    .bind::<Nullable<Text>, _>(which.how)
    .bind::<Nullable<Text>, _>(which.reason.as_deref())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// Those that wait or are on their way, oldest first, behind one of them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn waiting(
    tx: &mut PlatformTransaction,
    which: &Which,
    after: Option<(DateTime<Utc>, Uuid)>,
    most: i64,
) -> Result<Vec<Delivery>, DatabaseError> {
    let of = if which.route.is_some() {
        "e.tenant_id = $1 AND e.route_id = $2"
    } else {
        "($1::text IS NULL OR e.tenant_id = $1) AND $2::uuid IS NULL"
    };
    let (at, id) = after.unzip();
    Ok(database::sql(format!(
        "{HERE} WHERE e.held IS NULL AND {of} AND ($3::timestamptz IS NULL OR (e.received_at, e.id) > ($3, $4)) \
             AND ($5::text IS NULL OR e.reason = $5) ORDER BY e.received_at, e.id LIMIT $6"
    ))
    .bind::<Nullable<Text>, _>(which.tenant.as_deref())
    .bind::<Nullable<SqlUuid>, _>(which.route)
    .bind::<Nullable<Timestamptz>, _>(at)
    .bind::<Nullable<SqlUuid>, _>(id)
    .bind::<Nullable<Text>, _>(which.reason.as_deref())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// Those that are over, newest first, behind one of them; of one tenant or route among those that ended last.
///
/// # Errors
/// [`DatabaseError`].
pub async fn over(
    tx: &mut PlatformTransaction,
    which: &Which,
    after: Option<(DateTime<Utc>, Uuid)>,
    most: i64,
) -> Result<Vec<Delivery>, DatabaseError> {
    let (at, id) = after.unzip();
    Ok(database::sql(format!(
        "{OVER} (SELECT * FROM forward_done WHERE $3::timestamptz IS NULL OR (ended_at, event_id) < ($3, $4) \
             ORDER BY ended_at DESC, event_id DESC LIMIT $6) e {ROUTE_OF_OVER} \
         WHERE ($1::text IS NULL OR e.tenant_id = $1) AND ($2::uuid IS NULL OR e.route_id = $2) \
         ORDER BY e.ended_at DESC, e.event_id DESC LIMIT $5"
    ))
    .bind::<Nullable<Text>, _>(which.tenant.as_deref())
    .bind::<Nullable<SqlUuid>, _>(which.route)
    .bind::<Nullable<Timestamptz>, _>(at)
    .bind::<Nullable<SqlUuid>, _>(id)
    .bind::<BigInt, _>(most)
    .bind::<BigInt, _>(LOOKED_THROUGH)
    .load(tx.connection())
    .await?)
}

/// One of the tenant's events and what happened to it, in order. An event that took no wrong turn and is not known any more
/// is none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn journey(
    tx: &mut TenantTransaction,
    event: Uuid,
) -> Result<(Option<Delivery>, Vec<StepRow>), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let here: Vec<Delivery> = database::sql(format!("{HERE} WHERE e.tenant_id = $1 AND e.id = $2"))
        .bind::<Text, _>(&tenant)
        .bind::<SqlUuid, _>(event)
        .load(tx.connection())
        .await?;
    let found = match here.into_iter().next() {
        Some(here) => Some(here),
        None => {
            let over: Vec<Delivery> = database::sql(format!(
                "{OVER} forward_done e {ROUTE_OF_OVER} WHERE e.tenant_id = $1 AND e.event_id = $2"
            ))
            .bind::<Text, _>(&tenant)
            .bind::<SqlUuid, _>(event)
            .load(tx.connection())
            .await?;
            over.into_iter().next()
        }
    };
    let steps = forward_steps::of(tx, event).await?;
    Ok((found, steps))
}

/// Events of whatever tenants with this id of ours.
///
/// # Errors
/// [`DatabaseError`].
pub async fn by_id(tx: &mut PlatformTransaction, id: Uuid) -> Result<Vec<Delivery>, DatabaseError> {
    // Keys begin with the tenant; there are far fewer of those than events.
    let tenants = "(SELECT tenant_id FROM routes UNION SELECT tenant_id FROM forward_counts \
                    UNION SELECT tenant_id FROM forward_events WHERE held IS NOT NULL) t";
    Ok(database::sql(format!(
        "{HERE} JOIN {tenants} ON t.tenant_id = e.tenant_id WHERE e.id = $1 UNION ALL \
         {OVER} {tenants} JOIN forward_done e ON e.tenant_id = t.tenant_id AND e.event_id = $1 {ROUTE_OF_OVER}"
    ))
    .bind::<SqlUuid, _>(id)
    .load(tx.connection())
    .await?)
}

/// Events about this message of Chatwoot's, at most `most` of each sort: those put aside, those that are over, and of those
/// that wait the newest ones are looked through.
///
/// # Errors
/// [`DatabaseError`].
pub async fn by_message(
    tx: &mut PlatformTransaction,
    message: i64,
    most: i64,
) -> Result<Vec<Delivery>, DatabaseError> {
    Ok(database::sql(format!(
        "({HERE} WHERE e.held IS NOT NULL AND e.message = $1 ORDER BY e.seq DESC LIMIT $2) UNION ALL \
         (SELECT * FROM ({HERE} WHERE e.held IS NULL ORDER BY e.received_at DESC LIMIT $3) w WHERE w.message = $1 LIMIT $2) \
         UNION ALL ({OVER} forward_done e {ROUTE_OF_OVER} WHERE e.message = $1 LIMIT $2)"
    ))
    .bind::<BigInt, _>(message)
    .bind::<BigInt, _>(most)
    .bind::<BigInt, _>(LOOKED_THROUGH)
    .load(tx.connection())
    .await?)
}

/// Events that this request brought; of those that wait the newest ones are looked through.
///
/// # Errors
/// [`DatabaseError`].
pub async fn by_request(
    tx: &mut PlatformTransaction,
    request: &str,
    most: i64,
) -> Result<Vec<Delivery>, DatabaseError> {
    Ok(database::sql(format!(
        "({HERE} WHERE e.held IS NOT NULL AND e.request_id = $1 LIMIT $2) UNION ALL \
         (SELECT * FROM ({HERE} WHERE e.held IS NULL ORDER BY e.received_at DESC LIMIT $3) w \
             WHERE w.request_id = $1 LIMIT $2) \
         UNION ALL ({OVER} forward_done e {ROUTE_OF_OVER} WHERE e.request_id = $1 LIMIT $2)"
    ))
    .bind::<Text, _>(request)
    .bind::<BigInt, _>(most)
    .bind::<BigInt, _>(LOOKED_THROUGH)
    .load(tx.connection())
    .await?)
}

/// How many events stay for people, and how many tasks; not more than `most` are counted of either.
///
/// # Errors
/// [`DatabaseError`].
pub async fn aside_counts(tx: &mut PlatformTransaction, most: i64) -> Result<(i64, i64), DatabaseError> {
    #[derive(QueryableByName)]
    struct Counts {
        #[diesel(sql_type = BigInt)]
        events: i64,
        #[diesel(sql_type = BigInt)]
        tasks: i64,
    }
    let rows: Vec<Counts> = database::sql(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM forward_events WHERE held IS NOT NULL LIMIT $1) e) AS events, \
             (SELECT count(*) FROM (SELECT 1 FROM lane_tasks WHERE parked LIMIT $1) t) AS tasks",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    let counts = rows.into_iter().next();
    Ok(counts.map_or((0, 0), |row| (row.events, row.tasks)))
}
