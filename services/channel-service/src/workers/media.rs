//! Files: fetching them, and clearing away what is nobody's.

use std::sync::Arc;
use std::time::Duration;

use chrono::{Days, TimeDelta, Utc};
use database::Database;
use domain::ids::TenantId;
use futures_util::TryStreamExt as _;
use messaging::lanes::{self, LaneChoice, WorkerSettings, Workers};
use messaging::outbox::Signal;
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use crate::flows::fetch_media::MediaFetcher;
use crate::flows::media::LANES;
use crate::flows::media_garbage::{self, GarbageError};
use crate::media::{MediaStorage, ObjectKey};
use crate::store::media;

const EVERY: Duration = Duration::from_secs(60 * 60);
const BATCH: i64 = 500;
/// An object that no row refers to by then never will be: webhooks wait for ten seconds, fetches have a limit.
pub const ORPHAN_AGE: Duration = Duration::from_secs(60 * 60);
/// Days that are looked through for orphans, today included.
const DAYS: u64 = 3;

/// Fetches files, and sweeps at once and then every hour.
pub fn start(fetcher: MediaFetcher, settings: WorkerSettings, shutdown: &Shutdown) {
    let (db, storage) = (fetcher.db.clone(), fetcher.storage.clone());
    let workers = Workers::new(db.clone(), Arc::new(fetcher), settings, Signal::default())
        .choosing(LaneChoice::Only(LANES));
    shutdown.spawn("media", workers.run(shutdown.token()));
    let stopping = shutdown.clone();
    shutdown.spawn("media sweep", async move {
        loop {
            if let Err(error) = sweep(&db, &storage, ORPHAN_AGE).await {
                tracing::warn!(error = %crate::error::chain(&error), "files could not be swept");
            }
            if !stopping.sleep(EVERY).await {
                return;
            }
        }
    });
}

/// Deletes objects whose rows were deleted, objects of at least `age` that never got a row, and lanes that are done.
///
/// # Errors
/// [`GarbageError`]; what was deleted until then stays deleted.
pub async fn sweep(db: &Database, storage: &MediaStorage, age: Duration) -> Result<(), GarbageError> {
    media_garbage::take_out(db, storage).await?;
    for tenant in storage.tenants().await? {
        for days in 0..DAYS {
            delete_orphans(db, storage, &tenant, days, age).await?;
        }
    }
    loop {
        let mut tx =
            PlatformTransaction::begin(db, PlatformScope::for_purpose("delete idle media lanes")).await?;
        let deleted = lanes::delete_idle(&mut tx, LANES, BATCH).await?;
        tx.commit().await?;
        if i64::try_from(deleted).unwrap_or(BATCH) < BATCH {
            return Ok(());
        }
    }
}

async fn delete_orphans(
    db: &Database,
    storage: &MediaStorage,
    tenant: &TenantId,
    days_ago: u64,
    age: Duration,
) -> Result<(), GarbageError> {
    let now = Utc::now();
    let newest = now - TimeDelta::from_std(age).unwrap_or(TimeDelta::zero());
    let Some(day) = now.date_naive().checked_sub_days(Days::new(days_ago)) else {
        return Ok(());
    };
    let scope = TenantScope::of_swept_row(&PlatformScope::for_purpose("sweep media orphans"), tenant.clone());
    let batch = usize::try_from(BATCH).unwrap_or(usize::MAX);
    let mut found = storage.files_of(tenant, day).try_chunks(batch);
    while let Some(objects) = found.try_next().await.map_err(|error| error.1)? {
        let old: Vec<&ObjectKey> = objects
            .iter()
            .filter(|object| object.written <= newest)
            .map(|object| &object.key)
            .collect();
        if old.is_empty() {
            continue;
        }
        let names: Vec<&str> = old.iter().map(|key| key.as_str()).collect();
        let mut tx = TenantTransaction::begin(db, &scope, "look for media objects").await?;
        let known = media::known_objects(&mut tx, &names).await?;
        tx.commit().await?;
        for key in old.into_iter().filter(|key| !known.contains(key.as_str())) {
            storage.delete(key).await?;
            metrics::counter!("kanal_media_orphans_deleted_total").increment(1);
        }
    }
    Ok(())
}
