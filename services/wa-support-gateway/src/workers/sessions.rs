//! Finishes sessions that were left behind, connects those that are still to be connected, and compares them with the WA
//! server now and then.
//!
//! One of several processes does it at a time. Where a slow pass outlives its lease, two of them work on different
//! sessions: each is worked on under a lease of its own.

use std::time::Duration;

use database::DatabaseError;
use messaging::leases;
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::SessionSettings;
use crate::error::Error;
use crate::flows::session_reconcile::Repair;
use crate::flows::sessions::Sessions;
use crate::state::PoliciesConfirmed;

const LEASE: &str = "session sweep";

/// How long a process that fell silent keeps the others waiting, in rounds.
const ROUNDS: u32 = 4;

/// Goes on until the end begins.
pub(crate) async fn run(
    sessions: Sessions,
    settings: SessionSettings,
    policies: PoliciesConfirmed,
    shutdown: Shutdown,
) {
    let holder = Uuid::now_v7();
    // Not at once: a restart of many processes must not have the WA server list its users for each of them.
    let mut compare_at = Instant::now() + settings.reconcile_every;
    while shutdown.sleep(settings.sweep_every).await {
        if !policies.are_confirmed() {
            continue;
        }
        let round = async {
            if !hold(&sessions, holder, settings.sweep_every * ROUNDS).await? {
                return Ok(());
            }
            sessions.sweep(settings.unfinished_after).await?;
            if settings.reconcile_every > Duration::ZERO && compare_at <= Instant::now() {
                compare_at = Instant::now() + settings.reconcile_every;
                compare(&sessions, settings.unfinished_after).await?;
            }
            Ok::<(), Error>(())
        };
        let done = tokio::select! {
            done = round => done,
            () = shutdown.begun() => break,
        };
        if let Err(error) = done {
            tracing::warn!(error = %error, "sessions could not be looked after");
        }
    }
    if let Err(error) = release(&sessions, holder).await {
        tracing::debug!(error = %error, "the lease of the session sweep was not given back");
    }
}

async fn compare(sessions: &Sessions, ready_for: Duration) -> Result<(), Error> {
    let repair = Repair {
        mend: true,
        remove_orphans: false,
    };
    let report = sessions.reconcile(ready_for, repair).await?;
    tracing::info!(
        sessions = report.sessions,
        users = report.users,
        missing = report.missing.len(),
        drifted = report.drifted.len(),
        orphans = report.orphans.len(),
        mended = report.mended,
        failed = report.failed,
        "sessions were compared with the WA server"
    );
    Ok(())
}

async fn hold(sessions: &Sessions, holder: Uuid, length: Duration) -> Result<bool, DatabaseError> {
    let mut tx = platform(sessions).await?;
    let held = leases::hold(tx.connection(), LEASE, holder, length).await?;
    tx.commit().await?;
    Ok(held)
}

async fn release(sessions: &Sessions, holder: Uuid) -> Result<(), DatabaseError> {
    let mut tx = platform(sessions).await?;
    leases::release(tx.connection(), LEASE, holder).await?;
    tx.commit().await
}

async fn platform(sessions: &Sessions) -> Result<PlatformTransaction, DatabaseError> {
    PlatformTransaction::begin(&sessions.db, PlatformScope::for_purpose("session sweep")).await
}
