//! The parts whose make depends on more than one setting.

use cache::RedisLink;
use database::Database;

use crate::config::Settings;
use crate::endpoints::Endpoints;
use crate::flows::route_account::AccountRoutes;
use crate::flows::session::{Sessions, Tools};
use crate::flows::tenant_config::TenantConfigs;

/// What is done about sessions.
pub(crate) fn sessions(
    settings: &Settings,
    endpoints: &Endpoints,
    configs: &TenantConfigs,
    db: &Database,
    redis: &RedisLink,
    routes: &AccountRoutes,
) -> Sessions {
    let webhook_url = settings.internal.webhook_url();
    if webhook_url.is_none() {
        tracing::warn!(
            "PUBLIC_CHANNEL_BASE_URL is not set: sessions that are made post their events nowhere"
        );
    }
    Sessions::new(Tools {
        db: db.clone(),
        keys: settings.keys.clone(),
        routes: routes.clone(),
        redis: redis.clone(),
        endpoints: endpoints.clone(),
        configs: configs.clone(),
        webhook_url,
    })
}
