//! `send_requests`: orders that were taken before.

use database::DatabaseError;
use diesel::sql_types::{Text, Uuid as SqlUuid};
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
    let noted = diesel::sql_query(
        "INSERT INTO send_requests (tenant_id, request_id, message_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(request_id)
    .bind::<SqlUuid, _>(message.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(noted == 1)
}
