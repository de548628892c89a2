//! `endpoint_health` and `endpoint_checks`: how each endpoint was when it was last looked at, and before. The platform's
//! tables: tenants may read the first.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, Transaction};

/// How an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HealthStatus {
    /// It was never looked at.
    #[default]
    Unknown,
    /// It answers in time and takes our key.
    Healthy,
    /// It is slow, or failed and may have failed by chance.
    Degraded,
    /// It is away, or does not take our key.
    Unhealthy,
}

impl HealthStatus {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Healthy, Self::Degraded, Self::Unhealthy];

    /// The name, in the tables, in answers and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Reads the name. What is none is unknown.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .unwrap_or_default()
    }
}

/// What was found when the endpoint was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointHealth {
    /// How it is.
    pub status: HealthStatus,
    /// When that was found.
    pub checked_at: Option<DateTime<Utc>>,
    /// How long its answer took, when it answered.
    pub latency: Option<Duration>,
    /// Why it is not healthy: a stable code.
    pub reason: Option<String>,
}

/// How the endpoint is. `None`: nobody has looked at it yet.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of<S>(tx: &mut Transaction<S>, endpoint: &str) -> Result<Option<EndpointHealth>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        status: String,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        checked_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = Nullable<BigInt>)]
        latency_ms: Option<i64>,
        #[diesel(sql_type = Nullable<Text>)]
        reason: Option<String>,
    }
    let mut rows: Vec<Row> = database::sql(
        "SELECT status, checked_at, latency_ms, reason FROM endpoint_health WHERE endpoint = $1",
    )
    .bind::<Text, _>(endpoint)
    .load(tx.connection())
    .await?;
    Ok(rows.pop().map(|row| EndpointHealth {
        status: HealthStatus::parse(&row.status),
        checked_at: row.checked_at,
        latency: row
            .latency_ms
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Duration::from_millis),
        reason: row.reason,
    }))
}

/// When an endpoint is to be checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckPlan {
    /// Which one.
    pub endpoint: String,
    /// How far the next check may be away.
    pub interval: Duration,
    /// How far it is away when this one is done.
    pub next: Duration,
}

/// A check that is this process' to make.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct DueCheck {
    /// Of which endpoint.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// Whose result counts.
    #[diesel(sql_type = BigInt)]
    pub fence: i64,
}

/// Takes the checks that are due. Whoever asks next finds them due one interval later, whatever becomes of these. An
/// interval that became shorter holds at once.
///
/// # Errors
/// [`DatabaseError`].
pub async fn claim(
    tx: &mut PlatformTransaction,
    plans: &[CheckPlan],
) -> Result<Vec<DueCheck>, DatabaseError> {
    let endpoints: Vec<&str> = plans.iter().map(|plan| plan.endpoint.as_str()).collect();
    let seconds = |of: fn(&CheckPlan) -> Duration| -> Vec<f64> {
        plans.iter().map(|plan| of(plan).as_secs_f64()).collect()
    };
    database::sql(
        "INSERT INTO endpoint_health (endpoint) SELECT unnest($1) ON CONFLICT (endpoint) DO NOTHING",
    )
    .bind::<Array<Text>, _>(&endpoints)
    .execute(tx.connection())
    .await?;
    let due = database::sql(
        "WITH plan AS (SELECT * FROM unnest($1, $2, $3) AS p(endpoint, longest, next)), \
              sooner AS (UPDATE endpoint_health h SET check_at = now() + make_interval(secs => p.longest) FROM plan p \
                         WHERE h.endpoint = p.endpoint AND h.check_at > now() + make_interval(secs => p.longest)) \
         UPDATE endpoint_health h SET check_at = now() + make_interval(secs => p.next), fence = h.fence + 1 \
         FROM plan p WHERE h.endpoint = p.endpoint AND h.check_at <= now() RETURNING h.endpoint, h.fence",
    )
    .bind::<Array<Text>, _>(&endpoints)
    .bind::<Array<Double>, _>(seconds(|plan| plan.interval))
    .bind::<Array<Double>, _>(seconds(|plan| plan.next))
    .load(tx.connection())
    .await?;
    Ok(due)
}

/// The shortest interval that tenants of each endpoint have chosen, in seconds; `usual` for those that chose none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn intervals(
    tx: &mut PlatformTransaction,
    usual: Duration,
) -> Result<Vec<(String, Duration)>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        endpoint: String,
        #[diesel(sql_type = Double)]
        seconds: f64,
    }
    let rows: Vec<Row> = database::sql(
        "SELECT u.endpoint, min(coalesce(c.health_check_interval::double precision, $1)) AS seconds \
         FROM (SELECT endpoint, tenant_id FROM accounts WHERE token_sealed IS NOT NULL \
               UNION SELECT endpoint_name, tenant_id FROM tenant_whatsapp_config) u \
         LEFT JOIN tenant_whatsapp_config c USING (tenant_id) GROUP BY u.endpoint",
    )
    .bind::<Double, _>(usual.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((row.endpoint, Duration::try_from_secs_f64(row.seconds).ok()?)))
        .collect())
}

/// What was known of an endpoint before a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// How it was.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it is unhealthy without a pause.
    pub unhealthy_since: Option<DateTime<Utc>>,
    /// Somebody was told of it.
    pub is_alerted: bool,
}

/// Holds the endpoint's row until the transaction ends. `None`: somebody else has checked it meanwhile.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hold(tx: &mut PlatformTransaction, due: &DueCheck) -> Result<Option<Before>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        status: String,
        #[diesel(sql_type = Integer)]
        failures: i32,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        unhealthy_since: Option<DateTime<Utc>>,
        #[diesel(sql_type = Bool)]
        is_alerted: bool,
    }
    let mut rows: Vec<Row> = database::sql(
        "SELECT status, failures, unhealthy_since, alerted_at IS NOT NULL AS is_alerted FROM endpoint_health \
         WHERE endpoint = $1 AND fence = $2 FOR UPDATE",
    )
    .bind::<Text, _>(&due.endpoint)
    .bind::<BigInt, _>(due.fence)
    .load(tx.connection())
    .await?;
    Ok(rows.pop().map(|row| Before {
        status: HealthStatus::parse(&row.status),
        failures: u32::try_from(row.failures).unwrap_or(0),
        unhealthy_since: row.unhealthy_since,
        is_alerted: row.is_alerted,
    }))
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// How the endpoint is.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failures: u32,
    /// Why it is not healthy.
    pub reason: Option<&'static str>,
    /// How long its answer took.
    pub latency: Option<Duration>,
    /// When it is to be checked again at the latest.
    pub again: Option<Duration>,
}

/// Writes down what a check found. An episode begins with the first finding that the endpoint is unhealthy, and ends with
/// the first that it is not.
///
/// # Errors
/// [`DatabaseError`].
pub async fn record(
    tx: &mut PlatformTransaction,
    endpoint: &str,
    after: &After,
) -> Result<(), DatabaseError> {
    let latency = after
        .latency
        .map(|took| i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
    database::sql(
        "UPDATE endpoint_health SET status = $2, reason = $3, latency_ms = $4, failures = $5, checked_at = now(), \
             changed_at = CASE WHEN status = $2 THEN changed_at ELSE now() END, \
             unhealthy_since = CASE WHEN $2 = 'unhealthy' THEN coalesce(unhealthy_since, now()) END, \
             alerted_at = CASE WHEN $2 = 'unhealthy' THEN alerted_at END, \
             check_at = least(check_at, now() + make_interval(secs => $6)) \
         WHERE endpoint = $1",
    )
    .bind::<Text, _>(endpoint)
    .bind::<Text, _>(after.status.as_str())
    .bind::<Nullable<Text>, _>(after.reason)
    .bind::<Nullable<BigInt>, _>(latency)
    .bind::<Integer, _>(i32::try_from(after.failures).unwrap_or(i32::MAX))
    .bind::<Nullable<Double>, _>(after.again.map(|again| again.as_secs_f64()))
    .execute(tx.connection())
    .await?;
    database::sql(
        "INSERT INTO endpoint_checks (endpoint, status, reason, latency_ms) VALUES ($1, $2, $3, $4)",
    )
    .bind::<Text, _>(endpoint)
    .bind::<Text, _>(after.status.as_str())
    .bind::<Nullable<Text>, _>(after.reason)
    .bind::<Nullable<BigInt>, _>(latency)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// An endpoint that has been unhealthy for so long that somebody has to be told.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct Alarm {
    /// Which one.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
}

/// Notes which of these endpoints have been unhealthy for `patience` and nobody was told: each of them once an episode.
///
/// # Errors
/// [`DatabaseError`].
pub async fn raise(
    tx: &mut PlatformTransaction,
    endpoints: &[&str],
    patience: Duration,
) -> Result<Vec<Alarm>, DatabaseError> {
    let raised = database::sql(
        "UPDATE endpoint_health SET alerted_at = now() \
         WHERE endpoint = ANY ($1) AND status = 'unhealthy' AND alerted_at IS NULL \
           AND unhealthy_since <= now() - make_interval(secs => $2) \
         RETURNING endpoint, reason, unhealthy_since AS since",
    )
    .bind::<Array<Text>, _>(endpoints)
    .bind::<Double, _>(patience.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(raised)
}

/// How an endpoint stands, for the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub endpoint: String,
    /// How it is.
    pub status: HealthStatus,
    /// Somebody was told that it is unhealthy, and it still is.
    pub is_alerted: bool,
}

/// How every endpoint that was ever checked stands.
///
/// # Errors
/// [`DatabaseError`].
pub async fn standings(tx: &mut PlatformTransaction) -> Result<Vec<Standing>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        endpoint: String,
        #[diesel(sql_type = Text)]
        status: String,
        #[diesel(sql_type = Bool)]
        is_alerted: bool,
    }
    let rows: Vec<Row> = database::sql(
        "SELECT endpoint, status, alerted_at IS NOT NULL AS is_alerted FROM endpoint_health ORDER BY endpoint",
    )
    .load(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Standing {
            endpoint: row.endpoint,
            status: HealthStatus::parse(&row.status),
            is_alerted: row.is_alerted,
        })
        .collect())
}

/// Deletes results that are older than `age` or more than `most` of one endpoint, and endpoints that nobody has checked for
/// `age`; at most `batch` results. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn trim(
    tx: &mut PlatformTransaction,
    age: Duration,
    most: u32,
    batch: i64,
) -> Result<usize, DatabaseError> {
    let deleted = database::sql(
        "DELETE FROM endpoint_checks WHERE (endpoint, seq) IN ( \
             (SELECT endpoint, seq FROM endpoint_checks WHERE at < now() - make_interval(secs => $1) LIMIT $3) \
             UNION ALL \
             (SELECT c.endpoint, c.seq FROM endpoint_health h \
              JOIN LATERAL (SELECT seq FROM endpoint_checks WHERE endpoint = h.endpoint \
                            ORDER BY seq DESC OFFSET $2 LIMIT 1) oldest ON true \
              JOIN endpoint_checks c ON c.endpoint = h.endpoint AND c.seq <= oldest.seq LIMIT $3))",
    )
    .bind::<Double, _>(age.as_secs_f64())
    .bind::<BigInt, _>(i64::from(most))
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    database::sql(
        "DELETE FROM endpoint_health WHERE coalesce(checked_at, changed_at) < now() - make_interval(secs => $1)",
    )
    .bind::<Double, _>(age.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}
