//! The parts whose make depends on more than one setting.

use std::sync::Arc;

use anyhow::Context as _;
use cache::RedisLink;
use database::Database;
use runtime::config::BaseUrl;
use whatsapp::courtesy::ShowCourtesy;
use whatsapp::dry_run::DryRun;
use whatsapp::genfity::{Endpoint, GenfityCourtesy, GenfitySender, GenfitySessions, SupportGateway, WaAdmin};
use whatsapp::port::SendMessage;
use whatsapp::session::ManageSession;

use crate::config::{SessionSettings, Settings};
use crate::flows::route_account::AccountRoutes;
use crate::flows::session::{Makers, Sessions, Tools};

/// The way out for messages.
pub(crate) fn sender(
    settings: &SessionSettings,
    endpoint: &Endpoint,
) -> anyhow::Result<Arc<dyn SendMessage>> {
    if settings.dry_run {
        tracing::warn!("WA_DRY_RUN is on: nothing goes out");
        return Ok(Arc::new(DryRun));
    }
    let sender = GenfitySender::new(endpoint).context("the HTTP client cannot be built")?;
    Ok(Arc::new(sender))
}

/// The way out for what is shown besides messages.
pub(crate) fn courtesy(
    settings: &SessionSettings,
    endpoint: &Endpoint,
) -> anyhow::Result<Arc<dyn ShowCourtesy>> {
    if settings.dry_run {
        return Ok(Arc::new(DryRun));
    }
    let courtesy = GenfityCourtesy::new(endpoint).context("the HTTP client cannot be built")?;
    Ok(Arc::new(courtesy))
}

/// What is done about sessions.
pub(crate) fn sessions(
    settings: &Settings,
    endpoint: &Endpoint,
    db: &Database,
    redis: &RedisLink,
    routes: &AccountRoutes,
) -> anyhow::Result<Sessions> {
    let session_settings = &settings.sessions;
    let provider: Arc<dyn ManageSession> = if session_settings.dry_run {
        Arc::new(DryRun)
    } else {
        Arc::new(GenfitySessions::new(endpoint).context("the HTTP client cannot be built")?)
    };
    let at = |base: &BaseUrl, name: &'static str| Endpoint::new(base.url().clone()).context(name);
    let gateway = match &session_settings.gateway {
        Some((base, key)) => Some(SupportGateway::new(&at(base, "WA_SUPPORT_URL")?, key.clone())?),
        None => None,
    };
    let server = match &session_settings.server {
        Some((base, token)) => Some(WaAdmin::new(&at(base, "WA_SERVER_URL")?, token.secret().clone())?),
        None => None,
    };
    let webhook_url = settings.internal.webhook_url();
    if webhook_url.is_none() {
        tracing::warn!(
            "PUBLIC_CHANNEL_BASE_URL is not set: sessions that are made post their events nowhere"
        );
    }
    Ok(Sessions::new(Tools {
        db: db.clone(),
        keys: settings.keys.clone(),
        routes: routes.clone(),
        redis: redis.clone(),
        provider,
        makers: Makers {
            gateway,
            server,
            dry_run: session_settings.dry_run,
        },
        webhook_url,
    }))
}
