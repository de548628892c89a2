//! The time zone of business: where a day begins, and what people read.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use chrono_tz::Tz;
use runtime::config::{Setting, SettingsReader};

/// A time zone by its name, `Asia/Jakarta` unless set. Everything stored is UTC; only days and what people read are
/// of this zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusinessZone(Tz);

impl BusinessZone {
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        reader.with_default(
            "BUSINESS_TIME_ZONE",
            "Asia/Jakarta",
            "Where a day begins, and whose time people read",
        )
    }

    /// The day of business that a moment belongs to.
    #[must_use]
    pub fn day(self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.0).date_naive()
    }

    /// A moment as people read it, with the distance from UTC.
    #[must_use]
    pub fn show(self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.0)
            .to_rfc3339_opts(SecondsFormat::Secs, false)
    }
}

impl Default for BusinessZone {
    fn default() -> Self {
        Self(Tz::Asia__Jakarta)
    }
}

impl Setting for BusinessZone {
    const EXPECTED: &'static str = "must be the name of a time zone, such as Asia/Jakarta";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for BusinessZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_of_the_zone() {
        let late: DateTime<Utc> = "2026-11-28T17:00:00Z".parse().unwrap();
        let zone = BusinessZone::default();
        assert_eq!(zone.day(late).to_string(), "2026-11-29");
        assert_eq!(zone.show(late), "2026-11-29T00:00:00+07:00");
        let utc = BusinessZone::from_text("UTC").unwrap();
        assert_eq!(utc.day(late).to_string(), "2026-11-28");
        assert_eq!(BusinessZone::from_text("Mars/Olympus"), None);
    }
}
