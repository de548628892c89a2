//! What became of a message: a machine whose main road only goes forward.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Where a message stands.
///
/// `queued < sent < delivered < read` is the road; `failed`, `parked` and `unknown` are places beside it. Evidence
/// that a message went further (a receipt) always wins over what we believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Accepted by us, waiting in its lane.
    Queued,
    /// The provider took it.
    Sent,
    /// It reached the phone.
    Delivered,
    /// The person opened it.
    Read,
    /// The provider refused it for good.
    Failed,
    /// Not tried again by itself; kept with its reason, can be replayed.
    Parked,
    /// Nobody knows whether it went out.
    Unknown,
}

impl DeliveryStatus {
    /// Every status, for tables and tests.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Parked,
        Self::Unknown,
    ];

    /// The name in the database and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Parked => "parked",
            Self::Unknown => "unknown",
        }
    }

    /// May a message move from `self` to `next`? Staying is not a move.
    ///
    /// Going back to `queued` is only allowed from `parked` (replay) and `unknown` (the provider lets us repeat the
    /// same id).
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use DeliveryStatus::{Delivered, Failed, Parked, Queued, Read, Sent, Unknown};
        match (self, next) {
            (Queued, Sent | Delivered | Read | Failed | Parked | Unknown)
            | (Sent, Delivered | Read | Failed)
            | (Delivered, Read)
            | (Unknown, Queued | Sent | Delivered | Read | Failed | Parked)
            | (Parked, Queued | Sent | Delivered | Read)
            | (Failed, Sent | Delivered | Read) => true,
            (Queued | Sent | Delivered | Read | Failed | Parked | Unknown, _) => false,
        }
    }

    /// The statuses from which a message may move to `self`; the guard of the database's update.
    #[must_use]
    pub fn predecessors(self) -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|from| from.may_become(self))
            .collect()
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a message went, as the provider's servers report it. In this order; reports arrive in any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The provider took it, and nothing is reported yet.
    Accepted,
    /// It left the provider's servers.
    Sent,
    /// It reached the phone.
    Delivered,
    /// The person opened it.
    Read,
    /// The person played it (a voice note).
    Played,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 5] = [
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Played,
    ];

    /// Its place in the order, from 0. What a database compares.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Sent => 1,
            Self::Delivered => 2,
            Self::Read => 3,
            Self::Played => 4,
        }
    }
}

/// One report about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It came this far.
    Reached(Stage),
    /// It did not get through.
    Failed,
}

/// What is known of a message from every report so far, whichever order they came in and however often each did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    reached: Stage,
    reached_at: [Option<DateTime<Utc>>; Stage::ALL.len()],
    failed_at: Option<DateTime<Utc>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::ACCEPTED
    }
}

impl Progress {
    /// Nothing was reported yet.
    pub const ACCEPTED: Self = Self {
        reached: Stage::Accepted,
        reached_at: [None; Stage::ALL.len()],
        failed_at: None,
    };

    /// Takes a report in. A stage's time is written once; the headline depends on what was reported, never on the order
    /// and never on the times: several reports share one second.
    #[must_use]
    pub fn with(mut self, report: Report, at: DateTime<Utc>) -> Self {
        match report {
            Report::Reached(stage) => {
                self.reached = self.reached.max(stage);
                if let Some(slot) = self.reached_at.get_mut(usize::from(stage.rank())) {
                    slot.get_or_insert(at);
                }
            }
            Report::Failed => {
                self.failed_at.get_or_insert(at);
            }
        }
        self
    }

    /// The furthest stage that was reported.
    #[must_use]
    pub const fn reached(&self) -> Stage {
        self.reached
    }

    /// When a stage was reported to have been reached. A later stage implies the earlier ones, which may never be
    /// reported on their own.
    #[must_use]
    pub fn reached_at(&self, stage: Stage) -> Option<DateTime<Utc>> {
        self.reached_at.get(usize::from(stage.rank())).copied().flatten()
    }

    /// When a failure was reported. It stays on record also where the message went further.
    #[must_use]
    pub const fn failed_at(&self) -> Option<DateTime<Utc>> {
        self.failed_at
    }

    /// What became of the message: failed only while nothing says that it reached a phone.
    #[must_use]
    pub const fn headline(&self) -> Report {
        match self.reached {
            Stage::Accepted | Stage::Sent if self.failed_at.is_some() => Report::Failed,
            reached => Report::Reached(reached),
        }
    }

    /// The headline as a message's status. What the provider took is `sent` to us, and what was played was read.
    #[must_use]
    pub const fn status(&self) -> DeliveryStatus {
        match self.headline() {
            Report::Failed => DeliveryStatus::Failed,
            Report::Reached(Stage::Accepted | Stage::Sent) => DeliveryStatus::Sent,
            Report::Reached(Stage::Delivered) => DeliveryStatus::Delivered,
            Report::Reached(Stage::Read | Stage::Played) => DeliveryStatus::Read,
        }
    }
}

/// A text that names no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a delivery status")]
pub struct UnknownStatus;

impl FromStr for DeliveryStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::DeliveryStatus::{Delivered, Queued, Read, Sent};
    use super::*;

    #[test]
    fn the_road_never_goes_back() {
        let road = [Queued, Sent, Delivered, Read];
        for (i, from) in road.into_iter().enumerate() {
            for (j, to) in road.into_iter().enumerate() {
                assert_eq!(from.may_become(to), j > i, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn a_receipt_wins_over_every_belief_and_read_is_final() {
        for from in DeliveryStatus::ALL {
            assert_eq!(from.may_become(Read), from != Read);
            assert!(!Read.may_become(from));
        }
    }

    #[test]
    fn names_survive_a_round_trip() {
        for status in DeliveryStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_763_600_000 + seconds, 0).unwrap()
    }

    fn merge(reports: &[(Report, i64)]) -> Progress {
        reports
            .iter()
            .fold(Progress::ACCEPTED, |progress, &(report, seconds)| {
                progress.with(report, at(seconds))
            })
    }

    #[test]
    fn a_failure_wins_until_the_message_is_on_a_phone() {
        use Report::{Failed, Reached};
        for (reports, headline, status) in [
            (vec![], Reached(Stage::Accepted), DeliveryStatus::Sent),
            (
                vec![Reached(Stage::Sent)],
                Reached(Stage::Sent),
                DeliveryStatus::Sent,
            ),
            (vec![Failed], Failed, DeliveryStatus::Failed),
            (vec![Failed, Reached(Stage::Sent)], Failed, DeliveryStatus::Failed),
            (vec![Reached(Stage::Sent), Failed], Failed, DeliveryStatus::Failed),
            (
                vec![Failed, Reached(Stage::Delivered)],
                Reached(Stage::Delivered),
                DeliveryStatus::Delivered,
            ),
            (
                vec![Reached(Stage::Delivered), Failed],
                Reached(Stage::Delivered),
                DeliveryStatus::Delivered,
            ),
            (
                vec![Reached(Stage::Read), Reached(Stage::Sent)],
                Reached(Stage::Read),
                DeliveryStatus::Read,
            ),
            (
                vec![Reached(Stage::Played), Reached(Stage::Read)],
                Reached(Stage::Played),
                DeliveryStatus::Read,
            ),
        ] {
            let reports: Vec<(Report, i64)> = reports.into_iter().map(|report| (report, 1)).collect();
            let progress = merge(&reports);
            assert_eq!(
                (progress.headline(), progress.status()),
                (headline, status),
                "{reports:?}"
            );
        }
    }

    #[test]
    fn a_stages_time_is_written_once_and_a_failure_stays_on_record() {
        let progress = merge(&[
            (Report::Reached(Stage::Read), 5),
            (Report::Failed, 6),
            (Report::Reached(Stage::Read), 7),
            (Report::Failed, 8),
        ]);
        assert_eq!(progress.reached_at(Stage::Read), Some(at(5)));
        assert_eq!(progress.reached_at(Stage::Delivered), None);
        assert_eq!(progress.failed_at(), Some(at(6)));
        assert_eq!(progress.headline(), Report::Reached(Stage::Read));
    }

    /// Reports of one message: each kind's time is one, as in a provider's own repetitions.
    fn reports() -> impl Strategy<Value = Vec<(Report, i64)>> {
        let one = prop_oneof![
            4 => prop::sample::select(vec![Stage::Sent, Stage::Delivered, Stage::Read, Stage::Played])
                .prop_map(|stage| (Report::Reached(stage), i64::from(stage.rank()))),
            1 => Just((Report::Failed, 3)),
        ];
        prop::collection::vec(one, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_order_of_the_same_reports_ends_the_same(
            (sorted, shuffled) in reports().prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        ) {
            let progress = merge(&shuffled);
            prop_assert_eq!(progress, merge(&sorted));
            // A second delivery of everything changes nothing.
            let twice = [shuffled.as_slice(), sorted.as_slice()].concat();
            prop_assert_eq!(progress, merge(&twice));

            let furthest = sorted.iter().filter_map(|(report, _)| match report {
                Report::Reached(stage) => Some(*stage),
                Report::Failed => None,
            }).max().unwrap_or(Stage::Accepted);
            let failed = sorted.iter().any(|(report, _)| *report == Report::Failed);
            let expected = if failed && furthest.rank() <= 1 { Report::Failed } else { Report::Reached(furthest) };
            prop_assert_eq!(progress.headline(), expected);
        }
    }
}
