//! Sessions: a customer's users of the WA server.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel::{
    AsChangeset, ExpressionMethods as _, Insertable, OptionalExtension as _, QueryDsl as _, Queryable,
    Selectable, SelectableHelper as _,
};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::PROVIDER;
use super::schema::sessions;

/// The sealed token of a session and whether it shows that it types. Looked up by id and by the hash of the token: a
/// directory entry that outlived its session or its token leads nowhere.
pub(crate) async fn pass(
    tx: &mut TenantTransaction,
    id: Uuid,
    token_hash: &str,
) -> Result<Option<(String, bool)>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .filter(sessions::id.eq(id))
        .filter(sessions::token_hash.eq(token_hash))
        .filter(sessions::phase.ne(REMOVING))
        .select((sessions::token_sealed, sessions::typing_enabled))
        .get_result(tx.connection())
        .await
        .optional()?)
}

/// The phase of a session that is only intended: the WA server may or may not know it.
pub(crate) const CREATING: &str = "creating";

/// The phase of a session that is there.
pub(crate) const READY: &str = "ready";

/// The phase of a session that is on its way out: the WA server may know it still.
pub(crate) const REMOVING: &str = "removing";

/// A session as it is kept: its secrets are sealed.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) number: i64,
    pub(crate) provider: String,
    /// The WA server's id, unknown until it was made there.
    pub(crate) session_id: Option<String>,
    pub(crate) session_name: String,
    pub(crate) token_hash: String,
    pub(crate) token_sealed: String,
    pub(crate) hmac_key_sealed: String,
    pub(crate) customer_hmac_key_sealed: Option<String>,
    pub(crate) webhook_url: Option<String>,
    /// Since when the WA server is to be told again what it forgets.
    pub(crate) upkeep_due: Option<DateTime<Utc>>,
    /// Since when it is to be connected because its customer wanted that when it was made.
    pub(crate) connect_wanted: Option<DateTime<Utc>>,
    /// What the WA server has on record of it (name, expiration, history) may not be what is here.
    pub(crate) record_due: bool,
    /// That it is to keep no history may not have been taken yet.
    pub(crate) history_due: bool,
    pub(crate) phase: String,
    pub(crate) events: String,
    pub(crate) history: i32,
    pub(crate) expiration_sec: i64,
    pub(crate) auto_read_enabled: bool,
    pub(crate) typing_enabled: bool,
    pub(crate) connected: bool,
    pub(crate) logged_in: bool,
    pub(crate) jid: String,
    pub(crate) status: String,
    pub(crate) last_synced_at: Option<DateTime<Utc>>,
    pub(crate) last_activity_at: Option<DateTime<Utc>>,
    pub(crate) sent_total: i64,
    pub(crate) failed_total: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A session that the WA server does not know yet.
#[derive(Debug, Insertable)]
#[diesel(table_name = sessions)]
pub(crate) struct NewSession<'a> {
    pub(crate) tenant_id: &'a str,
    pub(crate) id: Uuid,
    pub(crate) provider: &'a str,
    pub(crate) session_name: &'a str,
    pub(crate) token_hash: &'a str,
    pub(crate) token_sealed: &'a str,
    pub(crate) hmac_key_sealed: &'a str,
    pub(crate) phase: &'a str,
}

/// What a customer may choose of a session. Each absent one stays as it is.
#[derive(Debug, Default, AsChangeset)]
#[diesel(table_name = sessions)]
pub(crate) struct Wishes {
    pub(crate) session_name: Option<String>,
    pub(crate) webhook_url: Option<Option<String>>,
    pub(crate) events: Option<String>,
    pub(crate) history: Option<i32>,
    pub(crate) expiration_sec: Option<i64>,
    pub(crate) auto_read_enabled: Option<bool>,
    pub(crate) typing_enabled: Option<bool>,
    pub(crate) customer_hmac_key_sealed: Option<Option<String>>,
    pub(crate) updated_at: Option<DateTime<Utc>>,
}

/// The customer's session of this name.
pub(crate) async fn find_by_name(
    tx: &mut TenantTransaction,
    name: &str,
) -> Result<Option<Session>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .filter(sessions::session_name.eq(name))
        .select(Session::as_select())
        .get_result(tx.connection())
        .await
        .optional()?)
}

/// The customer's session that the WA server knows by this id, in one of these phases.
pub(crate) async fn find_by_session_id(
    tx: &mut TenantTransaction,
    session_id: &str,
    phases: &[&str],
) -> Result<Option<Session>, DatabaseError> {
    // Postgres has no text with it, so nothing is called that.
    if session_id.contains('\0') {
        return Ok(None);
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .filter(sessions::session_id.eq(session_id))
        .filter(sessions::phase.eq_any(phases.to_vec()))
        .select(Session::as_select())
        .get_result(tx.connection())
        .await
        .optional()?)
}

/// The customer's session, whatever phase it is in.
pub(crate) async fn find(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<Session>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .filter(sessions::id.eq(id))
        .select(Session::as_select())
        .get_result(tx.connection())
        .await
        .optional()?)
}

/// The customer's sessions, newest change first.
pub(crate) async fn list(
    tx: &mut TenantTransaction,
    limit: i64,
    offset: i64,
) -> Result<Vec<Session>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .filter(sessions::phase.eq(READY))
        .order((sessions::updated_at.desc(), sessions::id.desc()))
        .limit(limit)
        .offset(offset)
        .select(Session::as_select())
        .load(tx.connection())
        .await?)
}

/// Our ids of the customer's sessions, in whatever state.
pub(crate) async fn ids(tx: &mut TenantTransaction) -> Result<Vec<Uuid>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .order(sessions::id)
        .select(sessions::id)
        .load(tx.connection())
        .await?)
}

/// How many sessions the customer has, in whatever state: one that is only intended takes its place already (W-05).
pub(crate) async fn count(tx: &mut TenantTransaction) -> Result<i64, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .filter(sessions::provider.eq(PROVIDER))
        .count()
        .get_result(tx.connection())
        .await?)
}

/// Adds a session.
pub(crate) async fn insert(tx: &mut TenantTransaction, new: &NewSession<'_>) -> Result<(), DatabaseError> {
    diesel::insert_into(sessions::table)
        .values(new)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Writes what the customer wants.
pub(crate) async fn change(
    tx: &mut TenantTransaction,
    id: Uuid,
    mut wishes: Wishes,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    wishes.updated_at = Some(Utc::now());
    diesel::update(
        sessions::table
            .filter(sessions::tenant_id.eq(tenant))
            .filter(sessions::id.eq(id)),
    )
    .set(wishes)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The WA server has the session, under this id: new there, so nothing is known of a connection.
pub(crate) async fn set_made(
    tx: &mut TenantTransaction,
    id: Uuid,
    session_id: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let now = Utc::now();
    diesel::update(
        sessions::table
            .filter(sessions::tenant_id.eq(tenant))
            .filter(sessions::id.eq(id)),
    )
    .set((
        sessions::session_id.eq(session_id),
        sessions::phase.eq(READY),
        sessions::phase_since.eq(now),
        sessions::connected.eq(false),
        sessions::logged_in.eq(false),
        sessions::jid.eq(""),
        sessions::status.eq("created"),
        sessions::last_synced_at.eq(now),
        sessions::updated_at.eq(now),
    ))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The session is on its way out from now on.
pub(crate) async fn set_removing(tx: &mut TenantTransaction, id: Uuid) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    diesel::update(
        sessions::table
            .filter(sessions::tenant_id.eq(tenant))
            .filter(sessions::id.eq(id))
            .filter(sessions::phase.ne(REMOVING)),
    )
    .set((sessions::phase.eq(REMOVING), sessions::phase_since.eq(Utc::now())))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Removes the session with everything that hangs on it.
pub(crate) async fn delete(tx: &mut TenantTransaction, id: Uuid) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    diesel::delete(
        sessions::table
            .filter(sessions::tenant_id.eq(tenant))
            .filter(sessions::id.eq(id)),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Where a session stands, as the WA server has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) connected: bool,
    pub(crate) logged_in: bool,
    pub(crate) jid: String,
    pub(crate) status: &'static str,
}

/// Notes where the session stands. It counts as changed only when something is new.
pub(crate) async fn set_standing(
    tx: &mut TenantTransaction,
    id: Uuid,
    standing: &Standing,
) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions SET connected = $3, logged_in = $4, jid = $5, status = $6, last_synced_at = now(), \
         updated_at = CASE WHEN (connected, logged_in, jid, status) IS DISTINCT FROM ($3, $4, $5, $6) \
                      THEN now() ELSE updated_at END \
         WHERE tenant_id = $1 AND id = $2 AND phase = 'ready'",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(id)
    .bind::<Bool, _>(standing.connected)
    .bind::<Bool, _>(standing.logged_in)
    .bind::<Text, _>(&standing.jid)
    .bind::<Text, _>(standing.status)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The WA server is to be told again what it forgets.
pub(crate) async fn set_upkeep_due(tx: &mut TenantTransaction, id: Uuid) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions SET upkeep_due = now() WHERE tenant_id = $1 AND id = $2 AND phase = 'ready'",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(id)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Is what the WA server has on record of the session to be told again, and that it is to keep no history?
pub(crate) async fn set_record_due(
    tx: &mut TenantTransaction,
    id: Uuid,
    record: bool,
    history: bool,
) -> Result<(), DatabaseError> {
    database::sql("UPDATE sessions SET record_due = $3, history_due = $4 WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
        .bind::<SqlUuid, _>(id)
        .bind::<Bool, _>(record)
        .bind::<Bool, _>(history)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// It was told what was due since `due`; what came due meanwhile stays.
pub(crate) async fn set_upkept(
    tx: &mut TenantTransaction,
    id: Uuid,
    due: Option<DateTime<Utc>>,
) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions SET upkeep_due = NULL WHERE tenant_id = $1 AND id = $2 AND upkeep_due = $3",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(id)
    .bind::<Nullable<Timestamptz>, _>(due)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// It was told what was due since `due`, but for something that is due again after so long; what came due meanwhile stays.
pub(crate) async fn put_upkeep_off(
    tx: &mut TenantTransaction,
    id: Uuid,
    due: Option<DateTime<Utc>>,
    after: Duration,
) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions SET upkeep_due = now() + $4 * interval '1 second' \
         WHERE tenant_id = $1 AND id = $2 AND upkeep_due IS NOT DISTINCT FROM $3",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(id)
    .bind::<Nullable<Timestamptz>, _>(due)
    .bind::<Double, _>(after.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(())
}
