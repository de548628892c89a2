//! How much callers may ask for, and how a session that types shows it.

use std::time::Duration;

use cache::WindowRules;
use runtime::config::{Milliseconds, SettingsReader};

/// Longest time for which a session shows that it types. The sender waits meanwhile.
const LONGEST_TYPING: Duration = Duration::from_secs(5);

/// Limits of the public routes (contract §12), and the pause before a send.
#[derive(Debug, Clone, Copy)]
pub struct TrafficSettings {
    /// For whoever has shown no credential, or one that nobody knows: per address.
    pub per_address: WindowRules,
    /// For whoever has shown one: per session token or API key.
    pub per_key: WindowRules,
    /// How long a session shows that it types before it sends.
    pub typing: Duration,
}

impl TrafficSettings {
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let window: Option<u64> = reader.with_default(
            "PUBLIC_RATE_LIMIT_WINDOW_SECONDS",
            "60",
            "Length of the window in which requests are counted",
        );
        let most = reader.with_default(
            "PUBLIC_RATE_LIMIT_MAX_REQUEST",
            "120",
            "Requests in the window from one address without a valid token or key",
        );
        let burst = reader.with_default(
            "PUBLIC_SPAM_MAX_PER_10S",
            "40",
            "Such requests in 10 s; one more blocks the address",
        );
        let block: Option<u64> = reader.with_default(
            "PUBLIC_SPAM_BLOCK_MINUTES",
            "10",
            "How long a block lasts, of an address and of a token or key",
        );
        let key_most = reader.with_default(
            "PUBLIC_KEY_RATE_LIMIT_MAX_REQUEST",
            "1200",
            "Requests in the window with one valid token or key, from wherever",
        );
        let key_burst = reader.with_default(
            "PUBLIC_KEY_SPAM_MAX_PER_10S",
            "400",
            "Requests in 10 s with one valid token or key; one more blocks it",
        );
        let typing: Option<Milliseconds> = reader.with_default(
            "TYPING_MS",
            "800",
            "How long a session with `typing_enabled` shows that it types before a text goes out, at most 5000",
        );
        if typing.is_some_and(|typing| typing.0 > LONGEST_TYPING) {
            reader.problem("TYPING_MS", "must be at most 5000");
        }
        let (window, block) = (Duration::from_secs(window?), minutes(block?));
        let rules = |most, most_in_burst| WindowRules {
            window,
            most,
            most_in_burst,
            block,
        };
        Some(Self {
            per_address: rules(most?, burst?),
            per_key: rules(key_most?, key_burst?),
            typing: typing?.0,
        })
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(60))
}
