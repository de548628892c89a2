//! The dashboard's pages.

use std::time::Duration;

use runtime::config::{Setting, SettingsReader};

/// Pages that show news by themselves.
#[derive(Debug, Clone, Copy)]
pub struct PageSettings {
    /// How many a user may have open, in this process.
    pub streams: usize,
    /// How often one is asked whether its reader is still signed in.
    pub check: Duration,
}

struct Seconds(u32);

impl Setting for Seconds {
    const EXPECTED: &'static str = "must be a whole number of seconds between 1 and 3600";

    fn from_text(text: &str) -> Option<Self> {
        let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
        seconds.map(Self)
    }
}

impl PageSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let streams: Option<usize> = reader.with_default(
            "PAGE_STREAMS_PER_USER",
            "8",
            "How many pages that show news by themselves a user may have open in one process",
        );
        let check: Option<Seconds> = reader.with_default(
            "PAGE_CHECK_SECONDS",
            "10",
            "How often such a page is asked whether its reader is still signed in",
        );
        Some(Self {
            streams: streams?,
            check: Duration::from_secs(check?.0.into()),
        })
    }
}
