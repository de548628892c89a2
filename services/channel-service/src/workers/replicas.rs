//! Says every few seconds that this process is there, so that operators see all of them wherever they look.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::store::system;

const EVERY: Duration = Duration::from_secs(10);
/// Whoever is silent for so long is not shown any more.
pub const SILENT: Duration = Duration::from_secs(45);
/// And forgotten, after so long.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// This process, as others see it.
#[derive(Debug, Clone)]
pub struct ThisProcess {
    /// Made up when it began.
    pub id: Uuid,
    /// Where it runs.
    pub host: String,
    /// Which release it is.
    pub version: &'static str,
    /// Since when.
    pub started_at: DateTime<Utc>,
}

impl ThisProcess {
    /// This one, which begins now.
    #[must_use]
    pub fn begins() -> Self {
        // Linux tells it of machines and containers alike, whoever set it.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host.trim().chars().take(200).collect();
        Self {
            id: Uuid::now_v7(),
            host,
            version: env!("CARGO_PKG_VERSION"),
            started_at: Utc::now(),
        }
    }
}

/// Says so until the end, and takes its word back then.
pub async fn run(db: Database, process: ThisProcess, shutdown: Shutdown) {
    loop {
        if let Err(error) = beat(&db, &process).await {
            tracing::debug!(error = %crate::error::chain(&error), "this process could not be noted");
        }
        if !shutdown.sleep(EVERY).await {
            break;
        }
    }
    if let Err(error) = leave(&db, &process).await {
        tracing::debug!(error = %crate::error::chain(&error), "this process is noted for a moment longer");
    }
}

async fn beat(db: &Database, process: &ThisProcess) -> Result<(), DatabaseError> {
    let mut tx = platform(db).await?;
    let (host, version) = (&process.host, process.version);
    system::beat(&mut tx, process.id, host, version, process.started_at).await?;
    system::forget(&mut tx, None, FORGOTTEN).await?;
    tx.commit().await
}

async fn leave(db: &Database, process: &ThisProcess) -> Result<(), DatabaseError> {
    let mut tx = platform(db).await?;
    system::forget(&mut tx, Some(process.id), FORGOTTEN).await?;
    tx.commit().await
}

async fn platform(db: &Database) -> Result<PlatformTransaction, DatabaseError> {
    PlatformTransaction::begin(db, PlatformScope::for_purpose("note processes")).await
}
