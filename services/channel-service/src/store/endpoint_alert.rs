//! `endpoint_alerts`: what the operators' webhook is told about endpoints. The platform's table.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertKind {
    /// The endpoint has been unhealthy for too long.
    Unhealthy,
    /// It is well again.
    Recovered,
}

impl AlertKind {
    /// The name, in the table, in what is posted and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Recovered => "recovered",
        }
    }
}

/// Something to tell.
#[derive(Debug, Clone)]
pub struct NewAlert<'a> {
    /// Of which endpoint.
    pub endpoint: &'a str,
    /// What.
    pub kind: AlertKind,
    /// Why it is, or was, unhealthy.
    pub reason: Option<&'a str>,
    /// Since when it is, or was, unhealthy.
    pub since: DateTime<Utc>,
}

/// Writes an alert down. `is_told`: somebody is to be told, else it is only remembered.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert(
    tx: &mut PlatformTransaction,
    alert: &NewAlert<'_>,
    is_told: bool,
) -> Result<(), DatabaseError> {
    database::sql(
        "INSERT INTO endpoint_alerts (id, endpoint, kind, reason, since, try_at) \
         VALUES ($1, $2, $3, $4, $5, CASE WHEN $6 THEN now() END)",
    )
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(alert.endpoint)
    .bind::<Text, _>(alert.kind.as_str())
    .bind::<Nullable<Text>, _>(alert.reason)
    .bind::<Timestamptz, _>(alert.since)
    .bind::<Bool, _>(is_told)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// An alert that is to be told now.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct DueAlert {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Of which endpoint.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// An [`AlertKind`].
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Why the endpoint is, or was, unhealthy.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// Since when it is, or was, unhealthy.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
    /// When it was raised.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// Which try this is.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
}

/// Takes the oldest alert that is due, for the time `lease`. An endpoint's alerts are told in order: one that waits keeps
/// the later ones of its endpoint waiting.
///
/// # Errors
/// [`DatabaseError`].
pub async fn claim(tx: &mut PlatformTransaction, lease: Duration) -> Result<Option<DueAlert>, DatabaseError> {
    let mut rows: Vec<DueAlert> = database::sql(
        "UPDATE endpoint_alerts SET attempts = attempts + 1, try_at = now() + make_interval(secs => $1) \
         WHERE id = (SELECT a.id FROM endpoint_alerts a WHERE a.try_at <= now() \
                       AND NOT EXISTS (SELECT 1 FROM endpoint_alerts o WHERE o.endpoint = a.endpoint \
                                         AND o.try_at IS NOT NULL AND o.id < a.id) \
                     ORDER BY a.id LIMIT 1 FOR UPDATE SKIP LOCKED) \
         RETURNING id, endpoint, kind, reason, since, at, attempts",
    )
    .bind::<Double, _>(lease.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// The alert was told.
///
/// # Errors
/// [`DatabaseError`].
pub async fn told(tx: &mut PlatformTransaction, id: Uuid) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE endpoint_alerts SET told_at = now(), try_at = NULL, last_error = NULL WHERE id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The alert was not told. Without a `wait` it never will be.
///
/// # Errors
/// [`DatabaseError`].
pub async fn not_told(
    tx: &mut PlatformTransaction,
    id: Uuid,
    wait: Option<Duration>,
    error: &str,
) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE endpoint_alerts SET try_at = now() + make_interval(secs => $2), last_error = $3 WHERE id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Nullable<Double>, _>(wait.map(|wait| wait.as_secs_f64()))
    .bind::<Text, _>(error)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes alerts that are older than `age`, at most `batch`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn trim(tx: &mut PlatformTransaction, age: Duration, batch: i64) -> Result<usize, DatabaseError> {
    let deleted = database::sql(
        "DELETE FROM endpoint_alerts WHERE id IN \
             (SELECT id FROM endpoint_alerts WHERE at < now() - make_interval(secs => $1) LIMIT $2)",
    )
    .bind::<Double, _>(age.as_secs_f64())
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}
