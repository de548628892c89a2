//! The parts whose make depends on more than one setting.

use std::sync::Arc;
use std::time::Duration;

use cache::RedisLink;
use database::Database;
use messaging::outbox::Signal;
use runtime::config::SettingsReader;
use runtime::shutdown::Shutdown;

use crate::aws_secrets;
use crate::config::{EndpointsSettings, OutageSettings, Settings};
use crate::endpoints::{CallSettings, Endpoints};
use crate::flows::chat_picture::{PictureLooks, PictureWishes};
use crate::flows::courtesy::Courtesies;
use crate::flows::fetch_url::FileClient;
use crate::flows::media::MediaFlow;
use crate::flows::route_account::AccountRoutes;
use crate::flows::session::{Sessions, Tools};
use crate::flows::tenant_config::TenantConfigs;
use crate::workers::chat_pictures;

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

/// Starts what looks at people's pictures, and says where to tell it that somebody wrote. `None`: it is switched off.
pub(crate) fn pictures(
    settings: &Settings,
    db: &Database,
    endpoints: &Endpoints,
    media: &MediaFlow,
    files: &FileClient,
    relay: &Signal,
    shutdown: &Shutdown,
) -> Option<PictureWishes> {
    let every = settings.pictures.every?;
    let looks = PictureLooks {
        ways: Courtesies {
            db: db.clone(),
            keys: settings.keys.clone(),
            endpoints: endpoints.clone(),
        },
        storage: media.storage.clone(),
        links: media.links.clone(),
        files: files.clone(),
        settings: settings.pictures.clone(),
        every,
        relay: relay.clone(),
    };
    let (wishes, queue) = PictureWishes::new();
    let looking = chat_pictures::run(Arc::new(looks), queue, shutdown.clone());
    shutdown.spawn("profile pictures", looking);
    Some(wishes)
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
