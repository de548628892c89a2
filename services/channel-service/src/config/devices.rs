//! Devices of the dashboard's people.

use std::time::Duration;

use runtime::config::{Setting, SettingsReader};

/// How people watch a device being paired.
#[derive(Debug, Clone, Copy)]
pub struct DeviceSettings {
    /// How long one may watch.
    pub stream: Duration,
    /// How many may watch devices of one tenant, in this process.
    pub streams: usize,
    /// After how much silence a watcher gets a line that says nothing.
    pub heartbeat: Duration,
}

struct Seconds(u32);

impl Setting for Seconds {
    const EXPECTED: &'static str = "must be a whole number of seconds between 1 and 3600";

    fn from_text(text: &str) -> Option<Self> {
        let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
        seconds.map(Self)
    }
}

impl Seconds {
    fn time(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl DeviceSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let stream: Option<Seconds> = reader.with_default(
            "QR_STREAM_SECONDS",
            "180",
            "How long a stream of a device's QR codes lasts at most",
        );
        let streams: Option<usize> = reader.with_default(
            "QR_STREAMS_PER_TENANT",
            "10",
            "How many such streams a tenant may have open in one process",
        );
        let heartbeat: Option<Seconds> = reader.with_default(
            "QR_STREAM_HEARTBEAT_SECONDS",
            "15",
            "After how many seconds of silence such a stream gets a comment line",
        );
        Some(Self {
            stream: stream?.time(),
            streams: streams?,
            heartbeat: heartbeat?.time(),
        })
    }
}
