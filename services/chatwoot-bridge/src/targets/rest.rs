//! Targets that do not answer are left alone for a while: otherwise their events would hold places until the timeout, one
//! after the other, and all others would wait behind them.
//!
//! A host to which no connection can be made rests for all routes that lead there. A target that is reached and does not
//! answer in time rests alone: it says nothing about others at the same host, and no tenant can make somebody else's
//! host unreachable for us.

use std::time::{Duration, Instant};

use runtime::breaker::{Bounds, Breakers, Rules};
use uuid::Uuid;

const RULES: Rules = Rules {
    patience: 5,
    first_rest: Duration::from_secs(1),
    longest_rest: Duration::from_secs(30),
};
const BOUNDS: Bounds = Bounds {
    most: 4_096,
    forget_after: Duration::from_secs(600),
};

/// Who rests. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Rests {
    hosts: Breakers,
    routes: Breakers,
}

impl Default for Rests {
    fn default() -> Self {
        Self {
            hosts: Breakers::new(RULES, BOUNDS),
            routes: Breakers::new(RULES, BOUNDS),
        }
    }
}

impl Rests {
    /// May the target be asked? When a rest is over, one caller may try, and for `attempt` nobody else.
    ///
    /// # Errors
    /// How long it rests.
    pub(super) fn ask(&self, host: &str, route: Uuid, attempt: Duration) -> Result<(), Duration> {
        self.ask_at(Instant::now(), host, route, attempt.min(RULES.longest_rest))
    }

    fn ask_at(&self, now: Instant, host: &str, route: Uuid, attempt: Duration) -> Result<(), Duration> {
        let route = route.to_string();
        // A host's only try is not for a route that rests by itself.
        self.hosts.look(host, now)?;
        self.routes.look(&route, now)?;
        self.hosts.ask(host, now, attempt)?;
        self.routes.ask(&route, now, attempt)
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&self, host: &str, route: Uuid) {
        self.hosts.answered(host);
        self.routes.answered(&route.to_string());
    }

    /// No connection was made.
    pub(super) fn unreachable(&self, host: &str) {
        if self.hosts.failed(host, Instant::now(), rand::random()).began {
            metrics::counter!("kanal_bridge_target_rests_total", "of" => "host").increment(1);
        }
    }

    /// It was reached and did not answer.
    pub(super) fn silent(&self, host: &str, route: Uuid) {
        self.hosts.answered(host);
        let failure = self
            .routes
            .failed(&route.to_string(), Instant::now(), rand::random());
        if failure.began {
            metrics::counter!("kanal_bridge_target_rests_total", "of" => "route").increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_target_rests_alone_and_an_unreachable_host_for_all() {
        let rests = Rests::default();
        let (one, two, attempt) = (Uuid::now_v7(), Uuid::now_v7(), Duration::from_secs(1));
        for _ in 0..RULES.patience {
            rests.silent("http://a", one);
        }
        assert!(rests.ask("http://a", one, attempt).is_err());
        assert!(rests.ask("http://a", two, attempt).is_ok());
        rests.answered("http://a", one);
        assert!(rests.ask("http://a", one, attempt).is_ok());
        for _ in 0..RULES.patience {
            rests.unreachable("http://a");
        }
        assert!(rests.ask("http://a", two, attempt).is_err());
        assert!(rests.ask("http://b", two, attempt).is_ok());
    }

    #[test]
    fn a_route_that_rests_does_not_use_up_the_try_of_its_host() {
        let rests = Rests::default();
        let (one, two, attempt) = (Uuid::now_v7(), Uuid::now_v7(), Duration::from_secs(30));
        for _ in 0..RULES.patience {
            rests.silent("http://a", one);
        }
        // Its try fails, and it rests for twice as long; then its host does, too.
        let after_one = Instant::now() + RULES.first_rest.mul_f64(1.3);
        rests.ask_at(after_one, "http://a", one, attempt).unwrap();
        rests.silent("http://a", one);
        for _ in 0..RULES.patience {
            rests.unreachable("http://a");
        }
        let host_is_over = Instant::now() + RULES.first_rest.mul_f64(1.3);
        assert!(rests.ask_at(host_is_over, "http://a", one, attempt).is_err());
        assert!(rests.ask_at(host_is_over, "http://a", two, attempt).is_ok());
        assert!(
            rests.ask_at(host_is_over, "http://a", two, attempt).is_err(),
            "one tries"
        );
    }
}
