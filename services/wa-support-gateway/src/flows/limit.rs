//! Who asks too often (contract §12).
//!
//! Whoever has shown a valid token or key is counted by it, wherever it calls from: a service that speaks for a hundred
//! customers from one address has a hundred budgets. Everything else counts on the address, also an unknown token, so
//! that guessing has an end. An address that is blocked keeps nobody out who has a valid token.

use std::net::IpAddr;
use std::time::Duration;

use cache::{CacheKey, Hit, HitOutcome, RedisLink, WindowRules, Windows};
use tenant_isolation::TenantScope;

use crate::config::TrafficSettings;

/// What kind of a limit a request met. The texts are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// The caller is blocked.
    #[error("ip blocked due to spam")]
    Blocked,
    /// The caller is blocked from now on.
    #[error("spam detected")]
    Spam,
    /// The window is full.
    #[error("rate limit exceeded")]
    OverLimit,
}

/// A request too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{excess}")]
pub struct TooOften {
    /// Which limit it met.
    pub(crate) excess: Excess,
    /// Where its caller stands.
    pub(crate) budget: Budget,
}

/// Where a counted caller stands, for the headers of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Requests in a window.
    pub(crate) limit: u32,
    /// What is left of them.
    pub(crate) left: u32,
    /// When the next window begins.
    pub(crate) reset: Duration,
}

/// The limits of all public routes: one shared set of counters. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    addresses: Windows,
    keys: Windows,
}

impl Limits {
    pub(crate) fn new(redis: RedisLink, settings: &TrafficSettings) -> Self {
        Self {
            addresses: Windows::new(redis.clone(), settings.per_address),
            keys: Windows::new(redis, settings.per_key),
        }
    }

    /// The same limits, asked for over another link.
    pub(crate) fn over(&self, redis: &RedisLink) -> Self {
        Self {
            addresses: self.addresses.over(redis.clone()),
            keys: self.keys.over(redis.clone()),
        }
    }

    /// Counts a request that shows no valid credential.
    ///
    /// # Errors
    /// [`TooOften`].
    pub(crate) async fn stranger(&self, address: Option<IpAddr>) -> Result<Budget, TooOften> {
        // A socket without an address is nobody's in particular: all of them share one budget.
        let address = address.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let key = CacheKey::of_address("requests", address);
        judge(self.addresses.hit(&key).await, self.addresses.rules())
    }

    /// Counts a request with a valid credential of the customer's: a session's token, an API key. `credential` is its
    /// id, never itself.
    ///
    /// # Errors
    /// [`TooOften`].
    pub(crate) async fn known(
        &self,
        scope: &TenantScope,
        kind: &'static str,
        credential: &str,
    ) -> Result<Budget, TooOften> {
        let key = CacheKey::of_tenant(scope, kind, credential);
        judge(self.keys.hit(&key).await, self.keys.rules())
    }
}

/// Kind of a session's budget.
pub(crate) const OF_SESSION: &str = "session_requests";
/// Kind of an API key's budget.
pub(crate) const OF_KEY: &str = "key_requests";

fn judge(hit: Hit, rules: WindowRules) -> Result<Budget, TooOften> {
    let budget = Budget {
        limit: rules.most,
        left: hit.left,
        reset: hit.reset,
    };
    let excess = match hit.outcome {
        HitOutcome::Passed => return Ok(budget),
        HitOutcome::Blocked => Excess::Blocked,
        HitOutcome::Spam => Excess::Spam,
        HitOutcome::OverLimit => Excess::OverLimit,
    };
    Err(TooOften { excess, budget })
}
