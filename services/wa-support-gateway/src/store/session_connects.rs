//! Sessions that are to be connected because their customer wanted that when they were made: columns `connect_wanted` and
//! `connect_next_try_at`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Double, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// The session is to be connected, from now on.
pub(crate) async fn want(tx: &mut TenantTransaction, session: Uuid) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions SET connect_wanted = now(), connect_next_try_at = now() \
         WHERE tenant_id = $1 AND id = $2 AND phase = 'ready'",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Is the session still to be connected, as it has been wanted since `since`?
pub(crate) async fn is_wanted(
    tx: &mut TenantTransaction,
    session: Uuid,
    since: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let wanted =
        database::sql("SELECT 1 FROM sessions WHERE tenant_id = $1 AND id = $2 AND connect_wanted = $3")
            .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
            .bind::<SqlUuid, _>(session)
            .bind::<Timestamptz, _>(since)
            .execute(tx.connection())
            .await?;
    Ok(wanted == 1)
}

/// The session was connected as it was wanted since `since`. A wish that is newer stays.
pub(crate) async fn fulfilled(
    tx: &mut TenantTransaction,
    session: Uuid,
    since: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions SET connect_wanted = NULL, connect_next_try_at = NULL \
         WHERE tenant_id = $1 AND id = $2 AND connect_wanted = $3",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .bind::<Timestamptz, _>(since)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The session is not to be connected any more.
pub(crate) async fn end(tx: &mut TenantTransaction, session: Uuid) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE sessions SET connect_wanted = NULL, connect_next_try_at = NULL \
         WHERE tenant_id = $1 AND id = $2 AND connect_wanted IS NOT NULL",
    )
    .bind::<Text, _>(tx.scope().tenant().as_str().to_owned())
    .bind::<SqlUuid, _>(session)
    .execute(tx.connection())
    .await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct GivenUp {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Sessions that nobody could connect for so long are not to be connected any more; which they were.
pub(crate) async fn give_up(
    tx: &mut PlatformTransaction,
    after: Duration,
) -> Result<Vec<Uuid>, DatabaseError> {
    let given_up: Vec<GivenUp> = database::sql(
        "UPDATE sessions SET connect_wanted = NULL, connect_next_try_at = NULL \
         WHERE connect_next_try_at IS NOT NULL AND connect_wanted < now() - $1 * interval '1 second' RETURNING id",
    )
    .bind::<Double, _>(after.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(given_up.into_iter().map(|row| row.id).collect())
}
