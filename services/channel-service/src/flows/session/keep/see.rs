//! What a session's server says of it.

use domain::endpoint::Provider;
use whatsapp::gowa;
use whatsapp::session::{FailureReason, SessionFailure, SessionState};

use super::rules::{EVENTS_LOST, Seen, WEBHOOK_ELSEWHERE, WEBHOOK_KEY, WEBHOOK_LOST};
use super::{Keeper, Way};
use crate::flows::session::SessionError;
use crate::flows::session::call::SessionCall;
use crate::flows::session::watch::number_of;
use crate::store::session::SessionVia;

impl Keeper {
    /// Asks the server, and keeps what is news.
    pub(super) async fn see(&self, way: &Way) -> Result<Seen, SessionError> {
        if self.sessions.pause.is_on(&way.endpoint.name) {
            return Ok(Seen::NotKnown);
        }
        let asked = way.endpoint.sessions.status(&way.token);
        let asked = self
            .sessions
            .call(&way.scope, &way.endpoint, SessionCall::Status, asked)
            .await;
        let state = match asked {
            Ok(state) => state,
            Err(failure) => return self.not_told(way, &failure).await,
        };
        let phone = number_of(&state.jid);
        self.sessions
            .learn(&way.scope, &way.session, &state, phone.as_deref())
            .await?;
        // A phone that logs a session out takes its address with it; one that is only off keeps it.
        let is_paired = !state.jid.is_empty();
        Ok(match (state.connected, state.logged_in) {
            (true, true) => Seen::Up {
                lost: lost(way, &state),
            },
            (true, false) if is_paired => Seen::Joining,
            (true, false) => Seen::Pairing,
            (false, _) => Seen::Down { is_paired },
        })
    }

    /// What follows from an answer that does not say where the session stands.
    async fn not_told(&self, way: &Way, failure: &SessionFailure) -> Result<Seen, SessionError> {
        let was_paired = way.session.phone.is_some();
        match failure.reason {
            // Whoever runs nothing for it has said where it stands.
            FailureReason::NoSession | FailureReason::NotConnected => {
                return Ok(Seen::Down {
                    is_paired: was_paired,
                });
            }
            // It is not among the devices that the server has, so no phone can be paired with it.
            FailureReason::UnknownToken if way.endpoint.provider == Provider::Gowa => {
                self.sessions.let_number_go(&way.scope, &way.session).await?;
                return Ok(Seen::Down { is_paired: false });
            }
            FailureReason::RateLimited => self.sessions.pause.begin(&way.endpoint.name),
            _ => {}
        }
        let reason = failure.reason.as_str();
        metrics::counter!("kanal_session_looks_unanswered_total",
            "endpoint" => way.endpoint.name.to_string(), "reason" => reason)
        .increment(1);
        tracing::info!(tenant = %way.scope.tenant(), account = %way.session.account(),
            endpoint = %way.endpoint.name, reason, said = failure.said.as_str(),
            "a session's server did not say where it stands");
        Ok(Seen::NotKnown)
    }
}

/// What the server's own word for where events go lacks.
pub(super) fn lost(way: &Way, state: &SessionState) -> Option<&'static str> {
    let ours = way.upkeep.webhook_url.as_deref()?;
    if !state.tells_webhook {
        return None;
    }
    match way.endpoint.provider {
        // Its events go where the server sends those of all devices, signed as those are.
        Provider::Gowa if state.webhook.is_empty() && way.upkeep.webhook_key.is_none() => None,
        _ if state.webhook.is_empty() => Some(WEBHOOK_LOST),
        Provider::Gowa => lost_at_gowa(way, state, ours),
        Provider::Genfity | Provider::Cloud => lost_at_genfity(way, state, ours),
    }
}

/// It is read from where the server itself looks when it delivers. Behind a gateway events go to the gateway, whose
/// business the address and the list are, as long as there are any.
fn lost_at_genfity(way: &Way, state: &SessionState, ours: &str) -> Option<&'static str> {
    let made_by_us = way.session.session_via.as_deref() == Some(SessionVia::Server.as_str());
    if made_by_us && state.webhook != ours {
        return Some(WEBHOOK_ELSEWHERE);
    }
    let mut events = state
        .events
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let tells = if made_by_us {
        events.any(|name| name == "All")
    } else {
        events.next().is_some()
    };
    (!tells).then_some(EVENTS_LOST)
}

/// A device's webhook is told at every connect, whoever made the device, so it is to be as it was told. Silence is no sign
/// here: of what it sends a GoWA tells nothing until somebody's phone answers.
fn lost_at_gowa(way: &Way, state: &SessionState, ours: &str) -> Option<&'static str> {
    if state.webhook != ours {
        return Some(WEBHOOK_ELSEWHERE);
    }
    if !gowa::tells_enough(&state.events) {
        return Some(EVENTS_LOST);
    }
    let is_foreign = |told| !way.keys.is_empty() && !way.keys.contains(told);
    state
        .webhook_key
        .as_ref()
        .is_some_and(is_foreign)
        .then_some(WEBHOOK_KEY)
}
