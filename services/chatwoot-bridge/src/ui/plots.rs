//! How a route's events fared, as pictures.

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use console::Language;
use console::plot::{self, Series, Span, Tone, Unit, Words};

use crate::store::route_times::Fared;

/// Times are written as people in western Indonesia read them.
const HOURS_AHEAD: i32 = 7;

/// Which stretch of time is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Hours,
    TwoDays,
    Weeks,
    Quarter,
}

impl Period {
    const ALL: [Self; 4] = [Self::Hours, Self::TwoDays, Self::Weeks, Self::Quarter];

    pub(super) fn of(word: Option<&str>) -> Self {
        let found = Self::ALL.into_iter().find(|period| Some(period.word()) == word);
        found.unwrap_or(Self::Hours)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Hours => "3h",
            Self::TwoDays => "48h",
            Self::Weeks => "14d",
            Self::Quarter => "90d",
        }
    }

    /// Its length, and that of a point in the picture, in minutes.
    const fn minutes(self) -> (i64, i64) {
        match self {
            Self::Hours => (180, 1),
            Self::TwoDays => (48 * 60, 15),
            Self::Weeks => (14 * 24 * 60, 60),
            Self::Quarter => (90 * 24 * 60, 6 * 60),
        }
    }

    /// By the minute, or by the hour.
    pub(super) const fn grain(self) -> i16 {
        match self {
            Self::Hours | Self::TwoDays => 1,
            Self::Weeks | Self::Quarter => 60,
        }
    }

    fn end(self) -> DateTime<Utc> {
        let seconds = self.minutes().1 * 60;
        let now = Utc::now().timestamp();
        DateTime::from_timestamp((now.div_euclid(seconds) + 1) * seconds, 0).unwrap_or_else(Utc::now)
    }

    pub(super) fn since(self) -> DateTime<Utc> {
        self.end() - TimeDelta::minutes(self.minutes().0)
    }

    /// Every period for the switch: its word, its name, and whether it is this one.
    pub(super) fn choices(&self, l: &Language) -> Vec<(&'static str, &'static str, bool)> {
        let name = |period: Self| match period {
            Self::Hours => l.t("3 hours", "3 jam"),
            Self::TwoDays => l.t("2 days", "2 hari"),
            Self::Weeks => l.t("2 weeks", "2 minggu"),
            Self::Quarter => l.t("90 days", "90 hari"),
        };
        Self::ALL
            .into_iter()
            .map(|period| (period.word(), name(period), period == *self))
            .collect()
    }
}

/// The pictures of one route.
pub(super) fn of_route(l: Language, period: Period, fared: &[(DateTime<Utc>, Fared)]) -> Vec<String> {
    let (length, step) = period.minutes();
    let until = period.end();
    let from = until - TimeDelta::minutes(length);
    let count = usize::try_from(length / step).unwrap_or_default();
    let mut points = vec![Fared::default(); count];
    for (at, one) in fared {
        let place = (*at - from).num_minutes().div_euclid(step);
        if let Some(point) = usize::try_from(place)
            .ok()
            .and_then(|place| points.get_mut(place))
        {
            point.add(one);
        }
    }
    let Some(zone) = FixedOffset::east_opt(HOURS_AHEAD * 3600) else {
        return Vec::new();
    };
    let span = Span { from, until, zone };
    let is_something = fared.iter().any(|(_, one)| *one != Fared::default());
    let series = |name, tone, of: fn(&Fared) -> Option<i64>| Series {
        name,
        tone,
        values: points
            .iter()
            .map(|point| of(point).filter(|_| is_something).map(|n| n as f64))
            .collect(),
    };
    let sums = points.iter().fold(Fared::default(), |mut sum, point| {
        sum.add(point);
        sum
    });
    let told = match l {
        Language::En => format!(
            "{} accepted, {} delivered, {} failed tries, {} put aside",
            l.number(sums.accepted),
            l.number(sums.delivered),
            l.number(sums.retried),
            l.number(sums.parked)
        ),
        Language::Id => format!(
            "{} diterima, {} terkirim, {} percobaan gagal, {} disisihkan",
            l.number(sums.accepted),
            l.number(sums.delivered),
            l.number(sums.retried),
            l.number(sums.parked)
        ),
    };
    let events = plot::lines(
        l,
        Words {
            id: "events",
            title: l.t("Events", "Peristiwa"),
            description: &told,
        },
        span,
        Unit::Count,
        &[
            series(l.t("Accepted", "Diterima"), Tone::One, |point| {
                Some(point.accepted)
            }),
            series(l.t("Delivered", "Terkirim"), Tone::Ok, |point| {
                Some(point.delivered)
            }),
            series(l.t("Failed tries", "Percobaan gagal"), Tone::Warn, |point| {
                Some(point.retried)
            }),
            series(l.t("Put aside", "Disisihkan"), Tone::Bad, |point| {
                Some(point.parked)
            }),
        ],
    );
    let latency = plot::lines(
        l,
        Words {
            id: "latency",
            title: l.t("From Chatwoot to the target", "Dari Chatwoot sampai ke tujuan"),
            description: l.t(
                "Within how long half of the events, and 95 of 100, were delivered",
                "Dalam berapa lama separuh peristiwa, dan 95 dari 100, terkirim",
            ),
        },
        span,
        Unit::Milliseconds,
        &[
            series(l.t("Half within", "Separuh dalam"), Tone::One, |point| {
                point.within(0.5)
            }),
            series(l.t("95 of 100 within", "95 dari 100 dalam"), Tone::Two, |point| {
                point.within(0.95)
            }),
        ],
    );
    vec![events, latency]
}
