//! When to try again: a schedule that cannot be nonsense.

use std::time::Duration;

/// Doubling waits with a cap, a last attempt and jitter. A value of this type is valid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrySchedule {
    first: Duration,
    cap: Duration,
    attempts: u32,
    jitter: f64,
}

/// Why numbers do not make a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// A first wait of zero would spin.
    #[error("the first wait must be longer than zero")]
    ZeroWait,
    /// The cap would cut the first wait.
    #[error("the longest wait must not be shorter than the first")]
    CapBelowFirst,
    /// Nothing would ever be tried.
    #[error("there must be at least one attempt")]
    NoAttempt,
    /// Jitter is a share of the wait.
    #[error("jitter must lie between 0 and 1")]
    JitterOutOfRange,
}

impl RetrySchedule {
    /// A schedule of `attempts` tries in all; the wait after the n-th failure is `first * 2^(n-1)`, at most `cap`,
    /// lengthened by up to the share `jitter` of itself.
    ///
    /// # Errors
    /// [`InvalidSchedule`] names the rule that was broken.
    pub fn new(first: Duration, cap: Duration, attempts: u32, jitter: f64) -> Result<Self, InvalidSchedule> {
        if first.is_zero() {
            return Err(InvalidSchedule::ZeroWait);
        }
        if cap < first {
            return Err(InvalidSchedule::CapBelowFirst);
        }
        if attempts == 0 {
            return Err(InvalidSchedule::NoAttempt);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(InvalidSchedule::JitterOutOfRange);
        }
        Ok(Self {
            first,
            cap,
            attempts,
            jitter,
        })
    }

    /// How many tries there are in all.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The wait after failure number `failures` (1 for the first), or `None` when that was the last try.
    ///
    /// `chance` lies between 0 and 1 and decides the jitter; callers pass a random number, tests a fixed one.
    #[must_use]
    pub fn wait_after(&self, failures: u32, chance: f64) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        Some(self.endless_wait(failures, chance))
    }

    /// The wait after failure number `failures` for work that is never given up.
    #[must_use]
    pub fn endless_wait(&self, failures: u32, chance: f64) -> Duration {
        let doubled = 2_u32
            .checked_pow(failures.saturating_sub(1))
            .and_then(|times| self.first.checked_mul(times));
        let wait = doubled.map_or(self.cap, |wait| wait.min(self.cap));
        wait + wait.mul_f64(self.jitter * chance.clamp(0.0, 1.0))
    }
}

/// Keeps a peer's `Retry-After` within reason: at least one second, at most `longest`.
#[must_use]
pub fn clamp_retry_after(asked: Duration, longest: Duration) -> Duration {
    asked.clamp(Duration::from_secs(1), longest.max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_cap_and_end() {
        let schedule = RetrySchedule::new(SECOND, 5 * SECOND, 5, 0.0).unwrap();
        let waits: Vec<_> = (1..=5).map(|n| schedule.wait_after(n, 0.5)).collect();
        assert_eq!(
            waits,
            [
                Some(SECOND),
                Some(2 * SECOND),
                Some(4 * SECOND),
                Some(5 * SECOND),
                None
            ]
        );
    }

    #[test]
    fn jitter_only_lengthens_and_stays_in_its_share() {
        let schedule = RetrySchedule::new(SECOND, 60 * SECOND, 9, 0.2).unwrap();
        assert_eq!(schedule.wait_after(1, 0.0), Some(SECOND));
        assert_eq!(schedule.wait_after(1, 1.0), Some(Duration::from_millis(1200)));
        assert_eq!(schedule.endless_wait(4_000_000_000, 0.0), 60 * SECOND);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(
            RetrySchedule::new(Duration::ZERO, SECOND, 1, 0.0),
            Err(InvalidSchedule::ZeroWait)
        );
        assert_eq!(
            RetrySchedule::new(2 * SECOND, SECOND, 1, 0.0),
            Err(InvalidSchedule::CapBelowFirst)
        );
        assert_eq!(
            RetrySchedule::new(SECOND, SECOND, 0, 0.0),
            Err(InvalidSchedule::NoAttempt)
        );
        assert_eq!(
            RetrySchedule::new(SECOND, SECOND, 1, f64::NAN),
            Err(InvalidSchedule::JitterOutOfRange)
        );
    }
}
