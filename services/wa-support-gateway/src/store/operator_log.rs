//! `operator_log`: what operators did that belongs to no customer. Rows are only ever added; the table itself refuses
//! anything else.

use database::DatabaseError;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

/// Notes an act, before it is done.
pub(crate) async fn note(
    tx: &mut PlatformTransaction,
    actor: &str,
    action: &'static str,
    (subject, detail): (&str, &str),
) -> Result<(), DatabaseError> {
    database::sql(
        "INSERT INTO operator_log (id, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(actor)
    .bind::<Text, _>(action)
    .bind::<Text, _>(subject)
    .bind::<Text, _>(detail)
    .execute(tx.connection())
    .await?;
    Ok(())
}
