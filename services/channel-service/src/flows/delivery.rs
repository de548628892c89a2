//! Messages of ours that are not done, for whoever looks after them: on their way, waiting for another try, put aside.

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use crate::store::delivery::{self, DeliveryCounts, DeliveryFilter, DeliveryPage, DeliveryState};
use crate::store::device;

/// How many of one page.
pub const PAGE: i64 = 50;

/// The tenant's messages of one state behind an id, oldest first, and how many there are of each.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    db: &Database,
    scope: &TenantScope,
    state: DeliveryState,
    filter: &DeliveryFilter,
    after: Option<Uuid>,
) -> Result<(DeliveryPage, DeliveryCounts), DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list deliveries").await?;
    let page = delivery::list(&mut tx, state, filter, after, PAGE).await?;
    let counts = delivery::counts(&mut tx).await?;
    tx.commit().await?;
    Ok((page, counts))
}

/// Everybody's, for whoever works for all tenants.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list_all(
    db: &Database,
    state: DeliveryState,
    filter: &DeliveryFilter,
    after: Option<Uuid>,
) -> Result<(DeliveryPage, DeliveryCounts), DatabaseError> {
    let scope = PlatformScope::for_purpose("list deliveries");
    let mut tx = PlatformTransaction::begin(db, scope).await?;
    let page = delivery::list_all(&mut tx, state, filter, after, PAGE).await?;
    let counts = delivery::counts_of_all(&mut tx).await?;
    tx.commit().await?;
    Ok((page, counts))
}

/// The tenant's accounts and what people call them, for a choice.
///
/// # Errors
/// [`DatabaseError`].
pub async fn accounts(db: &Database, scope: &TenantScope) -> Result<Vec<(Uuid, String)>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list accounts").await?;
    let rows = device::list(&mut tx, PAGE).await?;
    tx.commit().await?;
    let named = rows.into_iter().map(|row| {
        let name = row.display_name.unwrap_or(row.instance_name);
        (row.id, name)
    });
    Ok(named.collect())
}
