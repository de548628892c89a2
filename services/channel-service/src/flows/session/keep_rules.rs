//! What is done about a session, given what is known and what its server says. No clock and no table.
//!
//! | its server says | what is done |
//! |---|---|
//! | up, and it hears | nothing; an outage is over |
//! | up and deaf | attached anew: at once, then after one, two, four minutes and so on up to half an hour |
//! | down, and paired | tried after the tenant's `reconnect_interval`, then after twice as long each time, up to the bound |
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
        if !wishes.auto_reconnect {
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
mod tests {
    use uuid::Uuid;

    use super::*;

    const SETTINGS: WatchSettings = WatchSettings {
        look: Duration::from_secs(30),
        deaf_after: Duration::from_secs(20),
        longest_wait: Duration::from_secs(1800),
        attempts: 3,
        rate: 5,
    };
    const WISHES: Wishes = Wishes {
        auto_reconnect: true,
        first_wait: Duration::from_secs(30),
        was_paired: true,
    };
    const DOWN: Seen = Seen::Down { is_paired: true };
    const UP: Seen = Seen::Up { lost: None };

    fn row() -> WatchedRow {
        WatchedRow {
            tenant_id: "desa-satu".to_owned(),
            account_id: Uuid::nil(),
            fence: 1,
            endpoint: "Primary".to_owned(),
            status: "connected".to_owned(),
            kept_off: false,
            is_down: false,
            attempts: 0,
            try_in: None,
            gave_up: None,
            unheard_for: None,
            deaf_reason: None,
            reattached_ago: None,
            reattachments: 0,
            heard_since: false,
            endpoint_is_away: false,
        }
    }

    fn outage(step: &Step) -> OutageChange {
        match step {
            Step::Note { outage, .. } => outage.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn hearing(step: &Step) -> HearingChange {
        match step {
            Step::Note { hearing, .. } => *hearing,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_dropped_session_is_tried_with_growing_waits_and_then_given_up() {
        let first = SETTINGS.after_asking(&row(), WISHES, DOWN);
        let OutageChange::Down { try_in, tried: false } = outage(&first) else {
            panic!("{first:?}");
        };
        assert!((30.0..=36.0).contains(&try_in.as_secs_f64()), "{try_in:?}");
        let waiting = WatchedRow {
            is_down: true,
            try_in: Some(12.0),
            ..row()
        };
        assert_eq!(
            outage(&SETTINGS.after_asking(&waiting, WISHES, DOWN)),
            OutageChange::Same
        );
        for (attempts, least, most) in [
            (0, 60.0, 72.0),
            (1, 120.0, 144.0),
            (2, 240.0, 288.0),
            (9, 1800.0, 2160.0),
        ] {
            let due = WatchedRow {
                is_down: true,
                attempts,
                try_in: Some(-0.1),
                ..row()
            };
            let step = SETTINGS.after_asking(&due, WISHES, DOWN);
            if attempts < 3 {
                assert_eq!(step, Step::Reconnect, "{attempts}");
            } else {
                assert_eq!(outage(&step), OutageChange::GivenUp(ATTEMPTS), "{attempts}");
            }
            let OutageChange::Down { try_in, tried: true } = outage(&SETTINGS.after_try(&due, WISHES)) else {
                panic!("{attempts}");
            };
            assert!(
                (least..=most).contains(&try_in.as_secs_f64()),
                "{attempts}: {try_in:?}"
            );
        }
    }

    #[test]
    fn only_what_is_down_paired_and_wished_for_is_brought_back() {
        let due = WatchedRow {
            is_down: true,
            try_in: Some(-1.0),
            ..row()
        };
        let unwished = Wishes {
            auto_reconnect: false,
            ..WISHES
        };
        let never_paired = Wishes {
            was_paired: false,
            ..WISHES
        };
        let unpaired = Seen::Down { is_paired: false };
        assert_eq!(SETTINGS.after_asking(&due, WISHES, DOWN), Step::Reconnect);
        assert_eq!(
            SETTINGS.after_asking(&due, WISHES, Seen::Joining),
            Step::Reconnect
        );
        for (row, wishes, seen, change) in [
            (&due, unwished, DOWN, OutageChange::Same),
            (&due, WISHES, Seen::NotKnown, OutageChange::Same),
            (&due, WISHES, Seen::Pairing, OutageChange::Over),
            (&due, WISHES, UP, OutageChange::Over),
            (&due, WISHES, unpaired, OutageChange::GivenUp(NOT_PAIRED)),
            (&due, never_paired, unpaired, OutageChange::Same),
            (&row(), WISHES, Seen::Joining, OutageChange::Same),
            (&row(), WISHES, UP, OutageChange::Same),
        ] {
            assert_eq!(
                outage(&SETTINGS.after_asking(row, wishes, seen)),
                change,
                "{seen:?}"
            );
        }
        let given_up = WatchedRow {
            gave_up: Some(ATTEMPTS.to_owned()),
            ..due
        };
        assert_eq!(
            outage(&SETTINGS.after_asking(&given_up, WISHES, DOWN)),
            OutageChange::Same
        );
        assert_eq!(
            outage(&SETTINGS.after_asking(&given_up, WISHES, UP)),
            OutageChange::Over
        );
    }

    #[test]
    fn some_are_not_even_asked_about() {
        assert_eq!(SETTINGS.before_asking(&row()), None);
        let off = WatchedRow {
            kept_off: true,
            ..row()
        };
        assert_eq!(
            SETTINGS.before_asking(&off).as_ref().map(outage),
            Some(OutageChange::Same)
        );
        let mut out = WatchedRow {
            status: "logged_out".to_owned(),
            ..row()
        };
        assert_eq!(
            SETTINGS.before_asking(&out).as_ref().map(outage),
            Some(OutageChange::GivenUp(LOGGED_OUT))
        );
        out.gave_up = Some(LOGGED_OUT.to_owned());
        assert_eq!(
            SETTINGS.before_asking(&out).as_ref().map(outage),
            Some(OutageChange::Same),
            "once"
        );
        let away = WatchedRow {
            endpoint_is_away: true,
            ..row()
        };
        assert_eq!(
            SETTINGS.before_asking(&away).as_ref().map(outage),
            Some(OutageChange::Same)
        );
    }

    #[test]
    fn a_deaf_session_is_attached_anew_with_growing_pauses_until_it_hears() {
        let lost = Seen::Up {
            lost: Some(WEBHOOK_LOST),
        };
        assert_eq!(
            SETTINGS.after_asking(&row(), WISHES, lost),
            Step::Reattach(WEBHOOK_LOST)
        );
        let mut silent = WatchedRow {
            unheard_for: Some(19.9),
            ..row()
        };
        assert_eq!(
            hearing(&SETTINGS.after_asking(&silent, WISHES, UP)),
            HearingChange::Same
        );
        silent.unheard_for = Some(20.0);
        assert_eq!(
            SETTINGS.after_asking(&silent, WISHES, UP),
            Step::Reattach(UNHEARD)
        );
        let mut attached = WatchedRow {
            deaf_reason: Some(UNHEARD.to_owned()),
            reattached_ago: Some(30.0),
            reattachments: 1,
            ..row()
        };
        assert_eq!(
            hearing(&SETTINGS.after_asking(&attached, WISHES, UP)),
            HearingChange::Deaf(UNHEARD)
        );
        attached.reattached_ago = Some(61.0);
        assert_eq!(
            SETTINGS.after_asking(&attached, WISHES, UP),
            Step::Reattach(UNHEARD)
        );
        attached.reattachments = 2;
        assert_eq!(
            hearing(&SETTINGS.after_asking(&attached, WISHES, UP)),
            HearingChange::Deaf(UNHEARD)
        );
        attached.heard_since = true;
        assert_eq!(
            hearing(&SETTINGS.after_asking(&attached, WISHES, UP)),
            HearingChange::Hears
        );
        let mended = WatchedRow {
            deaf_reason: Some(EVENTS_LOST.to_owned()),
            reattached_ago: Some(1.0),
            reattachments: 1,
            ..row()
        };
        assert_eq!(
            hearing(&SETTINGS.after_asking(&mended, WISHES, UP)),
            HearingChange::Hears
        );
        assert_eq!(
            hearing(&SETTINGS.after_asking(&row(), WISHES, UP)),
            HearingChange::Same
        );
    }
}
