//! What becomes of sessions that are looked after, for those who read logs and metrics.

use domain::endpoint::EndpointName;
use tenant_isolation::TenantScope;

use super::Way;
use crate::store::session_watch::{HearingChange, OutageChange, WatchedRow};

/// From this many attachments on, people have to know.
const LOUD: i32 = 3;

/// A call that connects a device.
pub(in super::super) fn count_connect(by: &'static str, endpoint: &EndpointName, succeeded: bool) {
    let outcome = if succeeded { "connected" } else { "failed" };
    metrics::counter!("kanal_device_connections_total", "by" => by, "endpoint" => endpoint.to_string(),
        "outcome" => outcome)
    .increment(1);
}

/// What is news of a look.
pub(super) fn tell(scope: &TenantScope, row: &WatchedRow, outage: &OutageChange, hearing: HearingChange) {
    let (tenant, account) = (scope.tenant(), row.account_id);
    match outage {
        OutageChange::Down { tried: false, .. } if !row.is_down => {
            metrics::counter!("kanal_sessions_dropped_total").increment(1);
            tracing::warn!(%tenant, %account, endpoint = row.endpoint, "a session dropped and will be brought back");
        }
        OutageChange::Over if row.is_down || row.gave_up.is_some() => {
            metrics::counter!("kanal_sessions_recovered_total").increment(1);
            tracing::info!(%tenant, %account, endpoint = row.endpoint, attempts = row.attempts, "a session is back");
        }
        OutageChange::GivenUp(reason) => {
            metrics::counter!("kanal_sessions_given_up_total", "reason" => *reason).increment(1);
            tracing::error!(%tenant, %account, endpoint = row.endpoint, reason, attempts = row.attempts,
                "a session is not brought back any more: a person has to connect it");
        }
        OutageChange::Same | OutageChange::Over | OutageChange::Down { .. } => {}
    }
    match hearing {
        HearingChange::Hears => {
            metrics::counter!("kanal_sessions_hearing_again_total").increment(1);
            tracing::info!(%tenant, %account, endpoint = row.endpoint, "a session that was deaf hears again");
        }
        HearingChange::Deaf(reason) | HearingChange::Reattached { reason, .. }
            if row.deaf_reason.is_none() =>
        {
            metrics::counter!("kanal_sessions_deaf_total", "reason" => reason).increment(1);
            tracing::warn!(%tenant, %account, endpoint = row.endpoint, reason, "a connected session is deaf");
        }
        HearingChange::Same | HearingChange::Deaf(_) | HearingChange::Reattached { .. } => {}
    }
}

/// A deaf session was attached anew, or could not be.
pub(super) fn tell_reattached(row: &WatchedRow, way: &Way, reason: &'static str, succeeded: bool) {
    let outcome = if succeeded { "attached" } else { "failed" };
    metrics::counter!("kanal_sessions_reattached_total", "reason" => reason, "outcome" => outcome)
        .increment(1);
    let (tenant, account) = (way.scope.tenant(), way.session.account());
    let again = row.reattachments.saturating_add(1);
    if again >= LOUD {
        tracing::error!(%tenant, %account, reason, again, "a session stays deaf although it is attached anew");
    } else {
        tracing::warn!(%tenant, %account, reason, outcome, "a deaf session was attached anew");
    }
}
