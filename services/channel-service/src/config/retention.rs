//! For how long things are kept where a tenant has not said.

use runtime::config::{Setting, SettingsReader};

use crate::flows::retention::MOST_DAYS;
use crate::store::retention::DaysRow;

/// Days, or 0 for ever.
struct Days(Option<i32>);

impl Setting for Days {
    const EXPECTED: &'static str = "must be a whole number of days between 1 and 3650, or 0 for no end";

    fn from_text(text: &str) -> Option<Self> {
        match text.parse().ok()? {
            0 => Some(Self(None)),
            days if (1..=MOST_DAYS).contains(&days) => Some(Self(Some(days))),
            _ => None,
        }
    }
}

/// What holds for tenants that set nothing. Raw events end with `LEDGER_RETENTION_DAYS` at the latest.
pub(super) fn take(reader: &mut SettingsReader) -> Option<DaysRow> {
    let texts: Option<Days> = reader.with_default(
        "TEXT_RETENTION_DAYS",
        "0",
        "Days for which words of messages are kept where a tenant has not said; 0 is for ever",
    );
    let media: Option<Days> = reader.with_default(
        "MEDIA_RETENTION_DAYS",
        "0",
        "Days for which files of messages are kept where a tenant has not said; 0 is for ever",
    );
    Some(DaysRow {
        text_days: texts?.0,
        media_days: media?.0,
        raw_days: None,
    })
}
