//! How what goes through is counted.

use std::time::Duration;

use runtime::config::{Milliseconds, SettingsReader};

/// The interval at which numbers are written down.
pub(super) fn take(reader: &mut SettingsReader) -> Option<Duration> {
    let every: Option<Milliseconds> = reader.with_default(
        "TRAFFIC_WRITE_MS",
        "5000",
        "How often the numbers behind the plots are written down; a process that dies loses those since",
    );
    if every.is_some_and(|every| every.0 < Duration::from_millis(20)) {
        reader.problem("TRAFFIC_WRITE_MS", "must be at least 20");
    }
    every.map(|every| every.0)
}
