//! What happens to messages while their endpoint cannot be reached.

use std::num::NonZeroU32;
use std::time::Duration;

use runtime::breaker::Rules;
use runtime::config::{Milliseconds, SettingsReader};

/// Failures in a row after which an endpoint is left alone.
const PATIENCE: u32 = 3;
/// A shorter rest is none.
const LEAST_REST: Duration = Duration::from_millis(20);

/// How long an endpoint is left alone, and how long messages wait for it.
#[derive(Debug, Clone, Copy)]
pub struct OutageSettings {
    /// When it is left alone, and for how long.
    pub rules: Rules,
    /// Chats a second that go on when it is back.
    pub return_rate: NonZeroU32,
    /// The age at which a message waits no longer.
    pub longest_wait: Duration,
}

impl OutageSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let first: Option<Milliseconds> = reader.with_default(
            "ENDPOINT_REST_FIRST_MS",
            "1000",
            "How long an endpoint that cannot be reached is left alone before one message tries it; doubles while it fails",
        );
        let cap: Option<Milliseconds> = reader.with_default(
            "ENDPOINT_REST_CAP_MS",
            "15000",
            "Longest time between two such tries",
        );
        let return_rate: Option<u32> = reader.with_default(
            "ENDPOINT_RETURN_RATE",
            "50",
            "Chats a second that each process takes up again when an endpoint is back",
        );
        let longest_wait: Option<u64> = reader.with_default(
            "ENDPOINT_WAIT_SECONDS",
            "86400",
            "Age at which a message whose endpoint cannot be reached is parked; until then nothing of it counts as a try",
        );
        let return_rate = NonZeroU32::new(return_rate?);
        if return_rate.is_none() {
            reader.problem("ENDPOINT_RETURN_RATE", "must be at least 1");
        }
        let (first_rest, longest_rest) = (first?.0, cap?.0);
        if first_rest < LEAST_REST || longest_rest < first_rest {
            reader.problem(
                "ENDPOINT_REST_FIRST_MS, ENDPOINT_REST_CAP_MS",
                "must be at least 20, and the longest not below the first",
            );
        }
        Some(Self {
            rules: Rules {
                patience: PATIENCE,
                first_rest,
                longest_rest,
            },
            return_rate: return_rate?,
            longest_wait: Duration::from_secs(longest_wait?),
        })
    }
}

impl Default for OutageSettings {
    /// What is usual where nothing is set.
    fn default() -> Self {
        Self {
            rules: Rules {
                patience: PATIENCE,
                first_rest: Duration::from_secs(1),
                longest_rest: Duration::from_secs(15),
            },
            return_rate: NonZeroU32::MIN.saturating_add(49),
            longest_wait: Duration::from_secs(24 * 60 * 60),
        }
    }
}
