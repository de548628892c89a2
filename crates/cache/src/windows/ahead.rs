//! Requests of a caller that are counted before they are made.

use std::time::{Duration, Instant};

use super::{Hit, HitOutcome, PATIENCE};

/// Most requests that are counted ahead.
const MOST: u32 = 1024;
/// How long what was counted ahead is handed out; a block that another process sees begins here that much later.
const KEPT: Duration = Duration::from_secs(1);
/// A caller that has not asked for this long does not ask again and again.
const QUICK: Duration = Duration::from_millis(25);

/// Requests of a caller that are counted and were not made yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    count: u32,
    /// Until when they may be made.
    until: Instant,
    /// What the window has room for beyond them, and when it ends.
    left: u32,
    reset: Instant,
    /// How many were wanted the last time.
    wanted: u32,
    /// When Redis was asked for this caller.
    asked: Option<Instant>,
    /// Since when more are being asked for.
    filling: Option<Instant>,
}

impl Ahead {
    /// Nothing is counted ahead.
    pub(super) const fn none(now: Instant) -> Self {
        Self {
            count: 0,
            until: now,
            left: 0,
            reset: now,
            wanted: 0,
            asked: None,
            filling: None,
        }
    }

    /// How many may still be made.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// One of the requests that were counted ahead.
    pub(super) fn take(&mut self, now: Instant) -> Option<Hit> {
        if self.count == 0 || now >= self.until {
            return None;
        }
        self.count -= 1;
        self.asked = Some(now);
        Some(Hit {
            outcome: HitOutcome::Passed,
            left: self.left.saturating_add(self.count),
            reset: self.reset.saturating_duration_since(now),
        })
    }

    /// How many to count ahead, now that Redis is asked: one question at a time asks for more than its own.
    pub(super) fn wanted(&mut self, now: Instant) -> u32 {
        let quick = self.asked.is_some_and(|asked| now.duration_since(asked) <= QUICK);
        self.asked = Some(now);
        // Whoever asks may have left without an answer.
        if self
            .filling
            .is_some_and(|since| now.duration_since(since) < PATIENCE)
        {
            return 0;
        }
        self.count = 0;
        self.wanted = if quick {
            (self.wanted * 2).clamp(1, MOST)
        } else {
            0
        };
        self.filling = (self.wanted > 0).then_some(now);
        self.wanted
    }

    /// So many were counted for whoever wanted them and asked then; both windows go on for `ends`.
    pub(super) fn got(&mut self, count: u32, ends: Duration, (left, reset): (u32, Duration), asked: Instant) {
        self.filling = None;
        self.count = count;
        // By Redis' clock, which was read after it was asked.
        self.until = asked + ends.min(KEPT);
        (self.left, self.reset) = (left, asked + reset);
    }

    /// Whoever wanted some got no answer.
    pub(super) const fn got_none(&mut self) {
        self.filling = None;
    }
}
