//! Hosts to which no connection can be made are left alone for a while: otherwise the sessions that go there would hold
//! places until the timeout, one after the other, and all other sessions would wait behind them.
//!
//! Only connections count. A receiver that is reached and then fails or is slow says nothing about its host, where other
//! customers may have receivers, too; and no customer can make somebody else's host unreachable for us.

use std::time::{Duration, Instant};

use runtime::breaker::{Bounds, Breakers, Rules};

const RULES: Rules = Rules {
    patience: 5,
    first_rest: Duration::from_secs(1),
    longest_rest: Duration::from_secs(30),
};
const BOUNDS: Bounds = Bounds {
    most: 4_096,
    forget_after: Duration::from_secs(600),
};

/// Which hosts rest. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Rests(Breakers);

impl Default for Rests {
    fn default() -> Self {
        Self(Breakers::new(RULES, BOUNDS))
    }
}

impl Rests {
    /// May the host be asked? When a rest is over, one caller may try, and for `attempt` nobody else.
    ///
    /// # Errors
    /// How long it rests.
    pub(super) fn ask(&self, host: &str, now: Instant, attempt: Duration) -> Result<(), Duration> {
        self.0.ask(host, now, attempt.min(RULES.longest_rest))
    }

    /// A connection was made, whatever came of it.
    pub(super) fn reached(&self, host: &str) {
        self.0.answered(host);
    }

    /// No connection was made.
    pub(super) fn unreachable(&self, host: &str, now: Instant) {
        if self.0.failed(host, now, rand::random()).began {
            metrics::counter!("kanal_hook_receiver_rests_total").increment(1);
        }
    }
}
