//! Lanes whose head the broker would not take: left out for a while, so that they hold up nobody else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Pause after the first refusal; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How often `FIRST_PAUSE` is doubled at most.
const DOUBLINGS: u32 = 3;
/// A lane that was not met again for so long is empty: somebody else published it.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// A lane as one text. Tenant ids hold no blanks, so no two lanes share one.
pub(super) fn lane_key(tenant: &str, lane: &str) -> String {
    format!("{tenant} {lane}")
}

/// What is known of the refused lanes. At most a batch of them is added in a pass.
#[derive(Debug, Default)]
pub(super) struct RefusedLanes(HashMap<String, Refused>);

#[derive(Debug)]
struct Refused {
    until: Instant,
    times: u32,
    seq: i64,
    /// Exchanges that did take their publication of the row; asking again publishes only the rest.
    taken_by: Vec<String>,
}

impl RefusedLanes {
    /// The lanes that wait at present.
    pub(super) fn waiting(&mut self) -> Vec<String> {
        let now = Instant::now();
        self.0.retain(|_, refused| refused.until + FORGET_AFTER > now);
        self.0
            .iter()
            .filter(|(_, refused)| refused.until > now)
            .map(|(lane, _)| lane.clone())
            .collect()
    }

    /// Did this exchange take its publication of the row at an earlier attempt?
    pub(super) fn was_taken(&self, lane: &str, seq: i64, exchange: &str) -> bool {
        self.0.get(lane).is_some_and(|refused| {
            refused.seq == seq && refused.taken_by.iter().any(|taken| taken == exchange)
        })
    }

    /// The row at the lane's head was refused by at least one exchange; `taken_by` are the others.
    pub(super) fn refuse(&mut self, lane: &str, seq: i64, taken_by: Vec<String>) {
        let now = Instant::now();
        let refused = self.0.entry(lane.to_owned()).or_insert(Refused {
            until: now,
            times: 0,
            seq,
            taken_by: Vec::new(),
        });
        if refused.seq != seq {
            (refused.seq, refused.times) = (seq, 0);
            refused.taken_by.clear();
        }
        refused.until = now + FIRST_PAUSE * 2u32.pow(refused.times.min(DOUBLINGS));
        refused.times += 1;
        refused.taken_by.extend(taken_by);
    }

    /// The lane goes on.
    pub(super) fn accept(&mut self, lane: &str) {
        self.0.remove(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_lane_waits_and_remembers_who_took_its_row() {
        let mut lanes = RefusedLanes::default();
        let lane = lane_key("tenant", "chat");
        lanes.refuse(&lane, 7, vec!["first".to_owned()]);
        assert_eq!(lanes.waiting(), std::slice::from_ref(&lane));
        assert!(lanes.was_taken(&lane, 7, "first"));
        assert!(!lanes.was_taken(&lane, 7, "second"));
        assert!(!lanes.was_taken(&lane, 8, "first"), "that is another row");
        lanes.refuse(&lane, 8, Vec::new());
        assert!(!lanes.was_taken(&lane, 7, "first"));
        lanes.accept(&lane);
        assert!(lanes.waiting().is_empty());
    }
}
