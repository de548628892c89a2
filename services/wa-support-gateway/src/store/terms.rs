//! A subscription's terms: what was agreed with the customer, and when a new period of it begins.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::OptionalExtension as _;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A subscription as it is shown. Its status is of this moment: one whose end has passed counts as expired before
/// anybody has marked it.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct SubscriptionRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) number: i64,
    #[diesel(sql_type = Text)]
    pub(crate) provider: String,
    #[diesel(sql_type = Text)]
    pub(crate) status: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) expires_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    pub(crate) max_sessions: i32,
    #[diesel(sql_type = BigInt)]
    pub(crate) max_messages: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) messages_used: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) period_started_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) updated_at: DateTime<Utc>,
}

/// The customer's subscription with this provider.
pub(crate) async fn find(
    tx: &mut TenantTransaction,
    provider: &str,
) -> Result<Option<SubscriptionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(
        "SELECT number, provider, \
                CASE WHEN status = 'active' AND expires_at <= now() THEN 'expired' ELSE status END AS status, \
                expires_at, max_sessions, max_messages, messages_used, period_started_at, created_at, updated_at \
         FROM subscriptions WHERE tenant_id = $1 AND provider = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(provider)
    .get_result(tx.connection())
    .await
    .optional()?;
    Ok(row)
}

/// All terms of a subscription.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) max_sessions: i32,
    /// Zero and less mean no limit.
    pub(crate) max_messages: i64,
}

/// Terms of which those that are left out stay as they are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SomeTerms {
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) max_sessions: Option<i32>,
    pub(crate) max_messages: Option<i64>,
}

/// What a period began with: `began` is true when the statement that tells it has begun one.
#[derive(diesel::QueryableByName)]
struct Began {
    #[diesel(sql_type = Bool)]
    began: bool,
}

/// Makes the subscription, or puts it under these terms and makes it active. True when a period has begun: for a new
/// subscription, and for one whose end moved to a later moment.
pub(crate) async fn put(
    tx: &mut TenantTransaction,
    provider: &str,
    terms: Terms,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row: Began = database::sql(
        "INSERT INTO subscriptions AS old \
             (tenant_id, id, provider, status, expires_at, max_sessions, max_messages, period_started_at) \
         VALUES ($1, $2, $3, 'active', $4, $5, $6, now()) \
         ON CONFLICT (tenant_id, provider) DO UPDATE SET \
             period_started_at = CASE WHEN EXCLUDED.expires_at > old.expires_at THEN now() ELSE old.period_started_at END, \
             messages_used = CASE WHEN EXCLUDED.expires_at > old.expires_at THEN 0 ELSE old.messages_used END, \
             status = 'active', expires_at = EXCLUDED.expires_at, max_sessions = EXCLUDED.max_sessions, \
             max_messages = EXCLUDED.max_messages, updated_at = now() \
         RETURNING period_started_at = now() AS began",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(provider)
    .bind::<Timestamptz, _>(terms.expires_at)
    .bind::<Integer, _>(terms.max_sessions)
    .bind::<BigInt, _>(terms.max_messages)
    .get_result(tx.connection())
    .await?;
    Ok(row.began)
}

/// Changes some terms of a subscription. One that gets an end becomes active. `None`: there is no such subscription;
/// true when a period has begun.
pub(crate) async fn change(
    tx: &mut TenantTransaction,
    provider: &str,
    terms: SomeTerms,
) -> Result<Option<bool>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row: Option<Began> = database::sql(
        "UPDATE subscriptions SET \
             period_started_at = CASE WHEN $3 > expires_at THEN now() ELSE period_started_at END, \
             messages_used = CASE WHEN $3 > expires_at THEN 0 ELSE messages_used END, \
             status = CASE WHEN $3 IS NULL THEN status ELSE 'active' END, \
             expires_at = COALESCE($3, expires_at), max_sessions = COALESCE($4, max_sessions), \
             max_messages = COALESCE($5, max_messages), updated_at = now() \
         WHERE tenant_id = $1 AND provider = $2 \
         RETURNING period_started_at = now() AS began",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(provider)
    .bind::<Nullable<Timestamptz>, _>(terms.expires_at)
    .bind::<Nullable<Integer>, _>(terms.max_sessions)
    .bind::<Nullable<BigInt>, _>(terms.max_messages)
    .get_result(tx.connection())
    .await
    .optional()?;
    Ok(row.map(|row| row.began))
}

/// A subscription that has just been marked as expired.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct EndedRow {
    #[diesel(sql_type = Text)]
    pub(crate) tenant_id: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) expires_at: DateTime<Utc>,
}

/// Marks every active subscription whose end has passed, and notes their sessions for disconnection if that is wanted:
/// one statement, so a subscription that is renewed at the same moment is either marked before or not at all. `None`:
/// another process is at it.
pub(crate) async fn expire(
    tx: &mut PlatformTransaction,
    note_sessions: bool,
) -> Result<Option<Vec<EndedRow>>, DatabaseError> {
    let free: Leading = database::sql(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || '.expire_subscriptions', 0)) AS leading",
    )
    .get_result(tx.connection())
    .await?;
    if !free.leading {
        return Ok(None);
    }
    let ended = database::sql(
        "WITH ended AS ( \
             UPDATE subscriptions SET status = 'expired', updated_at = now() \
             WHERE status = 'active' AND expires_at <= now() \
             RETURNING tenant_id, provider, expires_at \
         ), noted AS ( \
             INSERT INTO expired_sessions (tenant_id, session) \
             SELECT sessions.tenant_id, sessions.id FROM sessions JOIN ended USING (tenant_id, provider) \
             WHERE $1 AND sessions.phase = 'ready' \
             ON CONFLICT (tenant_id, session) DO UPDATE SET next_try_at = now() \
         ) \
         SELECT tenant_id, expires_at FROM ended",
    )
    .bind::<Bool, _>(note_sessions)
    .load(tx.connection())
    .await?;
    Ok(Some(ended))
}

#[derive(diesel::QueryableByName)]
struct Leading {
    #[diesel(sql_type = Bool)]
    leading: bool,
}
