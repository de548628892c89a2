//! Times and numbers as people read them.

use chrono::{DateTime, Datelike as _, TimeDelta, Timelike as _, Utc};
use chrono_tz::Asia::Jakarta;

use crate::Language;

/// A point in time, however a template has it in hand: it passes references to its fields.
pub trait Moment {
    /// The time itself.
    fn moment(&self) -> DateTime<Utc>;
}

impl Moment for DateTime<Utc> {
    fn moment(&self) -> DateTime<Utc> {
        *self
    }
}

impl<T: Moment + ?Sized> Moment for &T {
    fn moment(&self) -> DateTime<Utc> {
        (**self).moment()
    }
}

/// A whole number, however a template has it in hand.
pub trait Whole {
    /// The number itself.
    fn whole(&self) -> i128;
}

macro_rules! whole {
    ($($number:ty),*) => {
        $(impl Whole for $number {
            fn whole(&self) -> i128 {
                i128::try_from(*self).unwrap_or(i128::MAX)
            }
        })*
    };
}

whole!(u8, u16, u32, u64, usize, i16, i32, i64, isize);

impl<T: Whole + ?Sized> Whole for &T {
    fn whole(&self) -> i128 {
        (**self).whole()
    }
}

const MONTHS: [[&str; 2]; 12] = [
    ["Jan", "Jan"],
    ["Feb", "Feb"],
    ["Mar", "Mar"],
    ["Apr", "Apr"],
    ["May", "Mei"],
    ["Jun", "Jun"],
    ["Jul", "Jul"],
    ["Aug", "Agu"],
    ["Sep", "Sep"],
    ["Oct", "Okt"],
    ["Nov", "Nov"],
    ["Dec", "Des"],
];

impl Language {
    /// A date and a time of day in western Indonesia: `28 Nov 2026, 23:48`, `28 Nov 2026 23.48`.
    #[must_use]
    pub fn when(self, at: impl Moment) -> String {
        let at = at.moment().with_timezone(&Jakarta);
        let [en, id] = MONTHS[at.month0() as usize % 12];
        let (day, year, hour, minute) = (at.day(), at.year(), at.hour(), at.minute());
        match self {
            Self::En => format!("{day} {en} {year}, {hour:02}:{minute:02}"),
            Self::Id => format!("{day} {id} {year} {hour:02}.{minute:02}"),
        }
    }

    /// As [`Self::when`], to the second: for journeys, where order matters.
    #[must_use]
    pub fn exactly(self, at: impl Moment) -> String {
        let at = at.moment();
        let second = at.second();
        match self {
            Self::En => format!("{}:{second:02}", self.when(at)),
            Self::Id => format!("{}.{second:02}", self.when(at)),
        }
    }

    /// How long ago, in one unit: `5 minutes ago`, `5 menit lalu`. What is ahead is said as `in 5 minutes`.
    #[must_use]
    pub fn ago(self, at: impl Moment) -> String {
        self.between(at.moment(), Utc::now())
    }

    fn between(self, at: DateTime<Utc>, now: DateTime<Utc>) -> String {
        let apart = now - at;
        if apart.abs() < TimeDelta::seconds(5) {
            return self.t("just now", "baru saja").to_owned();
        }
        let length = self.lasting(apart.abs());
        match (self, apart > TimeDelta::zero()) {
            (Self::En, true) => format!("{length} ago"),
            (Self::En, false) => format!("in {length}"),
            (Self::Id, true) => format!("{length} lalu"),
            (Self::Id, false) => format!("{length} lagi"),
        }
    }

    /// A length of time in its largest whole unit: `3 hours`, `3 jam`.
    #[must_use]
    pub fn lasting(self, length: TimeDelta) -> String {
        let seconds = length.num_seconds().max(0);
        let (count, en, id) = match seconds {
            0..60 => (seconds, "second", "detik"),
            60..3_600 => (seconds / 60, "minute", "menit"),
            3_600..86_400 => (seconds / 3_600, "hour", "jam"),
            _ => (seconds / 86_400, "day", "hari"),
        };
        let count_shown = self.number(count);
        match self {
            Self::En if count == 1 => format!("{count_shown} {en}"),
            Self::En => format!("{count_shown} {en}s"),
            Self::Id => format!("{count_shown} {id}"),
        }
    }

    /// A number with marks between thousands: `1,234`, `1.234`.
    #[must_use]
    pub fn number(self, number: impl Whole) -> String {
        let number = number.whole();
        let digits = number.unsigned_abs().to_string();
        let mark = self.t(",", ".");
        let mut shown = String::with_capacity(digits.len() + digits.len() / 3 + 1);
        if number < 0 {
            shown.push('-');
        }
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                shown.push_str(mark);
            }
            shown.push(digit);
        }
        shown
    }

    /// A count with its noun: `1 chat`, `2 chats`, `2 percakapan`.
    #[must_use]
    pub fn count(self, number: impl Whole, one: &str, many: &str, id: &str) -> String {
        let whole = number.whole();
        let noun = match self {
            Self::Id => id,
            Self::En if whole == 1 => one,
            Self::En => many,
        };
        format!("{} {noun}", self.number(number))
    }

    /// A size of a file: `12 kB`, `3.4 MB`.
    #[must_use]
    pub fn size(self, bytes: impl Whole) -> String {
        let bytes = bytes.whole().max(0);
        match bytes {
            0..1_000 => format!("{bytes} B"),
            1_000..1_000_000 => format!("{} kB", bytes / 1_000),
            _ => {
                let (whole, tenth) = (bytes / 1_000_000, bytes / 100_000 % 10);
                format!("{}{}{tenth} MB", self.number(whole_of(whole)), self.t(".", ","))
            }
        }
    }
}

fn whole_of(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_those_of_jakarta() {
        let time = at("2026-05-28T23:48:09Z");
        assert_eq!(Language::En.when(time), "29 May 2026, 06:48");
        assert_eq!(Language::Id.when(time), "29 Mei 2026 06.48");
        assert_eq!(Language::En.exactly(time), "29 May 2026, 06:48:09");
    }

    #[test]
    fn distances_are_told_in_one_unit() {
        let now = at("2026-05-28T12:00:00Z");
        for (text, en, id) in [
            ("2026-05-28T11:59:58Z", "just now", "baru saja"),
            ("2026-05-28T11:59:20Z", "40 seconds ago", "40 detik lalu"),
            ("2026-05-28T11:59:00Z", "1 minute ago", "1 menit lalu"),
            ("2026-05-28T09:30:00Z", "2 hours ago", "2 jam lalu"),
            ("2026-05-20T12:00:00Z", "8 days ago", "8 hari lalu"),
            ("2026-05-28T12:05:00Z", "in 5 minutes", "5 menit lagi"),
        ] {
            assert_eq!(Language::En.between(at(text), now), en);
            assert_eq!(Language::Id.between(at(text), now), id);
        }
    }

    #[test]
    fn thousands_are_marked() {
        for (number, en, id) in [
            (0, "0", "0"),
            (999, "999", "999"),
            (1_000, "1,000", "1.000"),
            (-1_234_567, "-1,234,567", "-1.234.567"),
        ] {
            assert_eq!(Language::En.number(number), en);
            assert_eq!(Language::Id.number(number), id);
        }
        assert_eq!(Language::En.count(1, "chat", "chats", "percakapan"), "1 chat");
        assert_eq!(Language::En.count(2, "chat", "chats", "percakapan"), "2 chats");
        assert_eq!(
            Language::Id.count(2, "chat", "chats", "percakapan"),
            "2 percakapan"
        );
        assert_eq!(Language::Id.size(3_450_000), "3,4 MB");
        assert_eq!(Language::En.size(12_345), "12 kB");
    }
}
