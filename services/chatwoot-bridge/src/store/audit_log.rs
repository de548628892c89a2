//! `audit_log`: who did what. Rows are only ever added; the table itself refuses anything else.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Who acts, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user of `/admin`, `operator` on the command line, the service's name for what it does by itself.
    pub name: String,
    /// From which address.
    pub source: Option<String>,
}

impl Actor {
    /// Whoever has the machine's command line.
    #[must_use]
    pub fn command_line() -> Self {
        Self {
            name: "operator".to_owned(),
            source: None,
        }
    }

    /// This service by itself.
    #[must_use]
    pub fn service() -> Self {
        Self {
            name: crate::config::SERVICE.to_owned(),
            source: None,
        }
    }
}

/// What was done. Holds no words of people and no secrets.
#[derive(Debug, Clone)]
pub struct Act {
    /// A stable name: `route.create`, `inbox.connect`.
    pub action: &'static str,
    /// To which thing of the tenant's.
    pub subject: Option<String>,
    /// What else matters, in a few words.
    pub detail: Option<String>,
}

/// An act as it was noted.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct ActRow {
    /// Whose things.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// Who.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// What.
    #[diesel(sql_type = Text)]
    pub action: String,
    /// To which thing.
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
pub async fn note(tx: &mut TenantTransaction, actor: &Actor, act: &Act) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO audit_log (tenant_id, id, actor, action, subject, detail, source) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(&actor.name)
    .bind::<Text, _>(act.action)
    .bind::<Nullable<Text>, _>(&act.subject)
    .bind::<Nullable<Text>, _>(&act.detail)
    .bind::<Nullable<Text>, _>(&actor.source)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The newest acts over all tenants, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn newest(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<ActRow>, DatabaseError> {
    let rows = database::sql(
        "SELECT tenant_id, at, actor, action, subject, detail, source FROM audit_log ORDER BY id DESC LIMIT $1",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

#[derive(QueryableByName)]
struct Placed {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(embed)]
    act: ActRow,
}

/// Acts over all tenants or of one, the newest first, with their places: those behind the place `after`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    tx: &mut PlatformTransaction,
    tenant: Option<&str>,
    after: Option<Uuid>,
    most: i64,
) -> Result<Vec<(Uuid, ActRow)>, DatabaseError> {
    let of = if tenant.is_some() {
        "tenant_id = $1"
    } else {
        "$1::text IS NULL"
    };
    let rows: Vec<Placed> = database::sql(format!(
        "SELECT id, tenant_id, at, actor, action, subject, detail, source FROM audit_log \
         WHERE {of} AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
    ))
    .bind::<Nullable<Text>, _>(tenant)
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.act)).collect())
}
