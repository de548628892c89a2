//! What became of events that were in hand, written down for many of them at once.

use std::time::Duration;

use database::{Database, DatabaseError};
use domain::ids::TenantId;
use messaging::lanes::{self, NewTask};
use messaging::ledger::{Book, Step};
use messaging::outbox::Signal;
use tenant_isolation::{GroupTransaction, ScopeSet};
use uuid::Uuid;

use super::deliver::Finished;
use super::ledger::Ledger;
use crate::store::forward_lanes::{self, Outcome, Verdict};
use crate::store::forward_steps::{self, NewStep};

/// Writes down how a group of events ended, and lets their lanes go. What somebody else has taken in hand meanwhile is left
/// to them. What agents are to see becomes tasks of `lanes`.
///
/// # Errors
/// [`DatabaseError`]: nothing was written.
pub async fn settle(
    db: &Database,
    window: Duration,
    lanes: &Signal,
    ledger: &Ledger,
    finished: &[Finished],
) -> Result<(), DatabaseError> {
    let scopes: ScopeSet = finished.iter().map(|one| &one.scope).collect();
    let mut tx = GroupTransaction::begin(db, scopes, "settle events").await?;
    let outcomes: Vec<Outcome> = finished.iter().map(|one| one.outcome.clone()).collect();
    let ours = forward_lanes::hold(&mut tx, outcomes).await?;
    forward_lanes::let_go(&mut tx, &ours, window).await?;
    let is_ours = |one: &&Finished| {
        ours.iter()
            .any(|outcome| outcome.lane == one.outcome.lane && outcome.fence == one.outcome.fence)
    };
    let steps: Vec<NewStep> = finished
        .iter()
        .filter_map(|one| one.step().filter(|_| is_ours(&one)))
        .collect();
    forward_steps::note_all(&mut tx, &steps).await?;
    let mut tasks: Vec<(TenantId, NewTask)> = Vec::new();
    for one in finished
        .iter()
        .filter(|one| one.write_back.is_some())
        .filter(is_ours)
    {
        if let Some(work) = &one.write_back {
            let task = work
                .task(Uuid::now_v7(), one.request_id.as_deref())
                .map_err(|error| DatabaseError::Refused(Box::new(error)))?;
            tasks.push((one.scope.tenant().clone(), task));
        }
    }
    if !tasks.is_empty() {
        lanes::enqueue_group(&mut tx, &tasks).await?;
    }
    tx.commit().await?;
    if !tasks.is_empty() {
        lanes.ring();
    }
    let lost = finished.len() - ours.len();
    if lost > 0 {
        tracing::warn!(lost, "events took so long that somebody else has them in hand");
    }
    ledger.finished(finished);
    for one in finished {
        count(one);
    }
    Ok(())
}

fn count(one: &Finished) {
    let route = one.route.clone();
    match &one.outcome.verdict {
        Verdict::Delivered => {
            messaging::ledger::count(Book::Forwards, Step::Delivered, 1);
            metrics::counter!("kanal_bridge_route_forwarded_total", "route" => route.clone()).increment(1);
            metrics::histogram!("kanal_bridge_route_latency_seconds", "route" => route).record(one.took);
        }
        Verdict::Retry { wait, reason } => {
            metrics::counter!("kanal_bridge_route_retried_total", "route" => route).increment(1);
            tracing::info!(
                event = %one.outcome.event,
                route = %one.outcome.lane.route,
                reason,
                wait_ms = wait.as_millis(),
                "an event has to wait"
            );
        }
        Verdict::Hold { how, reason, .. } => {
            metrics::counter!("kanal_bridge_route_parked_total", "route" => route, "how" => how.as_str())
                .increment(1);
            tracing::error!(
                event = %one.outcome.event,
                route = %one.outcome.lane.route,
                how = how.as_str(),
                reason,
                request_id = one.request_id.as_deref().unwrap_or_default(),
                "an event is put aside; /admin lists it, a replay tries it again"
            );
        }
        Verdict::Dropped => {
            tracing::warn!(event = %one.outcome.event, "an event was passed on to nobody: its route is gone");
            metrics::counter!("kanal_bridge_forward_dropped_total").increment(1);
            messaging::ledger::count(Book::Forwards, Step::Expired, 1);
        }
        Verdict::PutOff { .. } | Verdict::Nothing => {}
    }
}
