//! Who may make a person's contact and conversation in an inbox: one worker at a time, whatever replica it is in.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use messaging::leases;
use tenant_isolation::{PlatformTransaction, TenantScope};
use uuid::Uuid;

/// What is locked: the place of one person in one inbox of a tenant.
#[derive(Clone)]
pub struct Place {
    name: String,
}

impl Place {
    /// Of this person in this inbox.
    #[must_use]
    pub fn of(scope: &TenantScope, inbox: Uuid, canonical: &str) -> Self {
        Self {
            name: format!("place:{}/{inbox}:{canonical}", scope.tenant()),
        }
    }
}

/// Takes the lock for so long, or keeps it. False while somebody else has it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hold(
    tx: &mut PlatformTransaction,
    place: &Place,
    holder: Uuid,
    length: Duration,
) -> Result<bool, DatabaseError> {
    leases::hold(tx.connection(), &place.name, holder, length).await
}

/// Lets somebody else begin at once.
///
/// # Errors
/// [`DatabaseError`].
pub async fn release(tx: &mut PlatformTransaction, place: &Place, holder: Uuid) -> Result<(), DatabaseError> {
    leases::release(tx.connection(), &place.name, holder).await
}

/// Forgets up to `most` locks of workers that died with them. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM leases WHERE name IN (SELECT name FROM leases \
             WHERE starts_with(name, 'place:') AND until < now() - interval '1 hour' LIMIT $1)",
    )
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
