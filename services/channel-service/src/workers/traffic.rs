//! Writes down what was counted, and lets go of what is old.

use std::time::Duration;

use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use tokio::time::Instant;

use crate::store::traffic::{self, Grain};
use crate::traffic::{Minute, Traffic};

/// Minutes that are written at once.
const BATCH: usize = 500;
const TRIM_EVERY: Duration = Duration::from_secs(10 * 60);
const TRIM_BATCH: i64 = 2_000;
/// How often it is looked at most, after the end began, what was still counted.
const LAST_LOOKS: u32 = 20;

/// Writes every so often, and at the end what was counted until then.
pub async fn run(db: Database, traffic: Traffic, every: Duration, shutdown: Shutdown) {
    let mut trim_at = Instant::now();
    loop {
        let goes_on = tokio::select! {
            goes_on = shutdown.sleep(every) => goes_on,
            () = traffic.much() => true,
        };
        if !goes_on {
            break;
        }
        write_or_warn(&db, &traffic).await;
        if trim_at <= Instant::now() {
            trim_at = Instant::now() + TRIM_EVERY;
            if let Err(error) = trim(&db, &shutdown).await {
                tracing::warn!(error = %crate::error::chain(&error), "old numbers of the traffic could not be deleted");
            }
        }
    }
    // Others finish what they have in hand meanwhile.
    for _ in 0..LAST_LOOKS {
        write_or_warn(&db, &traffic).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        if traffic.is_empty() {
            break;
        }
    }
}

async fn write_or_warn(db: &Database, traffic: &Traffic) {
    if let Err(error) = write(db, traffic).await {
        tracing::warn!(error = %crate::error::chain(&error), "what went through could not be counted yet");
    }
}

/// Adds what was counted to the tables, in batches. What could not be added is kept and added next time; where the answer to
/// a commit was lost, it may be counted twice.
///
/// # Errors
/// [`DatabaseError`].
pub async fn write(db: &Database, traffic: &Traffic) -> Result<(), DatabaseError> {
    let mut left = traffic.take();
    while !left.is_empty() {
        let behind = left.split_off(left.len().min(BATCH));
        if let Err(error) = add(db, &left).await {
            if error.is_transient() {
                left.extend(behind);
                traffic.put_back(left);
                return Err(error);
            }
            // It would be refused as often as it comes.
            tracing::error!(error = %crate::error::chain(&error), minutes = left.len(), "numbers are lost");
        }
        left = behind;
    }
    Ok(())
}

async fn add(db: &Database, minutes: &[Minute]) -> Result<(), DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("count traffic")).await?;
    traffic::add(&mut tx, minutes).await?;
    tx.commit().await
}

/// Deletes what is older than it is kept, in small batches.
///
/// # Errors
/// [`DatabaseError`]; what was deleted until then stays deleted.
pub async fn trim(db: &Database, shutdown: &Shutdown) -> Result<(), DatabaseError> {
    for grain in Grain::ALL {
        loop {
            let mut tx =
                PlatformTransaction::begin(db, PlatformScope::for_purpose("delete old traffic")).await?;
            let deleted = traffic::trim(&mut tx, grain, TRIM_BATCH).await?;
            tx.commit().await?;
            let more = i64::try_from(deleted).unwrap_or(TRIM_BATCH) >= TRIM_BATCH;
            if !more || !shutdown.sleep(Duration::from_millis(50)).await {
                break;
            }
        }
    }
    Ok(())
}
