//! Which of several processes does what only one may do at a time: table `leases (name, holder, until)` in each service's
//! schema. A lease ends by itself, by the database's clock.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{Double, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

/// Takes the lease of this name for so long, or keeps it. False while another holder has it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hold(
    connection: &mut AsyncPgConnection,
    name: &str,
    holder: Uuid,
    length: Duration,
) -> Result<bool, DatabaseError> {
    let held = database::sql(
        "INSERT INTO leases AS l (name, holder, until) VALUES ($1, $2, now() + $3 * interval '1 second') \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until \
         WHERE l.holder = excluded.holder OR l.until < now()",
    )
    .bind::<Text, _>(name)
    .bind::<SqlUuid, _>(holder)
    .bind::<Double, _>(length.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(held == 1)
}

/// Lets somebody else begin at once.
///
/// # Errors
/// [`DatabaseError`].
pub async fn release(
    connection: &mut AsyncPgConnection,
    name: &str,
    holder: Uuid,
) -> Result<(), DatabaseError> {
    database::sql("DELETE FROM leases WHERE name = $1 AND holder = $2")
        .bind::<Text, _>(name)
        .bind::<SqlUuid, _>(holder)
        .execute(connection)
        .await?;
    Ok(())
}
