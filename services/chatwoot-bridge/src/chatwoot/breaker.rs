//! A Chatwoot that cannot be reached, or answers everything with a failure of its own, is left alone for a while: its
//! chats would otherwise hold every worker until the timeout, and the chats of all other Chatwoots would wait behind
//! them. What fails while it rests is not to blame for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row, after which there is a rest.
const PATIENCE: u32 = 5;
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// More servers than this are not remembered; the least that happens is that they are asked too often.
const MOST_SERVERS: usize = 4_096;

/// Which servers rest. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Breakers {
    troubled: Arc<Mutex<HashMap<String, Trouble>>>,
}

#[derive(Debug, Clone, Copy)]
struct Trouble {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Breakers {
    /// May the server be asked? When a rest is over, one caller may try, and for `attempt` nobody else.
    ///
    /// # Errors
    /// How long it rests.
    pub(super) fn ask(&self, server: &str, now: Instant, attempt: Duration) -> Result<(), Duration> {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(trouble) = troubled.get_mut(server) else {
            return Ok(());
        };
        let Some(until) = trouble.rests_until else {
            return Ok(());
        };
        if until > now {
            return Err(until - now);
        }
        trouble.rests_until = Some(now + attempt);
        Ok(())
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&self, server: &str) {
        self.troubled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(server);
    }

    /// It could not be reached, fell silent or failed. True when it rests now: everything fails there.
    pub(super) fn failed(&self, server: &str, now: Instant) -> bool {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        if troubled.len() >= MOST_SERVERS && !troubled.contains_key(server) {
            return false;
        }
        let trouble = troubled.entry(server.to_owned()).or_insert(Trouble {
            failures: 0,
            rests_until: None,
        });
        trouble.failures = trouble.failures.saturating_add(1);
        if let Some(over) = trouble.failures.checked_sub(PATIENCE) {
            let rest = FIRST_REST.saturating_mul(1 << over.min(8)).min(LONGEST_REST);
            trouble.rests_until = Some(now + rest);
            metrics::counter!("kanal_chatwoot_rests_total").increment(1);
        }
        trouble.rests_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: Duration = Duration::from_secs(10);

    #[test]
    fn a_silent_server_rests_then_one_caller_tries_and_an_answer_ends_it() {
        let (breakers, start) = (Breakers::default(), Instant::now());
        for _ in 1..PATIENCE {
            assert!(!breakers.failed("a", start));
            assert_eq!(breakers.ask("a", start, ATTEMPT), Ok(()));
        }
        assert!(breakers.failed("a", start));
        assert_eq!(breakers.ask("a", start, ATTEMPT), Err(FIRST_REST));
        assert_eq!(breakers.ask("b", start, ATTEMPT), Ok(()));
        let later = start + FIRST_REST;
        assert_eq!(breakers.ask("a", later, ATTEMPT), Ok(()));
        assert_eq!(breakers.ask("a", later, ATTEMPT), Err(ATTEMPT));
        assert!(breakers.failed("a", later));
        assert_eq!(breakers.ask("a", later, ATTEMPT), Err(2 * FIRST_REST));
        breakers.answered("a");
        assert_eq!(breakers.ask("a", later, ATTEMPT), Ok(()));
    }

    #[test]
    fn rests_are_bounded() {
        let (breakers, now) = (Breakers::default(), Instant::now());
        for _ in 0..100 {
            breakers.failed("a", now);
        }
        assert_eq!(breakers.ask("a", now, ATTEMPT), Err(LONGEST_REST));
    }
}
