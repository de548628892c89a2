//! Sessions of all customers, for the sweeps that finish what was left behind and compare with the WA server.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Double, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use domain::ids::TenantId;
use tenant_isolation::{PlatformTransaction, TenantScope};
use uuid::Uuid;

use super::directory::SESSION_TOKEN;

/// Which session, and whose.
#[derive(diesel::QueryableByName)]
pub(super) struct Row {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// A session that a sweep met, and for whom the work on it goes on.
#[derive(Debug, Clone)]
pub(crate) struct Swept {
    pub(crate) scope: TenantScope,
    pub(crate) id: Uuid,
}

/// Sessions between their intent and their end that nobody has worked on for so long, oldest first.
pub(crate) async fn unfinished(
    tx: &mut PlatformTransaction,
    for_at_least: Duration,
    limit: i64,
) -> Result<Vec<Swept>, DatabaseError> {
    let rows: Vec<Row> = database::sql(
        "SELECT tenant_id, id FROM sessions \
         WHERE phase <> 'ready' AND phase_since < now() - $1 * interval '1 second' \
           AND (busy_until IS NULL OR busy_until < now()) \
         ORDER BY phase_since LIMIT $2",
    )
    .bind::<Double, _>(for_at_least.as_secs_f64())
    .bind::<BigInt, _>(limit)
    .load(tx.connection())
    .await?;
    swept(tx, rows)
}

/// Sessions that the WA server was to be told of so long ago, and was not.
pub(crate) async fn upkeep_due(
    tx: &mut PlatformTransaction,
    for_at_least: Duration,
    limit: i64,
) -> Result<Vec<Swept>, DatabaseError> {
    let rows: Vec<Row> = database::sql(
        "SELECT tenant_id, id FROM sessions \
         WHERE upkeep_due < now() - $1 * interval '1 second' AND phase = 'ready' \
           AND (busy_until IS NULL OR busy_until < now()) \
         ORDER BY upkeep_due LIMIT $2",
    )
    .bind::<Double, _>(for_at_least.as_secs_f64())
    .bind::<BigInt, _>(limit)
    .load(tx.connection())
    .await?;
    swept(tx, rows)
}

/// Sessions that have been wanting to be connected for so long and are to be tried again now, those of customers that
/// may be served.
pub(crate) async fn connect_due(
    tx: &mut PlatformTransaction,
    for_at_least: Duration,
    limit: i64,
) -> Result<Vec<Swept>, DatabaseError> {
    let rows: Vec<Row> = database::sql(
        "SELECT sessions.tenant_id, sessions.id FROM sessions JOIN customers USING (tenant_id) \
             JOIN subscriptions USING (tenant_id, provider) \
         WHERE connect_next_try_at <= now() AND connect_wanted < now() - $1 * interval '1 second' \
           AND phase = 'ready' AND (busy_until IS NULL OR busy_until < now()) \
           AND customers.status = 'active' \
           AND subscriptions.status = 'active' AND subscriptions.expires_at > now() \
         ORDER BY connect_next_try_at LIMIT $2",
    )
    .bind::<Double, _>(for_at_least.as_secs_f64())
    .bind::<BigInt, _>(limit)
    .load(tx.connection())
    .await?;
    swept(tx, rows)
}

/// Puts a session behind the others that wait, so that one that cannot be finished now holds up nobody. One that is to
/// be connected waits for as long again as it has waited, within bounds.
pub(crate) async fn put_off(tx: &mut PlatformTransaction, id: Uuid) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions SET phase_since = CASE WHEN phase = 'ready' THEN phase_since ELSE now() END, \
         upkeep_due = CASE WHEN upkeep_due IS NULL THEN NULL ELSE now() END, \
         connect_next_try_at = CASE WHEN connect_wanted IS NULL THEN NULL \
             ELSE now() + LEAST(GREATEST(now() - connect_wanted, interval '1 second'), interval '15 minutes') END \
         WHERE id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A session as it is compared with the WA server.
#[derive(diesel::QueryableByName)]
pub(crate) struct Ours {
    #[diesel(sql_type = Text)]
    pub(crate) tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    pub(crate) id: Uuid,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) session_id: Option<String>,
    #[diesel(sql_type = Text)]
    pub(crate) session_name: String,
    #[diesel(sql_type = Text)]
    pub(crate) token_hash: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) webhook_url: Option<String>,
    #[diesel(sql_type = Text)]
    pub(crate) events: String,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub(crate) auto_read_enabled: bool,
    #[diesel(sql_type = Text)]
    pub(crate) status: String,
    #[diesel(sql_type = Text)]
    pub(crate) phase: String,
}

impl Ours {
    /// For whom work on it goes on.
    pub(crate) fn scope(&self, tx: &PlatformTransaction) -> Result<TenantScope, DatabaseError> {
        scope(tx, &self.tenant_id)
    }
}

/// Sessions that have been ready for so long, or all of them, behind a place in their order.
pub(crate) async fn page(
    tx: &mut PlatformTransaction,
    after: (&str, Uuid),
    ready_for: Option<Duration>,
    limit: i64,
) -> Result<Vec<Ours>, DatabaseError> {
    Ok(database::sql(
        "SELECT tenant_id, id, session_id, session_name, token_hash, webhook_url, events, auto_read_enabled, \
                status, phase \
         FROM sessions WHERE (tenant_id, id) > ($1, $2) \
           AND ($3 IS NULL OR (phase = 'ready' AND phase_since < now() - $3 * interval '1 second' \
                               AND (busy_until IS NULL OR busy_until < now()))) \
         ORDER BY tenant_id, id LIMIT $4",
    )
    .bind::<Text, _>(after.0)
    .bind::<SqlUuid, _>(after.1)
    .bind::<Nullable<Double>, _>(ready_for.map(|time| time.as_secs_f64()))
    .bind::<BigInt, _>(limit)
    .load(tx.connection())
    .await?)
}

#[derive(diesel::QueryableByName)]
struct Known {
    #[diesel(sql_type = Text)]
    external_id: String,
}

/// Which of these hashes belong to tokens of ours.
pub(crate) async fn known_tokens(
    tx: &mut PlatformTransaction,
    hashes: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let rows: Vec<Known> =
        database::sql("SELECT external_id FROM tenant_directory WHERE kind = $1 AND external_id = ANY ($2)")
            .bind::<Text, _>(SESSION_TOKEN)
            .bind::<Array<Text>, _>(hashes)
            .load(tx.connection())
            .await?;
    Ok(rows.into_iter().map(|row| row.external_id).collect())
}

/// The rows, with whom the work on them goes on for.
pub(super) fn swept(tx: &PlatformTransaction, rows: Vec<Row>) -> Result<Vec<Swept>, DatabaseError> {
    rows.into_iter()
        .map(|row| {
            Ok(Swept {
                scope: scope(tx, &row.tenant_id)?,
                id: row.id,
            })
        })
        .collect()
}

fn scope(tx: &PlatformTransaction, tenant: &str) -> Result<TenantScope, DatabaseError> {
    let tenant = TenantId::parse(tenant).map_err(|error| DatabaseError::Refused(Box::new(error)))?;
    Ok(TenantScope::of_swept_row(tx.scope(), tenant))
}
