//! The order in which a route's events leave, one row a conversation: who has an event in hand, and what became of it.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{GroupTransaction, PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey {
    /// The tenant.
    pub tenant: String,
    /// Our id of the route.
    pub route: Uuid,
    /// The conversation's display id; 0 for events of none.
    pub conversation: i64,
}

/// An event that was taken in hand.
#[derive(QueryableByName)]
pub struct Taken {
    /// The tenant.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// The route.
    #[diesel(sql_type = SqlUuid)]
    pub route_id: Uuid,
    /// The conversation.
    #[diesel(sql_type = BigInt)]
    pub conversation: i64,
    /// Ours as long as the lane has this.
    #[diesel(sql_type = BigInt)]
    pub fence: i64,
    /// A worker had it in hand before and was not heard of again.
    #[diesel(sql_type = Bool)]
    pub interrupted: bool,
    /// When the route was last changed; `None` when there is none any more.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub route_changed: Option<DateTime<Utc>>,
    /// May the route be used?
    #[diesel(sql_type = Nullable<Bool>)]
    pub route_enabled: Option<bool>,
    /// The event; `None` in a lane where nothing waits any more.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub id: Option<Uuid>,
    /// Its class.
    #[diesel(sql_type = Nullable<Text>)]
    pub class: Option<String>,
    /// Chatwoot's account.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub account: Option<i64>,
    /// Chatwoot's message.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub message: Option<i64>,
    /// Names and values as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub headers: Option<String>,
    /// As it came; `None` while the route is switched off.
    #[diesel(sql_type = Nullable<Binary>)]
    pub body: Option<Vec<u8>>,
    /// The request that brought it.
    #[diesel(sql_type = Nullable<Text>)]
    pub request_id: Option<String>,
    /// Failures so far.
    #[diesel(sql_type = Nullable<Integer>)]
    pub failures: Option<i32>,
    /// The agent sees a red mark because of it.
    #[diesel(sql_type = Nullable<Bool>)]
    pub shown_failed: Option<bool>,
    /// When it was accepted.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub received_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taken")
            .field("route_id", &self.route_id)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(QueryableByName)]
struct Free {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    route_id: Uuid,
    #[diesel(sql_type = BigInt)]
    conversation: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    in_hand: Option<Uuid>,
}

/// Of the first events of a lane `l` that wait, the one whose turn it is: the first, or when it is a new message the one
/// with the smallest number among those that came within the window behind it (contract 2.4).
const HEAD: &str = "SELECT w.id FROM (SELECT e.id, e.ordered_by, e.received_at, row_number() OVER o AS n, \
            first_value(e.ordered_by) OVER o AS first_order, first_value(e.received_at) OVER o AS first_time \
        FROM (SELECT f.id, f.seq, f.ordered_by, f.received_at FROM forward_events f \
              WHERE f.tenant_id = l.tenant_id AND f.route_id = l.route_id AND f.conversation = l.conversation \
                AND f.held IS NULL ORDER BY f.seq LIMIT 32) e WINDOW o AS (ORDER BY e.seq)) w \
     WHERE w.n = 1 OR (w.first_order IS NOT NULL AND w.ordered_by IS NOT NULL \
         AND w.received_at <= w.first_time + $6 * interval '1 second') \
     ORDER BY w.ordered_by, w.n LIMIT 1";

/// Ready lanes that are looked at, to each that is taken: those of one route may be too many for it.
const LOOKED_AT_EACH: usize = 4;

/// What may be taken in hand at once.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// Lanes in all.
    pub most: usize,
    /// Lanes of one route.
    pub most_of_route: usize,
    /// None of these routes.
    pub not_of: &'a [Uuid],
}

/// Takes the heads of lanes in hand whose turn has come, longest waiting first, as far as there is `room`. Whoever does not
/// say within `lease` what became of an event loses it. Bodies of routes that are switched off stay where they are.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn take(
    tx: &mut PlatformTransaction,
    room: Room<'_>,
    lease: Duration,
    window: Duration,
) -> Result<Vec<Taken>, DatabaseError> {
    // First the locks, then a look: an event that another worker has just let go of is gone by then.
    let free: Vec<Free> = database::sql(
        "WITH ready AS (SELECT r.*, row_number() OVER (PARTITION BY route_id ORDER BY ready_at) AS n \
                FROM (SELECT tenant_id, route_id, conversation, ready_at FROM forward_lanes \
                      WHERE ready_at <= now() AND route_id <> ALL ($2) ORDER BY ready_at LIMIT $4) r) \
         SELECT l.tenant_id, l.route_id, l.conversation, l.in_hand FROM ready r \
         JOIN forward_lanes l ON l.tenant_id = r.tenant_id AND l.route_id = r.route_id \
             AND l.conversation = r.conversation \
         WHERE r.n <= $3 AND l.ready_at <= now() ORDER BY r.ready_at LIMIT $1 FOR UPDATE OF l SKIP LOCKED",
    )
    .bind::<BigInt, _>(number(room.most))
    .bind::<Array<SqlUuid>, _>(room.not_of)
    .bind::<BigInt, _>(number(room.most_of_route))
    .bind::<BigInt, _>(number(room.most.saturating_mul(LOOKED_AT_EACH)))
    .load(tx.connection())
    .await?;
    if free.is_empty() {
        return Ok(Vec::new());
    }
    let taken = database::sql(format!(
        "WITH mine AS (SELECT * FROM unnest($1, $2, $3, $4) AS m (tenant_id, route_id, conversation, before)), \
              taken AS (UPDATE forward_lanes l SET fence = l.fence + 1, ready_at = now() + $5 * interval '1 second', \
                    in_hand = coalesce((SELECT b.id FROM forward_events b \
                        WHERE b.tenant_id = l.tenant_id AND b.id = m.before AND b.held IS NULL), ({HEAD})) \
                FROM mine m WHERE l.tenant_id = m.tenant_id AND l.route_id = m.route_id \
                    AND l.conversation = m.conversation \
                RETURNING l.tenant_id, l.route_id, l.conversation, l.fence, l.in_hand, \
                    coalesce(l.in_hand = m.before, false) AS interrupted) \
         SELECT t.tenant_id, t.route_id, t.conversation, t.fence, t.interrupted, r.updated_at AS route_changed, \
             r.enabled AS route_enabled, e.id, e.class, e.account, e.message, e.headers, \
             CASE WHEN r.enabled IS NOT FALSE THEN e.body END AS body, e.request_id, e.failures, e.shown_failed, e.received_at \
         FROM taken t \
         LEFT JOIN routes r ON r.tenant_id = t.tenant_id AND r.id = t.route_id \
         LEFT JOIN forward_events e ON e.tenant_id = t.tenant_id AND e.id = t.in_hand"
    ))
    .bind::<Array<Text>, _>(free.iter().map(|lane| lane.tenant_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(free.iter().map(|lane| lane.route_id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(free.iter().map(|lane| lane.conversation).collect::<Vec<_>>())
    .bind::<Array<Nullable<SqlUuid>>, _>(free.iter().map(|lane| lane.in_hand).collect::<Vec<_>>())
    .bind::<Double, _>(lease.as_secs_f64())
    .bind::<Double, _>(window.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(taken)
}

fn number(many: usize) -> i64 {
    i64::try_from(many).unwrap_or(i64::MAX)
}

/// Lets lanes of full routes wait that have waited for long already, so that not everybody who looks for lanes has to look
/// through them: all but the first `keep` of each route, at most `most`. Returns how many.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn put_off(
    tx: &mut PlatformTransaction,
    full: &[Uuid],
    keep: usize,
    most: usize,
) -> Result<usize, DatabaseError> {
    // Without waiting for a lock, and at different times, so that they do not all come back at once.
    Ok(database::sql(
        "WITH late AS (SELECT r.*, row_number() OVER (PARTITION BY route_id ORDER BY ready_at) AS n \
                FROM (SELECT tenant_id, route_id, conversation, ready_at FROM forward_lanes \
                      WHERE ready_at <= now() - interval '1 second' AND route_id = ANY ($1) \
                      ORDER BY ready_at LIMIT $3) r), \
              surplus AS (SELECT l.tenant_id, l.route_id, l.conversation FROM late r \
                JOIN forward_lanes l ON l.tenant_id = r.tenant_id AND l.route_id = r.route_id \
                    AND l.conversation = r.conversation \
                WHERE r.n > $2 AND l.ready_at <= now() FOR UPDATE OF l SKIP LOCKED) \
         UPDATE forward_lanes l SET ready_at = now() + (2 + 2 * random()) * interval '1 second' FROM surplus s \
         WHERE l.tenant_id = s.tenant_id AND l.route_id = s.route_id AND l.conversation = s.conversation",
    )
    .bind::<Array<SqlUuid>, _>(full)
    .bind::<BigInt, _>(number(keep))
    .bind::<BigInt, _>(number(most))
    .execute(tx.connection())
    .await?)
}

#[derive(QueryableByName)]
struct Seconds {
    #[diesel(sql_type = Nullable<Double>)]
    seconds: Option<f64>,
}

/// How long until the next lane has its turn; `None` when nothing waits. Lanes of `not_of` count, too.
///
/// # Errors
/// [`DatabaseError`].
pub async fn next_turn(tx: &mut PlatformTransaction) -> Result<Option<Duration>, DatabaseError> {
    let rows: Vec<Seconds> = database::sql(
        "SELECT extract(epoch FROM min(ready_at) - clock_timestamp())::float8 AS seconds FROM forward_lanes \
         WHERE ready_at > now()",
    )
    .load(tx.connection())
    .await?;
    let seconds = rows.into_iter().next().and_then(|row| row.seconds);
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// What becomes of an event that was in hand.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The target has it.
    Delivered,
    /// It goes nowhere: its route is gone.
    Dropped,
    /// It has to wait, after a failure that counts.
    Retry {
        /// So long.
        wait: Duration,
        /// Why.
        reason: String,
    },
    /// It has to wait; nobody was asked.
    PutOff {
        /// So long.
        wait: Duration,
    },
    /// It stays for people, and its lane goes on without it.
    Hold {
        /// For good, or because nobody knows.
        how: Hold,
        /// Why.
        reason: String,
        /// The agent is to see a red mark.
        shown: bool,
    },
    /// There was none.
    Nothing,
}

/// Why an event stays for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It was not taken and will not be tried again by itself.
    Parked,
    /// It may have been taken: to try again could be to send twice.
    Unknown,
}

impl Hold {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Unknown => "unknown",
        }
    }
}

/// An event that was in hand, and the verdict.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its lane.
    pub lane: LaneKey,
    /// The lane's fence when it was taken.
    pub fence: i64,
    /// The event.
    pub event: Uuid,
    /// What becomes of it.
    pub verdict: Verdict,
    /// It was in somebody's hand before and nobody knows yet what came of that: should it wait, the next one is told, too.
    pub keeps_hand: bool,
}

impl Outcome {
    fn wait(&self) -> Option<f64> {
        match &self.verdict {
            Verdict::Retry { wait, .. } | Verdict::PutOff { wait } => Some(wait.as_secs_f64()),
            _ => None,
        }
    }

    /// The event that stays in hand.
    fn kept(&self) -> Option<Uuid> {
        (self.keeps_hand && self.wait().is_some()).then_some(self.event)
    }

    const fn ends(&self) -> bool {
        matches!(self.verdict, Verdict::Delivered | Verdict::Dropped)
    }

    fn reason(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Retry { reason, .. } | Verdict::Hold { reason, .. } => Some(reason),
            _ => None,
        }
    }

    const fn held(&self) -> Option<&'static str> {
        match &self.verdict {
            Verdict::Hold { how, .. } => Some(how.as_str()),
            _ => None,
        }
    }

    const fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Retry { .. } | Verdict::Hold { .. })
    }

    const fn shown(&self) -> bool {
        matches!(self.verdict, Verdict::Hold { shown: true, .. })
    }
}

#[derive(QueryableByName)]
struct Fence {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    route_id: Uuid,
    #[diesel(sql_type = BigInt)]
    conversation: i64,
    #[diesel(sql_type = BigInt)]
    fence: i64,
}

/// Of these outcomes, those whose lanes are still ours. They stay ours until the end of the transaction.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn hold(
    tx: &mut GroupTransaction,
    mut outcomes: Vec<Outcome>,
) -> Result<Vec<Outcome>, DatabaseError> {
    let rows: Vec<Fence> = database::sql(
        "SELECT l.tenant_id, l.route_id, l.conversation, l.fence FROM forward_lanes l \
         JOIN unnest($1, $2, $3, $4) AS o (tenant_id, route_id, conversation, fence) \
           ON o.tenant_id = l.tenant_id AND o.route_id = l.route_id AND o.conversation = l.conversation \
              AND o.fence = l.fence \
         ORDER BY l.tenant_id, l.route_id, l.conversation FOR UPDATE OF l",
    )
    .bind::<Array<Text>, _>(
        outcomes
            .iter()
            .map(|o| o.lane.tenant.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<SqlUuid>, _>(outcomes.iter().map(|o| o.lane.route).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(outcomes.iter().map(|o| o.lane.conversation).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(outcomes.iter().map(|o| o.fence).collect::<Vec<_>>())
    .load(tx.connection())
    .await?;
    let lane = |row: Fence| LaneKey {
        tenant: row.tenant_id,
        route: row.route_id,
        conversation: row.conversation,
    };
    let ours: HashMap<LaneKey, i64> = rows
        .into_iter()
        .map(|row| {
            let fence = row.fence;
            (lane(row), fence)
        })
        .collect();
    outcomes.retain(|outcome| ours.get(&outcome.lane) == Some(&outcome.fence));
    Ok(outcomes)
}

/// Writes down what became of events whose lanes are [held](hold), and lets the lanes go.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn let_go(
    tx: &mut GroupTransaction,
    outcomes: &[Outcome],
    window: Duration,
) -> Result<(), DatabaseError> {
    // One after the other: joined in one statement, the planner expects one row where there are hundreds.
    let gone = delete_ended(tx, outcomes).await?;
    keep_failed(tx, outcomes).await?;
    let size = |outcome: &Outcome| gone.get(&outcome.event).copied();
    let count = |outcome: &Outcome, verdict: Verdict| {
        i64::from(size(outcome).is_some() && outcome.verdict == verdict)
    };
    database::sql(
        "UPDATE forward_lanes l SET in_hand = o.kept, fence = l.fence + 1, \
             ready_at = CASE WHEN o.wait IS NOT NULL THEN now() + o.wait * interval '1 second' ELSE \
                 (SELECT CASE WHEN e.ordered_by IS NULL THEN now() \
                         ELSE greatest(now(), e.received_at + $8 * interval '1 second') END \
                    FROM forward_events e WHERE e.tenant_id = l.tenant_id AND e.route_id = l.route_id \
                     AND e.conversation = l.conversation AND e.held IS NULL ORDER BY e.seq LIMIT 1) END, \
             delivered = l.delivered + o.delivered, dropped = l.dropped + o.dropped, \
             held = l.held - o.delivered - o.dropped, held_bytes = l.held_bytes - o.size \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $9) AS o (tenant_id, route_id, conversation, wait, delivered, \
             dropped, size, kept) \
         WHERE l.tenant_id = o.tenant_id AND l.route_id = o.route_id AND l.conversation = o.conversation",
    )
    .bind::<Array<Text>, _>(outcomes.iter().map(|o| o.lane.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(outcomes.iter().map(|o| o.lane.route).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(outcomes.iter().map(|o| o.lane.conversation).collect::<Vec<_>>())
    .bind::<Array<Nullable<Double>>, _>(outcomes.iter().map(Outcome::wait).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(
        outcomes
            .iter()
            .map(|o| count(o, Verdict::Delivered))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<BigInt>, _>(
        outcomes
            .iter()
            .map(|o| count(o, Verdict::Dropped))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<BigInt>, _>(
        outcomes
            .iter()
            .map(|o| size(o).unwrap_or_default())
            .collect::<Vec<_>>(),
    )
    .bind::<Double, _>(window.as_secs_f64())
    .bind::<Array<Nullable<SqlUuid>>, _>(outcomes.iter().map(Outcome::kept).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes the events that ended, and says how much each took.
async fn delete_ended(
    tx: &mut GroupTransaction,
    outcomes: &[Outcome],
) -> Result<HashMap<Uuid, i64>, DatabaseError> {
    #[derive(QueryableByName)]
    struct Gone {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = BigInt)]
        size: i64,
    }
    let ended: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.ends()).collect();
    if ended.is_empty() {
        return Ok(HashMap::new());
    }
    let gone: Vec<Gone> = database::sql(
        "DELETE FROM forward_events e USING unnest($1, $2) AS o (tenant_id, event) \
         WHERE e.tenant_id = o.tenant_id AND e.id = o.event RETURNING e.id, e.size",
    )
    .bind::<Array<Text>, _>(ended.iter().map(|o| o.lane.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(ended.iter().map(|o| o.event).collect::<Vec<_>>())
    .load(tx.connection())
    .await?;
    Ok(gone.into_iter().map(|gone| (gone.id, gone.size)).collect())
}

/// Notes failures on the events that stay, waiting or for people.
async fn keep_failed(tx: &mut GroupTransaction, outcomes: &[Outcome]) -> Result<(), DatabaseError> {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.failed()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    database::sql(
        "UPDATE forward_events e SET failures = e.failures + 1, held = o.held, reason = o.reason, \
             shown_failed = e.shown_failed OR o.shown \
         FROM unnest($1, $2, $3, $4, $5) AS o (tenant_id, event, held, reason, shown) \
         WHERE e.tenant_id = o.tenant_id AND e.id = o.event",
    )
    .bind::<Array<Text>, _>(failed.iter().map(|o| o.lane.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(failed.iter().map(|o| o.event).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(failed.iter().map(|o| o.held()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(failed.iter().map(|o| o.reason()).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(failed.iter().map(|o| o.shown()).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes that agents are told now that something of this conversation was not passed on. False when they were told within
/// `pause`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_told(
    tx: &mut TenantTransaction,
    route: Uuid,
    conversation: i64,
    pause: Duration,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let noted = database::sql(
        "UPDATE forward_lanes SET noted_at = now() WHERE tenant_id = $1 AND route_id = $2 AND conversation = $3 \
           AND (noted_at IS NULL OR noted_at < now() - $4 * interval '1 second')",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(route)
    .bind::<BigInt, _>(conversation)
    .bind::<Double, _>(pause.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(noted == 1)
}
