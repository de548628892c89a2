//! `media` and `media_garbage`.

use std::collections::HashSet;

use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, MessageId, ProviderMessageId, TenantId};
use domain::message::{MediaKind, MediaState};
use tenant_isolation::{GroupTransaction, PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// The file of a message that is about to be kept.
#[derive(Debug, Clone)]
pub struct NewMedia {
    /// What sort of file it is.
    pub kind: MediaKind,
    /// What is to become of it.
    pub state: MediaState,
    /// The type its sender declared.
    pub declared_type: Option<String>,
    /// The size its sender declared.
    pub declared_size: Option<u64>,
    /// The name its sender gave it.
    pub file_name: Option<String>,
    /// Where it lies, when it came with the message.
    pub stored: Option<StoredFile>,
    /// Why it is in this state, as a stable code.
    pub reason: Option<&'static str>,
}

/// A file in the object store.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// The object's name.
    pub object_key: String,
    /// What it is, by its content.
    pub mime_type: &'static str,
    /// How many bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A row of `media`.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct MediaRow {
    /// Whose file.
    #[diesel(sql_type = SqlUuid)]
    pub message_id: Uuid,
    /// What sort: a [`MediaKind`].
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// What became of it: a [`MediaState`].
    #[diesel(sql_type = Text)]
    pub state: String,
    /// The name its sender gave it.
    #[diesel(sql_type = Nullable<Text>)]
    pub file_name: Option<String>,
    /// What it is, by its content.
    #[diesel(sql_type = Nullable<Text>)]
    pub mime_type: Option<String>,
    /// How many bytes.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub size: Option<i64>,
    /// SHA-256 in hexadecimal.
    #[diesel(sql_type = Nullable<Text>)]
    pub sha256: Option<String>,
    /// The object's name.
    #[diesel(sql_type = Nullable<Text>)]
    pub object_key: Option<String>,
    /// Fetches that failed.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// Why it is in this state, or why the last fetch failed.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
}

const COLUMNS: &str =
    "message_id, kind, state, file_name, mime_type, size, sha256, object_key, attempts, reason";

/// A file that is to be fetched, and by whose session.
#[derive(diesel::QueryableByName)]
pub struct PendingRow {
    /// The message's account.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// The message's content in the domain's JSON, with the places where the file can be had.
    #[diesel(sql_type = Text)]
    pub content: String,
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Keeps what is known of the files of a group's messages.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert_group(
    tx: &mut GroupTransaction,
    rows: &[(&TenantId, MessageId, &NewMedia)],
) -> Result<(), DatabaseError> {
    let stored = |row: &NewMedia| row.stored.clone();
    database::sql(
        "INSERT INTO media (tenant_id, message_id, kind, state, declared_type, declared_size, file_name, mime_type, \
                            size, sha256, object_key, reason) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (tenant_id, message_id) DO NOTHING",
    )
    .bind::<Array<Text>, _>(rows.iter().map(|(tenant, ..)| tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(rows.iter().map(|(_, id, _)| id.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rows.iter().map(|(.., m)| m.kind.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rows.iter().map(|(.., m)| m.state.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|(.., m)| m.declared_type.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(
        rows.iter().map(|(.., m)| m.declared_size.map(signed)).collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|(.., m)| m.file_name.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(
        rows.iter().map(|(.., m)| stored(m).map(|file| file.mime_type)).collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<BigInt>>, _>(
        rows.iter().map(|(.., m)| stored(m).map(|file| signed(file.size))).collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Text>>, _>(
        rows.iter().map(|(.., m)| stored(m).map(|file| file.sha256)).collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Text>>, _>(
        rows.iter().map(|(.., m)| stored(m).map(|file| file.object_key)).collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|(.., m)| m.reason).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Known {
    #[diesel(sql_type = Text)]
    value: String,
}

/// Was this message accepted before?
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_known_message(
    tx: &mut TenantTransaction,
    account: AccountId,
    id: &ProviderMessageId,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Known> = database::sql(
        "SELECT provider_message_id AS value FROM inbound_ledger \
         WHERE tenant_id = $1 AND account_id = $2 AND provider_message_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(id.as_str())
    .load(tx.connection())
    .await?;
    Ok(!rows.is_empty())
}

/// The files of these messages; messages without one are left out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_messages(
    tx: &mut TenantTransaction,
    messages: &[MessageId],
) -> Result<Vec<MediaRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM media WHERE tenant_id = $1 AND message_id = ANY ($2)"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(messages.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The file of a message. `None`: it has none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, message: MessageId) -> Result<Option<MediaRow>, DatabaseError> {
    Ok(of_messages(tx, &[message]).await?.pop())
}

/// A file that is still to be fetched. `None`: there is nothing to do.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_pending(
    tx: &mut TenantTransaction,
    message: MessageId,
) -> Result<Option<PendingRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<PendingRow> = database::sql(
        "SELECT m.account_id, m.content FROM media f \
         JOIN messages m ON m.tenant_id = f.tenant_id AND m.id = f.message_id \
         WHERE f.tenant_id = $1 AND f.message_id = $2 AND f.state = 'pending'",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// The file has come, to be handed out or to be kept from everybody. False: nobody waits for it any more, and the object is
/// nobody's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_stored(
    tx: &mut TenantTransaction,
    message: MessageId,
    state: MediaState,
    reason: Option<&str>,
    file: &StoredFile,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let changed = database::sql(
        "UPDATE media SET state = $7, mime_type = $3, size = $4, sha256 = $5, object_key = $6, reason = $8, \
                          updated_at = now() \
         WHERE tenant_id = $1 AND message_id = $2 AND state = 'pending'",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.as_uuid())
    .bind::<Text, _>(file.mime_type)
    .bind::<BigInt, _>(signed(file.size))
    .bind::<Text, _>(&file.sha256)
    .bind::<Text, _>(&file.object_key)
    .bind::<Text, _>(state.as_str())
    .bind::<Nullable<Text>, _>(reason)
    .execute(tx.connection())
    .await?;
    Ok(changed == 1)
}

/// A fetch failed, for now (`Pending`) or for good.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_failure(
    tx: &mut TenantTransaction,
    message: MessageId,
    state: MediaState,
    reason: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE media SET state = $3, reason = $4, attempts = attempts + 1, updated_at = now() \
         WHERE tenant_id = $1 AND message_id = $2 AND state = 'pending'",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.as_uuid())
    .bind::<Text, _>(state.as_str())
    .bind::<Text, _>(reason)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Which of these objects belong to a file of the tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn known_objects(
    tx: &mut TenantTransaction,
    keys: &[&str],
) -> Result<HashSet<String>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Known> = database::sql(
        "SELECT object_key AS value FROM media WHERE tenant_id = $1 AND object_key = ANY ($2) \
         UNION ALL SELECT object_key FROM gate_media WHERE tenant_id = $1 AND object_key = ANY ($2) \
         UNION ALL SELECT object_key FROM chat_pictures WHERE tenant_id = $1 AND object_key = ANY ($2)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<Text>, _>(keys)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// An object that nothing refers to any more.
#[derive(Debug, diesel::QueryableByName)]
pub struct GarbageRow {
    /// Whose it was.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub object_key: String,
}

/// Objects to be deleted, oldest first, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn garbage(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<GarbageRow>, DatabaseError> {
    let rows = database::sql("SELECT tenant_id, object_key FROM media_garbage ORDER BY created_at LIMIT $1")
        .bind::<BigInt, _>(most)
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// These objects are deleted.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_garbage(tx: &mut PlatformTransaction, rows: &[GarbageRow]) -> Result<(), DatabaseError> {
    database::sql(
        "DELETE FROM media_garbage g USING unnest($1, $2) AS d (tenant_id, object_key) \
         WHERE g.tenant_id = d.tenant_id AND g.object_key = d.object_key",
    )
    .bind::<Array<Text>, _>(rows.iter().map(|row| row.tenant_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rows.iter().map(|row| row.object_key.as_str()).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// As [`garbage`], of one tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn garbage_of(tx: &mut TenantTransaction, most: i64) -> Result<Vec<GarbageRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT tenant_id, object_key FROM media_garbage WHERE tenant_id = $1 ORDER BY created_at LIMIT $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// As [`forget_garbage`], of one tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_garbage_of(tx: &mut TenantTransaction, rows: &[GarbageRow]) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("DELETE FROM media_garbage WHERE tenant_id = $1 AND object_key = ANY ($2)")
        .bind::<Text, _>(tenant)
        .bind::<Array<Text>, _>(rows.iter().map(|row| row.object_key.as_str()).collect::<Vec<_>>())
        .execute(tx.connection())
        .await?;
    Ok(())
}
