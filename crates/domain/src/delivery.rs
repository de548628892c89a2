//! What became of a message: a machine whose main road only goes forward.

use std::fmt;
use std::str::FromStr;

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
    use super::DeliveryStatus::{self, Delivered, Queued, Read, Sent};

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
}
