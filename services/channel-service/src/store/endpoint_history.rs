//! `endpoint_health` and `endpoint_checks` for people who look at endpoints: how they stand, how they stood, and who has them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tenant_isolation::PlatformTransaction;

use super::endpoint_health::HealthStatus;

/// How one endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub endpoint: String,
    /// How it is.
    pub status: HealthStatus,
    /// Why it is not healthy: a stable code.
    pub reason: Option<String>,
    /// How long its answer took.
    pub latency: Option<Duration>,
    /// When that was found.
    pub checked_at: Option<DateTime<Utc>>,
    /// Since when it is like that.
    pub since: DateTime<Utc>,
    /// Somebody was told.
    pub is_alerted: bool,
}

/// How these endpoints stand, those that were ever looked at.
///
/// # Errors
/// [`DatabaseError`].
pub async fn standings(
    tx: &mut PlatformTransaction,
    endpoints: &[&str],
) -> Result<Vec<Standing>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        endpoint: String,
        #[diesel(sql_type = Text)]
        status: String,
        #[diesel(sql_type = Nullable<Text>)]
        reason: Option<String>,
        #[diesel(sql_type = Nullable<BigInt>)]
        latency_ms: Option<i64>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        checked_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = Timestamptz)]
        changed_at: DateTime<Utc>,
        #[diesel(sql_type = Bool)]
        is_alerted: bool,
    }
    let rows: Vec<Row> = database::sql(
        "SELECT endpoint, status, reason, latency_ms, checked_at, changed_at, alerted_at IS NOT NULL AS is_alerted \
         FROM endpoint_health WHERE endpoint = ANY ($1)",
    )
    .bind::<Array<Text>, _>(endpoints)
    .load(tx.connection())
    .await?;
    let read = |row: Row| Standing {
        endpoint: row.endpoint,
        status: HealthStatus::parse(&row.status),
        reason: row.reason,
        latency: row
            .latency_ms
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Duration::from_millis),
        checked_at: row.checked_at,
        since: row.changed_at,
        is_alerted: row.is_alerted,
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Has the endpoint checked as soon as whoever leads the checks looks again, which it does every second. A check that is
/// under way meanwhile counts no more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn check_soon(tx: &mut PlatformTransaction, endpoint: &str) -> Result<(), DatabaseError> {
    database::sql(
        "INSERT INTO endpoint_health (endpoint) VALUES ($1) ON CONFLICT (endpoint) DO UPDATE SET check_at = now()",
    )
    .bind::<Text, _>(endpoint)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// For a while every check found the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    /// Of which endpoint.
    pub endpoint: String,
    /// When the first of them was made.
    pub from: DateTime<Utc>,
    /// When the next one found something else; where nobody looked for long, when the last one was made.
    pub until: DateTime<Utc>,
    /// How it was.
    pub status: HealthStatus,
    /// Why it was not healthy, at first.
    pub reason: Option<String>,
}

/// Nobody looked for so long: how it was meanwhile is not known. Longer than the longest interval that a tenant may choose.
const SILENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// How these endpoints were since a moment, the oldest first; of each endpoint at most `most` episodes, the newest ones.
///
/// # Errors
/// [`DatabaseError`].
pub async fn episodes(
    tx: &mut PlatformTransaction,
    endpoints: &[&str],
    from: DateTime<Utc>,
    most: i64,
) -> Result<Vec<Episode>, DatabaseError> {
    // Only the checks at which something changed leave Postgres. One window over an index that has them in order: an endpoint
    // has ten thousand checks in a week.
    let turns: Vec<Turn> = database::sql(
        "SELECT e.endpoint, t.at, t.status, t.reason, t.before_at, t.last_at FROM unnest($1) AS e (endpoint) \
         CROSS JOIN LATERAL (SELECT at, status, reason, before_at, \
                (SELECT max(at) FROM endpoint_checks WHERE endpoint = e.endpoint) AS last_at \
             FROM (SELECT at, status, reason, lag(at) OVER by_time AS before_at, lag(status) OVER by_time AS before \
                   FROM endpoint_checks WHERE endpoint = e.endpoint AND at >= $2 WINDOW by_time AS (ORDER BY at)) checks \
             WHERE before IS DISTINCT FROM status OR at > before_at + make_interval(secs => $4) \
             ORDER BY at DESC LIMIT $3) t \
         ORDER BY e.endpoint, t.at",
    )
    .bind::<Array<Text>, _>(endpoints)
    .bind::<Timestamptz, _>(from)
    .bind::<BigInt, _>(most)
    .bind::<Double, _>(SILENCE.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(between(&turns, Utc::now()))
}

/// A check at which something changed.
#[derive(diesel::QueryableByName)]
struct Turn {
    #[diesel(sql_type = Text)]
    endpoint: String,
    #[diesel(sql_type = Timestamptz)]
    at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    /// When the check before it was made.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    before_at: Option<DateTime<Utc>>,
    /// When the endpoint's last check was made.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_at: Option<DateTime<Utc>>,
}

/// The episodes between these, which are sorted by endpoint and time.
fn between(turns: &[Turn], now: DateTime<Utc>) -> Vec<Episode> {
    let is_silent =
        |from: DateTime<Utc>, until: DateTime<Utc>| (until - from).to_std().is_ok_and(|time| time > SILENCE);
    let until = |turn: &Turn, next: Option<&Turn>| match next {
        Some(next) => next
            .before_at
            .filter(|before| is_silent(*before, next.at))
            .unwrap_or(next.at),
        None => {
            let last = turn.last_at.unwrap_or(turn.at);
            if is_silent(last, now) {
                last
            } else {
                now.max(turn.at)
            }
        }
    };
    let followed = turns.iter().enumerate().map(|(place, turn)| {
        let next = turns.get(place + 1).filter(|next| next.endpoint == turn.endpoint);
        Episode {
            endpoint: turn.endpoint.clone(),
            from: turn.at,
            until: until(turn, next),
            status: HealthStatus::parse(&turn.status),
            reason: turn.reason.clone(),
        }
    });
    followed.collect()
}

/// The last check that found an endpoint not healthy, and why.
///
/// # Errors
/// [`DatabaseError`].
pub async fn last_trouble(
    tx: &mut PlatformTransaction,
    endpoint: &str,
) -> Result<Option<(DateTime<Utc>, String)>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
        #[diesel(sql_type = Text)]
        reason: String,
    }
    let mut rows: Vec<Row> = database::sql(
        "SELECT at, reason FROM endpoint_checks WHERE endpoint = $1 AND reason IS NOT NULL ORDER BY seq DESC LIMIT 1",
    )
    .bind::<Text, _>(endpoint)
    .load(tx.connection())
    .await?;
    Ok(rows.pop().map(|row| (row.at, row.reason)))
}

/// Above so many nobody counts on.
pub const COUNTED: i64 = 10_000;

/// How many tenants were given each of these endpoints: [`COUNTED`] and one for more than that.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tenants(
    tx: &mut PlatformTransaction,
    endpoints: &[&str],
) -> Result<Vec<(String, i64)>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        endpoint: String,
        #[diesel(sql_type = BigInt)]
        many: i64,
    }
    let rows: Vec<Row> = database::sql(
        "SELECT e.endpoint, c.many FROM unnest($1) AS e (endpoint) CROSS JOIN LATERAL (SELECT count(*) AS many FROM \
             (SELECT 1 FROM tenant_whatsapp_config WHERE endpoint_name = e.endpoint LIMIT $2) counted) c",
    )
    .bind::<Array<Text>, _>(endpoints)
    .bind::<BigInt, _>(COUNTED + 1)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.endpoint, row.many)).collect())
}

/// A tenant that was given an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct AssignedTenant {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// What people call it.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Whether it may work.
    #[diesel(sql_type = Text)]
    pub status: String,
}

/// Tenants that were given an endpoint, by id and behind one of them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tenants_of(
    tx: &mut PlatformTransaction,
    endpoint: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<AssignedTenant>, DatabaseError> {
    let rows = database::sql(
        "SELECT c.tenant_id, t.name, t.status FROM tenant_whatsapp_config c JOIN tenants t USING (tenant_id) \
         WHERE c.endpoint_name = $1 AND c.tenant_id > $2 ORDER BY c.tenant_id LIMIT $3",
    )
    .bind::<Text, _>(endpoint)
    .bind::<Text, _>(after.unwrap_or_default())
    .bind::<BigInt, _>(limit)
    .load(tx.connection())
    .await?;
    Ok(rows)
}
