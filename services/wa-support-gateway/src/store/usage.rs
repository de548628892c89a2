//! What was sent: per session, day and kind, and in all.

use chrono::{DateTime, NaiveDate, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{GroupTransaction, TenantTransaction};
use uuid::Uuid;

/// What is added to a session's numbers of a day.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) tenant_id: String,
    pub(crate) session: Uuid,
    pub(crate) day: NaiveDate,
    pub(crate) kind: &'static str,
    pub(crate) sent: i64,
    pub(crate) failed: i64,
    pub(crate) last_sent_at: Option<DateTime<Utc>>,
    pub(crate) last_failed_at: Option<DateTime<Utc>>,
}

/// Adds to the numbers. Sessions are locked first, in one order: one that is gone has no numbers any more, and two
/// processes that write at once do not stand in each other's way. The update goes through the locked rows, too: a lock
/// skips what its own statement has changed before it.
pub(crate) async fn add(tx: &mut GroupTransaction, counted: &[Counted]) -> Result<(), DatabaseError> {
    let column = |of: fn(&Counted) -> i64| counted.iter().map(of).collect::<Vec<_>>();
    let times = |of: fn(&Counted) -> Option<DateTime<Utc>>| counted.iter().map(of).collect::<Vec<_>>();
    database::sql(
        "WITH given AS MATERIALIZED ( \
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) \
             AS g (tenant_id, session, day, message_type, sent, failed, last_sent_at, last_failed_at)), \
         live AS MATERIALIZED ( \
             SELECT s.tenant_id, s.id FROM sessions s \
             WHERE (s.tenant_id, s.id) IN (SELECT tenant_id, session FROM given) \
             ORDER BY s.tenant_id, s.id FOR NO KEY UPDATE), \
         daily AS ( \
             INSERT INTO message_usage AS u \
                 (tenant_id, session, day, message_type, sent, failed, last_sent_at, last_failed_at) \
             SELECT g.* FROM given g JOIN live l ON l.tenant_id = g.tenant_id AND l.id = g.session \
             ON CONFLICT (tenant_id, session, day, message_type) DO UPDATE SET \
                 sent = u.sent + EXCLUDED.sent, failed = u.failed + EXCLUDED.failed, \
                 last_sent_at = GREATEST(u.last_sent_at, EXCLUDED.last_sent_at), \
                 last_failed_at = GREATEST(u.last_failed_at, EXCLUDED.last_failed_at)) \
         UPDATE sessions s SET sent_total = s.sent_total + t.sent, failed_total = s.failed_total + t.failed, \
                last_activity_at = GREATEST(s.last_activity_at, t.at) \
         FROM live l JOIN (SELECT tenant_id, session, sum(sent)::bigint AS sent, sum(failed)::bigint AS failed, \
                                  max(GREATEST(last_sent_at, last_failed_at)) AS at \
                           FROM given GROUP BY tenant_id, session) t \
                  ON t.tenant_id = l.tenant_id AND t.session = l.id \
         WHERE s.tenant_id = l.tenant_id AND s.id = l.id",
    )
    .bind::<Array<Text>, _>(counted.iter().map(|it| it.tenant_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(counted.iter().map(|it| it.session).collect::<Vec<_>>())
    .bind::<Array<Date>, _>(counted.iter().map(|it| it.day).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(counted.iter().map(|it| it.kind).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(column(|it| it.sent))
    .bind::<Array<BigInt>, _>(column(|it| it.failed))
    .bind::<Array<Nullable<Timestamptz>>, _>(times(|it| it.last_sent_at))
    .bind::<Array<Nullable<Timestamptz>>, _>(times(|it| it.last_failed_at))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A session's numbers of a day and kind.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct UsageRow {
    /// The WA server's id of the session; `None` before it is known there.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) session_id: Option<String>,
    #[diesel(sql_type = Text)]
    pub(crate) session_name: String,
    #[diesel(sql_type = Date)]
    pub(crate) day: NaiveDate,
    #[diesel(sql_type = Text)]
    pub(crate) message_type: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) sent: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) failed: i64,
}

/// The customer's numbers of these days, both included: by session, day and kind.
pub(crate) async fn between(
    tx: &mut TenantTransaction,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<Vec<UsageRow>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(
        "SELECT s.session_id, s.session_name, u.day, u.message_type, u.sent, u.failed \
         FROM message_usage u JOIN sessions s ON s.tenant_id = u.tenant_id AND s.id = u.session \
         WHERE u.tenant_id = $1 AND u.day BETWEEN $2 AND $3 \
         ORDER BY s.session_name, u.day, u.message_type",
    )
    .bind::<Text, _>(tenant)
    .bind::<Date, _>(from)
    .bind::<Date, _>(to)
    .load(tx.connection())
    .await?)
}
