//! Which of several relays works: a row in the table `leases`.

use std::time::{Duration, Instant};

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::leases;

const NAME: &str = "outbox relay";

/// How long a relay that fell silent keeps the others waiting.
const LENGTH: Duration = Duration::from_secs(5);

/// The right to publish, as far as this process knows.
#[derive(Debug)]
pub(super) struct RelayLease {
    db: Database,
    holder: Uuid,
    /// By this process' clock, and well before the lease ends by the database's.
    renew_at: Option<Instant>,
}

/// Another relay has the lease.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("another relay took over")]
pub(super) struct LeaseLost;

impl RelayLease {
    pub(super) fn new(db: Database) -> Self {
        Self {
            db,
            holder: Uuid::now_v7(),
            renew_at: None,
        }
    }

    /// Takes the lease, or keeps it. False while another relay has it.
    pub(super) async fn hold(&mut self) -> Result<bool, DatabaseError> {
        if self.renew_at.is_some_and(|at| at > Instant::now()) {
            return Ok(true);
        }
        let asked = Instant::now();
        let mut tx = self.platform().await?;
        let held = leases::hold(tx.connection(), NAME, self.holder, LENGTH).await?;
        tx.commit().await?;
        self.renew_at = held.then(|| asked + LENGTH / 3);
        Ok(held)
    }

    /// Runs beside a long piece of work and keeps the lease alive. Ends only when that is not possible.
    pub(super) async fn keep<E: From<DatabaseError> + From<LeaseLost>>(&mut self) -> E {
        loop {
            if let Some(at) = self.renew_at {
                tokio::time::sleep_until(at.into()).await;
            }
            match self.hold().await {
                Ok(true) => {}
                Ok(false) => return LeaseLost.into(),
                Err(error) => return error.into(),
            }
        }
    }

    /// Lets another relay begin at once.
    pub(super) async fn release(&self) -> Result<(), DatabaseError> {
        let mut tx = self.platform().await?;
        leases::release(tx.connection(), NAME, self.holder).await?;
        tx.commit().await
    }

    async fn platform(&self) -> Result<PlatformTransaction, DatabaseError> {
        PlatformTransaction::begin(&self.db, PlatformScope::for_purpose("outbox relay")).await
    }
}
