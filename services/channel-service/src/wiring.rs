//! The parts whose make depends on more than one setting.

use std::time::Duration;

use cache::RedisLink;
use database::Database;
use runtime::config::SettingsReader;

use crate::aws_secrets;
use crate::config::{EndpointsSettings, OutageSettings, Settings};
use crate::endpoints::{CallSettings, Endpoints};
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

/// The endpoints as the process's environment has them, for commands that have to know where tenants belong. They call none.
///
/// # Errors
/// When the settings are wrong.
pub(crate) async fn endpoints_of_environment() -> anyhow::Result<Endpoints> {
    let reader = SettingsReader::from_process();
    let secrets = aws_secrets::fetch_for(&reader).await;
    let settings = EndpointsSettings::read(reader, &secrets)?;
    let calls = CallSettings {
        timeout: Duration::ZERO,
        dry_run: false,
        outage: OutageSettings::default(),
    };
    Ok(Endpoints::build(&settings, calls)?)
}
