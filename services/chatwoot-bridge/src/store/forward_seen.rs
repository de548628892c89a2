//! Events of URL routes that were accepted, so that another delivery of the same one is recognised. They are noted where
//! they are [kept](super::forward_events::keep).

use database::DatabaseError;
use diesel::sql_types::{BigInt, Double};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::PlatformTransaction;

/// Forgets what was noted more than `days` ago, at most `most`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM forward_seen s USING (SELECT tenant_id, route_id, key FROM forward_seen \
                WHERE received_at < now() - $1 * interval '1 day' ORDER BY received_at LIMIT $2 \
                FOR UPDATE SKIP LOCKED) old \
         WHERE s.tenant_id = old.tenant_id AND s.route_id = old.route_id AND s.key = old.key",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
