//! `drift_reports`: where Chatwoot sends a route's events, as it was found last.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// What was found, and when.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct DriftReport {
    /// The route.
    #[diesel(sql_type = SqlUuid)]
    pub route_id: Uuid,
    /// May we put it right by ourselves?
    #[diesel(sql_type = Bool)]
    pub auto_restore: bool,
    /// A stable word; none before the first look.
    #[diesel(sql_type = Nullable<Text>)]
    pub state: Option<String>,
    /// What stands in the place of our address, without what is secret in it.
    #[diesel(sql_type = Nullable<Text>)]
    pub found: Option<String>,
    /// The last look.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub checked_at: Option<DateTime<Utc>>,
    /// The first look that found this state.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub since: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "route_id, auto_restore, state, found, checked_at, since";

/// A route's report.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, route: Uuid) -> Result<Option<DriftReport>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let query = format!("SELECT {COLUMNS} FROM drift_reports WHERE tenant_id = $1 AND route_id = $2");
    let rows: Vec<DriftReport> = database::sql(query)
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(route)
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().next())
}

/// Every report there is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn all(tx: &mut PlatformTransaction) -> Result<Vec<DriftReport>, DatabaseError> {
    let rows = database::sql(format!("SELECT {COLUMNS} FROM drift_reports"))
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// Writes down what was found. Returns the state that was known before.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note(
    tx: &mut TenantTransaction,
    route: Uuid,
    state: &str,
    found: Option<&str>,
) -> Result<Option<String>, DatabaseError> {
    let before = find(tx, route).await?.and_then(|report| report.state);
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO drift_reports AS d (tenant_id, route_id, state, found, checked_at, since) \
         VALUES ($1, $2, $3, $4, now(), now()) \
         ON CONFLICT (tenant_id, route_id) DO UPDATE SET state = excluded.state, found = excluded.found, \
             checked_at = now(), since = CASE WHEN d.state = excluded.state THEN d.since ELSE now() END",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(route)
    .bind::<Text, _>(state)
    .bind::<Nullable<Text>, _>(found)
    .execute(tx.connection())
    .await?;
    Ok(before)
}

/// Says whether we may put it right by ourselves.
///
/// # Errors
/// [`DatabaseError`].
pub async fn allow_restore(
    tx: &mut TenantTransaction,
    route: Uuid,
    allowed: bool,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO drift_reports (tenant_id, route_id, auto_restore) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id, route_id) DO UPDATE SET auto_restore = excluded.auto_restore",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(route)
    .bind::<Bool, _>(allowed)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A route whose events Chatwoot does not send here.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct WrongWebhook {
    /// The route's number.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub number: i64,
    /// What people call it.
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    /// A stable word.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// What stands in the place of our address, without what is secret in it.
    #[diesel(sql_type = Nullable<Text>)]
    pub found: Option<String>,
    /// May we put it right by ourselves?
    #[diesel(sql_type = Bool)]
    pub auto_restore: bool,
    /// Since when it is so.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub since: Option<DateTime<Utc>>,
    /// The route, for the next page.
    #[diesel(sql_type = SqlUuid)]
    pub route_id: Uuid,
}

/// Routes whose events Chatwoot does not send here, those since last first, behind one of them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn wrong(
    tx: &mut PlatformTransaction,
    after: Option<Uuid>,
    most: i64,
) -> Result<Vec<WrongWebhook>, DatabaseError> {
    Ok(database::sql(
        "SELECT r.number, r.name, d.state, d.found, d.auto_restore, d.since, d.route_id FROM drift_reports d \
         JOIN routes r ON r.tenant_id = d.tenant_id AND r.id = d.route_id \
         WHERE d.state IS NOT NULL AND d.state <> 'ok' AND r.enabled AND ($1::uuid IS NULL OR (d.since, d.route_id) < \
             (SELECT l.since, l.route_id FROM drift_reports l WHERE l.route_id = $1)) \
         ORDER BY d.since DESC, d.route_id DESC LIMIT $2",
    )
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<diesel::sql_types::BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// The reports of these routes, whoever's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_routes(
    tx: &mut PlatformTransaction,
    routes: &[(String, Uuid)],
) -> Result<Vec<DriftReport>, DatabaseError> {
    Ok(database::sql(
        "SELECT d.route_id, d.auto_restore, d.state, d.found, d.checked_at, d.since FROM drift_reports d \
         JOIN unnest($1, $2) AS n (tenant_id, route_id) USING (tenant_id, route_id)",
    )
    .bind::<diesel::sql_types::Array<Text>, _>(
        routes
            .iter()
            .map(|(tenant, _)| tenant.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<diesel::sql_types::Array<SqlUuid>, _>(routes.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .load(tx.connection())
    .await?)
}

/// Routes whose webhooks do not lead here, up to a bound.
///
/// # Errors
/// [`DatabaseError`].
pub async fn count_wrong(tx: &mut PlatformTransaction) -> Result<messaging::watch::Stock, DatabaseError> {
    messaging::watch::stock(
        tx,
        "SELECT since AS at FROM drift_reports WHERE state IS NOT NULL AND state <> 'ok' ORDER BY since DESC",
    )
    .await
}
