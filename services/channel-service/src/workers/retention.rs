//! Lets go of what has lost its use: in small batches, so that nobody waits for a long delete.

use std::time::Duration;

use chrono::Utc;
use database::{Database, DatabaseError};
use messaging::lanes;
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::flows::retention;
use crate::store::quarantine::{Aging, delete_old};
use crate::store::retention::DaysRow;
use crate::store::user_session;

const EVERY: Duration = Duration::from_secs(60 * 60);
const BATCH: i64 = 1_000;
/// A lane's row is small and soon made again.
const LANES_DAYS: f64 = 7.0;

/// Sweeps at once and then every hour.
pub async fn run(db: Database, age: Duration, kept: DaysRow, shutdown: Shutdown) {
    loop {
        for aging in Aging::ALL {
            if let Err(error) = sweep(&db, aging, age, &shutdown).await {
                tracing::warn!(?aging, error = %crate::error::chain(&error), "old rows could not be deleted");
            }
        }
        if let Err(error) = retention::sweep(&db, kept, Utc::now(), &shutdown).await {
            tracing::warn!(error = %crate::error::chain(&error), "tenants that keep things for a time could not be looked up");
        }
        if let Err(error) = sweep_sessions(&db, &shutdown).await {
            tracing::warn!(error = %crate::error::chain(&error), "sessions that are over could not be deleted");
        }
        if let Err(error) = sweep_lanes(&db, &shutdown).await {
            tracing::warn!(error = %crate::error::chain(&error), "lanes without work could not be forgotten");
        }
        if !shutdown.sleep(EVERY).await {
            return;
        }
    }
}

/// Deletes the sessions of the dashboard that are over.
async fn sweep_sessions(db: &Database, shutdown: &Shutdown) -> Result<(), DatabaseError> {
    loop {
        let mut tx =
            PlatformTransaction::begin(db, PlatformScope::for_purpose("delete old sessions")).await?;
        let deleted = user_session::delete_expired(&mut tx, BATCH).await?;
        tx.commit().await?;
        let more = i64::try_from(deleted).unwrap_or(BATCH) >= BATCH;
        if !more || !shutdown.sleep(Duration::from_millis(50)).await {
            return Ok(());
        }
    }
}

/// Forgets lanes that have nothing to do: there is one for each chat that ever was, and one more for its AI. Returns how
/// many.
///
/// # Errors
/// [`DatabaseError`]; what was forgotten until then stays forgotten.
pub async fn sweep_lanes(db: &Database, shutdown: &Shutdown) -> Result<usize, DatabaseError> {
    let mut all = 0;
    loop {
        let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("forget idle lanes")).await?;
        let forgotten = lanes::forget_idle(&mut tx, LANES_DAYS, BATCH).await?;
        tx.commit().await?;
        all += forgotten;
        let more = i64::try_from(forgotten).unwrap_or(BATCH) >= BATCH;
        if !more || !shutdown.sleep(Duration::from_millis(50)).await {
            return Ok(all);
        }
    }
}

/// Deletes everything of one kind that is older than `age`. Returns how many rows.
///
/// # Errors
/// [`DatabaseError`]; what was deleted until then stays deleted.
pub async fn sweep(
    db: &Database,
    aging: Aging,
    age: Duration,
    shutdown: &Shutdown,
) -> Result<usize, DatabaseError> {
    let mut all = 0;
    loop {
        let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("delete old rows")).await?;
        let deleted = delete_old(&mut tx, aging, age, BATCH).await?;
        tx.commit().await?;
        all += deleted;
        let more = i64::try_from(deleted).unwrap_or(BATCH) >= BATCH;
        if !more || !shutdown.sleep(Duration::from_millis(50)).await {
            return Ok(all);
        }
    }
}
