//! `sessions_to_unlink`: sessions that their tenant has left, still to be unlinked where they are.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::TenantId;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A row of `sessions_to_unlink`.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct LeftRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The name of the endpoint where it is.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// A [`Provider`](domain::endpoint::Provider).
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// What it is called there.
    #[diesel(sql_type = Text)]
    pub session_name: String,
    /// The server's id of it. `None`: it was begun, and perhaps never made.
    #[diesel(sql_type = Nullable<Text>)]
    pub session_id: Option<String>,
    /// A [`SessionVia`](super::session::SessionVia); none when it was registered by hand.
    #[diesel(sql_type = Nullable<Text>)]
    pub session_via: Option<String>,
    /// Sealed; see [`token_binding`].
    #[diesel(sql_type = Nullable<Text>)]
    pub token_sealed: Option<String>,
    /// How often it was tried.
    #[diesel(sql_type = Integer)]
    pub tries: i32,
    /// When it is tried next.
    #[diesel(sql_type = Timestamptz)]
    pub next_try: DateTime<Utc>,
    /// Why it was not unlinked at the last try.
    #[diesel(sql_type = Nullable<Text>)]
    pub last_reason: Option<String>,
    /// When the tenant left it.
    #[diesel(sql_type = Timestamptz)]
    pub left_at: DateTime<Utc>,
}

/// A session that is left.
#[derive(Debug)]
pub struct NewLeft<'a> {
    /// Its id.
    pub id: Uuid,
    /// The name of the endpoint where it is.
    pub endpoint: &'a str,
    /// Which kind of API that is.
    pub provider: &'a str,
    /// What it is called there.
    pub session_name: &'a str,
    /// The server's id of it, if it was made.
    pub session_id: Option<&'a str>,
    /// Who made it.
    pub session_via: Option<&'a str>,
    /// Sealed; see [`token_binding`].
    pub token_sealed: Option<String>,
    /// Why it could not be unlinked, if that was tried.
    pub reason: Option<&'a str>,
}

/// What the token of such a session is sealed for.
#[must_use]
pub fn token_binding(tenant: &TenantId, endpoint: &str, id: Uuid) -> String {
    format!("sessions_to_unlink/{tenant}/{endpoint}/{id}/token")
}

const COLUMNS: &str = "id, endpoint, provider, session_name, session_id, session_via, token_sealed, tries, next_try, \
                       last_reason, left_at";

/// The tenant that left the session `s` is the one of now, and not an erased one of the same id.
const OF_THIS_TENANT: &str =
    "EXISTS (SELECT 1 FROM tenants t WHERE t.tenant_id = s.tenant_id AND t.created_at <= s.left_at)";

/// Writes down that a session is to be unlinked, the sweep's first time in so long.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert(
    tx: &mut TenantTransaction,
    new: &NewLeft<'_>,
    first: Duration,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO sessions_to_unlink (tenant_id, id, endpoint, provider, session_name, session_id, session_via, \
                token_sealed, last_reason, tries, next_try) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $9 IS NULL THEN 0 ELSE 1 END, \
                now() + make_interval(secs => $10))",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(new.id)
    .bind::<Text, _>(new.endpoint)
    .bind::<Text, _>(new.provider)
    .bind::<Text, _>(new.session_name)
    .bind::<Nullable<Text>, _>(new.session_id)
    .bind::<Nullable<Text>, _>(new.session_via)
    .bind::<Nullable<Text>, _>(&new.token_sealed)
    .bind::<Nullable<Text>, _>(new.reason)
    .bind::<Double, _>(first.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Somebody tries it now. Should that be the last that is heard of it, it is tried again in time: after `first`, then after twice
/// as long each time up to `longest`. `None`: it is gone.
///
/// # Errors
/// [`DatabaseError`].
pub async fn begin(
    tx: &mut TenantTransaction,
    id: Uuid,
    first: Duration,
    longest: Duration,
) -> Result<Option<LeftRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<LeftRow> = database::sql(format!(
        "UPDATE sessions_to_unlink SET tries = tries + 1, \
                next_try = now() + make_interval(secs => least($3 * 2 ^ least(tries, 30), $4)) \
         WHERE tenant_id = $1 AND id = $2 RETURNING {COLUMNS}"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<Double, _>(first.as_secs_f64())
    .bind::<Double, _>(longest.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// What a tenant of the same id, erased before this one was registered, left at the endpoint under a name.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_predecessor(
    tx: &mut TenantTransaction,
    endpoint: &str,
    session_name: &str,
) -> Result<Vec<LeftRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM sessions_to_unlink s \
         WHERE tenant_id = $1 AND endpoint = $2 AND session_name = $3 AND NOT ({OF_THIS_TENANT}) ORDER BY left_at, id LIMIT 100"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(endpoint)
    .bind::<Text, _>(session_name)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Is the session one of the tenant's again? A tenant that came back may have got the one that it had left; one that only
/// has the id of an erased tenant has not.
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_used_again(tx: &mut TenantTransaction, row: &LeftRow) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let tenant = tx.scope().tenant().to_string();
    // One that was only begun is told by its name, but for those of a server, which are found by their tokens.
    let row: Row = database::sql(format!(
        "SELECT count(*) AS count FROM sessions_to_unlink s, accounts a \
         WHERE s.tenant_id = $1 AND s.id = $7 AND {OF_THIS_TENANT} AND a.tenant_id = $1 AND a.endpoint = $2 AND a.provider = $3 \
             AND CASE WHEN $4 IS NOT NULL THEN a.token_sealed IS NOT NULL AND a.session_id = $4 \
                 ELSE $6 IS DISTINCT FROM 'server' AND a.instance_name = $5 AND (a.token_sealed IS NOT NULL \
                     OR EXISTS (SELECT 1 FROM session_intents i WHERE i.tenant_id = $1 AND i.account_id = a.id)) END"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(&row.endpoint)
    .bind::<Text, _>(&row.provider)
    .bind::<Nullable<Text>, _>(&row.session_id)
    .bind::<Text, _>(&row.session_name)
    .bind::<Nullable<Text>, _>(&row.session_via)
    .bind::<SqlUuid, _>(row.id)
    .get_result(tx.connection())
    .await?;
    Ok(row.count > 0)
}

/// Notes why it was not unlinked.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_reason(tx: &mut TenantTransaction, id: Uuid, reason: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("UPDATE sessions_to_unlink SET last_reason = $3 WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(reason)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// It is not to be unlinked any more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete(tx: &mut TenantTransaction, id: Uuid) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("DELETE FROM sessions_to_unlink WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The tenant's, those first that were left first, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(tx: &mut TenantTransaction, most: i64) -> Result<Vec<LeftRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM sessions_to_unlink s WHERE tenant_id = $1 AND {OF_THIS_TENANT} ORDER BY left_at, id LIMIT $2"
    ))
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// One that is due.
#[derive(Debug, diesel::QueryableByName)]
pub struct DueRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The name of the endpoint where it is.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
}

/// Those that are due, longest ago first, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn due(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<DueRow>, DatabaseError> {
    let rows = database::sql(
        "SELECT tenant_id, id, endpoint FROM sessions_to_unlink WHERE next_try <= now() ORDER BY next_try LIMIT $1",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Leaves what is due at an endpoint alone for so long, up to twice as long: it is away, which is no try of theirs.
///
/// # Errors
/// [`DatabaseError`].
pub async fn postpone(
    tx: &mut PlatformTransaction,
    endpoint: &str,
    time: Duration,
) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions_to_unlink SET next_try = now() + make_interval(secs => $2 * (1 + random())) \
         WHERE endpoint = $1 AND next_try <= now()",
    )
    .bind::<Text, _>(endpoint)
    .bind::<Double, _>(time.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// How many there are at an endpoint.
#[derive(Debug, diesel::QueryableByName)]
pub struct LeftAt {
    /// Which.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub sessions: i64,
}

/// How many there are at each endpoint, at most `most` endpoints.
///
/// # Errors
/// [`DatabaseError`].
pub async fn count(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<LeftAt>, DatabaseError> {
    let rows = database::sql(
        "SELECT endpoint, count(*) AS sessions FROM sessions_to_unlink GROUP BY endpoint \
         ORDER BY sessions DESC, endpoint LIMIT $1",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}
