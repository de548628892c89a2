//! What the operators look at: how much waits where, counted no further than anybody reads, and which processes there are.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

/// Above so many nobody counts on.
pub const COUNTED: i64 = 10_000;

/// So many of something, and since when the oldest is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, diesel::QueryableByName)]
pub struct Backlog {
    /// How many; more than [`COUNTED`] is [`COUNTED`] and one.
    #[diesel(sql_type = BigInt)]
    pub many: i64,
    /// Since when the oldest of those that were counted is there.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
}

/// What waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlogs {
    /// Events that the broker has to take.
    pub outbox: Backlog,
    /// Events that are too large for it.
    pub outbox_parked: Backlog,
    /// Lanes whose turn it is; the oldest by when it came.
    pub lanes_due: Backlog,
    /// Lanes whose next try is in the future.
    pub lanes_later: Backlog,
    /// Work that was put aside for people.
    pub parked: Backlog,
    /// Webhooks that are nobody's, or that cannot be used.
    pub quarantine: Backlog,
}

async fn count(tx: &mut PlatformTransaction, rows: &'static str) -> Result<Backlog, DatabaseError> {
    let backlog = database::sql(format!(
        "SELECT count(*) AS many, min(at) AS oldest FROM ({rows} LIMIT $1) counted"
    ))
    .bind::<BigInt, _>(COUNTED + 1)
    .get_result(tx.connection())
    .await?;
    Ok(backlog)
}

/// Counts what waits. Each count reads an index from its begin and ends at its bound.
///
/// # Errors
/// [`DatabaseError`].
pub async fn backlogs(tx: &mut PlatformTransaction) -> Result<Backlogs, DatabaseError> {
    Ok(Backlogs {
        outbox: count(
            tx,
            "SELECT created_at AS at FROM outbox WHERE parked IS NULL ORDER BY seq",
        )
        .await?,
        outbox_parked: count(
            tx,
            "SELECT created_at AS at FROM outbox WHERE parked IS NOT NULL ORDER BY seq",
        )
        .await?,
        lanes_due: count(
            tx,
            "SELECT ready_at AS at FROM lanes WHERE ready_at <= now() ORDER BY ready_at",
        )
        .await?,
        lanes_later: count(
            tx,
            "SELECT ready_at AS at FROM lanes WHERE ready_at > now() ORDER BY ready_at",
        )
        .await?,
        parked: count(tx, "SELECT created_at AS at FROM lane_tasks WHERE parked").await?,
        quarantine: count(tx, "SELECT received_at AS at FROM quarantine").await?,
    })
}

/// A thing that one process does at a time, and until when nobody else will.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct LeaseRow {
    /// What.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Until when, unless it is kept.
    #[diesel(sql_type = Timestamptz)]
    pub until: DateTime<Utc>,
}

/// Who leads what at present.
///
/// # Errors
/// [`DatabaseError`].
pub async fn leases(tx: &mut PlatformTransaction) -> Result<Vec<LeaseRow>, DatabaseError> {
    let rows = database::sql("SELECT name, until FROM leases WHERE until > now() ORDER BY name LIMIT 50")
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// A process of this service.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct Replica {
    /// The one.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// On which machine or in which container.
    #[diesel(sql_type = Text)]
    pub host: String,
    /// Which release.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// Since when it runs.
    #[diesel(sql_type = Timestamptz)]
    pub started_at: DateTime<Utc>,
    /// When it last said so.
    #[diesel(sql_type = Timestamptz)]
    pub seen_at: DateTime<Utc>,
}

/// A process says that it is there.
///
/// # Errors
/// [`DatabaseError`].
pub async fn beat(
    tx: &mut PlatformTransaction,
    id: Uuid,
    host: &str,
    version: &str,
    started_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    database::sql(
        "INSERT INTO replicas (id, host, version, started_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id) DO UPDATE SET seen_at = now()",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(host)
    .bind::<Text, _>(version)
    .bind::<Timestamptz, _>(started_at)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A process ends, and whoever has been silent for so long is forgotten with it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget(
    tx: &mut PlatformTransaction,
    id: Option<Uuid>,
    silent: std::time::Duration,
) -> Result<(), DatabaseError> {
    database::sql("DELETE FROM replicas WHERE id = $1 OR seen_at < now() - make_interval(secs => $2)")
        .bind::<Nullable<SqlUuid>, _>(id)
        .bind::<Double, _>(silent.as_secs_f64())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The processes that were seen lately, the youngest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn replicas(
    tx: &mut PlatformTransaction,
    within: std::time::Duration,
) -> Result<Vec<Replica>, DatabaseError> {
    let rows = database::sql(
        "SELECT id, host, version, started_at, seen_at FROM replicas \
         WHERE seen_at > now() - make_interval(secs => $1) ORDER BY started_at DESC LIMIT 100",
    )
    .bind::<Double, _>(within.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(rows)
}
