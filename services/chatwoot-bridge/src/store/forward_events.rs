//! Events on their way to the URLs of routes, byte for byte.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl as _;
use messaging::ledger::{self, Book};
use serde::Serialize;
use tenant_isolation::{GroupTransaction, PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::forward_lanes::LaneKey;
use super::forward_steps::Step;

/// What an event takes besides its body and headers, so that many small ones have a bound, too.
const ROW_BYTES: usize = 1024;

/// An event that wants to be kept.
#[derive(Clone)]
pub struct NewEvent {
    /// Ours.
    pub id: Uuid,
    /// Where it stands in line.
    pub lane: LaneKey,
    /// What makes it the same event, however often it is told.
    pub key: Option<[u8; 32]>,
    /// Chatwoot's name of it.
    pub event: String,
    /// What sort of event it is.
    pub class: &'static str,
    /// Chatwoot's account.
    pub account: Option<i64>,
    /// Chatwoot's message.
    pub message: Option<i64>,
    /// The number by which it is put in order with its neighbours, which it has to wait for.
    pub ordered_by: Option<i64>,
    /// Names and values as JSON.
    pub headers: String,
    /// As it came.
    pub body: bytes::Bytes,
    /// The request that brought it.
    pub request_id: Option<String>,
}

impl NewEvent {
    /// What it takes.
    #[must_use]
    pub fn size(&self) -> i64 {
        let bytes = self.body.len() + self.headers.len() + ROW_BYTES;
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }
}

impl std::fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewEvent")
            .field("id", &self.id)
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Keeps the events of a group, and returns those that were not known before. No two of them may have the same key in the
/// same route. New messages wait for their neighbours for as long as the window is.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn keep(
    tx: &mut GroupTransaction,
    events: &[NewEvent],
    window: Duration,
) -> Result<HashSet<Uuid>, DatabaseError> {
    // Keys and lanes are locked in the order of their names, keys first: groups wait for each other in one direction.
    let kept: Vec<Id> = database::sql(
        "WITH e AS (SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
                WITH ORDINALITY AS e (tenant_id, route_id, conversation, id, key, event, class, account, message, \
                    ordered_by, headers, body, size, request_id, n)), \
              new AS (INSERT INTO forward_seen (tenant_id, route_id, key) \
                SELECT tenant_id, route_id, key FROM e WHERE key IS NOT NULL ORDER BY tenant_id, route_id, key \
                ON CONFLICT DO NOTHING RETURNING tenant_id, route_id, key), \
              kept AS (SELECT e.* FROM e LEFT JOIN new USING (tenant_id, route_id, key) \
                WHERE e.key IS NULL OR new.key IS NOT NULL), \
              lane AS (INSERT INTO forward_lanes AS l (tenant_id, route_id, conversation, ready_at, accepted, held, \
                    held_bytes) \
                SELECT tenant_id, route_id, conversation, \
                    CASE WHEN (array_agg(ordered_by ORDER BY n))[1] IS NULL THEN now() \
                        ELSE now() + $15 * interval '1 second' END, \
                    count(*), count(*), sum(size)::bigint \
                FROM kept GROUP BY tenant_id, route_id, conversation ORDER BY tenant_id, route_id, conversation \
                ON CONFLICT (tenant_id, route_id, conversation) DO UPDATE SET \
                    ready_at = coalesce(l.ready_at, excluded.ready_at), accepted = l.accepted + excluded.accepted, \
                    held = l.held + excluded.held, held_bytes = l.held_bytes + excluded.held_bytes, used_at = now() \
                RETURNING l.tenant_id, l.route_id, l.conversation) \
         INSERT INTO forward_events (tenant_id, id, route_id, conversation, event, class, account, message, ordered_by, \
             headers, body, size, request_id) \
         SELECT k.tenant_id, k.id, k.route_id, k.conversation, k.event, k.class, k.account, k.message, k.ordered_by, \
             k.headers, k.body, k.size, k.request_id \
         FROM kept k JOIN lane USING (tenant_id, route_id, conversation) ORDER BY k.n RETURNING id",
    )
    .bind::<Array<Text>, _>(events.iter().map(|e| e.lane.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(events.iter().map(|e| e.lane.route).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(events.iter().map(|e| e.lane.conversation).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(events.iter().map(|e| e.id).collect::<Vec<_>>())
    .bind::<Array<Nullable<Binary>>, _>(
        events
            .iter()
            .map(|e| e.key.as_ref().map(<[u8; 32]>::as_slice))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(events.iter().map(|e| e.event.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(events.iter().map(|e| e.class).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(events.iter().map(|e| e.account).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(events.iter().map(|e| e.message).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(events.iter().map(|e| e.ordered_by).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(events.iter().map(|e| e.headers.as_str()).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(events.iter().map(|e| e.body.as_ref()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(events.iter().map(NewEvent::size).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(events.iter().map(|e| e.request_id.as_deref()).collect::<Vec<_>>())
    .bind::<Double, _>(window.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(kept.into_iter().map(|row| row.id).collect())
}

/// Deletes events that came more than `days` ago, of whatever tenants, waiting or held: at most `most`. Those in hand stay
/// until somebody says what became of them. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn expire(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let old: Vec<Old> = database::sql(
        "SELECT l.tenant_id, l.route_id, l.conversation, e.id FROM forward_lanes l \
         JOIN (SELECT tenant_id, route_id, conversation, id FROM forward_events \
                WHERE received_at < now() - $1 * interval '1 day' ORDER BY received_at LIMIT $2) e \
           USING (tenant_id, route_id, conversation) \
         WHERE e.id IS DISTINCT FROM l.in_hand \
         ORDER BY l.tenant_id, l.route_id, l.conversation FOR UPDATE OF l SKIP LOCKED",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    if old.is_empty() {
        return Ok(0);
    }
    database::sql(
        "WITH gone AS (DELETE FROM forward_events e USING unnest($1, $2) AS o (tenant_id, id) \
                WHERE e.tenant_id = o.tenant_id AND e.id = o.id \
                RETURNING e.tenant_id, e.route_id, e.conversation, e.size), \
              sum AS (SELECT tenant_id, route_id, conversation, count(*) AS events, sum(size)::bigint AS bytes \
                FROM gone GROUP BY tenant_id, route_id, conversation) \
         UPDATE forward_lanes l SET expired = l.expired + sum.events, held = l.held - sum.events, \
             held_bytes = l.held_bytes - sum.bytes \
         FROM sum WHERE l.tenant_id = sum.tenant_id AND l.route_id = sum.route_id \
             AND l.conversation = sum.conversation",
    )
    .bind::<Array<Text>, _>(old.iter().map(|row| row.tenant_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(old.iter().map(|row| row.id).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(old.len())
}

#[derive(QueryableByName)]
struct Old {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// An event whose body may name somebody.
#[derive(QueryableByName)]
pub struct Naming {
    /// Its place.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// Ours.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The route.
    #[diesel(sql_type = SqlUuid)]
    pub route_id: Uuid,
    /// The conversation's display id; 0 for events of none.
    #[diesel(sql_type = BigInt)]
    pub conversation: i64,
    /// As it came.
    #[diesel(sql_type = Binary)]
    pub body: Vec<u8>,
}

/// Up to `most` of the tenant's events behind `after` in whose bodies the pattern is found, be it in somebody else's words.
///
/// # Errors
/// [`DatabaseError`].
pub async fn naming(
    tx: &mut TenantTransaction,
    pattern: &str,
    after: i64,
    most: i64,
) -> Result<Vec<Naming>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(
        "SELECT seq, id, route_id, conversation, body FROM forward_events \
         WHERE tenant_id = $1 AND seq > $3 AND encode(body, 'escape') ~ $2 ORDER BY seq LIMIT $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(pattern)
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// Deletes these events, and all events of these conversations of routes, waiting, held or in hand: whoever has one in hand
/// can write nothing more about it. Returns how many.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn erase(
    tx: &mut TenantTransaction,
    ids: &[Uuid],
    conversations: &[(Uuid, i64)],
) -> Result<usize, DatabaseError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    let (routes, numbers): (Vec<Uuid>, Vec<i64>) = conversations.iter().copied().unzip();
    let theirs = "(e.id = ANY ($2) OR (e.route_id, e.conversation) IN (SELECT * FROM unnest($3, $4)))";
    // The lanes first, as everywhere.
    database::sql(format!(
        "SELECT 1 FROM forward_lanes l WHERE l.tenant_id = $1 AND EXISTS (SELECT FROM forward_events e \
             WHERE e.tenant_id = $1 AND e.route_id = l.route_id AND e.conversation = l.conversation AND {theirs}) \
         ORDER BY l.tenant_id, l.route_id, l.conversation FOR UPDATE OF l"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<SqlUuid>, _>(&routes)
    .bind::<Array<BigInt>, _>(&numbers)
    .execute(tx.connection())
    .await?;
    let rows: Vec<Count> = database::sql(format!(
        "WITH gone AS (DELETE FROM forward_events e WHERE e.tenant_id = $1 AND {theirs} \
                RETURNING e.id, e.route_id, e.conversation, e.size), \
              sum AS (SELECT route_id, conversation, count(*) AS events, sum(size)::bigint AS bytes, array_agg(id) AS ids \
                FROM gone GROUP BY route_id, conversation), \
              lanes AS (UPDATE forward_lanes l SET expired = l.expired + sum.events, held = l.held - sum.events, \
                    held_bytes = l.held_bytes - sum.bytes, \
                    fence = CASE WHEN l.in_hand = ANY (sum.ids) THEN l.fence + 1 ELSE l.fence END, \
                    ready_at = CASE WHEN l.in_hand = ANY (sum.ids) THEN now() ELSE l.ready_at END, \
                    in_hand = CASE WHEN l.in_hand = ANY (sum.ids) THEN NULL ELSE l.in_hand END \
                FROM sum WHERE l.tenant_id = $1 AND l.route_id = sum.route_id AND l.conversation = sum.conversation) \
         SELECT count(*) AS n FROM gone"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<SqlUuid>, _>(&routes)
    .bind::<Array<BigInt>, _>(&numbers)
    .load(tx.connection())
    .await?;
    let erased = rows.into_iter().map(|row| row.n).sum::<i64>();
    let erased = usize::try_from(erased).unwrap_or_default();
    ledger::note(tx, Book::Forwards, ledger::Step::Expired, erased);
    Ok(erased)
}

/// An event that is not delivered yet, without a word of what is in it.
#[derive(Debug, Clone, Serialize, QueryableByName)]
pub struct ParkedEvent {
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// What a replay asks for.
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
    pub conversation_id: i64,
    /// Chatwoot's message, for events about one.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub message_id: Option<i64>,
    /// Chatwoot's name of the event.
    #[diesel(sql_type = Text)]
    pub event: String,
    /// Bytes of its body.
    #[diesel(sql_type = BigInt)]
    pub size: i64,
    /// Failures.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// Does it stay for people? It waits or is on its way otherwise.
    #[diesel(sql_type = Bool)]
    pub parked: bool,
    /// May the target have it? Nobody knows; to replay it can be to send it twice.
    #[diesel(sql_type = Bool)]
    pub unknown: bool,
    /// Why it was not delivered the last time, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it was accepted.
    #[diesel(sql_type = Timestamptz)]
    pub received_at: DateTime<Utc>,
}

const SHOWN: &str = "SELECT e.tenant_id, e.id AS event_id, e.route_id, r.number AS route, \
        e.conversation AS conversation_id, e.message AS message_id, e.event, octet_length(e.body)::bigint AS size, \
        e.failures, e.held IS NOT NULL AS parked, coalesce(e.held = 'unknown', false) AS unknown, e.reason, e.received_at \
     FROM forward_events e LEFT JOIN routes r ON r.tenant_id = e.tenant_id AND r.id = e.route_id";

/// Events that stay for people, oldest first, of one route or of all the tenant's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked(
    tx: &mut TenantTransaction,
    route: Option<Uuid>,
    most: i64,
) -> Result<Vec<ParkedEvent>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(format!(
        "{SHOWN} WHERE e.tenant_id = $1 AND e.held IS NOT NULL AND e.route_id = coalesce($2, e.route_id) \
         ORDER BY e.seq LIMIT $3"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Nullable<SqlUuid>, _>(route)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// Events that stay for people, of whatever tenants, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked_anywhere(
    tx: &mut PlatformTransaction,
    most: i64,
) -> Result<Vec<ParkedEvent>, DatabaseError> {
    Ok(database::sql(format!(
        "{SHOWN} WHERE e.held IS NOT NULL ORDER BY e.seq LIMIT $1"
    ))
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// One event, there for people or on its way.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<ParkedEvent>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let mut rows: Vec<ParkedEvent> = database::sql(format!("{SHOWN} WHERE e.tenant_id = $1 AND e.id = $2"))
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .load(tx.connection())
        .await?;
    Ok(rows.pop())
}

/// Takes up again those of these events that stay for people: each goes back to its old place in its lane, with all
/// tries before it, and `who` did it is noted. Returns how many.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn replay(tx: &mut TenantTransaction, ids: &[Uuid], who: &str) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    // The lanes first, as everywhere: a worker that lets go of one afterwards sees the event.
    database::sql(
        "SELECT 1 FROM forward_lanes l WHERE l.tenant_id = $1 AND EXISTS (SELECT 1 FROM forward_events e \
             WHERE e.tenant_id = $1 AND e.id = ANY ($2) AND e.route_id = l.route_id \
               AND e.conversation = l.conversation) \
         ORDER BY l.tenant_id, l.route_id, l.conversation FOR UPDATE OF l",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .execute(tx.connection())
    .await?;
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let rows: Vec<Count> = database::sql(
        "WITH taken AS (UPDATE forward_events SET held = NULL, failures = 0, reason = NULL \
                WHERE tenant_id = $1 AND id = ANY ($2) AND held IS NOT NULL RETURNING id, route_id, conversation), \
              ready AS (UPDATE forward_lanes l SET ready_at = coalesce(l.ready_at, now()) \
                FROM (SELECT DISTINCT route_id, conversation FROM taken) t \
                WHERE l.tenant_id = $1 AND l.route_id = t.route_id AND l.conversation = t.conversation), \
              noted AS (INSERT INTO forward_steps (tenant_id, event_id, step, detail) SELECT $1, id, $3, $4 FROM taken) \
         SELECT count(*) AS n FROM taken",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Text, _>(Step::Replayed.as_str())
    .bind::<Text, _>(who)
    .load(tx.connection())
    .await?;
    let number = rows.into_iter().map(|row| row.n).sum::<i64>();
    Ok(usize::try_from(number).unwrap_or_default())
}
