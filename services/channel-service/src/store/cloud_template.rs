//! `cloud_templates` and `cloud_template_syncs`: the approved texts of the business accounts a tenant has numbers in.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, TenantId};
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A template as it was last listed.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct TemplateRow {
    /// The business account it is in.
    #[diesel(sql_type = Text)]
    pub waba_id: String,
    /// What it is called.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// `id`, `en_US`.
    #[diesel(sql_type = Text)]
    pub language: String,
    /// `APPROVED`, `PAUSED`, ….
    #[diesel(sql_type = Text)]
    pub status: String,
    /// `MARKETING`, `UTILITY`, `AUTHENTICATION`.
    #[diesel(sql_type = Text)]
    pub category: String,
    /// All of it, as Meta lists it.
    #[diesel(sql_type = Text)]
    pub raw: String,
    /// When it was listed, or its status changed.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

/// A template to be kept.
#[derive(Debug, Clone)]
pub struct NewTemplate {
    /// What it is called.
    pub name: String,
    /// In which language.
    pub language: String,
    /// May it be sent?
    pub status: String,
    /// Of which sort it is.
    pub category: String,
    /// All of it.
    pub raw: String,
}

/// A business account that a tenant has a number in, and one of the accounts whose number that is.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct WabaRow {
    /// The business account.
    #[diesel(sql_type = Text)]
    pub waba_id: String,
    /// The account.
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
    /// The endpoint it is bound to.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// Sealed.
    #[diesel(sql_type = Text)]
    pub token_sealed: String,
}

impl WabaRow {
    /// The account.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId::from_uuid(self.account_id)
    }
}

/// Where a business account's list stands.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct SyncRow {
    /// The business account.
    #[diesel(sql_type = Text)]
    pub waba_id: String,
    /// When it was last listed as a whole. `None`: never, or something in it has changed since.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub synced_at: Option<DateTime<Utc>>,
    /// Why it was not, the last time.
    #[diesel(sql_type = Nullable<Text>)]
    pub failure: Option<String>,
}

const ROW: &str = "waba_id, name, language, status, category, raw, updated_at";

/// The business accounts in which the tenant has numbers that can be used.
///
/// # Errors
/// [`DatabaseError`].
pub async fn wabas(tx: &mut TenantTransaction) -> Result<Vec<WabaRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = diesel::sql_query(
        "SELECT DISTINCT ON (n.waba_id) n.waba_id, n.account_id, a.endpoint, a.token_sealed \
         FROM cloud_numbers n JOIN accounts a ON a.tenant_id = n.tenant_id AND a.id = n.account_id \
         WHERE n.tenant_id = $1 AND n.valid_to IS NULL AND n.waba_id IS NOT NULL \
           AND a.provider = 'cloud' AND a.token_sealed IS NOT NULL ORDER BY n.waba_id, n.account_id",
    )
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Replaces what is known of a business account by a list of all there is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn replace_all(
    tx: &mut TenantTransaction,
    waba: &str,
    templates: &[NewTemplate],
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // The row of the account first: two lists wait for each other here.
    diesel::sql_query(
        "INSERT INTO cloud_template_syncs AS s (tenant_id, waba_id, synced_at) VALUES ($1, $2, now()) \
         ON CONFLICT (tenant_id, waba_id) DO UPDATE SET synced_at = now(), tried_at = now(), failure = NULL",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(waba)
    .execute(tx.connection())
    .await?;
    diesel::sql_query("DELETE FROM cloud_templates WHERE tenant_id = $1 AND waba_id = $2")
        .bind::<Text, _>(&tenant)
        .bind::<Text, _>(waba)
        .execute(tx.connection())
        .await?;
    let of = |field: fn(&NewTemplate) -> &str| templates.iter().map(field).collect::<Vec<_>>();
    diesel::sql_query(
        "INSERT INTO cloud_templates (tenant_id, waba_id, name, language, status, category, raw) \
         SELECT $1, $2, t.* FROM unnest($3, $4, $5, $6, $7) AS t (name, language, status, category, raw) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(waba)
    .bind::<Array<Text>, _>(of(|t| &t.name))
    .bind::<Array<Text>, _>(of(|t| &t.language))
    .bind::<Array<Text>, _>(of(|t| &t.status))
    .bind::<Array<Text>, _>(of(|t| &t.category))
    .bind::<Array<Text>, _>(of(|t| &t.raw))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes that a business account could not be listed.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_failure(tx: &mut TenantTransaction, waba: &str, why: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    diesel::sql_query(
        "INSERT INTO cloud_template_syncs AS s (tenant_id, waba_id, failure) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id, waba_id) DO UPDATE SET tried_at = now(), failure = excluded.failure",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(waba)
    .bind::<Text, _>(why)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The tenant's templates by name, of the business accounts it has numbers in, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(tx: &mut TenantTransaction, most: i64) -> Result<Vec<TemplateRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = diesel::sql_query(format!(
        "SELECT {ROW} FROM cloud_templates t WHERE tenant_id = $1 AND EXISTS (SELECT 1 FROM cloud_numbers n \
             WHERE n.tenant_id = $1 AND n.waba_id = t.waba_id AND n.valid_to IS NULL) \
         ORDER BY name, language, waba_id LIMIT $2"
    ))
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Where the tenant's lists stand.
///
/// # Errors
/// [`DatabaseError`].
pub async fn syncs(tx: &mut TenantTransaction) -> Result<Vec<SyncRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = diesel::sql_query(
        "SELECT waba_id, synced_at, failure FROM cloud_template_syncs WHERE tenant_id = $1 ORDER BY waba_id",
    )
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// One template.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    waba: &str,
    name: &str,
    language: &str,
) -> Result<Option<TemplateRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<TemplateRow> = diesel::sql_query(format!(
        "SELECT {ROW} FROM cloud_templates WHERE tenant_id = $1 AND waba_id = $2 AND name = $3 AND language = $4"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(waba)
    .bind::<Text, _>(name)
    .bind::<Text, _>(language)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Is everything known that there is in the business account?
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_whole(tx: &mut TenantTransaction, waba: &str) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        whole: bool,
    }
    let tenant = tx.scope().tenant().to_string();
    let row: Row = diesel::sql_query(
        "SELECT EXISTS (SELECT 1 FROM cloud_template_syncs WHERE tenant_id = $1 AND waba_id = $2 \
             AND synced_at IS NOT NULL) AS whole",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(waba)
    .get_result(tx.connection())
    .await?;
    Ok(row.whole)
}

/// Meta tells where a template stands now. One that is not known makes the list one that is not whole.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_status(
    tx: &mut TenantTransaction,
    waba: &str,
    name: &str,
    language: &str,
    status: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let known = diesel::sql_query(
        "UPDATE cloud_templates SET status = $5, updated_at = now() \
         WHERE tenant_id = $1 AND waba_id = $2 AND name = $3 AND language = $4",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(waba)
    .bind::<Text, _>(name)
    .bind::<Text, _>(language)
    .bind::<Text, _>(status)
    .execute(tx.connection())
    .await?;
    if known == 0 {
        make_stale(tx, waba).await?;
    }
    Ok(())
}

/// Something in the business account has changed of which it is not known what.
///
/// # Errors
/// [`DatabaseError`].
pub async fn make_stale(tx: &mut TenantTransaction, waba: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    diesel::sql_query(
        "UPDATE cloud_template_syncs SET synced_at = NULL, tried_at = 'epoch' WHERE tenant_id = $1 AND waba_id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(waba)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The words of a template have changed: it is forgotten until it is listed again.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget(tx: &mut TenantTransaction, waba: &str, name: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    diesel::sql_query("DELETE FROM cloud_templates WHERE tenant_id = $1 AND waba_id = $2 AND name = $3")
        .bind::<Text, _>(tenant)
        .bind::<Text, _>(waba)
        .bind::<Text, _>(name)
        .execute(tx.connection())
        .await?;
    make_stale(tx, waba).await
}

/// Tenants with a list that is older than this, or that is not whole and was not tried for within the last minute.
///
/// # Errors
/// [`DatabaseError`].
pub async fn due(
    tx: &mut PlatformTransaction,
    older_than: std::time::Duration,
    most: i64,
) -> Result<Vec<TenantId>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT DISTINCT n.tenant_id FROM cloud_numbers n \
         JOIN accounts a ON a.tenant_id = n.tenant_id AND a.id = n.account_id AND a.token_sealed IS NOT NULL \
         LEFT JOIN cloud_template_syncs s ON s.tenant_id = n.tenant_id AND s.waba_id = n.waba_id \
         WHERE n.valid_to IS NULL AND n.waba_id IS NOT NULL AND a.provider = 'cloud' \
           AND (s.synced_at IS NULL OR s.synced_at < now() - $1 * interval '1 second') \
           AND (s.tried_at IS NULL OR s.tried_at < now() - interval '1 minute') LIMIT $2",
    )
    .bind::<Double, _>(older_than.as_secs_f64())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| TenantId::parse(row.tenant_id).map_err(|error| DatabaseError::Refused(error.into())))
        .collect()
}
