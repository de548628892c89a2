//! Sessions that are still to be disconnected because their customer's subscription has ended.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A session to disconnect.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct DueRow {
    #[diesel(sql_type = Text)]
    pub(crate) tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    pub(crate) session: Uuid,
    #[diesel(sql_type = Text)]
    pub(crate) token_sealed: String,
    #[diesel(sql_type = Integer)]
    pub(crate) tries: i32,
}

/// Forgets the sessions of customers that have a subscription again.
pub(crate) async fn forget_renewed(tx: &mut PlatformTransaction) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM expired_sessions USING sessions, subscriptions \
         WHERE sessions.tenant_id = expired_sessions.tenant_id AND sessions.id = expired_sessions.session \
           AND subscriptions.tenant_id = sessions.tenant_id AND subscriptions.provider = sessions.provider \
           AND subscriptions.status = 'active' AND subscriptions.expires_at > now()",
    )
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}

/// Takes at most `most` sessions that are due. Each of them is due again after `again`, so nobody else takes it
/// meanwhile, and one that was not done is.
pub(crate) async fn take_due(
    tx: &mut PlatformTransaction,
    again: Duration,
    most: i64,
) -> Result<Vec<DueRow>, DatabaseError> {
    let due = database::sql(
        "WITH due AS MATERIALIZED ( \
             SELECT tenant_id, session FROM expired_sessions WHERE next_try_at <= now() \
             ORDER BY next_try_at LIMIT $2 FOR UPDATE SKIP LOCKED \
         ) \
         UPDATE expired_sessions SET next_try_at = now() + make_interval(secs => $1), tries = tries + 1 \
         FROM due JOIN sessions ON sessions.tenant_id = due.tenant_id AND sessions.id = due.session \
         WHERE expired_sessions.tenant_id = due.tenant_id AND expired_sessions.session = due.session \
         RETURNING expired_sessions.tenant_id, expired_sessions.session, sessions.token_sealed, expired_sessions.tries",
    )
    .bind::<Double, _>(again.as_secs_f64())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(due)
}

/// Is the session still to be disconnected? Not when its customer has a subscription again; asked right before.
pub(crate) async fn is_due(tx: &mut TenantTransaction, session: Uuid) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Due {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        due: bool,
    }
    let tenant = tx.scope().tenant().to_string();
    let row: Due = database::sql(
        "SELECT EXISTS (SELECT 1 FROM expired_sessions WHERE tenant_id = $1 AND session = $2) \
            AND NOT EXISTS (SELECT 1 FROM subscriptions JOIN sessions USING (tenant_id, provider) \
                WHERE sessions.tenant_id = $1 AND sessions.id = $2 \
                  AND subscriptions.status = 'active' AND subscriptions.expires_at > now()) AS due",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(session)
    .get_result(tx.connection())
    .await?;
    Ok(row.due)
}

/// The session is disconnected.
pub(crate) async fn done(tx: &mut TenantTransaction, session: Uuid) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql("DELETE FROM expired_sessions WHERE tenant_id = $1 AND session = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(session)
        .execute(tx.connection())
        .await?;
    Ok(())
}
