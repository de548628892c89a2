//! Reading acts, the newest first.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// An act as it was noted.
#[derive(Debug, serde::Serialize, QueryableByName)]
pub struct ActRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// Who.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// What.
    #[diesel(sql_type = Text)]
    pub action: String,
    /// To what.
    #[diesel(sql_type = Nullable<Text>)]
    pub subject: Option<String>,
    /// What else.
    #[diesel(sql_type = Nullable<Text>)]
    pub detail: Option<String>,
    /// From where.
    #[diesel(sql_type = Nullable<Text>)]
    pub source: Option<String>,
}

/// The tenant's newest acts, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn newest(tx: &mut TenantTransaction, most: i64) -> Result<Vec<ActRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT id, at, actor, action, subject, detail, source FROM audit_log \
         WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// An act of anybody's, and whom it was about.
#[derive(Debug, serde::Serialize, QueryableByName)]
pub struct AnyActRow {
    /// The tenant; none for an act about the platform.
    #[diesel(sql_type = Nullable<Text>)]
    pub tenant_id: Option<String>,
    /// The act.
    #[diesel(embed)]
    #[serde(flatten)]
    pub act: ActRow,
}

/// Which acts are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// About this tenant.
    pub tenant: Option<String>,
    /// Of this actor.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// Older than this one.
    pub before: Option<Uuid>,
}

/// The newest acts of all tenants and about the platform, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    tx: &mut PlatformTransaction,
    wanted: &Wanted,
    most: i64,
) -> Result<Vec<AnyActRow>, DatabaseError> {
    // A text for each choice: a condition that may not apply would hide the index from the planner.
    let actor = if wanted.actor.is_some() {
        "AND actor = $3"
    } else {
        "AND $3 = ''"
    };
    let action = if wanted.action.is_some() {
        "AND action = $4"
    } else {
        "AND $4 = ''"
    };
    let common = "id, at, actor, action, subject, detail, source";
    let newest = "ORDER BY id DESC LIMIT $1";
    let text = if wanted.tenant.is_some() {
        format!(
            "SELECT tenant_id, {common} FROM audit_log \
             WHERE id < $2 AND tenant_id = $5 {actor} {action} {newest}"
        )
    } else {
        format!(
            "SELECT * FROM ((SELECT tenant_id, {common} FROM audit_log WHERE id < $2 AND $5 = '' {actor} {action} {newest}) \
             UNION ALL (SELECT NULL, {common} FROM platform_acts WHERE id < $2 {actor} {action} {newest})) AS acts {newest}"
        )
    };
    let rows = database::sql(text)
        .bind::<BigInt, _>(most)
        .bind::<SqlUuid, _>(wanted.before.unwrap_or(Uuid::max()))
        .bind::<Text, _>(wanted.actor.as_deref().unwrap_or_default())
        .bind::<Text, _>(wanted.action.as_deref().unwrap_or_default())
        .bind::<Text, _>(wanted.tenant.as_deref().unwrap_or_default())
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// The kinds of acts there are, at most 200. Each costs one look into an index, however many acts there are.
///
/// # Errors
/// [`DatabaseError`].
pub async fn kinds(tx: &mut PlatformTransaction) -> Result<Vec<String>, DatabaseError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        action: String,
    }
    let rows: Vec<Row> = database::sql(
        "WITH RECURSIVE a AS ( \
           (SELECT min(action) AS action FROM audit_log) \
           UNION ALL SELECT (SELECT min(l.action) FROM audit_log l WHERE l.action > a.action) FROM a WHERE a.action IS NOT NULL \
         ), p AS ( \
           (SELECT min(action) AS action FROM platform_acts) \
           UNION ALL SELECT (SELECT min(l.action) FROM platform_acts l WHERE l.action > p.action) FROM p WHERE p.action IS NOT NULL \
         ) SELECT action FROM (SELECT action FROM a UNION SELECT action FROM p) AS kinds \
         WHERE action IS NOT NULL ORDER BY action LIMIT 200",
    )
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.action).collect())
}
