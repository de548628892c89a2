//! How things stand, in a few numbers: the first thing somebody sees after the log-in.

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use crate::endpoints::Endpoints;
use crate::store::at_a_glance::{self, Platform, Tenant};

/// The whole platform.
///
/// # Errors
/// [`DatabaseError`].
pub async fn platform(db: &Database, endpoints: &Endpoints) -> Result<Platform, DatabaseError> {
    let names: Vec<String> = endpoints.names().iter().map(ToString::to_string).collect();
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("look at a glance")).await?;
    let counts = at_a_glance::platform(&mut tx, &names).await?;
    tx.commit().await?;
    Ok(counts)
}

/// One tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tenant(db: &Database, scope: &TenantScope) -> Result<Tenant, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "look at a glance").await?;
    let counts = at_a_glance::tenant(&mut tx).await?;
    tx.commit().await?;
    Ok(counts)
}
