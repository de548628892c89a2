//! What its customer last asked of a session, connected or not, and what of our own doing may stand against it: table
//! `session_switches`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::OptionalExtension as _;
use diesel::sql_types::{BigInt, Bool, Double, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::session_sweep::{self, Swept};

/// How long a session that was to be connected may take until it runs: the WA server answers before that, and until it
/// runs it says that there is no such session.
const SETTLED_AFTER: Duration = Duration::from_secs(120);

/// How long the process that is to take a session off has it for itself.
const FIRST_TRY_WITHIN: Duration = Duration::from_secs(10);

/// A session that is to be taken off.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct Off {
    #[diesel(sql_type = Timestamptz)]
    pub(crate) since: DateTime<Utc>,
    /// How often its customer had connected or disconnected it by then.
    #[diesel(sql_type = BigInt)]
    pub(crate) asked: i64,
    /// Nothing that was begun can make it run any more.
    #[diesel(sql_type = Bool)]
    pub(crate) settled: bool,
}

/// Its customer connects or disconnects the session: from now on that is what is wanted of it.
pub(crate) async fn ask(tx: &mut TenantTransaction, session: Uuid, on: bool) -> Result<(), DatabaseError> {
    database::sql(
        "INSERT INTO session_switches AS s (tenant_id, session, asked, asked_on) \
         SELECT tenant_id, id, 1, $3 FROM sessions WHERE tenant_id = $1 AND id = $2 \
         ON CONFLICT (tenant_id, session) DO UPDATE SET asked = s.asked + 1, asked_on = $3, \
             off_since = CASE WHEN $3 THEN NULL ELSE s.off_since END, \
             off_next_try_at = CASE WHEN $3 THEN NULL ELSE s.off_next_try_at END",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<Bool, _>(on)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// How often its customer has connected or disconnected the session.
pub(crate) async fn asked(tx: &mut TenantTransaction, session: Uuid) -> Result<i64, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Asked {
        #[diesel(sql_type = BigInt)]
        asked: i64,
    }
    let row: Option<Asked> =
        database::sql("SELECT asked FROM session_switches WHERE tenant_id = $1 AND session = $2")
            .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
            .bind::<SqlUuid, _>(session)
            .get_result(tx.connection())
            .await
            .optional()?;
    Ok(row.map_or(0, |row| row.asked))
}

/// Has its customer connected the session since it had asked so often, and not disconnected it again?
pub(crate) async fn is_on_since(
    tx: &mut TenantTransaction,
    session: Uuid,
    asked: i64,
) -> Result<bool, DatabaseError> {
    let on = database::sql(
        "SELECT 1 FROM session_switches WHERE tenant_id = $1 AND session = $2 AND asked > $3 AND asked_on",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<BigInt, _>(asked)
    .execute(tx.connection())
    .await?;
    Ok(on == 1)
}

/// We are about to connect the session.
pub(crate) async fn try_to_connect(tx: &mut TenantTransaction, session: Uuid) -> Result<(), DatabaseError> {
    database::sql(
        "INSERT INTO session_switches (tenant_id, session, tried_at) VALUES ($1, $2, now()) \
         ON CONFLICT (tenant_id, session) DO UPDATE SET tried_at = now()",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The session is not wanted to be connected any more. True: what we have begun may connect it yet, so it is to be taken
/// off.
pub(crate) async fn take_off_if_tried(
    tx: &mut TenantTransaction,
    session: Uuid,
) -> Result<bool, DatabaseError> {
    let noted = database::sql(
        "UPDATE session_switches SET off_since = now(), off_next_try_at = now() + $4 * interval '1 second' \
         WHERE tenant_id = $1 AND session = $2 AND tried_at > now() - $3 * interval '1 second'",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<Double, _>(SETTLED_AFTER.as_secs_f64())
    .bind::<Double, _>(FIRST_TRY_WITHIN.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(noted == 1)
}

/// The session, if it is to be taken off; asked right before.
pub(crate) async fn to_take_off(
    tx: &mut TenantTransaction,
    session: Uuid,
) -> Result<Option<Off>, DatabaseError> {
    Ok(database::sql(
        "SELECT off_since AS since, asked, \
                tried_at IS NULL OR tried_at < now() - $3 * interval '1 second' AS settled \
         FROM session_switches WHERE tenant_id = $1 AND session = $2 AND off_since IS NOT NULL",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<Double, _>(SETTLED_AFTER.as_secs_f64())
    .get_result(tx.connection())
    .await
    .optional()?)
}

/// The session is off, as it was to be since `since`.
pub(crate) async fn is_off(
    tx: &mut TenantTransaction,
    session: Uuid,
    since: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE session_switches SET off_since = NULL, off_next_try_at = NULL \
         WHERE tenant_id = $1 AND session = $2 AND off_since = $3",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<Timestamptz, _>(since)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Sessions of all customers that are to be taken off and tried now, and nobody works on. Each of them is due again after
/// a while that grows with its age, so that one that cannot be taken off holds up nobody.
pub(crate) async fn take_due(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<Swept>, DatabaseError> {
    let rows = database::sql(
        "WITH due AS MATERIALIZED ( \
             SELECT w.tenant_id, w.session FROM session_switches w \
                 JOIN sessions s ON s.tenant_id = w.tenant_id AND s.id = w.session \
             WHERE w.off_next_try_at <= now() AND (s.busy_until IS NULL OR s.busy_until < now()) \
             ORDER BY w.off_next_try_at LIMIT $1 FOR UPDATE OF w SKIP LOCKED \
         ) \
         UPDATE session_switches SET off_next_try_at = \
             now() + LEAST(GREATEST(now() - off_since, interval '10 seconds'), interval '15 minutes') \
         FROM due WHERE session_switches.tenant_id = due.tenant_id AND session_switches.session = due.session \
         RETURNING session_switches.tenant_id, session_switches.session AS id",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    session_sweep::swept(tx, rows)
}

/// Sessions of all customers that have been to be taken off for longer than this.
pub(crate) async fn overdue(
    tx: &mut PlatformTransaction,
    after: Duration,
    most: i64,
) -> Result<Vec<Swept>, DatabaseError> {
    let rows = database::sql(
        "SELECT tenant_id, session AS id FROM session_switches \
         WHERE off_next_try_at > now() AND off_since < now() - $1 * interval '1 second' \
         ORDER BY off_since LIMIT $2",
    )
    .bind::<Double, _>(after.as_secs_f64())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    session_sweep::swept(tx, rows)
}

/// The session is not to be taken off any more, if it has been to be for longer than this and was tried just now. False: it has not.
pub(crate) async fn give_up(
    tx: &mut TenantTransaction,
    session: Uuid,
    after: Duration,
) -> Result<bool, DatabaseError> {
    let given_up = database::sql(
        "UPDATE session_switches SET off_since = NULL, off_next_try_at = NULL \
         WHERE tenant_id = $1 AND session = $2 AND off_next_try_at > now() \
             AND off_since < now() - $3 * interval '1 second'",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<Double, _>(after.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(given_up == 1)
}
