//! Checks the endpoints and tells who runs them. One of several processes does it at a time, under a lease in `leases`;
//! every process shows the results in its metrics.

use std::collections::HashSet;
use std::time::Duration;

use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::CheckSettings;
use crate::flows::endpoint_health::EndpointHealth;
use crate::flows::endpoint_health::alerts::Alerts;
use crate::store::lease;

const LEASE: &str = "endpoint health";
/// How often it is looked what is due, at most: small intervals are looked at more often.
const EVERY: Duration = Duration::from_secs(1);
/// How many rounds a process that fell silent keeps the others waiting.
const ROUNDS: u32 = 5;
/// Checks that run side by side.
const AT_ONCE: usize = 32;
const TRIM_EVERY: Duration = Duration::from_secs(60 * 60);

/// What the worker works with.
pub struct HealthWorker {
    /// The tables.
    pub db: Database,
    /// Checks and raises.
    pub health: EndpointHealth,
    /// Tells, where there is somebody to tell.
    pub alerts: Option<Alerts>,
    /// How often.
    pub settings: CheckSettings,
}

impl HealthWorker {
    /// Goes on until the end begins. Checks that are under way then are dropped: they change nothing outside.
    pub async fn run(self, shutdown: Shutdown) {
        let holder = Uuid::now_v7();
        let every = EVERY
            .min(self.settings.usual / 4)
            .min(self.settings.again / 2)
            .max(Duration::from_millis(20));
        let mut checks = Checks::default();
        let mut trim_at = Instant::now();
        while shutdown.sleep(every).await {
            let round = async {
                if self.leads(holder, every * ROUNDS).await? {
                    self.lead(&mut checks, &mut trim_at).await?;
                }
                self.health.show().await
            };
            let done = tokio::select! {
                done = round => done,
                () = shutdown.begun() => break,
            };
            if let Err(error) = done {
                tracing::warn!(error = %crate::error::chain(&error), "endpoints could not be looked after");
            }
        }
        if let Err(error) = self.release(holder).await {
            tracing::debug!(error = %crate::error::chain(&error), "the lease of the endpoint checks was not given back");
        }
    }

    async fn lead(&self, checks: &mut Checks, trim_at: &mut Instant) -> Result<(), DatabaseError> {
        checks.clear_away();
        if checks.running.len() < AT_ONCE {
            for due in self.health.due(&checks.under_way).await? {
                checks.under_way.insert(due.endpoint.clone());
                let health = self.health.clone();
                checks.running.spawn(async move {
                    if let Err(error) = health.check(&due).await {
                        tracing::warn!(endpoint = due.endpoint, error = %crate::error::chain(&error),
                            "what a check found could not be written down");
                    }
                    due.endpoint
                });
            }
        }
        self.health.raise().await?;
        if let Some(alerts) = &self.alerts {
            checks.tell(alerts);
        }
        if *trim_at <= Instant::now() {
            *trim_at = Instant::now() + TRIM_EVERY;
            self.health.trim().await?;
        }
        Ok(())
    }

    async fn leads(&self, holder: Uuid, length: Duration) -> Result<bool, DatabaseError> {
        let mut tx = self.platform().await?;
        let held = lease::hold(&mut tx, LEASE, holder, length).await?;
        tx.commit().await?;
        Ok(held)
    }

    async fn release(&self, holder: Uuid) -> Result<(), DatabaseError> {
        let mut tx = self.platform().await?;
        lease::release(&mut tx, LEASE, holder).await?;
        tx.commit().await
    }

    async fn platform(&self) -> Result<PlatformTransaction, DatabaseError> {
        PlatformTransaction::begin(&self.db, PlatformScope::for_purpose("lead endpoint checks")).await
    }
}

/// Checks that run, side by side with the rounds: an endpoint that hangs delays no other. They end with the worker.
#[derive(Default)]
struct Checks {
    running: JoinSet<String>,
    under_way: HashSet<String>,
    telling: JoinSet<()>,
}

impl Checks {
    fn clear_away(&mut self) {
        while let Some(done) = self.running.try_join_next() {
            match done {
                Ok(endpoint) => {
                    self.under_way.remove(&endpoint);
                }
                Err(error) => {
                    tracing::error!(%error, "a check died");
                    // Which one is not known any more; the next round asks those that still run once too often.
                    self.under_way.clear();
                }
            }
        }
    }

    fn tell(&mut self, alerts: &Alerts) {
        while self.telling.try_join_next().is_some() {}
        if self.telling.is_empty() {
            let alerts = alerts.clone();
            self.telling.spawn(async move {
                if let Err(error) = alerts.tell_due().await {
                    tracing::warn!(error = %crate::error::chain(&error), "alerts could not be told");
                }
            });
        }
    }
}
