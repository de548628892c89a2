//! What happened to events that did not go through at once, step by step.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{GroupTransaction, PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Most steps of one event that are shown.
const SHOWN: i64 = 200;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The target did not take it, and it is tried again by itself.
    Failed,
    /// It was put aside: the target does not have it.
    Parked,
    /// It was put aside: the target may have it.
    Unknown,
    /// The target has it, after failures.
    Delivered,
    /// Somebody took it up again.
    Replayed,
    /// The agent was shown what became of it.
    Shown,
}

impl Step {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Parked => "parked",
            Self::Unknown => "unknown",
            Self::Delivered => "delivered",
            Self::Replayed => "replayed",
            Self::Shown => "shown",
        }
    }
}

/// A step that is to be noted.
#[derive(Debug, Clone)]
pub struct NewStep {
    /// Whose event.
    pub tenant: String,
    /// The event.
    pub event: Uuid,
    /// What happened.
    pub step: Step,
    /// A stable code, or who did it.
    pub detail: Option<String>,
}

/// A step that was noted.
#[derive(Debug, Clone, QueryableByName)]
pub struct StepRow {
    /// What happened.
    #[diesel(sql_type = Text)]
    pub step: String,
    /// A stable code, or who did it.
    #[diesel(sql_type = Nullable<Text>)]
    pub detail: Option<String>,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
}

const ADD: &str = "INSERT INTO forward_steps (tenant_id, event_id, step, detail) \
                   SELECT * FROM unnest($1, $2, $3, $4)";

/// Notes steps of several tenants' events, in the transaction that takes them.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn note_all(tx: &mut GroupTransaction, steps: &[NewStep]) -> Result<(), DatabaseError> {
    if steps.is_empty() {
        return Ok(());
    }
    database::sql(ADD)
        .bind::<Array<Text>, _>(steps.iter().map(|one| one.tenant.as_str()).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(steps.iter().map(|one| one.event).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(steps.iter().map(|one| one.step.as_str()).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(steps.iter().map(|one| one.detail.as_deref()).collect::<Vec<_>>())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Notes one step of several of the tenant's events.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn note(
    tx: &mut TenantTransaction,
    events: &[Uuid],
    step: Step,
    detail: Option<&str>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO forward_steps (tenant_id, event_id, step, detail) SELECT $1, e, $3, $4 FROM unnest($2) AS e",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(events)
    .bind::<Text, _>(step.as_str())
    .bind::<Nullable<Text>, _>(detail)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The steps of an event, in order.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of(tx: &mut TenantTransaction, event: Uuid) -> Result<Vec<StepRow>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(
        "SELECT step, detail, at FROM forward_steps WHERE tenant_id = $1 AND event_id = $2 ORDER BY seq LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(event)
    .bind::<BigInt, _>(SHOWN)
    .load(tx.connection())
    .await?)
}

/// Forgets up to `most` steps, of whatever tenants, that are older than `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    Ok(database::sql(
        "DELETE FROM forward_steps s USING (SELECT tenant_id, event_id, seq FROM forward_steps \
              WHERE at < now() - $1 * interval '1 day' ORDER BY at LIMIT $2) old \
         WHERE s.tenant_id = old.tenant_id AND s.event_id = old.event_id AND s.seq = old.seq",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?)
}
