//! Customers' keys: hashes only, one in use and those that end soon.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::schema::api_keys;

/// Until when the key is good; the inner `None` is a key that is in use. Looked up by id and by hash: a directory entry
/// that outlived its key leads nowhere.
pub(crate) async fn valid_until(
    tx: &mut TenantTransaction,
    id: Uuid,
    key_hash: &str,
) -> Result<Option<Option<DateTime<Utc>>>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(api_keys::table
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::id.eq(id))
        .filter(api_keys::key_hash.eq(key_hash))
        .select(api_keys::valid_until)
        .get_result(tx.connection())
        .await
        .optional()?)
}

/// A key as people know it.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct KeyRow {
    #[diesel(sql_type = Text)]
    pub(crate) prefix: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) valid_until: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
}

/// The customer's keys that are good now: the one in use first.
pub(crate) async fn good(tx: &mut TenantTransaction) -> Result<Vec<KeyRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT prefix, valid_until, created_at FROM api_keys \
         WHERE tenant_id = $1 AND (valid_until IS NULL OR valid_until > now()) \
         ORDER BY valid_until DESC NULLS FIRST",
    )
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Adds the key that is in use from now on. There must be no other.
pub(crate) async fn insert(
    tx: &mut TenantTransaction,
    id: Uuid,
    key_hash: &str,
    prefix: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("INSERT INTO api_keys (tenant_id, id, key_hash, prefix) VALUES ($1, $2, $3, $4)")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(key_hash)
        .bind::<Text, _>(prefix)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Lets every key of the customer's end after so many seconds, none later than it would have. Returns their hashes.
pub(crate) async fn end_after(
    tx: &mut TenantTransaction,
    grace_seconds: i64,
) -> Result<Vec<String>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<HashRow> = database::sql(
        "UPDATE api_keys \
         SET valid_until = LEAST(valid_until, clock_timestamp() + make_interval(secs => $2::double precision)) \
         WHERE tenant_id = $1 RETURNING key_hash",
    )
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(grace_seconds)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.key_hash).collect())
}

/// Removes keys that have ended, and of the others all but those that end last. Returns how many.
pub(crate) async fn keep_latest(tx: &mut TenantTransaction, most: i64) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let removed = database::sql(
        "WITH kept AS ( \
             SELECT id FROM api_keys WHERE tenant_id = $1 AND (valid_until IS NULL OR valid_until > clock_timestamp()) \
             ORDER BY valid_until DESC NULLS FIRST LIMIT $2 \
         ), gone AS ( \
             DELETE FROM api_keys WHERE tenant_id = $1 AND id NOT IN (SELECT id FROM kept) RETURNING id \
         ) \
         DELETE FROM tenant_directory USING gone \
         WHERE tenant_directory.kind = $3 AND tenant_directory.tenant_id = $1 \
           AND tenant_directory.subject_id = gone.id",
    )
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(most)
    .bind::<Text, _>(super::directory::API_KEY)
    .execute(tx.connection())
    .await?;
    Ok(removed)
}

/// Removes every key of the customer's, with what leads to it. Returns their hashes.
pub(crate) async fn remove_all(tx: &mut TenantTransaction) -> Result<Vec<String>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<HashRow> = database::sql(
        "WITH gone AS (DELETE FROM api_keys WHERE tenant_id = $1 RETURNING id, key_hash), \
              ways AS (DELETE FROM tenant_directory USING gone WHERE tenant_directory.kind = $2 \
                AND tenant_directory.tenant_id = $1 AND tenant_directory.subject_id = gone.id) \
         SELECT key_hash FROM gone",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(super::directory::API_KEY)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.key_hash).collect())
}

/// Removes keys that have ended, of all customers, at most `most` at a time. Returns how many.
pub(crate) async fn remove_ended(tx: &mut PlatformTransaction, most: i64) -> Result<usize, DatabaseError> {
    let removed = database::sql(
        "WITH ended AS MATERIALIZED ( \
             SELECT tenant_id, id FROM api_keys WHERE valid_until <= now() LIMIT $1 FOR UPDATE SKIP LOCKED \
         ), gone AS ( \
             DELETE FROM api_keys USING ended \
             WHERE api_keys.tenant_id = ended.tenant_id AND api_keys.id = ended.id \
             RETURNING api_keys.tenant_id, api_keys.id \
         ) \
         DELETE FROM tenant_directory USING gone \
         WHERE tenant_directory.kind = $2 AND tenant_directory.tenant_id = gone.tenant_id \
           AND tenant_directory.subject_id = gone.id",
    )
    .bind::<BigInt, _>(most)
    .bind::<Text, _>(super::directory::API_KEY)
    .execute(tx.connection())
    .await?;
    Ok(removed)
}

#[derive(diesel::QueryableByName)]
struct HashRow {
    #[diesel(sql_type = Text)]
    key_hash: String,
}
