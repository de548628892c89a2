//! `send_requests`: orders that were taken before.

use database::DatabaseError;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::MessageId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Notes an order. False when it was taken before.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_new(
    tx: &mut TenantTransaction,
    request_id: Uuid,
    message: MessageId,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let noted = database::sql(
        "INSERT INTO send_requests (tenant_id, request_id, message_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(request_id)
    .bind::<SqlUuid, _>(message.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(noted == 1)
}

/// An order that was taken under a key of the caller's.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct KeyedRow {
    /// The message it became.
    #[diesel(sql_type = SqlUuid)]
    pub message_id: Uuid,
    /// What was ordered. `None` for an order that came another way.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub digest: Option<Uuid>,
}

/// Notes an order with what it says. False when one was taken under this id before; one that is being taken at this
/// moment is waited for.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_keyed(
    tx: &mut TenantTransaction,
    request_id: Uuid,
    message: MessageId,
    digest: Uuid,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let noted = database::sql(
        "INSERT INTO send_requests (tenant_id, request_id, message_id, digest) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(request_id)
    .bind::<SqlUuid, _>(message.as_uuid())
    .bind::<SqlUuid, _>(digest)
    .execute(tx.connection())
    .await?;
    Ok(noted == 1)
}

/// The order that was taken under this id.
///
/// # Errors
/// [`DatabaseError::NotFound`].
pub async fn find(tx: &mut TenantTransaction, request_id: Uuid) -> Result<KeyedRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(
        "SELECT message_id, digest FROM send_requests WHERE tenant_id = $1 AND request_id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(request_id)
    .get_result(tx.connection())
    .await?;
    Ok(row)
}
