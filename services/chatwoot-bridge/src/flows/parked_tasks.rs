//! Work that was put aside, for the people who look after it.

use database::{Database, DatabaseError};
use messaging::lanes::{self, ParkedTask};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

/// Tasks that are taken up again in one transaction.
const BATCH: usize = 100;

/// A tenant's tasks that were put aside, oldest first. No words of people are in it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parked(db: &Database, scope: &TenantScope, most: i64) -> Result<Vec<ParkedTask>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list parked tasks").await?;
    let tasks = lanes::parked(&mut tx, most).await?;
    tx.commit().await?;
    Ok(tasks)
}

/// Takes one up again, in its old place in its lane. False when it is not put aside, or not this tenant's.
///
/// # Errors
/// [`DatabaseError`]; nothing is changed then.
pub async fn replay(db: &Database, scope: &TenantScope, id: Uuid) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "replay task").await?;
    let replayed = lanes::replay(&mut tx, id).await?;
    tx.commit().await?;
    Ok(replayed)
}

/// Takes up again what is put aside now. Returns how many; what is put aside anew meanwhile stays aside.
///
/// # Errors
/// [`DatabaseError`]; what was taken up before stays taken up.
pub async fn replay_all(db: &Database, scope: &TenantScope) -> Result<usize, DatabaseError> {
    let ids: Vec<Uuid> = parked(db, scope, i64::MAX)
        .await?
        .into_iter()
        .map(|task| task.id)
        .collect();
    let mut replayed = 0;
    for batch in ids.chunks(BATCH) {
        let mut tx = TenantTransaction::begin(db, scope, "replay tasks").await?;
        for id in batch {
            replayed += usize::from(lanes::replay(&mut tx, *id).await?);
        }
        tx.commit().await?;
    }
    Ok(replayed)
}
