//! Events that are taken up again by a filter, batch by batch: what is to be taken up, and how far it came.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

use super::forward_steps::Step;

/// Which events that are put aside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this route, by our id.
    pub route: Option<Uuid>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Put aside for this reason.
    pub reason: Option<String>,
    /// Those that the target may have, too: it can get them twice.
    pub with_unknown: bool,
}

/// What a filter finds: events of one route that were put aside for one reason.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Found {
    /// The route's number; none when it was taken away.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub route: Option<i64>,
    /// May the target have them?
    #[diesel(sql_type = Bool)]
    pub unknown: bool,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub oldest: DateTime<Utc>,
    /// How many all groups have together.
    #[diesel(sql_type = BigInt)]
    pub all: i64,
}

/// A row of `replay_jobs`.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct ReplayJob {
    /// Ours.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Of this route.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub of_route: Option<Uuid>,
    /// Of this tenant.
    #[diesel(sql_type = Nullable<Text>)]
    pub of_tenant: Option<String>,
    /// Put aside for this reason.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// Those that the target may have, too.
    #[diesel(sql_type = Bool)]
    pub with_unknown: bool,
    /// Nothing that was accepted later.
    #[diesel(sql_type = BigInt)]
    pub until_seq: i64,
    /// Where the next batch begins.
    #[diesel(sql_type = BigInt)]
    pub after_seq: i64,
    /// How many there were when it began.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// How many were taken up.
    #[diesel(sql_type = BigInt)]
    pub replayed: i64,
    /// `running`, `stopped` or `done`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Who wants it.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// From where.
    #[diesel(sql_type = Nullable<Text>)]
    pub source: Option<String>,
    /// When it was begun.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it ended.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub finished_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, of_route, of_tenant, reason, with_unknown, until_seq, after_seq, total, replayed, state, actor, \
                       source, created_at, finished_at";
const FITS: &str = "e.held IS NOT NULL AND ($1::uuid IS NULL OR e.route_id = $1) \
                    AND ($2::text IS NULL OR e.tenant_id = $2) AND ($3::text IS NULL OR e.reason = $3) \
                    AND ($4 OR e.held = 'parked')";

impl ReplayJob {
    /// What it is about.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            route: self.of_route,
            tenant: self.of_tenant.clone(),
            reason: self.reason.clone(),
            with_unknown: self.with_unknown,
        }
    }
}

/// What would be taken up, in groups, the largest first, at most `most` of these.
///
/// # Errors
/// [`DatabaseError`].
pub async fn preview(
    tx: &mut PlatformTransaction,
    filter: &Filter,
    most: i64,
) -> Result<Vec<Found>, DatabaseError> {
    Ok(database::sql(format!(
        "SELECT r.number AS route, g.unknown, g.reason, g.events, g.oldest, (sum(g.events) OVER ())::bigint AS all FROM \
            (SELECT e.tenant_id, e.route_id, e.held = 'unknown' AS unknown, e.reason, count(*) AS events, \
                min(e.received_at) AS oldest FROM forward_events e WHERE {FITS} \
              GROUP BY e.tenant_id, e.route_id, e.held, e.reason) g \
         LEFT JOIN routes r ON r.tenant_id = g.tenant_id AND r.id = g.route_id \
         ORDER BY g.events DESC, r.number, g.reason LIMIT $5"
    ))
    .bind::<Nullable<SqlUuid>, _>(filter.route)
    .bind::<Nullable<Text>, _>(filter.tenant.as_deref())
    .bind::<Nullable<Text>, _>(filter.reason.as_deref())
    .bind::<Bool, _>(filter.with_unknown)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// Begins one about what the filter finds now.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add(
    tx: &mut PlatformTransaction,
    id: Uuid,
    filter: &Filter,
    (actor, source): (&str, Option<&str>),
) -> Result<(), DatabaseError> {
    database::sql(format!(
        "INSERT INTO replay_jobs (id, of_route, of_tenant, reason, with_unknown, until_seq, total, actor, source) \
         SELECT $5, $1, $2, $3, $4, coalesce(max(e.seq), 0), count(*), $6, $7 FROM forward_events e WHERE {FITS}"
    ))
    .bind::<Nullable<SqlUuid>, _>(filter.route)
    .bind::<Nullable<Text>, _>(filter.tenant.as_deref())
    .bind::<Nullable<Text>, _>(filter.reason.as_deref())
    .bind::<Bool, _>(filter.with_unknown)
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(actor)
    .bind::<Nullable<Text>, _>(source)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// One of them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut PlatformTransaction, id: Uuid) -> Result<Option<ReplayJob>, DatabaseError> {
    let rows: Vec<ReplayJob> = database::sql(format!("SELECT {COLUMNS} FROM replay_jobs WHERE id = $1"))
        .bind::<SqlUuid, _>(id)
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().next())
}

/// One of them, and nobody else changes it until the transaction ends.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock(tx: &mut PlatformTransaction, id: Uuid) -> Result<Option<ReplayJob>, DatabaseError> {
    let rows: Vec<ReplayJob> = database::sql(format!(
        "SELECT {COLUMNS} FROM replay_jobs WHERE id = $1 FOR UPDATE"
    ))
    .bind::<SqlUuid, _>(id)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// The newest ones.
///
/// # Errors
/// [`DatabaseError`].
pub async fn newest(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<ReplayJob>, DatabaseError> {
    Ok(database::sql(format!(
        "SELECT {COLUMNS} FROM replay_jobs ORDER BY created_at DESC LIMIT $1"
    ))
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// Those that are to go on, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn running(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<ReplayJob>, DatabaseError> {
    Ok(database::sql(format!(
        "SELECT {COLUMNS} FROM replay_jobs WHERE state = 'running' ORDER BY created_at LIMIT $1"
    ))
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// Writes how far it came.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(tx: &mut PlatformTransaction, job: &ReplayJob) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE replay_jobs SET after_seq = $2, replayed = $3, state = $4, updated_at = now(), \
             finished_at = CASE WHEN $4 = 'done' THEN coalesce(finished_at, now()) END WHERE id = $1",
    )
    .bind::<SqlUuid, _>(job.id)
    .bind::<BigInt, _>(job.after_seq)
    .bind::<BigInt, _>(job.replayed)
    .bind::<Text, _>(&job.state)
    .execute(tx.connection())
    .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Next {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    seq: i64,
}

/// Takes up the next events of a job, at most `most`: each goes back to its old place in its lane, and who did it is noted.
/// Returns how many, and where the batch after them begins; `None` at the end.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn take_up(
    tx: &mut PlatformTransaction,
    job: &ReplayJob,
    most: i64,
) -> Result<(i64, Option<i64>), DatabaseError> {
    let next: Vec<Next> = database::sql(format!(
        "SELECT e.tenant_id, e.id, e.seq FROM forward_events e WHERE {FITS} AND e.seq > $5 AND e.seq <= $6 \
         ORDER BY e.seq LIMIT $7"
    ))
    .bind::<Nullable<SqlUuid>, _>(job.of_route)
    .bind::<Nullable<Text>, _>(job.of_tenant.as_deref())
    .bind::<Nullable<Text>, _>(job.reason.as_deref())
    .bind::<Bool, _>(job.with_unknown)
    .bind::<BigInt, _>(job.after_seq)
    .bind::<BigInt, _>(job.until_seq)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    let Some(last) = next.last() else {
        return Ok((0, None));
    };
    let after = last.seq;
    let tenants: Vec<&str> = next.iter().map(|one| one.tenant_id.as_str()).collect();
    let ids: Vec<Uuid> = next.iter().map(|one| one.id).collect();
    // The lanes first, as everywhere: a worker that lets go of one afterwards sees the event.
    database::sql(
        "SELECT 1 FROM forward_lanes l JOIN (SELECT DISTINCT e.tenant_id, e.route_id, e.conversation \
             FROM unnest($1, $2) AS n (tenant_id, id) JOIN forward_events e USING (tenant_id, id)) n \
           USING (tenant_id, route_id, conversation) \
         ORDER BY l.tenant_id, l.route_id, l.conversation FOR UPDATE OF l",
    )
    .bind::<Array<Text>, _>(&tenants)
    .bind::<Array<SqlUuid>, _>(&ids)
    .execute(tx.connection())
    .await?;
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let rows: Vec<Count> = database::sql(
        "WITH taken AS (UPDATE forward_events e SET held = NULL, failures = 0, reason = NULL \
                FROM unnest($1, $2) AS n (tenant_id, id) \
                WHERE e.tenant_id = n.tenant_id AND e.id = n.id AND e.held IS NOT NULL \
                RETURNING e.tenant_id, e.id, e.route_id, e.conversation), \
              ready AS (UPDATE forward_lanes l SET ready_at = coalesce(l.ready_at, now()) \
                FROM (SELECT DISTINCT tenant_id, route_id, conversation FROM taken) t \
                WHERE l.tenant_id = t.tenant_id AND l.route_id = t.route_id AND l.conversation = t.conversation), \
              noted AS (INSERT INTO forward_steps (tenant_id, event_id, step, detail) \
                SELECT tenant_id, id, $3, $4 FROM taken) \
         SELECT count(*) AS n FROM taken",
    )
    .bind::<Array<Text>, _>(&tenants)
    .bind::<Array<SqlUuid>, _>(&ids)
    .bind::<Text, _>(Step::Replayed.as_str())
    .bind::<Text, _>(&job.actor)
    .load(tx.connection())
    .await?;
    let taken = rows.into_iter().map(|row| row.n).sum();
    Ok((taken, Some(after)))
}

/// Forgets up to `most` of them that ended more than `days` ago. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    Ok(database::sql(
        "DELETE FROM replay_jobs j USING (SELECT id FROM replay_jobs \
              WHERE state <> 'running' AND updated_at < now() - $1 * interval '1 day' ORDER BY created_at LIMIT $2) old \
         WHERE j.id = old.id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?)
}
