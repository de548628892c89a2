//! Customers: who the tenants of this service are.

use database::DatabaseError;
use diesel::{ExpressionMethods as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::TenantTransaction;

use super::schema::customers;

/// The one status with which a customer may do anything (contract §3.2).
pub(crate) const ACTIVE: &str = "active";

/// Makes the customer when it is missing, and locks its row either way: whoever counts what a customer has does so one
/// after the other.
pub(crate) async fn ensure_and_lock(tx: &mut TenantTransaction, source: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    diesel::insert_into(customers::table)
        .values((
            customers::tenant_id.eq(&tenant),
            customers::source_service.eq(source),
            customers::status.eq(ACTIVE),
        ))
        .on_conflict_do_nothing()
        .execute(tx.connection())
        .await?;
    customers::table
        .filter(customers::tenant_id.eq(&tenant))
        .select(customers::tenant_id)
        .for_update()
        .get_result::<String>(tx.connection())
        .await?;
    Ok(())
}
