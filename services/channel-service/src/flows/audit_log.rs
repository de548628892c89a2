//! What was done, for people who look it up.

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::store::audit::{self, AnyActRow, Wanted};

/// The newest acts that are wanted, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(db: &Database, wanted: &Wanted, most: i64) -> Result<Vec<AnyActRow>, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("show audit log")).await?;
    let acts = audit::page(&mut tx, wanted, most).await?;
    tx.commit().await?;
    Ok(acts)
}

/// The kinds of acts there are.
///
/// # Errors
/// [`DatabaseError`].
pub async fn kinds(db: &Database) -> Result<Vec<String>, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("show audit log")).await?;
    let kinds = audit::kinds(&mut tx).await?;
    tx.commit().await?;
    Ok(kinds)
}
