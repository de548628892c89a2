//! Work that is taken out of workers' hands: what it was to be done with has changed.

use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{Array, Bool, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// A task that was put aside before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct PutAside {
    /// Which one.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Somebody had begun it and not said what became of it, be it at work or dead.
    #[diesel(sql_type = Bool)]
    pub in_hand: bool,
}

/// Puts those of these tasks aside that are still to be done. Whoever has one in hand loses its lane and can write
/// nothing more about it. Their lanes go on with what else they hold.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn put_aside(
    tx: &mut TenantTransaction,
    ids: &[Uuid],
    reason: &str,
) -> Result<Vec<PutAside>, DatabaseError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        lane: String,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    // The lanes' rows first, in one order: from here on nobody begins a task of theirs or adds one.
    let lanes: Vec<Row> = database::sql(
        "SELECT lane FROM lanes WHERE tenant_id = $1 AND lane IN \
             (SELECT lane FROM lane_tasks WHERE tenant_id = $1 AND id = ANY ($2) AND NOT parked) \
         ORDER BY lane FOR UPDATE",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .load(tx.connection())
    .await?;
    let lanes: Vec<String> = lanes.into_iter().map(|row| row.lane).collect();
    let aside: Vec<PutAside> = database::sql(
        "UPDATE lane_tasks SET parked = true, last_error = $4 \
         WHERE tenant_id = $1 AND id = ANY ($2) AND lane = ANY ($3) AND NOT parked \
         RETURNING id, begun > failures AS in_hand",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Text>, _>(&lanes)
    .bind::<Text, _>(reason)
    .load(tx.connection())
    .await?;
    database::sql(
        "UPDATE lanes l SET fence = l.fence + 1, leased_until = NULL, ready_at = CASE WHEN EXISTS \
                (SELECT 1 FROM lane_tasks t WHERE t.tenant_id = $1 AND t.lane = l.lane AND NOT t.parked) \
                THEN now() END \
         WHERE l.tenant_id = $1 AND l.lane = ANY ($2)",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<Text>, _>(&lanes)
    .execute(tx.connection())
    .await?;
    let parked = aside.len() as u64;
    tx.when_committed(move || metrics::counter!("kanal_tasks_parked_total").increment(parked));
    Ok(aside)
}
