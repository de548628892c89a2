//! `cloud_templates` and `cloud_template_syncs`: the approved texts of the business accounts a tenant has numbers in.

use chrono::{DateTime, TimeDelta, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
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
    /// How people take it: `GREEN`, `YELLOW`, `RED`; empty where that is not known.
    #[diesel(sql_type = Text)]
    pub quality: String,
    /// All of it, as Meta lists it.
    #[diesel(sql_type = Text)]
    pub raw: String,
    /// When it was listed, or something about it changed.
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
    /// How people take it, where that is known.
    pub quality: String,
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
    /// How often in a row it was not.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// When it is tried again at the earliest, where it was not.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub next_try_at: Option<DateTime<Utc>>,
}

/// What of a template is told by itself, and may be told late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// May it be sent?
    Status,
    /// Of which sort is it?
    Category,
    /// How do people take it?
    Quality,
}

impl Aspect {
    const fn column(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Category => "category",
            Self::Quality => "quality",
        }
    }
}

/// Something that was told of one template.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    /// The business account it is in.
    pub waba: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// In which language.
    pub language: &'a str,
    /// What of it.
    pub aspect: Aspect,
    /// How that is.
    pub value: &'a str,
    /// Since when, by Meta's clock.
    pub at: Option<DateTime<Utc>>,
}

/// How much later than an event a list may be asked for and still not know of it: Meta's lists follow its events, not at once.
const DOUBT: TimeDelta = TimeDelta::minutes(10);

/// How long after a try `s` of a list there is no other: a minute, and after each further failure twice as long, up to an hour.
const REST: &str =
    "least(interval '1 hour', interval '1 minute' * power(2, least(greatest(s.failures - 1, 0), 6)))";

const ROW: &str = "waba_id, name, language, status, category, quality, raw, updated_at";

/// The business accounts in which the tenant has numbers that can be used.
///
/// # Errors
/// [`DatabaseError`].
pub async fn wabas(tx: &mut TenantTransaction) -> Result<Vec<WabaRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
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

/// Replaces what is known of a business account by a list of all there is, which was asked for then. What was told since stays
/// as it was told, and what a later list says stays altogether. False: a later one is kept.
///
/// # Errors
/// [`DatabaseError`].
pub async fn replace_all(
    tx: &mut TenantTransaction,
    waba: &str,
    asked_at: DateTime<Utc>,
    templates: &[NewTemplate],
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // The row of the account first: two lists wait for each other here. Something changed while it was listed: once more.
    let newest = database::sql(
        "INSERT INTO cloud_template_syncs AS s (tenant_id, waba_id, synced_at, asked_at) VALUES ($1, $2, now(), $3) \
         ON CONFLICT (tenant_id, waba_id) DO UPDATE SET asked_at = $3, tried_at = now(), failure = NULL, failures = 0, \
             synced_at = CASE WHEN s.changed_at < $3 THEN now() END \
         WHERE s.asked_at <= $3",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(waba)
    .bind::<Timestamptz, _>(asked_at)
    .execute(tx.connection())
    .await?;
    if newest == 0 {
        return Ok(false);
    }
    let of = |field: fn(&NewTemplate) -> &str| templates.iter().map(field).collect::<Vec<_>>();
    database::sql(
        "DELETE FROM cloud_templates WHERE tenant_id = $1 AND waba_id = $2 \
             AND (name, language) NOT IN (SELECT * FROM unnest($3, $4))",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(waba)
    .bind::<Array<Text>, _>(of(|t| &t.name))
    .bind::<Array<Text>, _>(of(|t| &t.language))
    .execute(tx.connection())
    .await?;
    // Meta tells of seconds: what is told of the same one is newer, or the same.
    database::sql(
        "INSERT INTO cloud_templates AS t (tenant_id, waba_id, name, language, status, category, quality, raw, \
                status_at, category_at, quality_at) \
         SELECT DISTINCT ON (n.name, n.language) $1, $2, n.*, asked.at, asked.at, asked.at \
         FROM unnest($3, $4, $5, $6, $7, $8) AS n (name, language, status, category, quality, raw), \
              (SELECT date_trunc('second', $9) AS at) asked \
         ON CONFLICT (tenant_id, waba_id, name, language) DO UPDATE SET raw = excluded.raw, updated_at = now(), \
             status = CASE WHEN t.status_at >= excluded.status_at THEN t.status ELSE excluded.status END, \
             category = CASE WHEN t.category_at >= excluded.category_at THEN t.category ELSE excluded.category END, \
             quality = CASE WHEN t.quality_at >= excluded.quality_at THEN t.quality ELSE excluded.quality END, \
             status_at = greatest(t.status_at, excluded.status_at), \
             category_at = greatest(t.category_at, excluded.category_at), \
             quality_at = greatest(t.quality_at, excluded.quality_at)",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(waba)
    .bind::<Array<Text>, _>(of(|t| &t.name))
    .bind::<Array<Text>, _>(of(|t| &t.language))
    .bind::<Array<Text>, _>(of(|t| &t.status))
    .bind::<Array<Text>, _>(of(|t| &t.category))
    .bind::<Array<Text>, _>(of(|t| &t.quality))
    .bind::<Array<Text>, _>(of(|t| &t.raw))
    .bind::<Timestamptz, _>(asked_at)
    .execute(tx.connection())
    .await?;
    Ok(true)
}

/// Notes that a business account could not be listed.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_failure(tx: &mut TenantTransaction, waba: &str, why: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO cloud_template_syncs AS s (tenant_id, waba_id, failure, failures) VALUES ($1, $2, $3, 1) \
         ON CONFLICT (tenant_id, waba_id) DO UPDATE \
             SET tried_at = now(), failure = excluded.failure, failures = s.failures + 1",
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
    let rows = database::sql(format!(
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
    let rows = database::sql(format!(
        "SELECT waba_id, synced_at, failure, failures, CASE WHEN failures > 0 THEN tried_at + {REST} END AS next_try_at \
         FROM cloud_template_syncs s WHERE tenant_id = $1 ORDER BY waba_id",
    ))
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
    let mut rows: Vec<TemplateRow> = database::sql(format!(
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
    let row: Row = database::sql(
        "SELECT EXISTS (SELECT 1 FROM cloud_template_syncs WHERE tenant_id = $1 AND waba_id = $2 \
             AND synced_at IS NOT NULL) AS whole",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(waba)
    .get_result(tx.connection())
    .await?;
    Ok(row.whole)
}

/// Meta tells something of a template. What is older than what is known counts no more; where that may only be because a list
/// did not know of it yet, or where nobody says how old it is, the list is asked for anew. So it is for a template that is not
/// known.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tell(tx: &mut TenantTransaction, news: News<'_>) -> Result<(), DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
    }
    let tenant = tx.scope().tenant().to_string();
    let (column, at) = (news.aspect.column(), news.at.unwrap_or_else(Utc::now));
    let told = database::sql(format!(
        "UPDATE cloud_templates SET {column} = $5, {column}_at = $6, updated_at = now() \
         WHERE tenant_id = $1 AND waba_id = $2 AND name = $3 AND language = $4 AND {column}_at <= $6"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(news.waba)
    .bind::<Text, _>(news.name)
    .bind::<Text, _>(news.language)
    .bind::<Text, _>(news.value)
    .bind::<Timestamptz, _>(at)
    .execute(tx.connection())
    .await?;
    if told > 0 && news.at.is_some() {
        return Ok(());
    }
    let mut known: Vec<Row> = database::sql(format!(
        "SELECT {column} AS value, {column}_at AS at FROM cloud_templates \
         WHERE tenant_id = $1 AND waba_id = $2 AND name = $3 AND language = $4"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(news.waba)
    .bind::<Text, _>(news.name)
    .bind::<Text, _>(news.language)
    .load(tx.connection())
    .await?;
    let is_clear = known
        .pop()
        .is_some_and(|known| told == 0 && (known.value == news.value || known.at - at > DOUBT));
    if is_clear {
        Ok(())
    } else {
        make_stale(tx, news.waba).await
    }
}

/// Something in the business account has changed of which it is not known what. It is listed soon, unless it cannot be listed:
/// then it has its turn.
///
/// # Errors
/// [`DatabaseError`].
pub async fn make_stale(tx: &mut TenantTransaction, waba: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO cloud_template_syncs AS s (tenant_id, waba_id, tried_at, changed_at) VALUES ($1, $2, 'epoch', $3) \
         ON CONFLICT (tenant_id, waba_id) DO UPDATE SET synced_at = NULL, changed_at = $3, \
             tried_at = CASE WHEN s.failures = 0 THEN 'epoch' ELSE s.tried_at END",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(waba)
    .bind::<Timestamptz, _>(Utc::now())
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
    database::sql("DELETE FROM cloud_templates WHERE tenant_id = $1 AND waba_id = $2 AND name = $3")
        .bind::<Text, _>(tenant)
        .bind::<Text, _>(waba)
        .bind::<Text, _>(name)
        .execute(tx.connection())
        .await?;
    make_stale(tx, waba).await
}

/// Business accounts of tenants whose list is older than this or not whole, and which were left alone for as long as it takes
/// since they were last tried; those first that wait longest.
///
/// # Errors
/// [`DatabaseError`].
pub async fn due(
    tx: &mut PlatformTransaction,
    older_than: std::time::Duration,
    most: i64,
) -> Result<Vec<(TenantId, String)>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
        #[diesel(sql_type = Text)]
        waba_id: String,
    }
    let rows: Vec<Row> = database::sql(format!(
        "SELECT n.tenant_id, n.waba_id FROM cloud_numbers n \
         JOIN accounts a ON a.tenant_id = n.tenant_id AND a.id = n.account_id AND a.token_sealed IS NOT NULL \
         LEFT JOIN cloud_template_syncs s ON s.tenant_id = n.tenant_id AND s.waba_id = n.waba_id \
         WHERE n.valid_to IS NULL AND n.waba_id IS NOT NULL AND a.provider = 'cloud' \
           AND (s.synced_at IS NULL OR s.synced_at < now() - $1 * interval '1 second') \
           AND (s.tried_at IS NULL OR s.tried_at < now() - {REST}) \
         GROUP BY n.tenant_id, n.waba_id, s.tried_at ORDER BY s.tried_at NULLS FIRST LIMIT $2",
    ))
    .bind::<Double, _>(older_than.as_secs_f64())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| {
            let tenant = TenantId::parse(row.tenant_id);
            let tenant = tenant.map_err(|error| DatabaseError::Refused(error.into()))?;
            Ok((tenant, row.waba_id))
        })
        .collect()
}
