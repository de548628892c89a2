//! Which contacts in Chatwoot show a picture that we put up.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// A row of `contact_pictures`.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct ContactPicture {
    /// SHA-256 of the picture in hexadecimal. `None`: it was asked for, and nobody knows what came of it.
    #[diesel(sql_type = Nullable<Text>)]
    pub sha256: Option<String>,
}

/// What we put up for a contact. `None`: nothing; a picture that it has is somebody's choice.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    contact: i64,
) -> Result<Option<ContactPicture>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<ContactPicture> = database::sql(
        "SELECT sha256 FROM contact_pictures WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_contact_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(contact)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// Notes what was put up, or, without one, that it is about to be.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    contact: i64,
    sha256: Option<&str>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO contact_pictures (tenant_id, inbox_id, chatwoot_contact_id, sha256) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant_id, inbox_id, chatwoot_contact_id) DO UPDATE \
         SET sha256 = excluded.sha256, updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(contact)
    .bind::<Nullable<Text>, _>(sha256)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The contact shows no picture of ours any more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget(tx: &mut TenantTransaction, inbox: Uuid, contact: i64) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "DELETE FROM contact_pictures WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_contact_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(contact)
    .execute(tx.connection())
    .await?;
    Ok(())
}
