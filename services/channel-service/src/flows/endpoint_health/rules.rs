//! What a check means. No clock and no table: what was known, what was found, what follows.
//!
//! | found | healthy or unknown before | degraded before | unhealthy before |
//! |---|---|---|---|
//! | an answer in time | healthy | healthy | healthy |
//! | a slow answer | degraded | degraded | degraded |
//! | "too often" | degraded | degraded | degraded |
//! | our key refused | unhealthy | unhealthy | unhealthy |
//! | any other failure | degraded, unhealthy with the N-th in a row | the same | unhealthy |
//! | a provider that is not served | unknown | unknown | unknown |
//!
//! An endpoint that answers is not unhealthy, however slow it is or whatever it thinks of our manners: messages go out
//! through it. One that does not take our key is, and asking again would not change it.

use std::time::Duration;

use whatsapp::probe::ProbeReason;

use crate::store::endpoint_health::{After, HealthStatus};

/// What makes an endpoint healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthRules {
    /// An answer that took longer is slow.
    pub slow: Duration,
    /// So many failures in a row make it unhealthy.
    pub failures: u32,
    /// A failure that may be chance is checked again so soon.
    pub again: Duration,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It answered, and took so long for it.
    Answered(Duration),
    /// It did not answer as it should.
    Failed(ProbeReason),
}

/// The reason of an endpoint that is only slow.
pub const SLOW: &str = "slow";

impl HealthRules {
    /// What follows from a finding, after so many failures in a row.
    #[must_use]
    pub fn judge(&self, failures_before: u32, finding: Finding) -> After {
        let plain = |status, reason| After {
            status,
            failures: 0,
            reason,
            latency: None,
            again: None,
        };
        match finding {
            Finding::Answered(took) if took > self.slow => After {
                latency: Some(took),
                ..plain(HealthStatus::Degraded, Some(SLOW))
            },
            Finding::Answered(took) => After {
                latency: Some(took),
                ..plain(HealthStatus::Healthy, None)
            },
            Finding::Failed(reason @ ProbeReason::RateLimited) => {
                plain(HealthStatus::Degraded, Some(reason.as_str()))
            }
            Finding::Failed(reason) => {
                let failures = failures_before.saturating_add(1);
                let is_certain = reason == ProbeReason::KeyRefused;
                let is_unhealthy = is_certain || failures >= self.failures;
                After {
                    failures,
                    again: (!is_unhealthy).then_some(self.again),
                    ..plain(
                        if is_unhealthy {
                            HealthStatus::Unhealthy
                        } else {
                            HealthStatus::Degraded
                        },
                        Some(reason.as_str()),
                    )
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HealthRules = HealthRules {
        slow: Duration::from_secs(2),
        failures: 3,
        again: Duration::from_secs(5),
    };

    #[test]
    fn every_finding_has_one_meaning() {
        use Finding::{Answered, Failed};
        use HealthStatus::{Degraded, Healthy, Unhealthy};
        let fast = Answered(Duration::from_millis(2000));
        let slow = Answered(Duration::from_millis(2001));
        // failures before, finding -> status, failures, reason, is it checked again soon?
        let table = [
            (0, fast, Healthy, 0, None, false),
            (2, fast, Healthy, 0, None, false),
            (40, fast, Healthy, 0, None, false),
            (0, slow, Degraded, 0, Some("slow"), false),
            (40, slow, Degraded, 0, Some("slow"), false),
            (
                0,
                Failed(ProbeReason::Unreachable),
                Degraded,
                1,
                Some("unreachable"),
                true,
            ),
            (
                1,
                Failed(ProbeReason::NoAnswer),
                Degraded,
                2,
                Some("no_answer"),
                true,
            ),
            (
                2,
                Failed(ProbeReason::NoAnswer),
                Unhealthy,
                3,
                Some("no_answer"),
                false,
            ),
            (
                2,
                Failed(ProbeReason::Unwell),
                Unhealthy,
                3,
                Some("unwell"),
                false,
            ),
            (
                2,
                Failed(ProbeReason::Unexpected),
                Unhealthy,
                3,
                Some("unexpected_answer"),
                false,
            ),
            (
                u32::MAX,
                Failed(ProbeReason::Unreachable),
                Unhealthy,
                u32::MAX,
                Some("unreachable"),
                false,
            ),
            (
                0,
                Failed(ProbeReason::KeyRefused),
                Unhealthy,
                1,
                Some("key_refused"),
                false,
            ),
            (
                2,
                Failed(ProbeReason::RateLimited),
                Degraded,
                0,
                Some("rate_limited"),
                false,
            ),
            (
                40,
                Failed(ProbeReason::RateLimited),
                Degraded,
                0,
                Some("rate_limited"),
                false,
            ),
        ];
        for (before, finding, status, failures, reason, soon) in table {
            let after = RULES.judge(before, finding);
            assert_eq!(
                (after.status, after.failures, after.reason, after.again.is_some()),
                (status, failures, reason, soon),
                "{before} {finding:?}"
            );
            assert_eq!(after.latency.is_some(), matches!(finding, Answered(_)));
        }
    }

    #[test]
    fn one_failure_is_enough_where_that_is_wished() {
        let strict = HealthRules { failures: 1, ..RULES };
        let after = strict.judge(0, Finding::Failed(ProbeReason::NoAnswer));
        assert_eq!((after.status, after.again), (HealthStatus::Unhealthy, None));
    }
}
