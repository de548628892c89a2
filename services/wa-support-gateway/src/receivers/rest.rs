//! Hosts to which no connection can be made are left alone for a while: otherwise the sessions that go there would hold
//! places until the timeout, one after the other, and all other sessions would wait behind them.
//!
//! Only connections count. A receiver that is reached and then fails or is slow says nothing about its host, where other
//! customers may have receivers, too; and no customer can make somebody else's host unreachable for us.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row, after which there is a rest.
const PATIENCE: u32 = 5;
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// More hosts than this are not remembered; the least that happens is that they are asked too often.
const MOST_HOSTS: usize = 4_096;
/// Nobody has asked for a host for so long: it is forgotten when there is no room.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Which hosts rest. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Rests {
    troubled: Arc<Mutex<HashMap<String, Trouble>>>,
}

#[derive(Debug, Clone, Copy)]
struct Trouble {
    failures: u32,
    last: Instant,
    rests_until: Option<Instant>,
}

impl Rests {
    /// May the host be asked? When a rest is over, one caller may try, and for `attempt` nobody else.
    ///
    /// # Errors
    /// How long it rests.
    pub(super) fn ask(&self, host: &str, now: Instant, attempt: Duration) -> Result<(), Duration> {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(trouble) = troubled.get_mut(host) else {
            return Ok(());
        };
        match trouble.rests_until {
            Some(until) if until > now => Err(until - now),
            Some(_) => {
                trouble.rests_until = Some(now + attempt.min(LONGEST_REST));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A connection was made, whatever came of it.
    pub(super) fn reached(&self, host: &str) {
        self.troubled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(host);
    }

    /// No connection was made.
    pub(super) fn unreachable(&self, host: &str, now: Instant) {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        if troubled.len() >= MOST_HOSTS && !troubled.contains_key(host) {
            troubled.retain(|_, trouble| now.saturating_duration_since(trouble.last) < FORGOTTEN_AFTER);
            if troubled.len() >= MOST_HOSTS {
                return;
            }
        }
        let trouble = troubled.entry(host.to_owned()).or_insert(Trouble {
            failures: 0,
            last: now,
            rests_until: None,
        });
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.last = now;
        if let Some(over) = trouble.failures.checked_sub(PATIENCE) {
            let rest = FIRST_REST.saturating_mul(1 << over.min(8)).min(LONGEST_REST);
            trouble.rests_until = Some(now + rest);
            metrics::counter!("kanal_hook_receiver_rests_total").increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: Duration = Duration::from_secs(10);

    #[test]
    fn an_unreachable_host_rests_then_one_caller_tries_and_a_connection_ends_it() {
        let (rests, start) = (Rests::default(), Instant::now());
        for _ in 1..PATIENCE {
            rests.unreachable("a", start);
            assert_eq!(rests.ask("a", start, ATTEMPT), Ok(()));
        }
        rests.unreachable("a", start);
        assert_eq!(rests.ask("a", start, ATTEMPT), Err(FIRST_REST));
        assert_eq!(rests.ask("b", start, ATTEMPT), Ok(()));
        let later = start + FIRST_REST;
        assert_eq!(rests.ask("a", later, ATTEMPT), Ok(()));
        assert_eq!(rests.ask("a", later, ATTEMPT), Err(ATTEMPT));
        rests.unreachable("a", later);
        assert_eq!(rests.ask("a", later, ATTEMPT), Err(2 * FIRST_REST));
        rests.reached("a");
        assert_eq!(rests.ask("a", later, ATTEMPT), Ok(()));
    }

    #[test]
    fn rests_and_hosts_are_bounded() {
        let (rests, now) = (Rests::default(), Instant::now());
        for _ in 0..100 {
            rests.unreachable("a", now);
        }
        assert_eq!(rests.ask("a", now, ATTEMPT), Err(LONGEST_REST));
        for host in 0..MOST_HOSTS + 10 {
            rests.unreachable(&host.to_string(), now);
        }
        assert!(rests.troubled.lock().unwrap().len() <= MOST_HOSTS);
        rests.unreachable("new", now + FORGOTTEN_AFTER);
        assert_eq!(rests.troubled.lock().unwrap().len(), 1);
    }
}
