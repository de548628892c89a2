//! Where the files of agents' messages lie in Chatwoot.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Which file of which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKey {
    /// Our inbox row.
    pub inbox_id: Uuid,
    /// The agent's message in Chatwoot.
    pub message_id: i64,
    /// The part it is.
    pub part: i32,
}

/// A file's place.
#[derive(Clone, diesel::QueryableByName)]
pub struct FilePlace {
    /// What Chatwoot said. Whoever has it can read the file.
    #[diesel(sql_type = Text)]
    pub data_url: String,
    /// Where we reach that Chatwoot.
    #[diesel(sql_type = Text)]
    pub chatwoot_url: String,
}

impl std::fmt::Debug for FilePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilePlace").finish_non_exhaustive()
    }
}

/// Notes where a file lies; a newer address replaces the older one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(tx: &mut TenantTransaction, file: &FileKey, data_url: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO agent_files (tenant_id, inbox_id, chatwoot_message_id, part, data_url) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (tenant_id, inbox_id, chatwoot_message_id, part) DO UPDATE \
         SET data_url = excluded.data_url, created_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(file.inbox_id)
    .bind::<BigInt, _>(file.message_id)
    .bind::<Integer, _>(file.part)
    .bind::<Text, _>(data_url)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Where a file lies. `None`: it has none, its inbox is gone, or it is forgotten.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, file: &FileKey) -> Result<Option<FilePlace>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<FilePlace> = database::sql(
        "SELECT f.data_url, i.chatwoot_url FROM agent_files f \
         JOIN inboxes i ON i.tenant_id = f.tenant_id AND i.id = f.inbox_id \
         WHERE f.tenant_id = $1 AND f.inbox_id = $2 AND f.chatwoot_message_id = $3 AND f.part = $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(file.inbox_id)
    .bind::<BigInt, _>(file.message_id)
    .bind::<Integer, _>(file.part)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// Forgets up to `most` places, of whatever tenants, that are older than `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM agent_files f USING (SELECT tenant_id, inbox_id, chatwoot_message_id, part FROM agent_files \
              WHERE created_at < now() - $1 * interval '1 day' ORDER BY created_at LIMIT $2) old \
         WHERE f.tenant_id = old.tenant_id AND f.inbox_id = old.inbox_id \
           AND f.chatwoot_message_id = old.chatwoot_message_id AND f.part = old.part",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
