//! An endpoint that is away: who may still dial it, and when the others come back.
//!
//! Each process has a breaker for each endpoint, told of the outcome of every send and of every file that is asked for. While it is open nobody dials; then one
//! message does, and its answer lets all go on. Whoever has to wait is told a time of its own, not before the next try
//! and [`OutageSettings::return_rate`] of them a second: so ten thousand waiting chats cost the database little while
//! the endpoint is away, and do not fall upon it when it is back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::endpoint::EndpointName;
use runtime::breaker::{Breaker, State};
use whatsapp::download::DownloadError;
use whatsapp::port::{RetryReason, SendOutcome, UnknownReason};

use crate::config::OutageSettings;

/// Nobody is told to come back later than this; more chats than have turns until then come at its end.
const FURTHEST_TURN: Duration = Duration::from_secs(300);

/// What a message waits for.
pub const UNREACHABLE: &str = "endpoint_unreachable";

/// The endpoint cannot be reached, or says itself that it takes nothing now: the message certainly did not go out.
pub const AWAY: [RetryReason; 3] = [
    RetryReason::Unreachable,
    RetryReason::UpstreamUnreachable,
    RetryReason::Unavailable,
];

/// Nobody answered, or not the endpoint: the message may have gone out.
const SILENT: [UnknownReason; 4] = [
    UnknownReason::Timeout,
    UnknownReason::ConnectionCut,
    UnknownReason::BadGateway,
    UnknownReason::GatewayTimeout,
];

/// Whether an endpoint is away, as this process sees it.
#[derive(Debug)]
pub struct Outage {
    endpoint: EndpointName,
    settings: OutageSettings,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    /// The last turn that was given out.
    last_turn: Option<Instant>,
    /// Since when nothing was heard of it, while it rests.
    away_since: Option<Instant>,
    /// The endpoint is configured in another way now, or not at all: what happens here is shown nowhere.
    is_retired: bool,
}

impl Outage {
    /// As if the endpoint were there.
    #[must_use]
    pub const fn new(endpoint: EndpointName, settings: OutageSettings) -> Self {
        Self {
            endpoint,
            settings,
            inner: Mutex::new(Inner {
                breaker: Breaker::new(settings.rules),
                last_turn: None,
                away_since: None,
                is_retired: false,
            }),
        }
    }

    /// The age at which a message waits no longer.
    #[must_use]
    pub const fn longest_wait(&self) -> Duration {
        self.settings.longest_wait
    }

    /// Is it there, as far as anybody knows?
    ///
    /// # Errors
    /// When to come back.
    pub fn look(&self) -> Result<(), Duration> {
        self.with(|inner, now| {
            let looked = inner.breaker.look(now);
            looked.map_err(|wait| inner.turn(&self.settings, wait, now))
        })
    }

    /// May the caller dial now? It then says what came of it with [`Self::note`], or for `attempt` nobody else dials.
    ///
    /// # Errors
    /// When to come back.
    pub fn ask(&self, attempt: Duration) -> Result<(), Duration> {
        self.with(|inner, now| {
            let asked = inner.breaker.ask(now, attempt);
            asked.map_err(|wait| inner.turn(&self.settings, wait, now))
        })
    }

    /// What came of a send. `Some`: the endpoint could not be reached, and the message comes back after that time.
    pub fn note(&self, outcome: &SendOutcome) -> Option<Duration> {
        self.hear(heard(outcome))
    }

    /// What came of asking for a file; as [`Self::note`].
    pub fn note_download<T>(&self, outcome: &Result<T, DownloadError>) -> Option<Duration> {
        self.hear(match outcome {
            Err(DownloadError::Later { reason, .. }) => match *reason {
                "unreachable" => Heard::Away,
                "timeout" | "connection_cut" | "unavailable" => Heard::Unsure,
                _ => Heard::Answer,
            },
            Ok(_) | Err(DownloadError::Never { .. }) => Heard::Answer,
        })
    }

    fn hear(&self, heard: Heard) -> Option<Duration> {
        self.with(|inner, now| match heard {
            Heard::Answer => {
                inner.breaker.answered();
                None
            }
            Heard::Unsure => {
                inner.breaker.unsure(now, rand::random());
                None
            }
            Heard::Away => {
                inner.breaker.failed(now, rand::random());
                let rest = inner.breaker.look(now).err();
                let wait = rest.unwrap_or(self.settings.rules.first_rest);
                Some(inner.turn(&self.settings, wait, now))
            }
        })
    }

    /// The endpoint is not what it was: what is still under way there is shown no more.
    pub(super) fn retire(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.is_retired = true;
        self.gauge(None);
    }

    /// Shows where it stands.
    pub(super) fn show(&self) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.gauge(Some(inner.breaker.state()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner, Instant) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, now) = (inner.breaker.state(), Instant::now());
        let answer = act(&mut inner, now);
        let after = inner.breaker.state();
        if before != after {
            self.tell(&mut inner, before, after, now);
        }
        answer
    }

    fn tell(&self, inner: &mut Inner, before: State, after: State, now: Instant) {
        let endpoint = &self.endpoint;
        let away = now - *inner.away_since.get_or_insert(now);
        let rest_ms = inner.breaker.look(now).err().map(|rest| rest.as_millis());
        match (before, after) {
            (State::Closed, _) => {
                tracing::warn!(%endpoint, rest_ms, breaker = after.as_str(),
                    "an endpoint cannot be reached: its chats wait");
            }
            (_, State::Closed) => {
                inner.away_since = None;
                tracing::info!(%endpoint, away_ms = away.as_millis(), breaker = after.as_str(),
                    "an endpoint is reached again: its chats go on");
            }
            (_, State::HalfOpen) => {
                tracing::info!(%endpoint, breaker = after.as_str(), "an endpoint that was away is tried");
            }
            (_, State::Open) => {
                tracing::warn!(%endpoint, rest_ms, away_ms = away.as_millis(), breaker = after.as_str(),
                    "an endpoint still cannot be reached");
            }
        }
        if !inner.is_retired {
            metrics::counter!("kanal_endpoint_breaker_changes_total", "endpoint" => endpoint.to_string(),
                "state" => after.as_str())
            .increment(1);
            self.gauge(Some(after));
        }
    }

    fn gauge(&self, state: Option<State>) {
        for one in State::ALL {
            metrics::gauge!("kanal_endpoint_breaker", "endpoint" => self.endpoint.to_string(), "state" => one.as_str())
                .set(f64::from(u8::from(state == Some(one))));
        }
    }
}

impl Inner {
    /// A time of the caller's own, not before `wait` is over.
    fn turn(&mut self, settings: &OutageSettings, wait: Duration, now: Instant) -> Duration {
        // A probe is answered soon where it is answered at all.
        let wait = if self.breaker.state() == State::HalfOpen {
            wait.min(settings.rules.first_rest)
        } else {
            wait
        };
        let interval = Duration::from_secs(1) / settings.return_rate.get();
        let earliest = now + wait;
        let turn = self.last_turn.map_or(earliest, |last| {
            (last + interval).max(earliest).min(now + wait.max(FURTHEST_TURN))
        });
        self.last_turn = Some(turn);
        turn - now + interval.mul_f64(rand::random())
    }
}

/// What an outcome says about the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// It is there, whatever it made of the message.
    Answer,
    /// It may be.
    Unsure,
    /// It is not, and the message certainly did not go out.
    Away,
}

fn heard(outcome: &SendOutcome) -> Heard {
    match outcome {
        SendOutcome::RetryLater { reason, .. } if AWAY.contains(reason) => Heard::Away,
        // Nobody was called, or nobody answered.
        SendOutcome::RetryLater {
            reason: RetryReason::NotSendable | RetryReason::UploadUnanswered,
            ..
        } => Heard::Unsure,
        SendOutcome::Unknown { reason, .. } if SILENT.contains(reason) => Heard::Unsure,
        SendOutcome::RetryLater { .. }
        | SendOutcome::Unknown { .. }
        | SendOutcome::Accepted { .. }
        | SendOutcome::RateLimited { .. }
        | SendOutcome::Rejected { .. } => Heard::Answer,
    }
}

/// Did the endpoint itself answer a try that ended like this?
#[must_use]
pub fn is_answer(reason: &str) -> bool {
    reason != RetryReason::UploadUnanswered.as_str()
        && AWAY.iter().all(|away| away.as_str() != reason)
        && SILENT.iter().all(|silent| silent.as_str() != reason)
}

#[cfg(test)]
mod tests {
    use whatsapp::port::OperatorText;

    use super::*;

    fn outage(return_rate: u32) -> Outage {
        let settings = OutageSettings {
            return_rate: return_rate.try_into().unwrap(),
            ..OutageSettings::default()
        };
        Outage::new(EndpointName::parse("Primary").unwrap(), settings)
    }

    fn later(reason: RetryReason) -> SendOutcome {
        SendOutcome::RetryLater {
            reason,
            after: None,
            detail: OperatorText::default(),
        }
    }

    fn unknown(reason: UnknownReason) -> SendOutcome {
        SendOutcome::Unknown {
            reason,
            detail: OperatorText::default(),
        }
    }

    #[test]
    fn only_what_certainly_did_not_go_out_makes_messages_wait() {
        let outage = outage(50);
        for _ in 0..10 {
            assert_eq!(outage.note(&unknown(UnknownReason::Timeout)), None);
            assert_eq!(outage.note(&later(RetryReason::NoSession)), None);
        }
        assert_eq!(outage.look(), Ok(()));
        for reason in [
            RetryReason::Unreachable,
            RetryReason::UpstreamUnreachable,
            RetryReason::Unavailable,
        ] {
            assert!(outage.note(&later(reason)).is_some());
        }
        assert!(outage.look().is_err());
        assert!(outage.ask(Duration::from_secs(30)).is_err());
        assert_eq!(outage.note(&later(RetryReason::Forbidden)), None, "it speaks");
        assert_eq!(outage.look(), Ok(()));
    }

    #[test]
    fn whoever_waits_has_a_time_of_its_own() {
        let outage = outage(100);
        for _ in 0..3 {
            let _ = outage.note(&later(RetryReason::Unreachable));
        }
        let mut turns: Vec<Duration> = (0..200).map(|_| outage.look().unwrap_err()).collect();
        let first = turns[0];
        assert!(
            first > Duration::from_millis(900),
            "not before the next try: {first:?}"
        );
        turns.sort_unstable();
        let spread = turns[199] - turns[0];
        assert!(spread > Duration::from_millis(1_900), "{spread:?}");
        assert!(spread < Duration::from_millis(2_200), "{spread:?}");
        for _ in 0..100_000 {
            let _ = outage.look();
        }
        assert!(outage.look().unwrap_err() <= FURTHEST_TURN + Duration::from_millis(20));
    }
}
