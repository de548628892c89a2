//! What went through, counted: the numbers that plots are drawn from.
//!
//! Whoever commits a message or its status says so here, which costs a lock and an addition. Every few seconds
//! [`Traffic::take`] gives out what was counted, and a worker adds it to the tables. A process that dies takes with it what it
//! counted since: plots may lack some seconds of one process, and no message depends on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::DeliveryStatus;
use domain::ids::TenantId;
use tokio::sync::Notify;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// A person's message was kept.
    Received,
    /// A provider took a message of ours.
    Sent,
    /// It is on the phone.
    Delivered,
    /// It was read.
    Read,
    /// It was refused for good.
    Failed,
    /// It waits for people.
    Parked,
    /// Nobody knows whether it went out.
    Unknown,
}

impl Counted {
    /// All of them, in the order of [`Counts::of`].
    pub const ALL: [Self; 7] = [
        Self::Received,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Parked,
        Self::Unknown,
    ];

    /// As what a message counts that came to stand there. `None`: that is none of its ends.
    #[must_use]
    pub const fn of(status: DeliveryStatus) -> Option<Self> {
        match status {
            DeliveryStatus::Queued => None,
            DeliveryStatus::Sent => Some(Self::Sent),
            DeliveryStatus::Delivered => Some(Self::Delivered),
            DeliveryStatus::Read => Some(Self::Read),
            DeliveryStatus::Failed => Some(Self::Failed),
            DeliveryStatus::Parked => Some(Self::Parked),
            DeliveryStatus::Unknown => Some(Self::Unknown),
        }
    }
}

/// The classes of latencies: the longest of each, in milliseconds. One more has what is longer than all.
pub const CLASSES: [u64; 14] = [
    50, 100, 200, 350, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000,
];

/// Numbers of one length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    numbers: [u64; Counted::ALL.len()],
    latency: [u64; CLASSES.len() + 1],
}

impl Counts {
    /// From what a table holds; what is missing is zero.
    #[must_use]
    pub fn new(numbers: [u64; Counted::ALL.len()], latency: &[u64]) -> Self {
        let mut counts = Self {
            numbers,
            ..Self::default()
        };
        for (class, number) in counts.latency.iter_mut().zip(latency) {
            *class = *number;
        }
        counts
    }

    /// How many.
    #[must_use]
    pub const fn of(&self, counted: Counted) -> u64 {
        self.numbers[counted as usize]
    }

    /// All of them, in the order of [`Counted::ALL`].
    #[must_use]
    pub const fn numbers(&self) -> &[u64; Counted::ALL.len()] {
        &self.numbers
    }

    /// Sends by the class of their latency.
    #[must_use]
    pub fn latency(&self) -> &[u64] {
        &self.latency
    }

    /// Counts `many` more.
    pub const fn count(&mut self, counted: Counted, many: u64) {
        let number = &mut self.numbers[counted as usize];
        *number = number.saturating_add(many);
    }

    /// Counts one send that took so long.
    pub fn took(&mut self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let class = CLASSES.iter().take_while(|longest| **longest < ms).count();
        if let Some(number) = self.latency.get_mut(class) {
            *number = number.saturating_add(1);
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        let pairs = self.numbers.iter_mut().zip(other.numbers);
        for (mine, theirs) in pairs.chain(self.latency.iter_mut().zip(other.latency)) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// The latency that this share of the sends did not pass, in milliseconds: as near as the classes tell, evenly spread
    /// within each. `None`: nothing was sent.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.latency.iter().fold(0, |sum, one| sum.saturating_add(*one));
        if all == 0 {
            return None;
        }
        let wanted = exact(all) * share.clamp(0.0, 1.0);
        let (mut before, mut shortest) = (0.0, 0.0);
        for (number, longest) in self.latency.iter().zip(CLASSES) {
            let (number, longest) = (exact(*number), exact(longest));
            if number > 0.0 && before + number >= wanted {
                return Some(shortest + (longest - shortest) * ((wanted - before) / number).clamp(0.0, 1.0));
            }
            before += number;
            shortest = longest;
        }
        // Longer than all classes: how much is not known.
        Some(shortest)
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 messages in a month")]
const fn exact(number: u64) -> f64 {
    number as f64
}

/// What one process counted of one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minute {
    /// Whose. `None`: everybody's together.
    pub tenant: Option<TenantId>,
    /// When it began, in minutes since 1970.
    pub minute: i64,
    /// The numbers.
    pub counts: Counts,
}

/// Most minutes of tenants that are held at once: some ten megabytes. What goes beyond is counted for all tenants together
/// and not for its own.
const MOST: usize = 50_000;
/// So many are reason to write them down at once.
const MANY: usize = 5_000;

/// Counts what goes through. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counted: Mutex<HashMap<(Option<TenantId>, i64), Counts>>,
    many: Notify,
}

impl Traffic {
    /// So many messages of the tenant came to this.
    pub fn count(&self, tenant: &TenantId, counted: Counted, many: usize) {
        if many > 0 {
            let many = u64::try_from(many).unwrap_or(u64::MAX);
            self.note(tenant, Utc::now(), |counts| counts.count(counted, many));
        }
    }

    /// These messages of the tenant moved to where they stand now.
    pub fn moved(&self, tenant: &TenantId, statuses: impl IntoIterator<Item = DeliveryStatus>) {
        for counted in statuses.into_iter().filter_map(Counted::of) {
            self.count(tenant, counted, 1);
        }
    }

    /// A provider took a message, so long after it was queued. `None`: it has waited for other things than its turn.
    pub fn sent(&self, tenant: &TenantId, queued: Option<DateTime<Utc>>) {
        let now = Utc::now();
        // A clock of another machine may be ahead of ours.
        let took = queued.map(|queued| (now - queued).to_std().unwrap_or_default());
        self.note(tenant, now, |counts| {
            counts.count(Counted::Sent, 1);
            if let Some(took) = took {
                counts.took(took);
            }
        });
    }

    fn note(&self, tenant: &TenantId, at: DateTime<Utc>, change: impl Fn(&mut Counts)) {
        let minute = at.timestamp().div_euclid(60);
        let mut held = self.lock();
        change(held.entry((None, minute)).or_default());
        let key = (Some(tenant.clone()), minute);
        if held.len() >= MOST && !held.contains_key(&key) {
            metrics::counter!("kanal_traffic_left_out_total").increment(1);
            return;
        }
        change(held.entry(key).or_default());
        if held.len() == MANY {
            self.0.many.notify_one();
        }
    }

    /// Gives out what was counted, and begins anew. In the order in which everybody writes it, so that two processes wait for
    /// each other at one place only.
    #[must_use]
    pub fn take(&self) -> Vec<Minute> {
        let held = std::mem::take(&mut *self.lock());
        let mut all: Vec<Minute> = held
            .into_iter()
            .map(|((tenant, minute), counts)| Minute {
                tenant,
                minute,
                counts,
            })
            .collect();
        all.sort_by(|a, b| (&a.tenant, a.minute).cmp(&(&b.tenant, b.minute)));
        all
    }

    /// Was nothing counted since?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes back what could not be written down.
    pub fn put_back(&self, minutes: Vec<Minute>) {
        let mut held = self.lock();
        for minute in minutes {
            let key = (minute.tenant, minute.minute);
            if held.len() < MOST || held.contains_key(&key) {
                held.entry(key).or_default().add(&minute.counts);
            } else {
                metrics::counter!("kanal_traffic_left_out_total").increment(1);
            }
        }
    }

    /// Returns when there is much to write down.
    pub async fn much(&self) {
        self.0.many.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Option<TenantId>, i64), Counts>> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    #[test]
    fn what_is_counted_is_given_out_once_for_its_tenant_and_for_all() {
        let traffic = Traffic::default();
        traffic.count(&tenant("a"), Counted::Received, 3);
        traffic.count(&tenant("a"), Counted::Received, 0);
        traffic.clone().sent(&tenant("b"), Some(Utc::now()));
        traffic.moved(&tenant("b"), [DeliveryStatus::Read, DeliveryStatus::Queued]);
        let sum = |minutes: &[Minute], whose: Option<&str>| {
            let mut sum = Counts::default();
            let of = minutes
                .iter()
                .filter(|one| one.tenant.as_ref().map(TenantId::as_str) == whose);
            of.for_each(|one| sum.add(&one.counts));
            sum
        };
        let taken = traffic.take();
        let (a, b, all) = (sum(&taken, Some("a")), sum(&taken, Some("b")), sum(&taken, None));
        assert_eq!((a.of(Counted::Received), a.of(Counted::Sent)), (3, 0));
        assert_eq!((b.of(Counted::Sent), b.of(Counted::Read)), (1, 1));
        assert_eq!(b.latency().iter().sum::<u64>(), 1);
        let mut both = a;
        both.add(&b);
        assert_eq!(all, both);
        assert!(traffic.take().is_empty());
        traffic.put_back(taken.clone());
        traffic.count(&tenant("a"), Counted::Received, 1);
        assert_eq!(sum(&traffic.take(), Some("a")).of(Counted::Received), 4);
    }

    #[test]
    fn the_map_has_a_bound_and_all_are_counted_beyond_it() {
        let traffic = Traffic::default();
        for number in 0..MOST + 10 {
            traffic.count(&tenant(&format!("t{number}")), Counted::Sent, 1);
        }
        let taken = traffic.take();
        assert!(taken.len() <= MOST);
        let of_all = taken.iter().filter(|one| one.tenant.is_none());
        let all: u64 = of_all.map(|one| one.counts.of(Counted::Sent)).sum();
        assert_eq!(usize::try_from(all).unwrap(), MOST + 10);
    }

    #[test]
    fn quantiles_lie_where_the_classes_say() {
        let mut counts = Counts::default();
        assert_eq!(counts.quantile(0.5), None);
        for ms in [10, 20, 30, 40, 5_000, 9_999_999_999] {
            counts.took(Duration::from_millis(ms));
        }
        let half = counts.quantile(0.5).unwrap();
        assert!((30.0..=50.0).contains(&half), "{half}");
        assert_eq!(counts.quantile(5.0 / 6.0), Some(5_000.0));
        assert_eq!(counts.quantile(1.0), Some(7_200_000.0), "longer than all classes");
        assert_eq!(counts.quantile(f64::INFINITY), Some(7_200_000.0));
        assert_eq!(counts.latency().iter().sum::<u64>(), 6);
    }
}
