//! Numbers over time for plots: throughput, latency and failures of one tenant or of all, and how endpoints were.

use chrono::{DateTime, TimeDelta, Utc};
use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use crate::store::endpoint_history::{self, Episode};
use crate::store::traffic::{self, Grain, TrafficRow};
use crate::traffic::Counts;

/// How far a picture looks back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Range {
    /// An hour, by the minute.
    Hour,
    /// A day, by the quarter of an hour.
    #[default]
    Day,
    /// Seven days, by three hours.
    Week,
    /// Thirty days, by half days.
    Month,
}

impl Range {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// The name in addresses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.as_str() == text)
    }

    const fn grain(self) -> Grain {
        match self {
            Self::Hour | Self::Day => Grain::Minute,
            Self::Week | Self::Month => Grain::Hour,
        }
    }

    /// The length of a bucket in seconds, and how many there are.
    const fn buckets(self) -> (i64, usize) {
        match self {
            Self::Hour => (60, 60),
            Self::Day => (15 * 60, 96),
            Self::Week => (3 * 3_600, 56),
            Self::Month => (12 * 3_600, 60),
        }
    }

    /// The buckets that end with the one that `now` is in: where the first begins, and where the last ends.
    fn around(self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let (step, many) = self.buckets();
        // By the clock of western Indonesia, so that half a day is a morning or an evening.
        let local = now.timestamp() + AHEAD;
        let until = (local.div_euclid(step) + 1) * step - AHEAD;
        let until = DateTime::from_timestamp(until, 0).unwrap_or(now);
        let length = step.saturating_mul(i64::try_from(many).unwrap_or(0));
        (until - TimeDelta::seconds(length), until)
    }
}

/// By how much western Indonesia is ahead of UTC.
const AHEAD: i64 = 7 * 3_600;

/// Numbers over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Where the first bucket begins.
    pub from: DateTime<Utc>,
    /// Where the last one ends.
    pub until: DateTime<Utc>,
    /// The buckets, all of one length. `None`: from before anything was counted.
    pub buckets: Vec<Option<Counts>>,
}

impl Picture {
    fn of(range: Range, now: DateTime<Utc>, rows: &[TrafficRow]) -> Self {
        let (from, until) = range.around(now);
        let (step, many) = range.buckets();
        let mut buckets = vec![None; many];
        let bucket = |at: DateTime<Utc>| (at - from).num_seconds().div_euclid(step);
        // From the first number on, nothing counted is nothing there.
        let first = rows.iter().map(|row| bucket(row.at)).min();
        for (number, place) in (0_i64..).zip(&mut buckets) {
            if first.is_some_and(|first| first <= number) {
                *place = Some(Counts::default());
            }
        }
        for row in rows {
            let place = usize::try_from(bucket(row.at)).ok();
            if let Some(Some(counts)) = place.and_then(|place| buckets.get_mut(place)) {
                counts.add(&row.counts);
            }
        }
        Self { from, until, buckets }
    }

    /// Everything in it together.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.buckets.iter().flatten().for_each(|counts| total.add(counts));
        total
    }
}

/// A tenant's numbers.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_tenant(db: &Database, scope: &TenantScope, range: Range) -> Result<Picture, DatabaseError> {
    let now = Utc::now();
    let mut tx = TenantTransaction::begin(db, scope, "show traffic").await?;
    let rows = traffic::of_tenant(&mut tx, range.grain(), range.around(now).0).await?;
    tx.commit().await?;
    Ok(Picture::of(range, now, &rows))
}

/// Everybody's numbers together.
///
/// # Errors
/// [`DatabaseError`].
pub async fn overall(db: &Database, range: Range) -> Result<Picture, DatabaseError> {
    let now = Utc::now();
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("show traffic")).await?;
    let rows = traffic::overall(&mut tx, range.grain(), range.around(now).0).await?;
    tx.commit().await?;
    Ok(Picture::of(range, now, &rows))
}

/// Most episodes of one endpoint that are shown.
const MOST_EPISODES: i64 = 300;

/// How endpoints were over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPicture {
    /// Where it begins.
    pub from: DateTime<Utc>,
    /// Where it ends.
    pub until: DateTime<Utc>,
    /// The episodes of all of them, each endpoint's from the oldest on.
    pub episodes: Vec<Episode>,
}

/// How these endpoints were over time.
///
/// # Errors
/// [`DatabaseError`].
pub async fn health(db: &Database, endpoints: &[&str], range: Range) -> Result<HealthPicture, DatabaseError> {
    let until = Utc::now();
    let (step, many) = range.buckets();
    let from = until - TimeDelta::seconds(step.saturating_mul(i64::try_from(many).unwrap_or(0)));
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("show endpoint health")).await?;
    let episodes = endpoint_history::episodes(&mut tx, endpoints, from, MOST_EPISODES).await?;
    tx.commit().await?;
    Ok(HealthPicture {
        from,
        until,
        episodes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::Counted;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn row(time: &str, sent: u64) -> TrafficRow {
        let mut counts = Counts::default();
        counts.count(Counted::Sent, sent);
        TrafficRow { at: at(time), counts }
    }

    #[test]
    fn buckets_follow_the_clock_and_end_with_the_one_that_is() {
        let now = at("2026-11-29T00:07:30Z");
        assert_eq!(
            Range::Hour.around(now),
            (at("2026-11-28T23:08:00Z"), at("2026-11-29T00:08:00Z"))
        );
        assert_eq!(
            Range::Month.around(now),
            (at("2026-10-30T05:00:00Z"), at("2026-11-29T05:00:00Z")),
            "noon in Jakarta"
        );
        for range in Range::ALL {
            assert_eq!(Range::parse(range.as_str()), Some(range));
        }
        assert_eq!(Range::parse("1y"), None);
    }

    #[test]
    fn before_the_first_number_nothing_is_known_and_after_it_nothing_is_zero() {
        let now = at("2026-11-29T00:07:30Z");
        let rows = [row("2026-11-28T23:10:00Z", 2), row("2026-11-28T23:12:00Z", 3)];
        let picture = Picture::of(Range::Hour, now, &rows);
        let sent: Vec<Option<u64>> = picture
            .buckets
            .iter()
            .map(|counts| counts.map(|counts| counts.of(Counted::Sent)))
            .collect();
        assert_eq!(sent.len(), 60);
        assert_eq!(sent[..6], [None, None, Some(2), Some(0), Some(3), Some(0)]);
        assert_eq!(picture.total().of(Counted::Sent), 5);
        // A number from before says that it was counted all the time.
        let picture = Picture::of(Range::Hour, now, &[row("2026-11-28T09:00:00Z", 7)]);
        assert!(picture.buckets.iter().all(Option::is_some));
        assert_eq!(picture.total().of(Counted::Sent), 0);
        assert!(
            Picture::of(Range::Day, now, &[])
                .buckets
                .iter()
                .all(Option::is_none)
        );
    }
}
