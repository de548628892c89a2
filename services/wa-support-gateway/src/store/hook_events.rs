//! Events of the WA server on their way to the customers, byte for byte, and what became of them.

use chores::person::Names;
use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl as _;
use messaging::ledger::{self, Book, Step};
use serde::Serialize;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::person;
use super::sessions::REMOVING;

/// What an event takes besides its body, so that many small ones have a bound, too.
const ROW_BYTES: i64 = 1024;

/// An event that was accepted.
#[derive(Debug)]
pub(crate) struct NewEvent<'a> {
    /// Also the id of the task that delivers it.
    pub(crate) id: Uuid,
    pub(crate) session: Uuid,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) event_type: &'a str,
    pub(crate) body: &'a [u8],
}

/// Stores an event. False when the session holds so many bytes that this one would exceed `most`.
pub(crate) async fn insert(
    tx: &mut TenantTransaction,
    event: &NewEvent<'_>,
    most: i64,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let bytes = i64::try_from(event.body.len())
        .unwrap_or(i64::MAX)
        .saturating_add(ROW_BYTES);
    if bytes > most {
        return Ok(false);
    }
    let stored = database::sql(
        "WITH counted AS (INSERT INTO hook_counts AS c (tenant_id, session, accepted, held, held_bytes) \
                VALUES ($1, $2, 1, 1, $3) \
                ON CONFLICT (tenant_id, session) DO UPDATE SET accepted = c.accepted + 1, held = c.held + 1, \
                    held_bytes = c.held_bytes + $3 WHERE c.held_bytes + $3 <= $4 RETURNING 1) \
         INSERT INTO hook_events (tenant_id, session, id, content_type, event_type, body) \
         SELECT $1, $2, $5, $6, $7, $8 FROM counted",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(event.session)
    .bind::<BigInt, _>(bytes)
    .bind::<BigInt, _>(most)
    .bind::<SqlUuid, _>(event.id)
    .bind::<Nullable<Text>, _>(event.content_type)
    .bind::<Text, _>(event.event_type)
    .bind::<Binary, _>(event.body)
    .execute(tx.connection())
    .await?;
    Ok(stored == 1)
}

/// Notes an event that is passed on to nobody.
pub(crate) async fn count_unwanted(tx: &mut TenantTransaction, session: Uuid) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO hook_counts AS c (tenant_id, session, accepted, dropped) VALUES ($1, $2, 1, 1) \
         ON CONFLICT (tenant_id, session) DO UPDATE SET accepted = c.accepted + 1, dropped = c.dropped + 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(session)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// An event and where it is to go, without its body.
#[derive(QueryableByName)]
pub(crate) struct Outgoing {
    #[diesel(sql_type = SqlUuid)]
    pub(crate) session: Uuid,
    /// The WA server's id of the session.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) session_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) webhook_url: Option<String>,
    #[diesel(sql_type = Text)]
    pub(crate) hmac_key_sealed: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) customer_hmac_key_sealed: Option<String>,
    #[diesel(sql_type = Text)]
    pub(crate) event_type: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) size: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) received_at: DateTime<Utc>,
}

/// An event that is still there and whose session is not on its way out.
pub(crate) async fn outgoing(
    tx: &mut TenantTransaction,
    id: Uuid,
) -> Result<Option<Outgoing>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let mut rows: Vec<Outgoing> = database::sql(
        "SELECT e.session, s.session_id, s.webhook_url, s.hmac_key_sealed, s.customer_hmac_key_sealed, \
             e.event_type, octet_length(e.body)::bigint AS size, e.received_at \
         FROM hook_events e JOIN sessions s ON s.tenant_id = e.tenant_id AND s.id = e.session \
         WHERE e.tenant_id = $1 AND e.id = $2 AND s.phase <> $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(REMOVING)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// An event, as it came.
#[derive(QueryableByName)]
pub(crate) struct Whole {
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) content_type: Option<String>,
    #[diesel(sql_type = Binary)]
    pub(crate) body: Vec<u8>,
}

/// The bytes of an event and how they are written.
pub(crate) async fn whole(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<Whole>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let mut rows: Vec<Whole> =
        database::sql("SELECT content_type, body FROM hook_events WHERE tenant_id = $1 AND id = $2")
            .bind::<Text, _>(tenant)
            .bind::<SqlUuid, _>(id)
            .load(tx.connection())
            .await?;
    Ok(rows.pop())
}

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Dropped,
}

/// Deletes an event, and remembers only how it ended.
pub(crate) async fn finish(tx: &mut TenantTransaction, id: Uuid, end: End) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "WITH gone AS (DELETE FROM hook_events WHERE tenant_id = $1 AND id = $2 \
                RETURNING session, octet_length(body)::bigint + $3 AS bytes) \
         UPDATE hook_counts c SET delivered = delivered + $4, dropped = dropped + 1 - $4, held = held - 1, \
             held_bytes = held_bytes - gone.bytes \
         FROM gone WHERE c.tenant_id = $1 AND c.session = gone.session",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(ROW_BYTES)
    .bind::<BigInt, _>(i64::from(end == End::Delivered))
    .execute(tx.connection())
    .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Deletes events that came more than `days` ago, of whatever customers, with their tasks: at most `most`. Returns how
/// many.
pub(crate) async fn expire(
    tx: &mut PlatformTransaction,
    days: u32,
    most: i64,
) -> Result<usize, DatabaseError> {
    let counted: Count = database::sql(
        "WITH old AS (SELECT tenant_id, id FROM hook_events \
                WHERE received_at < now() - $1 * interval '1 day' \
                ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
              gone AS (DELETE FROM hook_events e USING old WHERE e.tenant_id = old.tenant_id AND e.id = old.id \
                RETURNING e.tenant_id, e.session, e.id, octet_length(e.body)::bigint + $3 AS bytes), \
              tasks AS (DELETE FROM lane_tasks t USING gone WHERE t.tenant_id = gone.tenant_id AND t.id = gone.id), \
              counted AS (UPDATE hook_counts c SET expired = expired + sum.events, held = held - sum.events, \
                    held_bytes = held_bytes - sum.bytes \
                FROM (SELECT tenant_id, session, count(*) AS events, sum(bytes)::bigint AS bytes FROM gone \
                      GROUP BY tenant_id, session) AS sum \
                WHERE c.tenant_id = sum.tenant_id AND c.session = sum.session) \
         SELECT count(*) AS count FROM gone",
    )
    .bind::<Double, _>(f64::from(days))
    .bind::<BigInt, _>(most)
    .bind::<BigInt, _>(ROW_BYTES)
    .get_result(tx.connection())
    .await?;
    let expired = usize::try_from(counted.count).unwrap_or_default();
    ledger::note(tx, Book::Tasks, Step::Expired, expired);
    Ok(expired)
}

/// Events that name the person, behind an id in their order.
pub(crate) async fn naming(
    tx: &mut TenantTransaction,
    names: &Names,
    after: Uuid,
    most: i64,
) -> Result<Vec<Uuid>, DatabaseError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Found> = database::sql(format!(
        "SELECT id FROM hook_events WHERE tenant_id = $1 AND id > $2 AND {} ORDER BY id LIMIT $4",
        person::filled(person::EVENTS, "$3")
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(after)
    .bind::<Text, _>(names.pattern())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Deletes these events with their tasks; they count as dropped. Whoever has one in hand finishes with what it has read.
/// Returns how many there were.
pub(crate) async fn delete(tx: &mut TenantTransaction, ids: &[Uuid]) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    // The lanes' rows first, in one order, as everybody takes them.
    database::sql(
        "SELECT FROM lanes WHERE tenant_id = $1 AND lane IN \
             (SELECT lane FROM lane_tasks WHERE tenant_id = $1 AND id = ANY ($2)) ORDER BY lane FOR UPDATE",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .execute(tx.connection())
    .await?;
    let count: Count = database::sql(
        "WITH gone AS (DELETE FROM hook_events WHERE tenant_id = $1 AND id = ANY ($2) \
                RETURNING session, id, octet_length(body)::bigint + $3 AS bytes), \
              tasks AS (DELETE FROM lane_tasks t USING gone WHERE t.tenant_id = $1 AND t.id = gone.id), \
              counted AS (UPDATE hook_counts c SET dropped = dropped + sum.events, held = held - sum.events, \
                    held_bytes = held_bytes - sum.bytes \
                FROM (SELECT session, count(*) AS events, sum(bytes)::bigint AS bytes FROM gone GROUP BY session) AS sum \
                WHERE c.tenant_id = $1 AND c.session = sum.session) \
         SELECT count(*) AS count FROM gone",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<BigInt, _>(ROW_BYTES)
    .get_result(tx.connection())
    .await?;
    let deleted = usize::try_from(count.count).unwrap_or_default();
    ledger::note(tx, Book::Tasks, Step::Expired, deleted);
    Ok(deleted)
}

/// An event that was put aside, without a word of what is in it.
#[derive(Debug, Clone, Serialize, QueryableByName)]
pub struct ParkedEvent {
    /// What `hook replay` asks for.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// Our id of the session.
    #[diesel(sql_type = SqlUuid)]
    pub session: Uuid,
    /// The WA server's id of the session.
    #[diesel(sql_type = Nullable<Text>)]
    pub session_id: Option<String>,
    /// What the session is called.
    #[diesel(sql_type = Text)]
    pub session_name: String,
    /// What sort of event, in the WA server's words.
    #[diesel(sql_type = Text)]
    pub event_type: String,
    /// How its body is written.
    #[diesel(sql_type = Nullable<Text>)]
    pub content_type: Option<String>,
    /// Bytes of its body.
    #[diesel(sql_type = BigInt)]
    pub size: i64,
    /// Failures.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// Is it put aside? It waits or is on its way otherwise.
    #[diesel(sql_type = Bool)]
    pub parked: bool,
    /// Why it was not delivered the last time, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it was accepted.
    #[diesel(sql_type = Timestamptz)]
    pub received_at: DateTime<Utc>,
}

const SHOWN: &str = "SELECT e.id AS event_id, e.session, s.session_id, s.session_name, e.event_type, \
        e.content_type, octet_length(e.body)::bigint AS size, t.failures, t.parked, t.last_error AS reason, e.received_at \
     FROM hook_events e \
     JOIN lane_tasks t ON t.tenant_id = e.tenant_id AND t.id = e.id \
     JOIN sessions s ON s.tenant_id = e.tenant_id AND s.id = e.session \
     WHERE e.tenant_id = $1";

/// Events that are put aside, oldest first, of one session or of all the customer's.
pub(crate) async fn parked(
    tx: &mut TenantTransaction,
    session: Option<Uuid>,
    most: i64,
) -> Result<Vec<ParkedEvent>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(format!(
        "{SHOWN} AND t.parked AND e.session = coalesce($2, e.session) ORDER BY t.seq LIMIT $3"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Nullable<SqlUuid>, _>(session)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// One event, put aside or not.
pub(crate) async fn show(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<ParkedEvent>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let mut rows: Vec<ParkedEvent> = database::sql(format!("{SHOWN} AND e.id = $2"))
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .load(tx.connection())
        .await?;
    Ok(rows.pop())
}

/// What became of a session's events.
#[derive(Debug, Clone, Serialize, QueryableByName)]
pub struct HookCounts {
    /// Our id of the session.
    #[diesel(sql_type = SqlUuid)]
    pub session: Uuid,
    /// Taken from the WA server.
    #[diesel(sql_type = BigInt)]
    pub accepted: i64,
    /// Taken by the customer's receiver.
    #[diesel(sql_type = BigInt)]
    pub delivered: i64,
    /// Passed on to nobody: not asked for, or the receiver is gone.
    #[diesel(sql_type = BigInt)]
    pub dropped: i64,
    /// Deleted because they grew too old.
    #[diesel(sql_type = BigInt)]
    pub expired: i64,
    /// Waiting or put aside.
    #[diesel(sql_type = BigInt)]
    pub held: i64,
    /// Bytes of those.
    #[diesel(sql_type = BigInt)]
    pub held_bytes: i64,
}

/// The counts of the customer's sessions.
pub(crate) async fn counts(tx: &mut TenantTransaction) -> Result<Vec<HookCounts>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(
        "SELECT session, accepted, delivered, dropped, expired, held, held_bytes FROM hook_counts \
         WHERE tenant_id = $1 ORDER BY session",
    )
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?)
}

/// Of those that wait, so many of the newest are looked through for a request.
const LOOKED_THROUGH: i64 = 20_000;
/// Most that one id is found to mean.
const MOST_HITS: i64 = 50;

/// An event that is not delivered, whoever's it is; nothing of what is in it.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct FoundEvent {
    #[diesel(sql_type = Text)]
    pub(crate) tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    pub(crate) event_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(crate) event_type: String,
    #[diesel(sql_type = Integer)]
    pub(crate) failures: i32,
    #[diesel(sql_type = Bool)]
    pub(crate) parked: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) reason: Option<String>,
    /// The request that brought it.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) request_id: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) received_at: DateTime<Utc>,
}

const FOUND: &str = "SELECT e.tenant_id, e.id AS event_id, e.event_type, t.failures, t.parked, t.last_error AS reason, \
        t.payload::jsonb ->> 'request_id' AS request_id, e.received_at";
const TASK_AND_CUSTOMER: &str = "JOIN lane_tasks t ON t.tenant_id = e.tenant_id AND t.id = e.id \
     JOIN customers c ON c.tenant_id = e.tenant_id AND c.source_service = coalesce($1, c.source_service)";

/// Events of whatever customers, or of one source's, with this id.
pub(crate) async fn by_id(
    tx: &mut PlatformTransaction,
    source: Option<&str>,
    id: Uuid,
) -> Result<Vec<FoundEvent>, DatabaseError> {
    // The key begins with the customer; there are far fewer of those than events.
    Ok(database::sql(format!(
        "{FOUND} FROM (SELECT DISTINCT tenant_id FROM hook_counts WHERE held > 0) h \
         JOIN hook_events e ON e.tenant_id = h.tenant_id AND e.id = $2 {TASK_AND_CUSTOMER} LIMIT $3"
    ))
    .bind::<Nullable<Text>, _>(source)
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(MOST_HITS)
    .load(tx.connection())
    .await?)
}

/// Events that this request brought, of whatever customers or of one source's.
pub(crate) async fn by_request(
    tx: &mut PlatformTransaction,
    source: Option<&str>,
    request: &str,
) -> Result<Vec<FoundEvent>, DatabaseError> {
    Ok(database::sql(format!(
        "{FOUND} FROM (SELECT tenant_id, id, event_type, received_at FROM hook_events \
              ORDER BY received_at DESC LIMIT $4) e {TASK_AND_CUSTOMER} \
         WHERE t.payload::jsonb ->> 'request_id' = $2 LIMIT $3"
    ))
    .bind::<Nullable<Text>, _>(source)
    .bind::<Text, _>(request)
    .bind::<BigInt, _>(MOST_HITS)
    .bind::<BigInt, _>(LOOKED_THROUGH)
    .load(tx.connection())
    .await?)
}
