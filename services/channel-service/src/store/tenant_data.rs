//! What of a tenant's rows an erasure leaves, and why.

use database::DatabaseError;
use messaging::ledger;
use tenant_isolation::{TenantTransaction, rows};

/// The acts stay: they are what tells that the rest is gone.
const KEPT: &str = "audit_log";
/// Names of files that are still in the object store: forgotten one by one, when the file is gone.
const GARBAGE: &str = "media_garbage";
/// What is needed to unlink the tenant's sessions where they are: forgotten one by one, when they are unlinked.
const TO_UNLINK: [&str; 2] = ["sessions_to_unlink", "support_customers"];
/// Goes last: while it is there, an erasure that was interrupted can be taken up again.
const LAST: &str = "tenants";

/// Deletes up to `batch` of the tenant's rows of a table. Returns how many. The audit log is never touched, the
/// names of deleted files go with the files, what unlinks its sessions when they are unlinked, and the tenant's own row goes by
/// [`delete_tenant`].
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_rows(
    tx: &mut TenantTransaction,
    table: &str,
    batch: i64,
) -> Result<usize, DatabaseError> {
    if [KEPT, GARBAGE, LAST].contains(&table) || TO_UNLINK.contains(&table) {
        return Ok(0);
    }
    let deleted = rows::delete(tx, table, batch).await?;
    ledger::note_deleted(tx, table, deleted);
    Ok(deleted)
}

/// Deletes the tenant's own row: the end of an erasure.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_tenant(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    rows::delete(tx, LAST, 1).await.map(drop)
}
