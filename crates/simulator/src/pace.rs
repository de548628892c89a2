//! When the messages of a stream are due.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// So many in a second, evenly, from the stream's start; or none, and everything is due at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    start: Instant,
    per_second: Option<NonZeroU32>,
}

impl Pace {
    pub(crate) fn from_now(per_second: Option<NonZeroU32>) -> Self {
        Self {
            start: Instant::now(),
            per_second,
        }
    }

    /// Waits until message `number` (from 0) of the stream is due. What is late is due at once.
    pub(crate) async fn until_turn_of(self, number: u64) {
        if let Some(per_second) = self.per_second {
            tokio::time::sleep_until(self.start + after(number, per_second)).await;
        }
    }
}

fn after(number: u64, per_second: NonZeroU32) -> Duration {
    let in_a_second = u64::from(per_second.get());
    let rest = Duration::from_secs(number % in_a_second) / per_second.get();
    Duration::from_secs(number / in_a_second) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_evenly() {
        let pace = NonZeroU32::new(400).unwrap();
        let due = [0, 1, 399, 400, 4_000_000_001].map(|number| after(number, pace).as_micros());
        assert_eq!(due, [0, 2_500, 997_500, 1_000_000, 10_000_000_002_500]);
    }
}
