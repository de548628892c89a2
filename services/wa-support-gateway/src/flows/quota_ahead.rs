//! Sends that are charged before anybody asks for them.
//!
//! A customer that sends without a pause would wait for a commit with each message. What this process is going to be
//! asked for is charged along with what it is asked for, and handed out at once. It is only done for customers that ask
//! again and again, as far as their period has plenty left (`store/quota.rs`), so that nobody is turned away for what
//! another process keeps; and what is not asked for within moments goes back. A process that is killed leaves charged
//! what it kept, as it does with what was on its way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tenant_isolation::TenantScope;

/// Most that is kept for one customer.
const MOST: i64 = 2048;
/// A customer that has not asked for this long does not ask again and again.
const QUICK: Duration = Duration::from_millis(25);
/// How long charges are kept: longer than that a period, or a limit, may have changed.
const KEPT: Duration = Duration::from_secs(1);

/// A number of charges in the period they were made in.
pub(super) type Charges = ((TenantScope, DateTime<Utc>), i64);

/// What is kept, by customer. As large as there are customers that sent within the last moments.
#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<HashMap<TenantScope, Kept>>);

#[derive(Debug)]
struct Kept {
    left: i64,
    period: DateTime<Utc>,
    /// When the last of them were charged.
    since: Instant,
    /// When the customer last asked.
    asked: Instant,
    /// How many were wanted ahead the last time.
    wanted: i64,
    /// More are being charged.
    filling: bool,
}

/// A charge that was at hand.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) period: DateTime<Utc>,
    /// Few are left, and nobody has asked for more yet: the caller has to.
    pub(super) runs_out: bool,
}

impl Ahead {
    /// One of the customer's charges, if there is one.
    pub(super) fn take(&self, scope: &TenantScope, now: Instant) -> Option<Taken> {
        let mut all = self.lock();
        let kept = all.get_mut(scope)?;
        if kept.left == 0 || now.duration_since(kept.since) >= KEPT {
            return None;
        }
        kept.left -= 1;
        kept.asked = now;
        let runs_out = !kept.filling && kept.left <= kept.wanted / 2;
        kept.filling |= runs_out;
        Some(Taken {
            period: kept.period,
            runs_out,
        })
    }

    /// How many to charge ahead, now that so many are asked for and have to wait.
    pub(super) fn wanted(&self, scope: &TenantScope, waiting: i64, now: Instant) -> i64 {
        let mut all = self.lock();
        let Some(kept) = all.get_mut(scope) else {
            let first = Kept {
                left: 0,
                period: DateTime::default(),
                since: now,
                asked: now,
                wanted: 0,
                filling: false,
            };
            all.insert(scope.clone(), first);
            return 0;
        };
        kept.wanted = if now.duration_since(kept.asked) <= QUICK {
            (kept.wanted.max(waiting) * 2).min(MOST)
        } else {
            0
        };
        kept.asked = now;
        kept.wanted
    }

    /// Keeps what was charged ahead. Returns what was kept of another period, or for too long.
    pub(super) fn keep(
        &self,
        scope: &TenantScope,
        count: i64,
        period: DateTime<Utc>,
        now: Instant,
    ) -> Option<Charges> {
        let mut all = self.lock();
        let kept = all.entry(scope.clone()).or_insert(Kept {
            left: 0,
            period,
            since: now,
            asked: now,
            wanted: 0,
            filling: false,
        });
        kept.filling = false;
        // Whoever gets less than it wants does not ask for the rest as long as it has what it got.
        kept.wanted = kept.wanted.min(count);
        let old = (kept.period, kept.left);
        let goes_on = kept.left > 0 && kept.period == period && now.duration_since(kept.since) < KEPT;
        kept.since = now;
        if goes_on {
            // Those at hand are used up before the ones that come now.
            kept.left += count;
            return None;
        }
        (kept.left, kept.period) = (count, period);
        (old.1 > 0).then(|| ((scope.clone(), old.0), old.1))
    }

    /// Nothing could be charged for the customer: whoever runs out asks again.
    pub(super) fn not_filled(&self, scope: &TenantScope) {
        if let Some(kept) = self.lock().get_mut(scope) {
            kept.filling = false;
        }
    }

    /// Takes what nobody has asked for lately out, to be given back.
    pub(super) fn stale(&self, now: Instant) -> Vec<Charges> {
        let mut back = Vec::new();
        self.lock().retain(|scope, kept| {
            let stays = now.duration_since(kept.asked) <= QUICK && now.duration_since(kept.since) < KEPT;
            if !stays && kept.left > 0 {
                back.push(((scope.clone(), kept.period), kept.left));
            }
            stays
        });
        back
    }

    /// Takes everything out.
    pub(super) fn all(&self) -> Vec<Charges> {
        let all = std::mem::take(&mut *self.lock());
        let left = all.into_iter().filter(|(_, kept)| kept.left > 0);
        left.map(|(scope, kept)| ((scope, kept.period), kept.left))
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantScope, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(5);

    fn desa() -> TenantScope {
        TenantScope::named_by_operator("desa-a".parse().unwrap())
    }

    fn period(number: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(number, 0).unwrap()
    }

    #[test]
    fn only_whoever_asks_again_and_again_is_charged_ahead_and_more_each_time() {
        let (ahead, desa, start) = (Ahead::default(), desa(), Instant::now());
        assert_eq!(ahead.wanted(&desa, 1, start), 0);
        let asked: Vec<i64> = (1..=12)
            .map(|n| ahead.wanted(&desa, 1, start + STEP * n))
            .collect();
        assert_eq!(asked, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, MOST, MOST]);
        let later = start + STEP * 12 + QUICK + STEP;
        assert_eq!(ahead.wanted(&desa, 1, later), 0, "a pause ends it");
    }

    #[test]
    fn what_is_kept_is_handed_out_once_and_more_is_asked_for_by_one_before_it_runs_out() {
        let (ahead, desa, start) = (Ahead::default(), desa(), Instant::now());
        ahead.wanted(&desa, 2, start);
        assert_eq!(ahead.wanted(&desa, 2, start), 4);
        assert_eq!(ahead.keep(&desa, 4, period(1), start), None);
        let taken: Vec<Option<bool>> = (0..5)
            .map(|_| ahead.take(&desa, start).map(|taken| taken.runs_out))
            .collect();
        assert_eq!(taken, [Some(false), Some(true), Some(false), Some(false), None]);
        ahead.keep(&desa, 8, period(1), start);
        assert!(ahead.take(&desa, start).is_some());
        assert_eq!(ahead.take(&desa, start + KEPT), None, "kept for too long");
    }

    #[test]
    fn who_gets_little_ahead_does_not_gather_much() {
        let (ahead, desa, now) = (Ahead::default(), desa(), Instant::now());
        let mut kept: i64 = 0;
        for _ in 0..200 {
            let taken = ahead.take(&desa, now);
            kept -= i64::from(taken.is_some());
            if taken.is_none_or(|taken| taken.runs_out) {
                // However many are wanted, five are given.
                let given = ahead.wanted(&desa, 1, now).min(5);
                ahead.keep(&desa, given, period(1), now);
                kept += given;
            }
            assert!(kept <= 7, "{kept} are kept");
        }
    }

    #[test]
    fn what_nobody_asks_for_and_what_is_of_an_old_period_goes_back() {
        let (ahead, desa, start) = (Ahead::default(), desa(), Instant::now());
        ahead.keep(&desa, 3, period(1), start);
        let back = ahead.keep(&desa, 5, period(2), start);
        assert_eq!(back, Some(((desa.clone(), period(1)), 3)));
        assert_eq!(ahead.stale(start + STEP), []);
        let gone = [((desa.clone(), period(2)), 5)];
        assert_eq!(ahead.stale(start + QUICK + STEP), gone);
        assert!(ahead.is_empty());
        ahead.keep(&desa, 5, period(2), start);
        assert_eq!(ahead.all(), gone);
        assert!(ahead.is_empty());
    }
}
