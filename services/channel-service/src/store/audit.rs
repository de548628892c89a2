//! `audit_log`: who did what. Rows are only ever added; the table itself refuses anything else.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// One administrative act. Holds no words of people and no secrets.
#[derive(Debug, Clone)]
pub struct Act<'a> {
    /// Who: a user, the name of an internal caller, `operator` on the command line.
    pub actor: &'a str,
    /// What, as a stable name: `takeover.start`, `session.delete`.
    pub action: &'static str,
    /// To which thing of the tenant's.
    pub subject: Option<String>,
    /// What else matters, in a few words.
    pub detail: Option<String>,
    /// From which address.
    pub source: Option<String>,
}

/// An act as it was noted.
#[derive(Debug, serde::Serialize, diesel::QueryableByName)]
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

/// Notes an act, in the transaction that does it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note(tx: &mut TenantTransaction, act: &Act<'_>) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO audit_log (tenant_id, id, actor, action, subject, detail, source) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(act.actor)
    .bind::<Text, _>(act.action)
    .bind::<Nullable<Text>, _>(&act.subject)
    .bind::<Nullable<Text>, _>(&act.detail)
    .bind::<Nullable<Text>, _>(&act.source)
    .execute(tx.connection())
    .await?;
    Ok(())
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
