//! What one process knows of gates by itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Gate, GateRate, MOST_TIMES, ONE_REFUSAL, Passed, Shut, micros};
use crate::keys::CacheKey;

/// The whole of a share.
const WHOLE: u64 = 1_000;
/// What no refusals make smaller.
const LEAST_SHARE: u64 = 50;
/// In so many microseconds a thousandth of the rate comes back: a tenth in a minute.
const RECOVERS_EVERY: u64 = 600_000;
/// Gates at which those that are as if never used are forgotten.
const SWEEP_AT: usize = 10_000;

/// What one process knows of the gates: all there is to know while Redis is away.
pub(super) struct Local {
    born: Instant,
    table: Mutex<Table>,
}

/// The gates that are not as if never used, and some that are.
struct Table {
    gates: HashMap<CacheKey, State>,
    /// So many of them are a reason to look which may be forgotten.
    sweep_at: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            gates: HashMap::new(),
            sweep_at: SWEEP_AT,
        }
    }
}

/// A gate; times are microseconds since the process began.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    full_at: u64,
    share: u64,
    share_at: u64,
    closed_until: u64,
    pub(super) times: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            full_at: 0,
            share: WHOLE,
            share_at: 0,
            closed_until: 0,
            times: 0,
        }
    }
}

impl State {
    fn share(&self, now: u64) -> u64 {
        (self.share + now.saturating_sub(self.share_at) / RECOVERS_EVERY).min(WHOLE)
    }

    fn interval(&self, now: u64, rate: GateRate) -> u64 {
        micros(rate.interval).max(1).saturating_mul(WHOLE) / self.share(now)
    }

    /// The wait, and when the bucket will be full after the caller has passed.
    fn look(&self, now: u64, rate: Option<GateRate>) -> (u64, Option<u64>) {
        let closed = self.closed_until.saturating_sub(now);
        let Some(rate) = rate else { return (closed, None) };
        let interval = self.interval(now, rate);
        let full = self.full_at.max(now);
        let room = interval.saturating_mul(u64::from(rate.burst.get()) - 1);
        let wait = (full - now).saturating_sub(room);
        (wait.max(closed), Some(full.saturating_add(interval)))
    }

    pub(super) fn slow(&mut self, now: u64, rate: GateRate) {
        if self.share < WHOLE && now.saturating_sub(self.share_at) < ONE_REFUSAL {
            return;
        }
        self.share = (self.share(now) / 2).max(LEAST_SHARE);
        self.share_at = now;
        let whole = self
            .interval(now, rate)
            .saturating_mul(u64::from(rate.burst.get()));
        self.full_at = now.saturating_add(whole);
    }

    /// Another one passed, whom Redis let through.
    fn passed(&mut self, now: u64, rate: GateRate) {
        let interval = self.interval(now, rate);
        let empty = now.saturating_add(interval.saturating_mul(u64::from(rate.burst.get())));
        self.full_at = self.full_at.max(now).saturating_add(interval).min(empty);
    }

    pub(super) fn keep_closed(&mut self, now: u64, wait: Duration) {
        self.closed_until = self.closed_until.max(now.saturating_add(micros(wait)));
    }

    pub(super) fn close(&mut self, now: u64, time: Duration, longer: bool) -> Duration {
        let wait = if longer {
            let times = self.times.min(MOST_TIMES);
            self.times = self.times.saturating_add(1);
            time.saturating_mul(4_u32.pow(times))
        } else {
            time
        };
        self.keep_closed(now, wait);
        wait
    }

    fn is_as_new(&self, now: u64) -> bool {
        self.full_at <= now && self.closed_until <= now && self.times == 0 && self.share(now) == WHOLE
    }
}

impl Local {
    /// A process that knows of no gate.
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            table: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        micros(self.born.elapsed())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Table, u64) -> T) -> T {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        table.sweep(now);
        act(&mut table, now)
    }

    pub(super) fn pass(&self, gates: &[Gate]) -> Result<Passed, Shut> {
        self.with(|table, now| pass(&mut table.gates, now, gates))
    }

    pub(super) fn closed(&self, gates: &[Gate]) -> Option<Shut> {
        self.with(|table, now| closed(&table.gates, now, gates))
    }

    pub(super) fn passed(&self, gates: &[Gate], was_closed: bool) {
        self.with(|table, now| passed(&mut table.gates, now, gates, was_closed));
    }

    pub(super) fn change<T>(&self, key: &CacheKey, change: impl FnOnce(&mut State, u64) -> T) -> T {
        self.with(|table, now| change(table.gates.entry(key.clone()).or_default(), now))
    }
}

impl Table {
    fn sweep(&mut self, now: u64) {
        if self.gates.len() >= self.sweep_at {
            self.gates.retain(|_, gate| !gate.is_as_new(now));
            // So many in use are not looked through each time.
            self.sweep_at = (2 * self.gates.len()).max(SWEEP_AT);
        }
    }
}

/// Others may be at the same gates, and nobody can tell how many.
fn halved(rate: GateRate) -> GateRate {
    GateRate {
        interval: rate.interval.saturating_mul(2),
        ..rate
    }
}

/// The gate that is known to be closed longest.
fn closed(table: &HashMap<CacheKey, State>, now: u64, gates: &[Gate]) -> Option<Shut> {
    let waits = gates.iter().enumerate().filter_map(|(position, gate)| {
        let wait = table.get(&gate.key)?.closed_until.saturating_sub(now);
        (wait > 0).then_some((wait, position))
    });
    let (wait, gate) = waits.max_by_key(|(wait, _)| *wait)?;
    Some(Shut {
        gate,
        wait: Duration::from_micros(wait),
    })
}

/// Redis let somebody through all of these.
fn passed(table: &mut HashMap<CacheKey, State>, now: u64, gates: &[Gate], was_closed: bool) {
    for gate in gates {
        if let Some(rate) = gate.rate {
            let state = table.entry(gate.key.clone()).or_default();
            state.passed(now, halved(rate));
        }
        if !was_closed && let Some(state) = table.get_mut(&gate.key) {
            state.times = 0;
        }
    }
}

fn pass(table: &mut HashMap<CacheKey, State>, now: u64, gates: &[Gate]) -> Result<Passed, Shut> {
    let (mut worst, mut was_closed, mut passed) = (None, false, Vec::with_capacity(gates.len()));
    for (position, gate) in gates.iter().enumerate() {
        let state = table.get(&gate.key).copied().unwrap_or_default();
        was_closed |= state.times > 0;
        let (wait, full_at) = state.look(now, gate.rate.map(halved));
        if wait > 0 && worst.is_none_or(|(_, longest)| wait > longest) {
            worst = Some((position, wait));
        }
        passed.push(full_at);
    }
    if let Some((gate, wait)) = worst {
        return Err(Shut {
            gate,
            wait: Duration::from_micros(wait),
        });
    }
    for (gate, full_at) in gates.iter().zip(passed) {
        if let Some(full_at) = full_at {
            table.entry(gate.key.clone()).or_default().full_at = full_at;
        }
    }
    Ok(Passed { was_closed })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::times_for;
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn rate(interval_ms: u64, burst: u32) -> GateRate {
        GateRate {
            interval: Duration::from_millis(interval_ms),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    fn gate(name: &str, rate: Option<GateRate>) -> Gate {
        Gate {
            key: CacheKey::of_endpoint("gate", name),
            rate,
        }
    }

    /// How many pass one after the other at this moment.
    fn run(table: &mut HashMap<CacheKey, State>, now: u64, gates: &[Gate]) -> usize {
        std::iter::repeat_with(|| pass(table, now, gates))
            .take_while(Result::is_ok)
            .count()
    }

    #[test]
    fn a_gate_that_is_shut_costs_no_token_of_another() {
        let mut table = HashMap::new();
        let gates = [
            gate("number", Some(rate(10, 100))),
            gate("pair", Some(rate(3_000, 2))),
        ];
        assert_eq!(run(&mut table, 0, &gates), 2);
        let shut = pass(&mut table, 0, &gates).unwrap_err();
        assert_eq!(
            (shut.gate, shut.wait),
            (1, Duration::from_secs(6)),
            "alone it is half as fast"
        );
        for _ in 0..500 {
            pass(&mut table, 0, &gates).unwrap_err();
        }
        assert_eq!(run(&mut table, 0, &gates[..1]), 98);
    }

    #[test]
    fn a_refusal_empties_and_halves_and_ten_minutes_later_all_is_as_before() {
        let (mut state, rate) = (State::default(), rate(10, 50));
        state.slow(0, rate);
        assert_eq!(state.share(0), 500);
        assert_eq!(
            state.look(0, Some(rate)).0,
            20_000,
            "the next token, at half the rate"
        );
        state.slow(SECOND / 2, rate);
        assert_eq!(state.share(SECOND / 2), 500, "it was the same refusal");
        state.slow(2 * SECOND, rate);
        assert_eq!(state.share(2 * SECOND), 251);
        assert_eq!(state.share(62 * SECOND), 351, "a tenth in a minute");
        assert_eq!(state.share(602 * SECOND), WHOLE);
        for second in 0..100 {
            state.slow((1_000 + 2 * second) * SECOND, rate);
        }
        assert_eq!(state.share, LEAST_SHARE);
    }

    #[test]
    fn a_gate_is_closed_four_times_as_long_each_time_until_it_is_opened() {
        let mut state = State::default();
        let unit = Duration::from_secs(1);
        let waits: Vec<u64> = (0..8).map(|_| state.close(0, unit, true).as_secs()).collect();
        assert_eq!(waits, [1, 4, 16, 64, 256, 1_024, 1_024, 1_024]);
        assert_eq!(state.look(0, None).0, 1_024 * SECOND);
        state.times = 0;
        assert_eq!(state.close(2_000 * SECOND, unit, true), unit);
    }

    #[test]
    fn gates_that_are_as_new_are_forgotten() {
        let mut table = Table::default();
        for nth in 0..SWEEP_AT {
            let gates = [gate(&nth.to_string(), Some(rate(1, 1)))];
            pass(&mut table.gates, 0, &gates).unwrap();
        }
        table.sweep(0);
        assert_eq!((table.gates.len(), table.sweep_at), (SWEEP_AT, 2 * SWEEP_AT));
        table.sweep(SECOND);
        assert_eq!(table.gates.len(), SWEEP_AT, "there is room yet");
        table.sweep_at = SWEEP_AT;
        table.sweep(SECOND);
        assert_eq!((table.gates.len(), table.sweep_at), (0, SWEEP_AT));
    }

    #[test]
    fn what_went_through_before_counts_when_the_process_is_alone() {
        let mut table = HashMap::new();
        let gates = [
            gate("number", Some(rate(10, 100))),
            gate("pair", Some(rate(6_000, 45))),
            gate("app", None),
        ];
        for _ in 0..30 {
            passed(&mut table, 0, &gates, false);
        }
        assert_eq!(run(&mut table, 0, &gates), 15, "of forty-five");
        for _ in 0..1_000 {
            passed(&mut table, 0, &gates, false);
        }
        let shut = pass(&mut table, 0, &gates).unwrap_err();
        assert_eq!(
            (shut.gate, shut.wait),
            (1, Duration::from_secs(12)),
            "never emptier than empty"
        );
    }

    #[test]
    fn what_was_seen_closed_is_closed_and_the_longest_wait_counts() {
        let mut table: HashMap<CacheKey, State> = HashMap::new();
        let gates = [gate("pair", Some(rate(1, 45))), gate("app", None)];
        assert_eq!(closed(&table, 0, &gates), None);
        for (gate, seconds) in gates.iter().zip([3, 60]) {
            let state = table.entry(gate.key.clone()).or_default();
            state.keep_closed(0, Duration::from_secs(seconds));
            state.keep_closed(0, Duration::from_secs(1));
        }
        let longest = closed(&table, 0, &gates).unwrap();
        assert_eq!((longest.gate, longest.wait), (1, Duration::from_secs(60)));
        assert_eq!(pass(&mut table, 0, &gates), Err(longest));
        assert_eq!(closed(&table, 10 * SECOND, &gates[..1]), None);
    }

    #[test]
    fn how_often_a_gate_was_closed_is_told_by_how_long_it_is() {
        let unit = Duration::from_millis(300);
        let mut state = State::default();
        for nth in 1..=6 {
            let wait = state.close(0, unit, true);
            assert_eq!(times_for(unit, wait), nth);
        }
        assert_eq!(times_for(unit, Duration::ZERO), 1);
        assert_eq!(times_for(unit, Duration::MAX), MOST_TIMES + 1);
    }
}
