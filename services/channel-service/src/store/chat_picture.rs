//! `chat_pictures`.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::ChatId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::media::StoredFile;

/// A chat, and what is known of its person's picture.
#[derive(Clone, diesel::QueryableByName)]
pub struct PictureRow {
    /// The chat's account.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// With whom.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// The number, when known.
    #[diesel(sql_type = Nullable<Text>)]
    pub phone: Option<String>,
    /// The name the person gave themselves.
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    /// It is time to look.
    #[diesel(sql_type = Bool)]
    pub is_due: bool,
    /// Looks in a row that failed.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    /// WhatsApp's id of the picture.
    #[diesel(sql_type = Nullable<Text>)]
    pub whatsapp_id: Option<String>,
    /// The file that is kept.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub picture_id: Option<Uuid>,
    /// What it is.
    #[diesel(sql_type = Nullable<Text>)]
    pub mime_type: Option<String>,
    /// How many bytes.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub size: Option<i64>,
    /// SHA-256 in hexadecimal.
    #[diesel(sql_type = Nullable<Text>)]
    pub sha256: Option<String>,
}

/// A picture that is kept, to be handed out.
#[derive(diesel::QueryableByName)]
pub struct PictureFile {
    /// What it is.
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

/// A look that was begun.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// At whose picture.
    pub chat: ChatId,
    /// Whose look it is.
    pub fence: Uuid,
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// A chat and its picture. `None`: there is no such chat any more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, chat: ChatId) -> Result<Option<PictureRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<PictureRow> = database::sql(
        "SELECT c.account_id, c.address, c.phone, c.name, coalesce(p.due_at <= now(), true) AS is_due, \
                coalesce(p.failures, 0) AS failures, p.whatsapp_id, p.picture_id, p.mime_type, p.size, p.sha256 \
         FROM chats c LEFT JOIN chat_pictures p ON p.tenant_id = c.tenant_id AND p.chat_id = c.id \
         WHERE c.tenant_id = $1 AND c.id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Begins a look, and lets nobody begin another one for so long. False: it is not time, or somebody else was faster.
///
/// # Errors
/// [`DatabaseError`].
pub async fn begin(tx: &mut TenantTransaction, look: Look, alone: Duration) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let begun = database::sql(
        "INSERT INTO chat_pictures AS p (tenant_id, chat_id, fence, due_at) \
         SELECT c.tenant_id, c.id, $3, now() + $4 * interval '1 second' FROM chats c \
         WHERE c.tenant_id = $1 AND c.id = $2 \
         ON CONFLICT (tenant_id, chat_id) DO UPDATE \
         SET fence = excluded.fence, due_at = excluded.due_at, updated_at = now() WHERE p.due_at <= now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(look.chat.as_uuid())
    .bind::<SqlUuid, _>(look.fence)
    .bind::<BigInt, _>(seconds(alone))
    .execute(tx.connection())
    .await?;
    Ok(begun == 1)
}

/// The picture is as it was. False: the look is not ours any more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn unchanged(
    tx: &mut TenantTransaction,
    look: Look,
    whatsapp_id: Option<&str>,
    next: Duration,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let changed = database::sql(
        "UPDATE chat_pictures SET whatsapp_id = $4, failures = 0, due_at = now() + $5 * interval '1 second', \
                updated_at = now() \
         WHERE tenant_id = $1 AND chat_id = $2 AND fence = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(look.chat.as_uuid())
    .bind::<SqlUuid, _>(look.fence)
    .bind::<Nullable<Text>, _>(whatsapp_id)
    .bind::<BigInt, _>(seconds(next))
    .execute(tx.connection())
    .await?;
    Ok(changed == 1)
}

/// There is another picture, or none any more. False: the look is not ours any more, and the object is nobody's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn replace(
    tx: &mut TenantTransaction,
    look: Look,
    whatsapp_id: Option<&str>,
    file: Option<(Uuid, &StoredFile)>,
    next: Duration,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let size = |file: &StoredFile| i64::try_from(file.size).unwrap_or(i64::MAX);
    let changed = database::sql(
        "UPDATE chat_pictures SET whatsapp_id = $4, picture_id = $5, mime_type = $6, size = $7, sha256 = $8, \
                object_key = $9, failures = 0, due_at = now() + $10 * interval '1 second', updated_at = now() \
         WHERE tenant_id = $1 AND chat_id = $2 AND fence = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(look.chat.as_uuid())
    .bind::<SqlUuid, _>(look.fence)
    .bind::<Nullable<Text>, _>(whatsapp_id)
    .bind::<Nullable<SqlUuid>, _>(file.map(|(id, _)| id))
    .bind::<Nullable<Text>, _>(file.map(|(_, file)| file.mime_type))
    .bind::<Nullable<BigInt>, _>(file.map(|(_, file)| size(file)))
    .bind::<Nullable<Text>, _>(file.map(|(_, file)| file.sha256.as_str()))
    .bind::<Nullable<Text>, _>(file.map(|(_, file)| file.object_key.as_str()))
    .bind::<BigInt, _>(seconds(next))
    .execute(tx.connection())
    .await?;
    Ok(changed == 1)
}

/// The look failed; the next one is not before so long.
///
/// # Errors
/// [`DatabaseError`].
pub async fn failed(tx: &mut TenantTransaction, look: Look, next: Duration) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE chat_pictures SET failures = failures + 1, due_at = now() + $4 * interval '1 second', updated_at = now() \
         WHERE tenant_id = $1 AND chat_id = $2 AND fence = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(look.chat.as_uuid())
    .bind::<SqlUuid, _>(look.fence)
    .bind::<BigInt, _>(seconds(next))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The file of a picture. `None`: there is none of this id, or not any more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn file(tx: &mut TenantTransaction, picture: Uuid) -> Result<Option<PictureFile>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<PictureFile> = database::sql(
        "SELECT mime_type, size, sha256, object_key FROM chat_pictures WHERE tenant_id = $1 AND picture_id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(picture)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}
