//! How many of a process's places one tenant may hold, so that one whose calls hang or are slowed down leaves places for
//! all others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::ids::TenantId;
use tokio::sync::Notify;

/// From so many places on there is something to share.
const WORTH_SHARING: usize = 8;
/// A tenant may hold one of so many.
const PART: usize = 4;

/// Who holds how many places. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    most: usize,
    /// Most lanes of one claim, which may all be one tenant's.
    batch: usize,
    held: Arc<Mutex<HashMap<TenantId, usize>>>,
    eased: Arc<Notify>,
}

impl Shares {
    pub(super) fn of(concurrency: usize) -> Self {
        let most = if concurrency < WORTH_SHARING {
            concurrency.max(1)
        } else {
            concurrency / PART
        };
        let batch = if concurrency < WORTH_SHARING {
            most
        } else {
            most / 2
        };
        Self {
            most,
            batch: batch.max(1),
            held: Arc::default(),
            eased: Arc::default(),
        }
    }

    pub(super) const fn batch(&self) -> usize {
        self.batch
    }

    /// Tenants of which nothing may be claimed now: a whole batch of theirs could be more than their share. With few
    /// places nobody is shut out.
    pub(super) fn full(&self) -> Vec<String> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter()
            .filter(|(_, held)| self.is_full(**held))
            .map(|(tenant, _)| tenant.as_str().to_owned())
            .collect()
    }

    fn is_full(&self, held: usize) -> bool {
        self.batch < self.most && held + self.batch > self.most
    }

    /// Notes a place for the tenant until the answer is dropped.
    pub(super) fn hold(&self, tenant: &TenantId) -> Held {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held.entry(tenant.clone()).or_default() += 1;
        Held {
            shares: self.clone(),
            tenant: tenant.clone(),
        }
    }

    /// Returns when a tenant that was full is so no more.
    pub(super) async fn eased(&self) {
        self.eased.notified().await;
    }
}

/// A tenant's place.
#[derive(Debug)]
pub(super) struct Held {
    shares: Shares,
    tenant: TenantId,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = held.get_mut(&self.tenant) else {
            return;
        };
        let was_full = self.shares.is_full(*count);
        *count -= 1;
        if was_full && !self.shares.is_full(*count) {
            self.shares.eased.notify_one();
        }
        if *count == 0 {
            held.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_run_of_claims_gives_one_tenant_more_than_its_share() {
        for concurrency in [8, 9, 16, 32, 100] {
            let shares = Shares::of(concurrency);
            let tenant = TenantId::parse("desa-satu").unwrap();
            let mut held = Vec::new();
            while shares.full().is_empty() {
                held.extend((0..shares.batch()).map(|_| shares.hold(&tenant)));
            }
            assert!(
                held.len() <= concurrency / PART,
                "{} of {concurrency}",
                held.len()
            );
            held.clear();
            assert!(shares.full().is_empty());
            assert!(shares.held.lock().unwrap().is_empty());
        }
    }

    #[test]
    fn with_few_places_nobody_is_shut_out() {
        let shares = Shares::of(4);
        let tenant = TenantId::parse("desa-satu").unwrap();
        let _held: Vec<Held> = (0..4).map(|_| shares.hold(&tenant)).collect();
        assert!(shares.full().is_empty());
    }
}
