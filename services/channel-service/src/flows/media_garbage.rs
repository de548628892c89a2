//! Deleting objects that nothing refers to any more.
//!
//! The store is no part of a transaction: a row's deletion leaves the name of its object behind, and the name goes when
//! the object is gone. So a failure in between costs a second try and no file is forgotten.

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use crate::media::{MediaStorage, ObjectKey, StorageError};
use crate::store::media::{self, GarbageRow};

/// Names that are read at once.
const BATCH: i64 = 500;

/// Why not everything was deleted; what was, stays deleted.
#[derive(Debug, thiserror::Error)]
pub enum GarbageError {
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The object store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Deletes what is left over, of whatever tenants.
///
/// # Errors
/// [`GarbageError`].
pub async fn take_out(db: &Database, storage: &MediaStorage) -> Result<(), GarbageError> {
    let platform = PlatformScope::for_purpose("delete media garbage");
    loop {
        let mut tx = PlatformTransaction::begin(db, platform).await?;
        let rows = media::garbage(&mut tx, BATCH).await?;
        tx.commit().await?;
        if rows.is_empty() {
            return Ok(());
        }
        delete(storage, &rows).await?;
        let mut tx = PlatformTransaction::begin(db, platform).await?;
        media::forget_garbage(&mut tx, &rows).await?;
        tx.commit().await?;
    }
}

/// Deletes what one tenant left over.
///
/// # Errors
/// [`GarbageError`].
pub async fn take_out_of(
    db: &Database,
    storage: &MediaStorage,
    scope: &TenantScope,
) -> Result<(), GarbageError> {
    loop {
        let mut tx = TenantTransaction::begin(db, scope, "look for media garbage").await?;
        let rows = media::garbage_of(&mut tx, BATCH).await?;
        tx.commit().await?;
        if rows.is_empty() {
            return Ok(());
        }
        delete(storage, &rows).await?;
        let mut tx = TenantTransaction::begin(db, scope, "forget media garbage").await?;
        media::forget_garbage_of(&mut tx, &rows).await?;
        tx.commit().await?;
    }
}

async fn delete(storage: &MediaStorage, rows: &[GarbageRow]) -> Result<(), StorageError> {
    for row in rows {
        // What is no name of an object names nothing that could be deleted.
        if let Ok(key) = ObjectKey::parse(&row.object_key) {
            storage.delete(&key).await?;
        }
    }
    Ok(())
}
