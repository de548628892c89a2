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

    /// The row at the lane's head was refused.
    pub(super) fn refuse(&mut self, lane: &str, seq: i64) {
        let now = Instant::now();
        let refused = self.0.entry(lane.to_owned()).or_insert(Refused {
            until: now,
            times: 0,
            seq,
        });
        if refused.seq != seq {
            (refused.seq, refused.times) = (seq, 0);
        }
        refused.until = now + FIRST_PAUSE * 2u32.pow(refused.times.min(DOUBLINGS));
        refused.times += 1;
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
    fn a_refused_lane_waits_longer_each_time_until_it_goes_on() {
        let mut lanes = RefusedLanes::default();
        let lane = lane_key("tenant", "chat");
        let wait = |lanes: &RefusedLanes| lanes.0[&lane].until - Instant::now();
        lanes.refuse(&lane, 7);
        assert_eq!(lanes.waiting(), std::slice::from_ref(&lane));
        assert!(wait(&lanes) <= FIRST_PAUSE);
        lanes.refuse(&lane, 7);
        assert!(wait(&lanes) > FIRST_PAUSE);
        lanes.refuse(&lane, 8);
        assert!(wait(&lanes) <= FIRST_PAUSE, "that is another row");
        lanes.accept(&lane);
        assert!(lanes.waiting().is_empty());
    }
}
