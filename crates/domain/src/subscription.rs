//! Subscriptions: may a customer send right now?

use chrono::{DateTime, Utc};

use crate::words::words;

words! {
    /// Where a subscription stands. Sessions stay connected when it ends; only sending is refused.
    SubscriptionStatus, "subscription status" {
        /// Paid for, until its end.
        Active = "active",
        /// Its end has passed.
        Expired = "expired",
        /// Switched off by hand.
        Inactive = "inactive",
    }
}

impl SubscriptionStatus {
    /// May the customer send at `now`? An active row whose end has passed counts as expired before anybody has
    /// flipped it; the end itself is outside. No end means no limit in time.
    #[must_use]
    pub fn is_usable(self, now: DateTime<Utc>, expires_at: Option<DateTime<Utc>>) -> bool {
        match self {
            Self::Active => expires_at.is_none_or(|end| now < end),
            Self::Expired | Self::Inactive => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::SubscriptionStatus::{Active, Expired, Inactive};
    use super::*;

    #[test]
    fn only_an_active_subscription_before_its_end_is_usable() {
        let now = DateTime::UNIX_EPOCH;
        let (before, after) = (now - TimeDelta::seconds(1), now + TimeDelta::seconds(1));
        assert!(Active.is_usable(now, None));
        assert!(Active.is_usable(now, Some(after)));
        assert!(!Active.is_usable(now, Some(now)));
        assert!(!Active.is_usable(now, Some(before)));
        assert!(!Expired.is_usable(now, Some(after)));
        assert!(!Inactive.is_usable(now, None));
    }
}
