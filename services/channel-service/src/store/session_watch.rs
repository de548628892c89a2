//! `session_watch`: sessions that are looked after. A row is there as long as its account has a session.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::AccountId;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A session that is this process' to look at, and what is known of it. Times are seconds by the database's clock.
#[derive(Debug, Clone, PartialEq, diesel::QueryableByName)]
pub struct WatchedRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Of which account.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// Whose findings count.
    #[diesel(sql_type = BigInt)]
    pub fence: i64,
    /// On which endpoint.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// An [`domain::account::AccountStatus`], as it was last noted.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// A person took it off the network.
    #[diesel(sql_type = Bool)]
    pub kept_off: bool,
    /// It is down, or was when it was last looked at.
    #[diesel(sql_type = Bool)]
    pub is_down: bool,
    /// Tries of this outage.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// How long until the next one; none: no time is set.
    #[diesel(sql_type = Nullable<Double>)]
    pub try_in: Option<f64>,
    /// Why it is not tried any more.
    #[diesel(sql_type = Nullable<Text>)]
    pub gave_up: Option<String>,
    /// Since when there is a send that its server took and after which no event came.
    #[diesel(sql_type = Nullable<Double>)]
    pub unheard_for: Option<f64>,
    /// By what it is held for deaf.
    #[diesel(sql_type = Nullable<Text>)]
    pub deaf_reason: Option<String>,
    /// When it was last attached anew.
    #[diesel(sql_type = Nullable<Double>)]
    pub reattached_ago: Option<f64>,
    /// How often that was done lately.
    #[diesel(sql_type = Integer)]
    pub reattachments: i32,
    /// An event came since.
    #[diesel(sql_type = Bool)]
    pub heard_since: bool,
    /// Its endpoint is known to be away.
    #[diesel(sql_type = Bool)]
    pub endpoint_is_away: bool,
}

/// Takes sessions that are due, at most `most`, for the time `lease`: none of endpoints in `full`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn claim(
    tx: &mut PlatformTransaction,
    full: &[&str],
    most: i64,
    lease: Duration,
) -> Result<Vec<WatchedRow>, DatabaseError> {
    let rows = database::sql(
        "UPDATE session_watch w SET fence = w.fence + 1, held_until = now() + make_interval(secs => $3), \
             look_at = now() + make_interval(secs => $3) \
         FROM (SELECT s.tenant_id, s.account_id, a.endpoint, a.status FROM session_watch s \
               JOIN accounts a ON a.tenant_id = s.tenant_id AND a.id = s.account_id \
               WHERE s.look_at <= now() AND (s.held_until IS NULL OR s.held_until <= now()) \
                 AND NOT (a.endpoint = ANY ($1)) \
               ORDER BY s.look_at LIMIT $2 FOR UPDATE OF s SKIP LOCKED) d \
         WHERE w.tenant_id = d.tenant_id AND w.account_id = d.account_id \
         RETURNING w.tenant_id, w.account_id, w.fence, d.endpoint, d.status, w.kept_off, \
             w.down_since IS NOT NULL AS is_down, w.attempts, \
             extract(epoch FROM w.try_at - now())::double precision AS try_in, w.gave_up, \
             CASE WHEN w.spoke_at > coalesce(w.heard_at, '-infinity') \
                  THEN extract(epoch FROM now() - w.spoke_at)::double precision END AS unheard_for, \
             w.deaf_reason, extract(epoch FROM now() - w.reattached_at)::double precision AS reattached_ago, \
             w.reattachments, coalesce(w.heard_at > w.reattached_at, false) AS heard_since, \
             EXISTS (SELECT 1 FROM endpoint_health h WHERE h.endpoint = d.endpoint AND h.status = 'unhealthy' \
                       AND h.checked_at > now() - interval '2 hours') AS endpoint_is_away",
    )
    .bind::<Array<Text>, _>(full)
    .bind::<BigInt, _>(most)
    .bind::<Double, _>(lease.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// How quiet an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, diesel::QueryableByName)]
pub struct Silence {
    /// Sessions with a send that was taken and after which no event came, and those below.
    #[diesel(sql_type = BigInt)]
    pub silent: i64,
    /// Sessions that were attached anew because of that, and were not heard since.
    #[diesel(sql_type = BigInt)]
    pub attached: i64,
    /// An event of any session of it came in lately, or of one that was attached anew lately, since then.
    #[diesel(sql_type = Bool)]
    pub is_heard: bool,
}

/// How quiet the endpoint has been for `time`. One that was attached anew and is heard speaks for the others for the time
/// `believed`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn silence(
    tx: &mut PlatformTransaction,
    endpoint: &str,
    time: Duration,
    believed: Duration,
) -> Result<Silence, DatabaseError> {
    // What was attached has not spoken since, but is as silent as before.
    let silence = database::sql(
        "SELECT count(*) FILTER (WHERE s.spoke_at > s.heard OR s.is_attached) AS silent, \
             count(*) FILTER (WHERE s.is_attached) AS attached, \
             coalesce(bool_or(s.heard > now() - make_interval(secs => $2) \
                 OR s.reattached_at > now() - make_interval(secs => $3) AND s.heard > s.reattached_at), false) AS is_heard \
         FROM (SELECT w.spoke_at, w.reattached_at, coalesce(w.heard_at, '-infinity') AS heard, \
                      coalesce(w.deaf_reason = 'unheard' AND w.reattached_at > coalesce(w.heard_at, '-infinity'), \
                               false) AS is_attached \
               FROM session_watch w JOIN accounts a ON a.tenant_id = w.tenant_id AND a.id = w.account_id \
               WHERE a.endpoint = $1) s",
    )
    .bind::<Text, _>(endpoint)
    .bind::<Double, _>(time.as_secs_f64())
    .bind::<Double, _>(believed.as_secs_f64())
    .get_result(tx.connection())
    .await?;
    Ok(silence)
}

/// What is changed of the outage when a look is over.
#[derive(Debug, Clone, PartialEq)]
pub enum OutageChange {
    /// Nothing.
    Same,
    /// There is none (any more).
    Over,
    /// It is down and is tried again after this time; another try was made if `tried`.
    Down {
        /// When it is tried next.
        try_in: Duration,
        /// A try was made.
        tried: bool,
    },
    /// It is not tried any more.
    GivenUp(&'static str),
}

/// What is changed of its hearing when a look is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HearingChange {
    /// Nothing.
    Same,
    /// It hears.
    Hears,
    /// It is deaf, for this reason.
    Deaf(&'static str),
    /// It was attached anew because it was deaf.
    Reattached {
        /// For this reason.
        reason: &'static str,
        /// So long ago: what was heard since then, was heard since.
        ago: Duration,
    },
}

/// Ends a look and says when the next one is. A session whose state was noted meanwhile is looked at again at once. False
/// when somebody else has it by now: then nothing is changed.
///
/// # Errors
/// [`DatabaseError`].
pub async fn finish(
    tx: &mut TenantTransaction,
    row: &WatchedRow,
    outage: &OutageChange,
    hearing: HearingChange,
    next: Duration,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let (is_over, try_in, tried, gave_up) = match outage {
        OutageChange::Same => (false, None, false, None),
        OutageChange::Over => (true, None, false, None),
        OutageChange::Down { try_in, tried } => (false, Some(try_in.as_secs_f64()), *tried, None),
        OutageChange::GivenUp(reason) => (false, None, false, Some(*reason)),
    };
    let (hears, deaf, reattached) = match hearing {
        HearingChange::Same => (false, None, None),
        HearingChange::Hears => (true, None, None),
        HearingChange::Deaf(reason) => (false, Some(reason), None),
        HearingChange::Reattached { reason, ago } => (false, Some(reason), Some(ago.as_secs_f64())),
    };
    let finished = database::sql(
        "UPDATE session_watch SET held_until = NULL, \
             look_at = CASE WHEN look_at <= now() THEN look_at ELSE now() + make_interval(secs => $4) END, \
             down_since = CASE WHEN $5 THEN NULL WHEN $6 IS NOT NULL OR $8 IS NOT NULL \
                               THEN coalesce(down_since, now()) ELSE down_since END, \
             attempts = CASE WHEN $5 THEN 0 WHEN $7 THEN attempts + 1 ELSE attempts END, \
             try_at = CASE WHEN $5 OR $8 IS NOT NULL THEN NULL \
                           ELSE coalesce(now() + make_interval(secs => $6), try_at) END, \
             gave_up = CASE WHEN $5 THEN NULL ELSE coalesce($8, gave_up) END, \
             deaf_since = CASE WHEN $9 THEN NULL WHEN $10 IS NOT NULL THEN coalesce(deaf_since, now()) \
                               ELSE deaf_since END, \
             deaf_reason = CASE WHEN $9 THEN NULL ELSE coalesce($10, deaf_reason) END, \
             spoke_at = CASE WHEN $11 IS NULL THEN spoke_at END, \
             reattachments = CASE WHEN $11 IS NULL THEN reattachments \
                                  WHEN reattached_at > now() - interval '2 hours' THEN reattachments + 1 ELSE 1 END, \
             reattached_at = coalesce(clock_timestamp() - make_interval(secs => $11), reattached_at) \
         WHERE tenant_id = $1 AND account_id = $2 AND fence = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(row.account_id)
    .bind::<BigInt, _>(row.fence)
    .bind::<Double, _>(next.as_secs_f64())
    .bind::<Bool, _>(is_over)
    .bind::<Nullable<Double>, _>(try_in)
    .bind::<Bool, _>(tried)
    .bind::<Nullable<Text>, _>(gave_up)
    .bind::<Bool, _>(hears)
    .bind::<Nullable<Text>, _>(deaf)
    .bind::<Nullable<Double>, _>(reattached)
    .execute(tx.connection())
    .await?;
    Ok(finished == 1)
}

/// A deaf session is about to be taken off the network to be attached anew. From then on it counts as down, for this reason,
/// so that whoever looks at it next brings it back, whatever becomes of this process. False when somebody else has it by now
/// or a person wants it off: then it must be left as it is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_taken_off(
    tx: &mut TenantTransaction,
    row: &WatchedRow,
    reason: &'static str,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let noted = database::sql(
        "UPDATE session_watch SET down_since = coalesce(down_since, now()), try_at = now(), \
             deaf_since = coalesce(deaf_since, now()), deaf_reason = $4 \
         WHERE tenant_id = $1 AND account_id = $2 AND fence = $3 AND NOT kept_off",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(row.account_id)
    .bind::<BigInt, _>(row.fence)
    .bind::<Text, _>(reason)
    .execute(tx.connection())
    .await?;
    Ok(noted == 1)
}

/// Notes what a person wants: the session off the network, or on it. Either way tries begin anew. What was given up because
/// no phone knows the session stays so until it is seen otherwise.
///
/// # Errors
/// [`DatabaseError`].
pub async fn keep_off(
    tx: &mut TenantTransaction,
    account: AccountId,
    off: bool,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE session_watch SET kept_off = $3, down_since = NULL, attempts = 0, try_at = NULL, \
             gave_up = nullif(gave_up, 'attempts_used_up'), look_at = least(look_at, now()) \
         WHERE tenant_id = $1 AND account_id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Bool, _>(off)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Does a person want the session off the network?
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_kept_off(tx: &mut TenantTransaction, account: AccountId) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        kept_off: bool,
    }
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<Row> =
        database::sql("SELECT kept_off FROM session_watch WHERE tenant_id = $1 AND account_id = $2")
            .bind::<Text, _>(tenant)
            .bind::<SqlUuid, _>(account.as_uuid())
            .load(tx.connection())
            .await?;
    // Without a session there is nothing to bring back.
    Ok(rows.pop().is_none_or(|row| row.kept_off))
}

/// What is done about a session that is off the network, as people are told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, diesel::QueryableByName)]
pub struct OutageRow {
    /// A person took it off.
    #[diesel(sql_type = Bool)]
    pub kept_off: bool,
    /// Since when it is down.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub down_since: Option<DateTime<Utc>>,
    /// When it is tried next.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub try_at: Option<DateTime<Utc>>,
    /// Why it is not tried any more.
    #[diesel(sql_type = Nullable<Text>)]
    pub gave_up: Option<String>,
}

/// What is done about the session. `None`: there is no session.
///
/// # Errors
/// [`DatabaseError`].
pub async fn outage_of(
    tx: &mut TenantTransaction,
    account: AccountId,
) -> Result<Option<OutageRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<OutageRow> = database::sql(
        "SELECT kept_off, down_since, try_at, gave_up FROM session_watch WHERE tenant_id = $1 AND account_id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// What was heard of a session, and what was sent with it. Ages in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct HearingNote {
    /// Whose.
    pub tenant: String,
    /// Of which account.
    pub account: Uuid,
    /// The newest event.
    pub heard: Option<f64>,
    /// The first send that its server took.
    pub spoke_first: Option<f64>,
    /// The last one.
    pub spoke_last: Option<f64>,
}

/// Writes down what was heard, for many sessions at once.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_hearing(tx: &mut PlatformTransaction, notes: &[HearingNote]) -> Result<(), DatabaseError> {
    let tenants: Vec<&str> = notes.iter().map(|note| note.tenant.as_str()).collect();
    let accounts: Vec<Uuid> = notes.iter().map(|note| note.account).collect();
    let ages = |of: fn(&HearingNote) -> Option<f64>| -> Vec<Option<f64>> { notes.iter().map(of).collect() };
    // The clock of this moment: what came before and after must not change places.
    database::sql(
        "WITH note AS (SELECT tenant_id, account_id, clock_timestamp() - make_interval(secs => heard) AS heard, \
                              clock_timestamp() - make_interval(secs => first) AS first, \
                              clock_timestamp() - make_interval(secs => last) AS last \
                       FROM unnest($1, $2, $3, $4, $5) AS n(tenant_id, account_id, heard, first, last)), \
              held AS (SELECT w.tenant_id, w.account_id, n.first, n.last, greatest(w.heard_at, n.heard) AS heard \
                       FROM session_watch w JOIN note n USING (tenant_id, account_id) \
                       ORDER BY w.tenant_id, w.account_id FOR UPDATE OF w) \
         UPDATE session_watch w SET heard_at = h.heard, \
             spoke_at = CASE WHEN w.spoke_at > coalesce(h.heard, '-infinity') THEN w.spoke_at \
                             WHEN h.first > coalesce(h.heard, '-infinity') THEN h.first \
                             WHEN h.last > coalesce(h.heard, '-infinity') THEN h.last END \
         FROM held h WHERE w.tenant_id = h.tenant_id AND w.account_id = h.account_id",
    )
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<SqlUuid>, _>(accounts)
    .bind::<Array<Nullable<Double>>, _>(ages(|note| note.heard))
    .bind::<Array<Nullable<Double>>, _>(ages(|note| note.spoke_first))
    .bind::<Array<Nullable<Double>>, _>(ages(|note| note.spoke_last))
    .execute(tx.connection())
    .await?;
    Ok(())
}
