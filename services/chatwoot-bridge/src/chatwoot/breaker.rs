//! A Chatwoot that cannot be reached, or answers everything with a failure of its own, is left alone for a while: its
//! chats would otherwise hold every worker until the timeout, and the chats of all other Chatwoots would wait behind
//! them. What fails while it rests is not to blame for it.

use std::time::{Duration, Instant};

use runtime::breaker::{self, Bounds, Rules};

const RULES: Rules = Rules {
    patience: 5,
    first_rest: Duration::from_secs(2),
    longest_rest: Duration::from_secs(30),
};
const BOUNDS: Bounds = Bounds {
    most: 4_096,
    forget_after: Duration::from_secs(600),
};

/// Which servers rest. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Breakers(breaker::Breakers);

impl Default for Breakers {
    fn default() -> Self {
        Self(breaker::Breakers::new(RULES, BOUNDS))
    }
}

impl Breakers {
    /// May the server be asked? When a rest is over, one caller may try, and for `attempt` nobody else.
    ///
    /// # Errors
    /// How long it rests.
    pub(super) fn ask(&self, server: &str, now: Instant, attempt: Duration) -> Result<(), Duration> {
        self.0.ask(server, now, attempt)
    }

    /// Could the server be asked? Nobody becomes the one who tries by it.
    ///
    /// # Errors
    /// How long it rests.
    pub(super) fn look(&self, server: &str, now: Instant) -> Result<(), Duration> {
        self.0.look(server, now)
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&self, server: &str) {
        self.0.answered(server);
    }

    /// It could not be reached, fell silent or failed. True when it rests now: everything fails there.
    pub(super) fn failed(&self, server: &str, now: Instant) -> bool {
        let failure = self.0.failed(server, now, rand::random());
        if failure.began {
            metrics::counter!("kanal_chatwoot_rests_total").increment(1);
        }
        failure.rests
    }
}
