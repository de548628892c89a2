//! What agents were told about their number.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A row of `notices`.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct Notice {
    /// What marks it in Chatwoot.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// When agents were told; `None` while Chatwoot may or may not have it.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub told_at: Option<DateTime<Utc>>,
}

/// Notes that agents are to be told, unless they were. Gives the notice that stands.
///
/// # Errors
/// [`DatabaseError`].
pub async fn intend(tx: &mut TenantTransaction, inbox: Uuid, kind: &str) -> Result<Notice, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let notice = database::sql(
        "INSERT INTO notices AS n (tenant_id, inbox_id, kind, id) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant_id, inbox_id, kind) DO UPDATE SET kind = n.kind RETURNING id, told_at",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Text, _>(kind)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .get_result(tx.connection())
    .await?;
    Ok(notice)
}

/// Notes that agents were told.
///
/// # Errors
/// [`DatabaseError`].
pub async fn told(tx: &mut TenantTransaction, inbox: Uuid, kind: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql("UPDATE notices SET told_at = now() WHERE tenant_id = $1 AND inbox_id = $2 AND kind = $3")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(inbox)
        .bind::<Text, _>(kind)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// What it was about is over: the next time agents are told again. True when there was something.
///
/// # Errors
/// [`DatabaseError`].
pub async fn over(tx: &mut TenantTransaction, inbox: Uuid, kind: &str) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let gone = database::sql("DELETE FROM notices WHERE tenant_id = $1 AND inbox_id = $2 AND kind = $3")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(inbox)
        .bind::<Text, _>(kind)
        .execute(tx.connection())
        .await?;
    Ok(gone > 0)
}

/// Forgets up to `most` notices, of whatever tenants, whose inboxes are gone for `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_gone(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM notices n USING (SELECT o.tenant_id, o.inbox_id, o.kind FROM notices o \
              WHERE o.created_at < now() - $1 * interval '1 day' AND NOT EXISTS (SELECT 1 FROM inboxes i \
                  WHERE i.tenant_id = o.tenant_id AND i.id = o.inbox_id) LIMIT $2) gone \
         WHERE n.tenant_id = gone.tenant_id AND n.inbox_id = gone.inbox_id AND n.kind = gone.kind",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
