//! What waits in the outbox, for the people who run a service, never what is in it; and what became of what was put aside.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

use crate::ledger::{Book, Step, note};

/// Rows of one name that are shown: event ids are made to differ.
const MOST_OF_ONE_ID: i64 = 20;

/// How many events of one type are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, QueryableByName)]
pub struct Depth {
    /// What they tell.
    #[diesel(sql_type = Text)]
    pub event_type: String,
    /// Waiting for the broker.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// Since when the oldest of those waits.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
    /// Put aside.
    #[diesel(sql_type = BigInt)]
    pub parked: i64,
}

/// An event that the broker has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, QueryableByName)]
pub struct Unsent {
    /// Its id, as consumers know it.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// Its place among all.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Among which it keeps its place.
    #[diesel(sql_type = Text)]
    pub lane: String,
    /// What it tells.
    #[diesel(sql_type = Text)]
    pub event_type: String,
    /// Bytes of it.
    #[diesel(sql_type = BigInt)]
    pub size: i64,
    /// Since when it is there.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
    /// Why it was put aside; it waits otherwise.
    #[diesel(sql_type = Nullable<Text>)]
    pub parked: Option<String>,
    /// Is it the next one of its lane? One that has been for long is not taken by the broker.
    #[diesel(sql_type = Bool)]
    pub is_next: bool,
}

const UNSENT: &str = "SELECT o.event_id, o.seq, o.tenant_id, o.lane, o.event_type, octet_length(o.envelope)::bigint AS size, \
        o.created_at AS since, o.parked, o.parked IS NULL AND NOT EXISTS (SELECT 1 FROM outbox b \
            WHERE b.tenant_id = o.tenant_id AND b.lane = o.lane AND b.parked IS NULL AND b.seq < o.seq) AS is_next \
     FROM outbox o";

/// How many events of each type wait or are put aside.
///
/// # Errors
/// [`DatabaseError`].
pub async fn depth(tx: &mut PlatformTransaction) -> Result<Vec<Depth>, DatabaseError> {
    Ok(database::sql(
        "SELECT event_type, count(*) FILTER (WHERE parked IS NULL) AS waiting, \
             min(created_at) FILTER (WHERE parked IS NULL) AS oldest, count(parked) AS parked \
         FROM outbox GROUP BY event_type ORDER BY event_type",
    )
    .load(tx.connection())
    .await?)
}

/// Events that were put aside, or else those that wait, oldest first, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn oldest(
    tx: &mut PlatformTransaction,
    parked: bool,
    most: i64,
) -> Result<Vec<Unsent>, DatabaseError> {
    Ok(database::sql(format!(
        "{UNSENT} WHERE (o.parked IS NOT NULL) = $1 ORDER BY o.seq LIMIT $2"
    ))
    .bind::<Bool, _>(parked)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// The event with this id. Nothing: it was published, or never was.
///
/// # Errors
/// [`DatabaseError`].
pub async fn with_id(tx: &mut PlatformTransaction, event: Uuid) -> Result<Vec<Unsent>, DatabaseError> {
    Ok(
        database::sql(format!("{UNSENT} WHERE o.event_id = $1 ORDER BY o.seq LIMIT $2"))
            .bind::<SqlUuid, _>(event)
            .bind::<BigInt, _>(MOST_OF_ONE_ID)
            .load(tx.connection())
            .await?,
    )
}

/// Has the relay try an event again that was put aside, or all of them. It comes after what its lane has published
/// meanwhile. Returns how many.
///
/// # Errors
/// [`DatabaseError`]; nothing is changed then.
pub async fn replay(tx: &mut PlatformTransaction, event: Option<Uuid>) -> Result<usize, DatabaseError> {
    Ok(database::sql(
        "UPDATE outbox SET parked = NULL WHERE parked IS NOT NULL AND ($1 IS NULL OR event_id = $1)",
    )
    .bind::<Nullable<SqlUuid>, _>(event)
    .execute(tx.connection())
    .await?)
}

/// Deletes events that were put aside and enqueued more than `days` ago, of whatever tenants, at most `most`. What waits for
/// the broker stays, however old it is. Returns how many; fewer than `most` means that no more are.
///
/// # Errors
/// [`DatabaseError`].
pub async fn expire_parked(
    tx: &mut PlatformTransaction,
    days: f64,
    most: i64,
) -> Result<usize, DatabaseError> {
    let expired = database::sql(
        "WITH old AS (SELECT tenant_id, seq FROM outbox \
                WHERE parked IS NOT NULL AND created_at < now() - $1 * interval '1 day' \
                ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED) \
         DELETE FROM outbox o USING old WHERE o.tenant_id = old.tenant_id AND o.seq = old.seq",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    note(tx, Book::Outbox, Step::Expired, expired);
    Ok(expired)
}
