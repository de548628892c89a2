//! Where things stand in a plot, and how numbers and times are written at its edges.

use chrono::{DateTime, Datelike as _, FixedOffset, Offset as _, Timelike as _, Utc};

use crate::Language;

/// What a plot's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// So many of something.
    Count,
    /// How long something took.
    Milliseconds,
}

/// The stretch of time that a plot is about, cut into buckets of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where the first bucket begins.
    pub from: DateTime<Utc>,
    /// Where the last one ends.
    pub until: DateTime<Utc>,
    /// Whose clock the times are written by.
    pub zone: FixedOffset,
}

/// A mark at an edge: where, as a share of the whole from 0 to 1, and what is written there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

/// Most distances between times that are written below a plot: so many fit beside each other on a phone.
const MOST_DISTANCES: i64 = 4;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Distances between times that people find natural.
const TIME_STEPS: [i64; 17] = [
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    4 * DAY,
    8 * DAY,
    16 * DAY,
    28 * DAY,
];
/// Distances between durations, in milliseconds, from where powers of ten stop being natural.
const LONG_STEPS: [f64; 14] = [
    15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 1.2e6, 1.8e6, 3.6e6, 7.2e6, 14.4e6, 21.6e6, 43.2e6, 86.4e6,
];
/// Most lines that cross a plot above its ground.
const MOST_LINES: f64 = 4.0;

/// By how much western Indonesia is ahead of UTC, all year round.
const JAKARTA: i32 = 7 * 60 * 60;

impl Span {
    /// From one moment to another, written by the clock of western Indonesia.
    #[must_use]
    pub fn in_jakarta(from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        Self {
            from,
            until,
            zone: FixedOffset::east_opt(JAKARTA).unwrap_or_else(|| Utc.fix()),
        }
    }

    /// Its length in seconds, at least one.
    pub(super) fn seconds(&self) -> i64 {
        (self.until - self.from).num_seconds().max(1)
    }

    /// Where a moment is, as a share of the whole; what is outside is at the edge.
    pub(super) fn share(&self, at: DateTime<Utc>) -> f64 {
        let (gone, all) = (
            (at - self.from).num_milliseconds(),
            (self.until - self.from).num_milliseconds(),
        );
        (exact(gone) / exact(all.max(1))).clamp(0.0, 1.0)
    }

    /// The times that are written below.
    pub(super) fn ticks(&self, l: Language) -> Vec<Tick> {
        let seconds = self.seconds();
        let natural = TIME_STEPS
            .into_iter()
            .find(|step| seconds <= MOST_DISTANCES * step);
        // Longer than all of them: the last one, as often as it takes.
        let longest = 28 * DAY;
        let step = natural.unwrap_or_else(|| longest * (seconds / longest / MOST_DISTANCES + 1));
        let ahead = i64::from(self.zone.local_minus_utc());
        // Aligned to the reader's clock, not to UTC's.
        let first = (self.from.timestamp() + ahead).div_euclid(step) * step - ahead;
        let mut ticks = Vec::new();
        let mut at = first;
        while at <= self.until.timestamp() {
            if at >= self.from.timestamp()
                && let Some(moment) = DateTime::from_timestamp(at, 0)
            {
                ticks.push(Tick {
                    at: self.share(moment),
                    label: self.short(l, moment),
                });
            }
            at += step;
        }
        ticks
    }

    /// A time below a plot: the hour, and at midnight the day that begins.
    fn short(&self, l: Language, at: DateTime<Utc>) -> String {
        let local = at.with_timezone(&self.zone);
        if local.hour() == 0 && local.minute() == 0 {
            return format!("{} {}", local.day(), month(l, local.month0()));
        }
        format!("{:02}:{:02}", local.hour(), local.minute())
    }

    /// A time with its day.
    pub(super) fn full(&self, l: Language, at: DateTime<Utc>) -> String {
        let local = at.with_timezone(&self.zone);
        format!(
            "{} {} {:02}:{:02}",
            local.day(),
            month(l, local.month0()),
            local.hour(),
            local.minute()
        )
    }
}

fn month(l: Language, number: u32) -> &'static str {
    const EN: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const ID: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "Mei", "Jun", "Jul", "Agu", "Sep", "Okt", "Nov", "Des",
    ];
    let number = usize::try_from(number).unwrap_or(0) % 12;
    l.t(EN[number], ID[number])
}

/// The lines that cross a plot, from its ground up: where each one is, and the number that stands there. The last one is
/// not below `most`.
pub(super) fn heights(l: Language, unit: Unit, most: f64) -> (Vec<Tick>, f64) {
    let step = height_step(unit, most);
    let mut lines = (most / step).ceil();
    if !lines.is_finite() || lines < 1.0 {
        lines = 1.0;
    }
    let top = step * lines;
    let mut ticks = Vec::new();
    let mut number = 0.0;
    while number <= lines {
        ticks.push(Tick {
            at: number / lines,
            label: unit.write(l, step * number),
        });
        number += 1.0;
    }
    (ticks, top)
}

fn height_step(unit: Unit, most: f64) -> f64 {
    let rough = most / MOST_LINES;
    let long = LONG_STEPS.into_iter().find(|step| *step >= rough);
    if unit == Unit::Milliseconds && rough > 10e3 {
        return long.unwrap_or_else(|| 86.4e6 * (rough / 86.4e6).ceil());
    }
    if rough.partial_cmp(&1.0) != Some(std::cmp::Ordering::Greater) {
        // There is no half message, and nobody measures parts of a millisecond.
        return 1.0;
    }
    let power = 10f64.powf(rough.log10().floor());
    let natural = [1.0, 2.0, 5.0].into_iter().map(|of| of * power);
    natural
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power)
}

impl Unit {
    /// A number in as little room as there is at an edge.
    pub(super) fn write(self, l: Language, number: f64) -> String {
        let (units, base): (&[(f64, &str)], &str) = match (self, l.t("en", "id")) {
            (Self::Count, "en") => (&[(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")], ""),
            (Self::Count, _) => (&[(1e12, " T"), (1e9, " M"), (1e6, " jt"), (1e3, " rb")], ""),
            (Self::Milliseconds, "en") => (
                &[(86.4e6, " d"), (3.6e6, " h"), (60e3, " min"), (1e3, " s")],
                " ms",
            ),
            (Self::Milliseconds, _) => (
                &[(86.4e6, " hr"), (3.6e6, " jam"), (60e3, " mnt"), (1e3, " dtk")],
                " md",
            ),
        };
        let found = units.iter().find(|(least, _)| number >= *least);
        let (number, unit) = found.map_or((number, base), |(least, unit)| (number / least, *unit));
        let mut text = if number >= 100.0 || number.fract() < 0.05 {
            format!("{number:.0}")
        } else {
            format!("{number:.1}")
        };
        if let Some(whole) = text.strip_suffix(".0") {
            text = whole.to_owned();
        }
        if l.t("en", "id") == "id" {
            text = text.replace('.', ",");
        }
        text + unit
    }
}

/// A length of time in milliseconds, in few letters: `250 ms`, `2.5 s`.
#[must_use]
pub fn duration(l: Language, milliseconds: f64) -> String {
    Unit::Milliseconds.write(l, milliseconds)
}

/// A count as a plot takes it.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "the last digits of such numbers are not seen in a plot"
)]
pub const fn number(count: u64) -> f64 {
    count as f64
}

/// A whole number for arithmetic in a plot, where the last digits of very large ones are not seen.
#[expect(
    clippy::cast_precision_loss,
    reason = "a plot has a thousand points at most in each direction"
)]
pub(super) const fn exact(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(seconds: i64) -> Span {
        let from = DateTime::parse_from_rfc3339("2026-11-28T16:43:00Z")
            .unwrap()
            .to_utc();
        Span::in_jakarta(from, from + chrono::Duration::seconds(seconds))
    }

    #[test]
    fn times_stand_where_people_expect_them() {
        let labels = |seconds| -> Vec<String> {
            let ticks = span(seconds).ticks(Language::En);
            ticks.into_iter().map(|tick| tick.label).collect()
        };
        assert_eq!(labels(HOUR), ["23:45", "29 Nov", "00:15", "00:30"]);
        assert_eq!(labels(DAY), ["29 Nov", "06:00", "12:00", "18:00"]);
        assert_eq!(labels(7 * DAY), ["29 Nov", "1 Dec", "3 Dec", "5 Dec"]);
        let indonesian = span(7 * DAY).ticks(Language::Id);
        assert_eq!(indonesian[1].label, "1 Des");
    }

    #[test]
    fn no_two_times_touch_on_a_phone() {
        // The room of a plot on a phone of 360 px, and more than a letter takes at 12 px.
        const ROOM: f64 = 270.0;
        const LETTER: f64 = 7.0;
        for seconds in (60..HOUR).step_by(60).chain((HOUR..100 * DAY).step_by(3_571)) {
            let mut free = f64::MIN;
            for tick in span(seconds).ticks(Language::En) {
                let width = exact(i64::try_from(tick.label.len()).unwrap()) * LETTER;
                let left = match super::super::anchor(tick.at) {
                    "start" => tick.at * ROOM,
                    "end" => tick.at * ROOM - width,
                    _ => tick.at * ROOM - width / 2.0,
                };
                assert!(left >= free, "{seconds} s: {} begins too early", tick.label);
                free = left + width;
            }
            assert!(free <= ROOM + 1.0, "{seconds} s");
        }
    }

    #[test]
    fn every_height_has_lines_that_reach_it() {
        for unit in [Unit::Count, Unit::Milliseconds] {
            for most in [
                0.0,
                0.3,
                1.0,
                3.0,
                7.0,
                19.0,
                640.0,
                12_345.0,
                9e7,
                1e18,
                f64::MAX / 4.0,
            ] {
                let (ticks, top) = heights(Language::En, unit, most);
                assert!(top >= most, "{most}: {top}");
                assert!((2..=6).contains(&ticks.len()), "{most}: {}", ticks.len());
                let labels: std::collections::HashSet<&str> =
                    ticks.iter().map(|tick| tick.label.as_str()).collect();
                assert_eq!(labels.len(), ticks.len(), "{most}: two lines read alike");
            }
        }
        let (ticks, _) = heights(Language::En, Unit::Count, 3.0);
        assert_eq!(ticks.len(), 4, "no halves of messages");
    }

    #[test]
    fn numbers_are_written_short_in_both_languages() {
        let both = |unit: Unit, number| (unit.write(Language::En, number), unit.write(Language::Id, number));
        let of = |en: &str, id: &str| (en.to_owned(), id.to_owned());
        assert_eq!(both(Unit::Count, 0.0), of("0", "0"));
        assert_eq!(both(Unit::Count, 999.0), of("999", "999"));
        assert_eq!(both(Unit::Count, 1_500.0), of("1.5k", "1,5 rb"));
        assert_eq!(both(Unit::Count, 2e6), of("2M", "2 jt"));
        assert_eq!(both(Unit::Milliseconds, 250.0), of("250 ms", "250 md"));
        assert_eq!(both(Unit::Milliseconds, 2_500.0), of("2.5 s", "2,5 dtk"));
        assert_eq!(both(Unit::Milliseconds, 90e3), of("1.5 min", "1,5 mnt"));
        assert_eq!(both(Unit::Milliseconds, 7.2e6), of("2 h", "2 jam"));
    }
}
