//! Who is talking to the WA server about a session: columns `busy_holder` and `busy_until`.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{Double, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Begins the work for so long. False while somebody else is at it, or when there is no such session.
pub(crate) async fn begin(
    tx: &mut TenantTransaction,
    session: Uuid,
    holder: Uuid,
    length: Duration,
) -> Result<bool, DatabaseError> {
    let begun = database::sql(
        "UPDATE sessions SET busy_holder = $3, busy_until = clock_timestamp() + $4 * interval '1 second' \
         WHERE tenant_id = $1 AND id = $2 AND (busy_until IS NULL OR busy_until < clock_timestamp())",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<SqlUuid, _>(holder)
    .bind::<Double, _>(length.as_secs_f64())
    .execute(tx.connection())
    .await?;
    Ok(begun == 1)
}

/// Is the work still this holder's? Locks the row, so that it stays so until the transaction ends: whoever woke up too
/// late writes nothing.
pub(crate) async fn is_held(
    tx: &mut TenantTransaction,
    session: Uuid,
    holder: Uuid,
) -> Result<bool, DatabaseError> {
    let held = database::sql(
        "SELECT 1 FROM sessions WHERE tenant_id = $1 AND id = $2 AND busy_holder = $3 FOR UPDATE",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<SqlUuid, _>(holder)
    .execute(tx.connection())
    .await?;
    Ok(held == 1)
}

/// Ends the work. A session that is gone needs no ending.
pub(crate) async fn end(
    tx: &mut TenantTransaction,
    session: Uuid,
    holder: Uuid,
) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions SET busy_holder = NULL, busy_until = NULL \
         WHERE tenant_id = $1 AND id = $2 AND busy_holder = $3",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<SqlUuid, _>(holder)
    .execute(tx.connection())
    .await?;
    Ok(())
}
