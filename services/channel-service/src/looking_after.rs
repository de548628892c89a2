//! Whoever looks after endpoints and sessions, put together and started.

use std::sync::Arc;

use anyhow::Context as _;
use cache::RedisLink;
use database::Database;
use runtime::shutdown::Shutdown;

use crate::config::Settings;
use crate::endpoints::Endpoints;
use crate::flows::endpoint_health::EndpointHealth;
use crate::flows::endpoint_health::alerts::Alerts;
use crate::flows::session::{Keeper, Sessions};
use crate::flows::tenant_config::TenantConfigs;
use crate::workers::endpoint_health::HealthWorker;
use crate::workers::session_watch;

/// The workers, ready to start.
pub(crate) struct LookingAfter {
    health: Option<HealthWorker>,
    keeper: Option<Arc<Keeper>>,
}

impl LookingAfter {
    /// Puts them together. Where nothing may go out there is nobody to look after.
    ///
    /// # Errors
    /// When alerts cannot go where they should.
    pub(crate) fn build(
        settings: &Settings,
        db: &Database,
        redis: &RedisLink,
        endpoints: &Endpoints,
        configs: &TenantConfigs,
        sessions: &Arc<Sessions>,
    ) -> anyhow::Result<Self> {
        let alerts = settings
            .health
            .alerts
            .clone()
            .map(|alerts| Alerts::new(db.clone(), alerts, settings.media.outbound.clone()))
            .transpose()
            .context("ALERT_WEBHOOK_URL")?;
        let is_dry = settings.sessions.dry_run;
        let health = settings
            .health
            .checks
            .filter(|_| !is_dry)
            .map(|checks| HealthWorker {
                db: db.clone(),
                health: EndpointHealth::new(db.clone(), endpoints.clone(), checks, alerts.is_some()),
                alerts,
                settings: checks,
            });
        let keeper = settings.health.sessions.filter(|_| !is_dry).map(|watch| {
            Arc::new(Keeper::new(
                Arc::clone(sessions),
                configs.clone(),
                watch,
                redis.clone(),
            ))
        });
        Ok(Self { health, keeper })
    }

    /// Starts them.
    pub(crate) fn start(self, shutdown: &Shutdown) {
        if let Some(health) = self.health {
            shutdown.spawn("endpoint health", health.run(shutdown.clone()));
        }
        if let Some(keeper) = self.keeper {
            shutdown.spawn("session watch", session_watch::run(keeper, shutdown.clone()));
        }
    }
}
