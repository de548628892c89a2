//! Forgets what is kept only to recognise a second delivery.

use std::time::Duration;

use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::store::handled_events;

/// Far longer than an event can wait in a queue and come back.
const KEPT_DAYS: f64 = 14.0;
const BATCH: i64 = 2_000;
const EVERY: Duration = Duration::from_secs(15 * 60);

/// Runs until the end.
pub async fn run(db: Database, shutdown: Shutdown) {
    while shutdown.sleep(EVERY).await {
        while !shutdown.has_begun() {
            match step(&db).await {
                Ok(forgotten) if forgotten as i64 == BATCH => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "old events could not be forgotten");
                    break;
                }
            }
        }
    }
}

/// One small batch. Returns how many were forgotten.
///
/// # Errors
/// [`DatabaseError`].
pub async fn step(db: &Database) -> Result<usize, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("forget handled events")).await?;
    let forgotten = handled_events::forget_old(&mut tx, KEPT_DAYS, BATCH).await?;
    tx.commit().await?;
    Ok(forgotten)
}
