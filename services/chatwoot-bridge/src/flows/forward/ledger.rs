//! What is written down beside the events: how each route's fared over time, and where those that are over went. It is
//! gathered in the process and written every few seconds, so that no event waits for it. What a process that dies had not
//! written yet is lost with it, and nothing else depends on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use super::deliver::Finished;
use crate::store::forward_done::{self, DoneEvent};
use crate::store::forward_lanes::Verdict;
use crate::store::route_times::{self, Fared, GRAINS, TimesRow};

/// Most minutes of routes, and most events that are over, that one process gathers between two writings.
const MOST_TIMES: usize = 20_000;
const MOST_DONE: usize = 4_096;
/// Rows of one transaction.
const BATCH: usize = 1_000;

/// The gathering. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    gathered: Arc<Mutex<Gathered>>,
    /// Are events that are over written down?
    with_done: bool,
}

#[derive(Debug, Default)]
struct Gathered {
    /// By route and minute.
    times: HashMap<(Uuid, i64), (TenantId, Fared)>,
    done: Vec<DoneEvent>,
}

impl Ledger {
    /// Nothing is gathered. Events that are over are only counted unless they are to be written down.
    #[must_use]
    pub fn new(with_done: bool) -> Self {
        Self {
            gathered: Arc::default(),
            with_done,
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event was taken from Chatwoot.
    pub(super) fn accepted(&self, tenant: &TenantId, route: Uuid) {
        let now = minute_of(Utc::now());
        self.gathered()
            .count(tenant, route, now, |fared| fared.accepted += 1);
    }

    /// It was written down what became of these.
    pub fn finished(&self, group: &[Finished]) {
        let now = Utc::now();
        let mut gathered = self.gathered();
        for one in group {
            let (tenant, route) = (one.scope.tenant(), one.outcome.lane.route);
            let took = i64::try_from(one.took.as_millis()).unwrap_or(i64::MAX);
            gathered.count(tenant, route, minute_of(now), |fared| {
                match &one.outcome.verdict {
                    Verdict::Delivered => fared.delivered_after(took),
                    Verdict::Retry { .. } => fared.retried += 1,
                    Verdict::Hold { .. } => fared.parked += 1,
                    Verdict::Dropped | Verdict::PutOff { .. } | Verdict::Nothing => {}
                }
            });
            if let Some(done) = one.done(now).filter(|_| self.with_done) {
                gathered.keep(done);
            }
        }
    }

    /// Writes down what was gathered. What cannot be written now is kept for the next time, as far as there is room.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn write(&self, db: &Database) -> Result<(), DatabaseError> {
        let Gathered { times, mut done } = std::mem::take(&mut *self.gathered());
        let mut rows = rows_of(&times);
        let mut failed = None;
        while !rows.is_empty() && failed.is_none() {
            let batch: Vec<TimesRow> = rows.drain(..rows.len().min(BATCH)).collect();
            if let Err(error) = write_times(db, &batch).await {
                failed = Some(error);
            }
        }
        while !done.is_empty() && failed.is_none() {
            let batch: Vec<DoneEvent> = done.drain(..done.len().min(BATCH)).collect();
            if let Err(error) = write_done(db, &batch).await {
                done.splice(0..0, batch);
                failed = Some(error);
            }
        }
        let Some(error) = failed else {
            return Ok(());
        };
        // Counts may be written in part: rather none than some of them twice.
        let mut gathered = self.gathered();
        for one in done {
            gathered.keep(one);
        }
        Err(error)
    }
}

impl Gathered {
    fn count(&mut self, tenant: &TenantId, route: Uuid, minute: i64, add: impl FnOnce(&mut Fared)) {
        let key = (route, minute);
        if self.times.len() >= MOST_TIMES && !self.times.contains_key(&key) {
            metrics::counter!("kanal_bridge_ledger_skipped_total", "what" => "times").increment(1);
            return;
        }
        let (_, fared) = self
            .times
            .entry(key)
            .or_insert_with(|| (tenant.clone(), Fared::default()));
        add(fared);
    }

    fn keep(&mut self, done: DoneEvent) {
        if self.done.len() < MOST_DONE {
            self.done.push(done);
        } else {
            metrics::counter!("kanal_bridge_ledger_skipped_total", "what" => "done").increment(1);
        }
    }
}

fn minute_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(60)
}

/// By the minute and by the hour, in the order of their keys: processes that write at once do not wait for each other in a
/// circle.
fn rows_of(times: &HashMap<(Uuid, i64), (TenantId, Fared)>) -> Vec<TimesRow> {
    let mut sums: BTreeMap<(&TenantId, Uuid, i16, i64), Fared> = BTreeMap::new();
    for ((route, minute), (tenant, fared)) in times {
        for grain in GRAINS {
            let begin = minute - minute.rem_euclid(i64::from(grain));
            sums.entry((tenant, *route, grain, begin)).or_default().add(fared);
        }
    }
    let row = |((tenant, route, grain, minute), fared): ((&TenantId, Uuid, i16, i64), Fared)| {
        // Nothing happened but that something waited.
        let is_something = fared != Fared::default();
        let at = DateTime::from_timestamp(minute * 60, 0).filter(|_| is_something)?;
        Some(TimesRow {
            tenant: tenant.as_str().to_owned(),
            route,
            grain,
            at,
            fared,
        })
    };
    sums.into_iter().filter_map(row).collect()
}

async fn write_times(db: &Database, rows: &[TimesRow]) -> Result<(), DatabaseError> {
    let platform = PlatformScope::for_purpose("write how routes fare");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    route_times::add(&mut tx, rows).await?;
    tx.commit().await
}

async fn write_done(db: &Database, done: &[DoneEvent]) -> Result<(), DatabaseError> {
    let platform = PlatformScope::for_purpose("write down events that are over");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    forward_done::add(&mut tx, done).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_of_one_hour_are_one_row_of_it() {
        let (tenant, route) = (TenantId::parse("desa-a").unwrap(), Uuid::now_v7());
        let mut gathered = Gathered::default();
        for minute in [60, 61, 61, 120] {
            gathered.count(&tenant, route, minute, |fared| fared.accepted += 1);
        }
        gathered.count(&tenant, route, 500, |_| {});
        let rows = rows_of(&gathered.times);
        let counts: Vec<(i16, i64, i64)> = rows
            .iter()
            .map(|row| (row.grain, row.at.timestamp() / 60, row.fared.accepted))
            .collect();
        assert_eq!(
            counts,
            [(1, 60, 1), (1, 61, 2), (1, 120, 1), (60, 60, 3), (60, 120, 1)]
        );
    }

    #[test]
    fn what_is_gathered_has_a_bound() {
        let tenant = TenantId::parse("desa-a").unwrap();
        let mut gathered = Gathered::default();
        for _ in 0..MOST_TIMES + 10 {
            gathered.count(&tenant, Uuid::now_v7(), 0, |fared| fared.accepted += 1);
        }
        assert_eq!(gathered.times.len(), MOST_TIMES);
    }
}
