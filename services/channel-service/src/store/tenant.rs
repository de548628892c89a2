//! `tenants`.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use domain::tenant::TenantStatus;
use tenant_isolation::{PlatformTransaction, TenantTransaction};

/// A row of `tenants`.
#[derive(Debug, Clone, serde::Serialize, diesel::QueryableByName)]
pub struct TenantRow {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// What people call it.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// A [`TenantStatus`].
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Sessions it may have at once.
    #[diesel(sql_type = Integer)]
    pub session_limit: i32,
    /// What it reads is shown as read on WhatsApp.
    #[diesel(sql_type = Bool)]
    pub auto_read: bool,
    /// People see when an answer is being written.
    #[diesel(sql_type = Bool)]
    pub typing_indicator: bool,
    /// Group messages are kept.
    #[diesel(sql_type = Bool)]
    pub keep_groups: bool,
    /// Broadcasts are kept.
    #[diesel(sql_type = Bool)]
    pub keep_broadcasts: bool,
    /// Status posts are kept.
    #[diesel(sql_type = Bool)]
    pub keep_status: bool,
    /// Since when we know it.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

impl TenantRow {
    /// May it be worked for? What a later release wrote into the row counts as no.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status.parse() == Ok(TenantStatus::Active)
    }
}

const COLUMNS: &str = "tenant_id, name, status, session_limit, auto_read, typing_indicator, keep_groups, \
                       keep_broadcasts, keep_status, created_at";

/// The tenant of the transaction. `None`: there is no such tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction) -> Result<Option<TenantRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<TenantRow> =
        database::sql(format!("SELECT {COLUMNS} FROM tenants WHERE tenant_id = $1"))
            .bind::<Text, _>(tenant)
            .load(tx.connection())
            .await?;
    Ok(rows.pop())
}

/// Makes the tenant of the transaction, unless it is there. `name` is its name from now on, if given. Returns whether
/// it is new.
///
/// # Errors
/// [`DatabaseError`].
pub async fn ensure(tx: &mut TenantTransaction, name: Option<&str>) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_new: bool,
    }
    let tenant = tx.scope().tenant().to_string();
    let row: Row = database::sql(
        "INSERT INTO tenants AS t (tenant_id, name) VALUES ($1, coalesce($2, $1)) \
         ON CONFLICT (tenant_id) DO UPDATE SET name = coalesce($2, t.name), updated_at = now() \
         RETURNING (xmax = 0) AS is_new",
    )
    .bind::<Text, _>(tenant)
    .bind::<Nullable<Text>, _>(name)
    .get_result(tx.connection())
    .await?;
    Ok(row.is_new)
}

/// Holds the tenant until the commit, so that what is counted before something is added stays true.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hold(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("SELECT tenant_id FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE")
        .bind::<Text, _>(tenant)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Suspends the tenant of the transaction, or lifts it. False when there is no such tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_status(tx: &mut TenantTransaction, status: TenantStatus) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let changed = database::sql("UPDATE tenants SET status = $2, updated_at = now() WHERE tenant_id = $1")
        .bind::<Text, _>(tenant)
        .bind::<Text, _>(status.as_str())
        .execute(tx.connection())
        .await?;
    Ok(changed == 1)
}

/// What WhatsApp shows of the tenant's reading and writing. `None` leaves a setting as it is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_courtesies(
    tx: &mut TenantTransaction,
    auto_read: Option<bool>,
    typing_indicator: Option<bool>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE tenants SET auto_read = coalesce($2, auto_read), \
             typing_indicator = coalesce($3, typing_indicator), updated_at = now() WHERE tenant_id = $1",
    )
    .bind::<Text, _>(tenant)
    .bind::<Nullable<Bool>, _>(auto_read)
    .bind::<Nullable<Bool>, _>(typing_indicator)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// From which places besides conversations with one person messages are kept. `None` leaves a setting as it is; false
/// when there is no such tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_kept_places(
    tx: &mut TenantTransaction,
    groups: Option<bool>,
    broadcasts: Option<bool>,
    status: Option<bool>,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let changed = database::sql(
        "UPDATE tenants SET keep_groups = coalesce($2, keep_groups), \
             keep_broadcasts = coalesce($3, keep_broadcasts), keep_status = coalesce($4, keep_status), \
             updated_at = now() WHERE tenant_id = $1",
    )
    .bind::<Text, _>(tenant)
    .bind::<Nullable<Bool>, _>(groups)
    .bind::<Nullable<Bool>, _>(broadcasts)
    .bind::<Nullable<Bool>, _>(status)
    .execute(tx.connection())
    .await?;
    Ok(changed == 1)
}

/// Tenants in the order of their ids, after `after`, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    tx: &mut PlatformTransaction,
    after: Option<&str>,
    most: i64,
) -> Result<Vec<TenantRow>, DatabaseError> {
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM tenants WHERE tenant_id > coalesce($1, '') ORDER BY tenant_id LIMIT $2"
    ))
    .bind::<Nullable<Text>, _>(after)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Tenants in whose ids or names every one of these words begins a word, in the order of their ids, behind `after`. The
/// words are letters and digits in lower case.
///
/// # Errors
/// [`DatabaseError`].
pub async fn search(
    tx: &mut PlatformTransaction,
    words: &[String],
    after: Option<&str>,
    most: i64,
) -> Result<Vec<TenantRow>, DatabaseError> {
    // The expression is the one of the index `tenants_words`.
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM tenants \
         WHERE to_tsvector('simple', regexp_replace(lower(tenant_id || ' ' || name), '[^[:alnum:]]+', ' ', 'g')) \
               @@ to_tsquery('simple', $3) \
           AND tenant_id > coalesce($1, '') ORDER BY tenant_id LIMIT $2"
    ))
    .bind::<Nullable<Text>, _>(after)
    .bind::<BigInt, _>(most)
    .bind::<Text, _>(super::words::beginnings(words))
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// How many tenants there are, and how many of them are suspended.
///
/// # Errors
/// [`DatabaseError`].
pub async fn count(tx: &mut PlatformTransaction) -> Result<(i64, i64), DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        all_of_them: i64,
        #[diesel(sql_type = BigInt)]
        suspended: i64,
    }
    let row: Row = database::sql(
        "SELECT count(*) AS all_of_them, count(*) FILTER (WHERE status <> 'active') AS suspended FROM tenants",
    )
    .get_result(tx.connection())
    .await?;
    Ok((row.all_of_them, row.suspended))
}

/// Up to `most` ids of tenants, of all or of those in `among`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn some_ids(
    tx: &mut PlatformTransaction,
    among: Option<&[String]>,
    most: i64,
) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
    }
    let rows: Vec<Row> =
        database::sql("SELECT tenant_id FROM tenants WHERE $1 IS NULL OR tenant_id = ANY ($1) LIMIT $2")
            .bind::<Nullable<Array<Text>>, _>(among)
            .bind::<BigInt, _>(most)
            .load(tx.connection())
            .await?;
    Ok(rows.into_iter().map(|row| row.tenant_id).collect())
}
