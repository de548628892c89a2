//! Customers: who the tenants of this service are.

use database::DatabaseError;
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, JoinOnDsl as _, NullableExpressionMethods as _,
    OptionalExtension as _, QueryDsl as _,
};
use diesel_async::RunQueryDsl as _;
use serde::{Deserialize, Serialize};
use tenant_isolation::TenantTransaction;

use super::PROVIDER;
use super::schema::{customers, subscriptions};
use super::subscriptions::{Entitlement, EntitlementRow};

/// The one status with which a customer may do anything (contract §3.2).
pub(crate) const ACTIVE: &str = "active";

/// Makes the customer when it is missing, and locks its row either way: whoever counts what a customer has does so one
/// after the other. True: it was made.
pub(crate) async fn ensure_and_lock(tx: &mut TenantTransaction, source: &str) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let made = diesel::insert_into(customers::table)
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
    Ok(made == 1)
}

/// Locks the customer's row: whoever counts what it has does so one after the other. False: there is no such customer.
pub(crate) async fn lock(tx: &mut TenantTransaction) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let locked: Option<String> = customers::table
        .filter(customers::tenant_id.eq(tenant))
        .select(customers::tenant_id)
        .for_update()
        .get_result(tx.connection())
        .await
        .optional()?;
    Ok(locked.is_some())
}

/// What decides whether a customer may do something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Which service it belongs to.
    pub(crate) source: String,
    /// May it do anything at all?
    pub(crate) active: bool,
    /// Its subscription, whatever became of it.
    pub(crate) entitlement: Option<Entitlement>,
}

/// The customer and its subscription, in one row: no moment lies between looking at the one and at the other (W-18).
pub(crate) async fn standing(tx: &mut TenantTransaction) -> Result<Option<Standing>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let own = subscriptions::tenant_id
        .eq(customers::tenant_id)
        .and(subscriptions::provider.eq(PROVIDER));
    let row: Option<(String, String, Option<EntitlementRow>)> = customers::table
        .left_join(subscriptions::table.on(own))
        .filter(customers::tenant_id.eq(tenant))
        .select((
            customers::source_service,
            customers::status,
            (
                subscriptions::status,
                subscriptions::expires_at,
                subscriptions::max_sessions,
                subscriptions::max_messages,
            )
                .nullable(),
        ))
        .get_result(tx.connection())
        .await
        .optional()?;
    let Some((source, status, entitlement)) = row else {
        return Ok(None);
    };
    Ok(Some(Standing {
        source,
        active: status == ACTIVE,
        entitlement: entitlement.map(TryInto::try_into).transpose()?,
    }))
}
