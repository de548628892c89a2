//! `endpoint_health`: how each endpoint was when it was last looked at. The platform's table: tenants may read it.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tenant_isolation::Transaction;

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
    pub latency: Option<std::time::Duration>,
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
    let mut rows: Vec<Row> = diesel::sql_query(
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
            .map(std::time::Duration::from_millis),
        reason: row.reason,
    }))
}
