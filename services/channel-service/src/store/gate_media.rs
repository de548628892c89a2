//! `gate_media`: files that were put up at the gate and are not sent yet.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A file that a client put up.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct UploadRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// For which number.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// What its sender calls it.
    #[diesel(sql_type = Nullable<Text>)]
    pub file_name: Option<String>,
    /// What it is, by its content.
    #[diesel(sql_type = Text)]
    pub mime_type: String,
    /// How many bytes.
    #[diesel(sql_type = BigInt)]
    pub size: i64,
    /// SHA-256 in hexadecimal.
    #[diesel(sql_type = Text)]
    pub sha256: String,
    /// The object's name.
    #[diesel(sql_type = Text)]
    pub object_key: String,
}

/// What a tenant holds of files that clients put up.
#[derive(Debug, Clone, Copy, diesel::QueryableByName)]
pub struct HeldRow {
    /// Files.
    #[diesel(sql_type = BigInt)]
    pub files: i64,
    /// Bytes of all of them together.
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

/// What the tenant holds of files that clients put up, also of those that aged out and have not been swept yet.
///
/// # Errors
/// [`DatabaseError`].
pub async fn held_uploads(tx: &mut TenantTransaction) -> Result<HeldRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(
        "SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes FROM gate_media WHERE tenant_id = $1",
    )
    .bind::<Text, _>(tenant)
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

/// Keeps what is known of a file that a client put up.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert_upload(
    tx: &mut TenantTransaction,
    row: &UploadRow,
    expires_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO gate_media (tenant_id, id, account_id, file_name, mime_type, size, sha256, object_key, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(row.id)
    .bind::<SqlUuid, _>(row.account_id)
    .bind::<Nullable<Text>, _>(&row.file_name)
    .bind::<Text, _>(&row.mime_type)
    .bind::<BigInt, _>(row.size)
    .bind::<Text, _>(&row.sha256)
    .bind::<Text, _>(&row.object_key)
    .bind::<Timestamptz, _>(expires_at)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A file that a client put up, if it has not aged out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn upload(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<UploadRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<UploadRow> = database::sql(
        "SELECT id, account_id, file_name, mime_type, size, sha256, object_key FROM gate_media \
         WHERE tenant_id = $1 AND id = $2 AND expires_at > now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Takes a file away that a client put up. False: there is none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_upload(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = database::sql("DELETE FROM gate_media WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    Ok(deleted == 1)
}

/// Takes files away that have aged out, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_aged_uploads(tx: &mut PlatformTransaction, most: i64) -> Result<usize, DatabaseError> {
    let deleted = database::sql(
        "DELETE FROM gate_media m USING (SELECT tenant_id, id FROM gate_media WHERE expires_at < now() \
                ORDER BY expires_at LIMIT $1) aged WHERE m.tenant_id = aged.tenant_id AND m.id = aged.id",
    )
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}

/// Those of these files that clients put up and that have not aged out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn uploads(tx: &mut TenantTransaction, ids: &[Uuid]) -> Result<Vec<UploadRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT id, account_id, file_name, mime_type, size, sha256, object_key FROM gate_media \
         WHERE tenant_id = $1 AND id = ANY ($2) AND expires_at > now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<diesel::sql_types::Array<SqlUuid>, _>(ids)
    .load(tx.connection())
    .await?;
    Ok(rows)
}
