//! Where an agent's message stands as a whole, when it is several messages on WhatsApp: a part that failed is shown before
//! anything else, and otherwise the message has come as far as its last part.

use domain::delivery::DeliveryStatus;

use crate::chatwoot::ShownStatus;
use crate::store::agent_messages::Shown;
use crate::store::agent_parts::Part;

/// Worst first.
const fn rank(status: DeliveryStatus, put_aside: bool) -> u8 {
    match status {
        DeliveryStatus::Failed => 0,
        DeliveryStatus::Parked => 1,
        DeliveryStatus::Unknown if put_aside => 2,
        DeliveryStatus::Unknown => 3,
        DeliveryStatus::Queued => 4,
        DeliveryStatus::Sent => 5,
        DeliveryStatus::Delivered => 6,
        DeliveryStatus::Read => 7,
    }
}

/// Where the whole stands, and which part says so.
pub(super) fn outcome(parts: &[Part]) -> Option<(Shown, &Part)> {
    let part = parts
        .iter()
        .min_by_key(|part| rank(part.status, part.put_aside))?;
    let shown = Shown {
        status: part.status,
        reason: part.reason.clone(),
        put_aside: part.put_aside,
    };
    Some((shown, part))
}

/// Nothing more is tried by itself, and it did not arrive.
pub(super) const fn has_failed(status: DeliveryStatus, put_aside: bool) -> bool {
    rank(status, put_aside) <= 2
}

/// What the agent sees. `None`: nothing that is certain.
pub(super) const fn shown_as(shown: &Shown) -> Option<ShownStatus> {
    match shown.status {
        DeliveryStatus::Sent => Some(ShownStatus::Sent),
        DeliveryStatus::Delivered => Some(ShownStatus::Delivered),
        DeliveryStatus::Read => Some(ShownStatus::Read),
        DeliveryStatus::Failed | DeliveryStatus::Parked => Some(ShownStatus::Failed),
        // Nothing more is tried, and silence would read as success.
        DeliveryStatus::Unknown if shown.put_aside => Some(ShownStatus::Failed),
        DeliveryStatus::Queued | DeliveryStatus::Unknown => None,
    }
}

/// What is told of a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    /// Of which attempt.
    pub(super) attempt: i32,
    pub(super) status: DeliveryStatus,
    pub(super) reason: Option<&'a str>,
    /// Nothing more is tried by itself.
    pub(super) put_aside: bool,
}

/// Takes in what is told of a part. False: it is no step forward. Of an attempt that the agent has given up only its arrival
/// counts: that it failed is known, and what it might still do is not what is waited for.
pub(super) fn take(part: &mut Part, told: Told<'_>) -> bool {
    let arrived = matches!(told.status, DeliveryStatus::Delivered | DeliveryStatus::Read);
    if told.attempt < part.attempt && !arrived {
        return false;
    }
    let given_up = told.put_aside && told.status == DeliveryStatus::Unknown;
    let news = part.status.may_become(told.status)
        || (given_up && part.status == DeliveryStatus::Unknown && !part.put_aside);
    if news {
        part.status = told.status;
        part.reason = told.reason.map(str::to_owned);
        part.put_aside = given_up;
    }
    news
}

#[cfg(test)]
mod tests {
    use domain::delivery::DeliveryStatus::{Delivered, Failed, Parked, Queued, Read, Sent, Unknown};
    use uuid::Uuid;

    use super::*;

    fn parts(statuses: &[DeliveryStatus]) -> Vec<Part> {
        let part = |(number, status): (usize, &DeliveryStatus)| Part {
            status: *status,
            ..Part::new(i32::try_from(number).unwrap(), Uuid::nil())
        };
        statuses.iter().enumerate().map(part).collect()
    }

    #[test]
    fn the_worst_part_is_shown_and_else_the_last() {
        for (statuses, whole, by) in [
            (&[Read, Delivered, Sent][..], Sent, 2),
            (&[Read, Queued, Sent], Queued, 1),
            (&[Read, Failed, Parked], Failed, 1),
            (&[Parked, Read], Parked, 0),
            (&[Read, Unknown, Queued], Unknown, 1),
            (&[Read, Read], Read, 0),
        ] {
            let parts = parts(statuses);
            let (shown, part) = outcome(&parts).unwrap();
            assert_eq!((shown.status, part.number), (whole, by), "{statuses:?}");
        }
        assert!(outcome(&[]).is_none());
    }

    fn told(attempt: i32, status: DeliveryStatus, put_aside: bool) -> Told<'static> {
        Told {
            attempt,
            status,
            reason: None,
            put_aside,
        }
    }

    #[test]
    fn of_an_older_attempt_only_its_arrival_counts() {
        let mut part = Part {
            attempt: 1,
            ..Part::new(0, Uuid::nil())
        };
        for status in [Sent, Failed, Parked, Unknown] {
            assert!(!take(&mut part, told(0, status, true)), "{status}");
        }
        assert!(take(&mut part, told(0, Delivered, false)));
        assert!(!take(&mut part, told(1, Sent, false)));
        assert!(take(&mut part, told(1, Read, false)));
    }

    #[test]
    fn giving_up_is_news_once() {
        let mut part = Part::new(0, Uuid::nil());
        assert!(take(&mut part, told(0, Unknown, false)));
        assert!(!has_failed(part.status, part.put_aside));
        assert!(take(&mut part, told(0, Unknown, true)));
        assert!(has_failed(part.status, part.put_aside));
        assert!(!take(&mut part, told(0, Unknown, true)));
        assert!(take(&mut part, told(0, Queued, false)) && !part.put_aside);
    }
}
