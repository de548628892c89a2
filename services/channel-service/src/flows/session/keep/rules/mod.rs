//! What is done about a session, given what is known and what its server says. No clock and no table.
//!
//! | its server says | what is done |
//! |---|---|
//! | up, and it hears | nothing; an outage is over |
//! | up and deaf | attached anew: at once, then after one, two, four minutes and so on up to half an hour; where several of an endpoint are silent and none is heard, one of them at a time until one is |
//! | down, and paired | tried after the tenant's `reconnect_interval`, then after twice as long each time, up to the bound |
//! | down, because we took it off to attach it anew | tried at once, then as above, also where the tenant wishes no `auto_reconnect` |
//! | down, and not paired any more | given up: only a person with the phone can help |
//! | a code waits to be scanned | nothing: a person is at it |
//! | nothing that can be read | nothing: whoever cannot be asked is not down |
//!
//! A session that a person took off the network is not even asked about. One that was given up is looked at now and then,
//! and taken up again when it is seen connected.

use std::time::Duration;

use domain::account::AccountStatus;
use domain::retry::RetrySchedule;

use crate::config::WatchSettings;
use crate::store::session_watch::{HearingChange, OutageChange, WatchedRow};

/// The phone logged the session out.
pub const LOGGED_OUT: &str = "logged_out";
/// It is not paired any more, and nobody said so.
pub const NOT_PAIRED: &str = "not_paired";
/// It was tried as often as it may be.
pub const ATTEMPTS: &str = "attempts_used_up";

/// A send was taken and no event came.
pub const UNHEARD: &str = "unheard";
/// The server has no event on its list that it would tell of.
pub const EVENTS_LOST: &str = "events_lost";
/// The server has no address to tell it to.
pub const WEBHOOK_LOST: &str = "webhook_lost";
/// It tells somebody else.
pub const WEBHOOK_ELSEWHERE: &str = "webhook_elsewhere";
/// It signs what it tells with a key that is none of ours, so that nothing of it is taken.
pub const WEBHOOK_KEY: &str = "webhook_key_lost";

/// How far apart two attachments of one deaf session are, and at most.
const REATTACH: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30 * 60));
/// Resting is looking this many times more seldom.
const REST: u32 = 20;
/// While something is under way it is looked this many times more often.
const SOON: u32 = 6;
/// Share of a wait by which it may be longer, or a look earlier.
const JITTER: f64 = 0.2;

/// What a session's server says of it, as far as it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Connected and usable. Something may be missing without which no event comes.
    Up {
        /// What that is.
        lost: Option<&'static str>,
    },
    /// On its way up: paired, connected, not usable yet.
    Joining,
    /// A code waits to be scanned.
    Pairing,
    /// Off the network.
    Down {
        /// A phone still knows it.
        is_paired: bool,
    },
    /// Nobody can tell.
    NotKnown,
}

/// What is wished for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// It is to be brought back.
    pub auto_reconnect: bool,
    /// After this time.
    pub first_wait: Duration,
    /// It was paired at some time.
    pub was_paired: bool,
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Only written down.
    Note {
        /// What became of the outage.
        outage: OutageChange,
        /// And of its hearing.
        hearing: HearingChange,
        /// When it is looked at again.
        next: Duration,
    },
    /// It is connected.
    Reconnect,
    /// It is attached anew, for this reason.
    Reattach(&'static str),
}

impl WatchSettings {
    /// What is done without asking the server. `None`: it is asked.
    #[must_use]
    pub fn before_asking(&self, row: &WatchedRow) -> Option<Step> {
        if row.kept_off {
            return Some(note(OutageChange::Same, self.rest()));
        }
        if row.status == AccountStatus::LoggedOut.as_str() {
            let outage = match row.gave_up {
                Some(_) => OutageChange::Same,
                None => OutageChange::GivenUp(LOGGED_OUT),
            };
            return Some(note(outage, self.rest()));
        }
        row.endpoint_is_away
            .then(|| note(OutageChange::Same, self.usual()))
    }

    /// What is done now that the server was asked.
    #[must_use]
    pub fn after_asking(&self, row: &WatchedRow, wishes: Wishes, seen: Seen) -> Step {
        let has_outage = row.is_down || row.attempts > 0 || row.gave_up.is_some();
        match seen {
            Seen::NotKnown => note(OutageChange::Same, self.usual()),
            Seen::Up { lost } => self.hear(row, has_outage, lost),
            Seen::Pairing => {
                let outage = if has_outage {
                    OutageChange::Over
                } else {
                    OutageChange::Same
                };
                note(outage, self.usual())
            }
            Seen::Joining if !row.is_down => note(OutageChange::Same, self.soon()),
            Seen::Down { is_paired: false } if wishes.was_paired => match row.gave_up {
                Some(_) => note(OutageChange::Same, self.rest()),
                None => note(OutageChange::GivenUp(NOT_PAIRED), self.rest()),
            },
            // Never paired: there is nothing to bring back.
            Seen::Down { is_paired: false } => note(OutageChange::Same, self.usual()),
            Seen::Joining | Seen::Down { is_paired: true } => self.bring_back(row, wishes),
        }
    }

    fn hear(&self, row: &WatchedRow, has_outage: bool, lost: Option<&'static str>) -> Step {
        let outage = if has_outage {
            OutageChange::Over
        } else {
            OutageChange::Same
        };
        let unheard = row
            .unheard_for
            .is_some_and(|time| time >= self.deaf_after.as_secs_f64());
        // Attaching it makes the server say that it is connected: silence after that is silence.
        let still_silent = row.deaf_reason.as_deref() == Some(UNHEARD)
            && !row.heard_since
            && row
                .reattached_ago
                .is_some_and(|ago| ago >= self.deaf_after.as_secs_f64());
        let reason = lost.or((unheard || still_silent).then_some(UNHEARD));
        let was_just_attached = row.deaf_reason.as_deref() == Some(UNHEARD) && !row.heard_since;
        let hearing = match reason {
            Some(reason) if self.may_reattach(row) => return Step::Reattach(reason),
            Some(reason) => HearingChange::Deaf(reason),
            None if row.deaf_reason.is_some() && !was_just_attached => HearingChange::Hears,
            None => HearingChange::Same,
        };
        Step::Note {
            outage,
            hearing,
            next: if was_just_attached {
                self.soon()
            } else {
                self.usual()
            },
        }
    }

    /// How long the next one waits of an endpoint's sessions that are all silent, when so many were attached anew and are still
    /// not heard. The first one is soon followed by another: it may be deaf for a reason of its own.
    #[must_use]
    pub fn canary_wait(&self, attached: i64) -> Duration {
        let (_, longest) = REATTACH;
        let times = u32::try_from(attached).unwrap_or(u32::MAX).saturating_add(1);
        wait_after(self.deaf_after, longest, times, 0.0)
    }

    /// For how long a session that is heard after it was attached anew speaks for the others of its endpoint: until each was
    /// looked at.
    #[must_use]
    pub fn believed(&self) -> Duration {
        self.deaf_after + self.look * 2
    }

    fn may_reattach(&self, row: &WatchedRow) -> bool {
        let (first, longest) = REATTACH;
        let first = first.min(self.deaf_after * 3);
        let times = u32::try_from(row.reattachments).unwrap_or(0);
        let wait = wait_after(first, longest, times.max(1), 0.0);
        row.reattached_ago.is_none_or(|ago| ago >= wait.as_secs_f64())
    }

    fn bring_back(&self, row: &WatchedRow, wishes: Wishes) -> Step {
        if row.gave_up.is_some() {
            return note(OutageChange::Same, self.rest());
        }
        if !wishes.auto_reconnect && !was_taken_off(row) {
            return note(OutageChange::Same, self.usual());
        }
        let Some(try_in) = row.try_in else {
            let try_in = self.wait_before(1, wishes);
            let outage = OutageChange::Down { try_in, tried: false };
            return note(outage, try_in.min(self.usual()));
        };
        if let Ok(try_in) = Duration::try_from_secs_f64(try_in)
            && !try_in.is_zero()
        {
            return note(OutageChange::Same, try_in.min(self.usual()));
        }
        if u32::try_from(row.attempts).unwrap_or(u32::MAX) >= self.attempts {
            return note(OutageChange::GivenUp(ATTEMPTS), self.rest());
        }
        Step::Reconnect
    }

    /// The wait before the n-th try: the tenant's interval before the first, and then twice as long each time.
    fn wait_before(&self, attempt: u32, wishes: Wishes) -> Duration {
        wait_after(wishes.first_wait, self.longest_wait, attempt, rand::random())
    }

    /// What is written down after a try, whatever came of it: whether the session is up is seen by looking.
    #[must_use]
    pub fn after_try(&self, row: &WatchedRow, wishes: Wishes) -> Step {
        let tries = u32::try_from(row.attempts).unwrap_or(u32::MAX).saturating_add(1);
        let outage = OutageChange::Down {
            try_in: self.wait_before(tries.saturating_add(1), wishes),
            tried: true,
        };
        note(outage, self.soon())
    }

    /// What is written down of a session that was taken off the network to be attached anew: it is down until it is seen up.
    /// One that could not be connected is tried again with the next look.
    #[must_use]
    pub fn after_taking_off(&self, wishes: Wishes, connected: bool) -> OutageChange {
        let try_in = if connected {
            self.wait_before(1, wishes)
        } else {
            Duration::ZERO
        };
        OutageChange::Down { try_in, tried: true }
    }

    /// Until the next look at a session with which everything is in order.
    #[must_use]
    pub fn usual(&self) -> Duration {
        self.look.mul_f64(1.0 - JITTER * rand::random::<f64>())
    }

    /// Until the next look at a session with which something is under way.
    #[must_use]
    pub fn soon(&self) -> Duration {
        self.usual() / SOON
    }

    fn rest(&self) -> Duration {
        self.usual() * REST
    }
}

/// It is down because it was deaf, so not by itself: whoever took it off brings it back, whatever its tenant wishes for
/// sessions that drop.
const fn was_taken_off(row: &WatchedRow) -> bool {
    row.is_down && row.deaf_reason.is_some()
}

fn wait_after(first: Duration, longest: Duration, times: u32, chance: f64) -> Duration {
    // The settings admit no schedule that is refused here.
    RetrySchedule::new(first, longest.max(first), u32::MAX, JITTER)
        .map_or(longest, |schedule| schedule.endless_wait(times, chance))
}

const fn note(outage: OutageChange, next: Duration) -> Step {
    Step::Note {
        outage,
        hearing: HearingChange::Same,
        next,
    }
}

#[cfg(test)]
mod tests;
