//! Up to when inboxes were looked through for replies that nobody told us of.

use chrono::{DateTime, TimeDelta, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// How far Chatwoot's clock may be off, and how far before a mark is looked.
pub const SLACK: TimeDelta = TimeDelta::minutes(10);

/// How far an inbox was looked through.
#[derive(Debug, Clone, Copy, diesel::QueryableByName)]
pub struct Mark {
    /// When the inbox was connected.
    #[diesel(sql_type = Timestamptz)]
    pub connected_at: DateTime<Utc>,
    /// Up to when it was looked through. `None`: never.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub seen_until: Option<DateTime<Utc>>,
    /// When the look began that is not at its end.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub look_began: Option<DateTime<Utc>>,
    /// Pages of conversations that it has behind it.
    #[diesel(sql_type = BigInt)]
    pub look_pages: i64,
}

#[derive(diesel::QueryableByName)]
struct Address {
    #[diesel(sql_type = Text)]
    address: String,
}

/// How far the inbox was looked through. `None`: there is no such inbox.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, inbox: Uuid) -> Result<Option<Mark>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Mark> = database::sql(
        "SELECT i.created_at AS connected_at, m.seen_until, m.look_began, \
             coalesce(m.look_pages, 0) AS look_pages FROM inboxes i \
         LEFT JOIN reconcile_marks m ON m.tenant_id = i.tenant_id AND m.inbox_id = i.id \
         WHERE i.tenant_id = $1 AND i.id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// Notes that from now on an inbox's agents write to WhatsApp by us. What they wrote before went another way or nowhere, and
/// must never be taken for something that nobody told: the mark stands so far ahead that looking back from it ends now.
///
/// # Errors
/// [`DatabaseError`].
pub async fn begin(tx: &mut TenantTransaction, inbox: Uuid) -> Result<(), DatabaseError> {
    put(tx, inbox, Utc::now() + SLACK).await
}

/// Notes how far a look came that goes on another time.
///
/// # Errors
/// [`DatabaseError`].
pub async fn pause(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    began: DateTime<Utc>,
    pages: i64,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "UPDATE reconcile_marks SET look_began = $3, look_pages = $4, updated_at = now() \
         WHERE tenant_id = $1 AND inbox_id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Timestamptz, _>(began)
    .bind::<BigInt, _>(pages)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes that the inbox was looked through up to then. It never goes back.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(tx: &mut TenantTransaction, inbox: Uuid, until: DateTime<Utc>) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO reconcile_marks AS m (tenant_id, inbox_id, seen_until) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id, inbox_id) DO UPDATE \
         SET seen_until = greatest(m.seen_until, excluded.seen_until), look_began = NULL, look_pages = 0, \
             updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Timestamptz, _>(until)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The WhatsApp address a conversation is with, where it was made for one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn address_of(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    conversation: i64,
) -> Result<Option<String>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Address> = database::sql(
        "SELECT address FROM contacts WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_conversation_id = $3 \
         ORDER BY updated_at DESC LIMIT 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(conversation)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next().map(|row| row.address))
}

/// Forgets up to `most` marks, of whatever tenants, whose inboxes are gone for `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_gone(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM reconcile_marks m USING (SELECT r.tenant_id, r.inbox_id FROM reconcile_marks r \
              WHERE r.updated_at < now() - $1 * interval '1 day' AND NOT EXISTS (SELECT 1 FROM inboxes i \
                  WHERE i.tenant_id = r.tenant_id AND i.id = r.inbox_id) LIMIT $2) gone \
         WHERE m.tenant_id = gone.tenant_id AND m.inbox_id = gone.inbox_id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
