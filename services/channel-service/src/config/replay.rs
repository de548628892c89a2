//! Taking many messages up again that were put aside.

use std::time::Duration;

use runtime::config::{Setting, SettingsReader};

/// How fast that is done.
#[derive(Debug, Clone, Copy)]
pub struct ReplaySettings {
    /// How long a process waits after each message.
    pub pause: Duration,
}

/// Messages a second.
struct PerSecond(u32);

impl Setting for PerSecond {
    const EXPECTED: &'static str = "must be a whole number between 1 and 1000";

    fn from_text(text: &str) -> Option<Self> {
        let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
        number.map(Self)
    }
}

impl ReplaySettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let per_second: Option<PerSecond> = reader.with_default(
            "REPLAYS_PER_SECOND",
            "50",
            "How many messages a process takes up again in a second when somebody replays many; each goes out at the usual pace",
        );
        Some(Self {
            pause: Duration::from_secs(1) / per_second?.0,
        })
    }
}
