//! Looking for what nobody has is bounded (W-11): an unknown token, an unknown key, the hook of no session. A request
//! costs a stranger nothing, and each of these would cost us a question to Postgres.
//!
//! Three things keep that apart from whoever is known, and calls from the same address:
//!
//! * Only what is not at hand is looked for at all, so a token in use never comes here.
//! * What was found within a day is no guess: it is looked for whatever its address has done since.
//! * Everything else takes from its address' budget and gives back when it is found. A budget that is spent fills again,
//!   a look a second: somebody whom this process has not met before comes through an address that others wear out, later,
//!   by coming again after `Retry-After`.
//!
//! What nobody had a moment ago is not asked for again, and looking for it again later has a budget of its own: many
//! callers behind one address that all go on showing an old token do not keep a new one out.
//!
//! Each process guards its own looks. What is guarded is its pool of connections, and a question to Redis would be one
//! more thing for strangers to cause. Whoever is answered that nobody has it is counted there as any stranger is
//! ([`super::limit`]); whoever is refused here has been counted here, and not twice.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cache::{CacheKey, NotLoaded};
use database::DatabaseError;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use tokio::sync::Semaphore;

use crate::error::Error;

/// How long "nobody has it" is believed. A change is known within a second, and this is one.
const BELIEVED: Duration = Duration::from_secs(1);
/// How long it is remembered that it was asked for: whoever asks again is not guessing.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How long what was found is no guess.
const KNOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// Of each sort, how many are remembered. The one that was quiet for the longest goes first.
const UNKNOWN_ONES: u64 = 20_000;
const KNOWN_ONES: u64 = 100_000;
const ADDRESSES: u64 = 50_000;

/// Looks at once for what was not found within a day: a part of the pool, and of an address' budget.
const AT_ONCE: usize = 4;

/// Looks for what was not asked for lately.
const NEW: Allowance = Allowance {
    kind: "new_looks",
    at_once: 60,
    then_every: Duration::from_secs(1),
};
/// Looks for what nobody had the last time.
const AGAIN: Allowance = Allowance {
    kind: "looks_again",
    at_once: 60,
    then_every: Duration::from_millis(100),
};

/// How many looks an address has.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    kind: &'static str,
    at_once: u32,
    then_every: Duration,
}

/// Why nothing was found out.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LookError {
    /// The address has asked for too much that nobody has. So long it waits for its next look.
    #[error("too many looks for what nobody has")]
    TooMany(Duration),
    /// The database cannot be asked.
    #[error(transparent)]
    Database(Arc<DatabaseError>),
}

/// Guards the looks of one sort. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LookGuard {
    /// What nobody has, and when that was found out.
    unknown: Cache<CacheKey, Instant>,
    known: Cache<CacheKey, ()>,
    budgets: Cache<CacheKey, Arc<Mutex<Budget>>>,
    places: Arc<Semaphore>,
}

impl Default for LookGuard {
    fn default() -> Self {
        Self {
            unknown: Cache::builder()
                .max_capacity(UNKNOWN_ONES)
                // Newcomers are always taken in: the stranger of this moment is the one to remember.
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(REMEMBERED)
                .build(),
            known: Cache::builder()
                .max_capacity(KNOWN_ONES)
                .time_to_live(KNOWN)
                .build(),
            budgets: Cache::builder()
                .max_capacity(ADDRESSES)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(Duration::from_secs(120))
                .build(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl LookGuard {
    /// Looks for what is not at hand, or says without looking that there is none. Callers that wait for one look share
    /// what it finds.
    ///
    /// # Errors
    /// [`LookError`].
    pub(crate) async fn look<V, F>(
        &self,
        key: &CacheKey,
        address: Option<IpAddr>,
        load: impl FnOnce() -> F,
    ) -> Result<Option<V>, LookError>
    where
        F: Future<Output = Result<Option<V>, DatabaseError>>,
    {
        let asked = self.unknown.get(key).await;
        if asked.is_some_and(|at| at.elapsed() < BELIEVED) {
            return Ok(None);
        }
        let allowance = if asked.is_some() { AGAIN } else { NEW };
        let (mut taken, mut place) = (None, None);
        if !self.known.contains_key(key) {
            // So few at once that what will be found does not wear out the budget meanwhile.
            place = Arc::clone(&self.places).acquire_owned().await.ok();
            let budget = self.budget(&allowance, address).await;
            lock(&budget).take(&allowance, Instant::now()).map_err(|wait| {
                metrics::counter!("kanal_looks_refused_total").increment(1);
                LookError::TooMany(wait)
            })?;
            taken = Some(Taken {
                budget,
                allowance,
                found_nothing: false,
            });
        }
        let found = load().await;
        if let Some(taken) = &mut taken {
            taken.found_nothing = matches!(found, Ok(None));
        }
        drop((taken, place));
        match found {
            Ok(Some(found)) => {
                self.unknown.invalidate(key).await;
                self.known.insert(key.clone(), ()).await;
                Ok(Some(found))
            }
            Ok(None) => {
                self.known.invalidate(key).await;
                self.unknown.insert(key.clone(), Instant::now()).await;
                Ok(None)
            }
            Err(error) => Err(LookError::Database(Arc::new(error))),
        }
    }

    /// Somebody has it, as was found out elsewhere: another process may have looked for it and shared what it found.
    pub(crate) async fn met(&self, key: &CacheKey) {
        if !self.known.contains_key(key) {
            self.known.insert(key.clone(), ()).await;
        }
    }

    /// Believes no longer that nobody has it.
    pub(crate) async fn forget(&self, key: &CacheKey) {
        self.unknown.invalidate(key).await;
    }

    async fn budget(&self, allowance: &Allowance, address: Option<IpAddr>) -> Arc<Mutex<Budget>> {
        // A socket without an address is nobody's in particular: all of them share one budget.
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let key = CacheKey::of_address(allowance.kind, address);
        let fresh = async { Arc::new(Mutex::new(Budget::full())) };
        self.budgets.get_with_by_ref(&key, fresh).await
    }
}

/// A look that is paid for. Given back when it found something, or when nobody waited for what it finds.
struct Taken {
    budget: Arc<Mutex<Budget>>,
    allowance: Allowance,
    found_nothing: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.found_nothing {
            lock(&self.budget).give_back(&self.allowance);
        }
    }
}

impl From<Arc<NotLoaded<LookError>>> for Error {
    fn from(error: Arc<NotLoaded<LookError>>) -> Self {
        match &*error {
            NotLoaded::Failed(LookError::TooMany(wait)) => Self::TooManyWrongKeys(*wait),
            NotLoaded::Failed(LookError::Database(error)) => Self::NotLooked(Arc::clone(error)),
            NotLoaded::Absent => Self::Internal("a look that found nothing is an error"),
        }
    }
}

/// The generic cell rate algorithm: a budget is the time at which it will be full again.
#[derive(Debug)]
struct Budget {
    full_at: Instant,
}

impl Budget {
    fn full() -> Self {
        Self {
            full_at: Instant::now(),
        }
    }

    fn take(&mut self, allowance: &Allowance, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now);
        let most = allowance.then_every * allowance.at_once.saturating_sub(1);
        let wait = full_at.saturating_duration_since(now).saturating_sub(most);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full_at = full_at + allowance.then_every;
        Ok(())
    }

    fn give_back(&mut self, allowance: &Allowance) {
        self.full_at = self
            .full_at
            .checked_sub(allowance.then_every)
            .unwrap_or(self.full_at);
    }
}

fn lock(budget: &Mutex<Budget>) -> std::sync::MutexGuard<'_, Budget> {
    // A moment is whole whoever panicked beside it.
    budget.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "look_guard_tests.rs"]
mod tests;
