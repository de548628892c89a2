//! Customers with their subscriptions, as services list them (contract §6.2): one joined query a page (W-24).

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};

/// A customer of the list.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct ListedRow {
    #[diesel(sql_type = Text)]
    pub(crate) tenant_id: String,
    #[diesel(sql_type = Text)]
    pub(crate) source_service: String,
    #[diesel(sql_type = Text)]
    pub(crate) status: String,
    #[diesel(sql_type = Text)]
    pub(crate) created_by: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) updated_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) provider: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) subscription_status: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) expires_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(crate) max_sessions: Option<i32>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) max_messages: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub(crate) session_count: i64,
}

/// Which customers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Of this service only.
    pub(crate) source: Option<&'a str>,
    /// Whose subscription is shown.
    pub(crate) provider: &'a str,
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

/// Joined to the rows of `page`; `$1` is the provider.
const SHOWN: &str = "SELECT page.tenant_id, page.source_service, page.status, page.created_by, page.created_at, \
        page.updated_at, subscriptions.provider, \
        CASE WHEN subscriptions.status = 'active' AND subscriptions.expires_at <= now() \
             THEN 'expired' ELSE subscriptions.status END AS subscription_status, \
        subscriptions.expires_at, subscriptions.max_sessions, subscriptions.max_messages, \
        (SELECT count(*) FROM sessions WHERE sessions.tenant_id = page.tenant_id) AS session_count \
    FROM page LEFT JOIN subscriptions \
      ON subscriptions.tenant_id = page.tenant_id AND subscriptions.provider = $1 \
    ORDER BY page.created_at DESC, page.tenant_id";

/// A page of customers, newest first.
pub(crate) async fn page(
    tx: &mut PlatformTransaction,
    wanted: Wanted<'_>,
) -> Result<Vec<ListedRow>, DatabaseError> {
    let filter = filter(wanted.source, "$2");
    let query = format!(
        "WITH page AS (SELECT * FROM customers WHERE {filter} \
             ORDER BY created_at DESC, tenant_id LIMIT $3 OFFSET $4) {SHOWN}"
    );
    let rows = database::sql(query)
        .bind::<Text, _>(wanted.provider)
        .bind::<Nullable<Text>, _>(wanted.source)
        .bind::<BigInt, _>(wanted.limit)
        .bind::<BigInt, _>(wanted.offset)
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// How many customers there are.
pub(crate) async fn count(tx: &mut PlatformTransaction, source: Option<&str>) -> Result<i64, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Total {
        #[diesel(sql_type = BigInt)]
        total: i64,
    }
    let filter = filter(source, "$1");
    let row: Total = database::sql(format!("SELECT count(*) AS total FROM customers WHERE {filter}"))
        .bind::<Nullable<Text>, _>(source)
        .get_result(tx.connection())
        .await?;
    Ok(row.total)
}

/// Two texts, so that each is planned for itself.
fn filter(source: Option<&str>, place: &str) -> String {
    match source {
        Some(_) => format!("source_service = {place}"),
        None => format!("{place}::text IS NULL"),
    }
}

/// The customer itself, as the list shows it.
pub(crate) async fn one(
    tx: &mut TenantTransaction,
    provider: &str,
) -> Result<Option<ListedRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let query = format!("WITH page AS (SELECT * FROM customers WHERE tenant_id = $2) {SHOWN}");
    let mut rows: Vec<ListedRow> = database::sql(query)
        .bind::<Text, _>(provider)
        .bind::<Text, _>(tenant)
        .load(tx.connection())
        .await?;
    Ok(rows.pop())
}
