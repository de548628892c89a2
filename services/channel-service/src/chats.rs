//! What the handlers of messages and conversations work with, put together from the settings.

use anyhow::Context as _;
use database::Database;
use messaging::outbox::Signal;
use runtime::shutdown::Shutdown;
use whatsapp::genfity::Endpoint;

use crate::config::Settings;
use crate::flows::ai_cache::AiCache;
use crate::flows::courtesy::Courtesies;
use crate::flows::outcomes::Outcomes;
use crate::flows::send_text::Texts;
use crate::wiring;

/// Sending and waiting, courtesies, and the AI's memory.
pub(crate) struct Chats {
    pub(crate) texts: Texts,
    pub(crate) courtesies: Courtesies,
    /// None where no AI service is configured.
    pub(crate) ai_cache: Option<AiCache>,
}

impl Chats {
    pub(crate) fn build(
        settings: &Settings,
        db: &Database,
        relay: &Signal,
        workers: &Signal,
        outcomes: &Outcomes,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let endpoint = Endpoint::new(settings.wa_api.url().clone()).context("WA_API_URL")?;
        let ai_cache = match &settings.ai_service.base {
            Some(base) => Some(AiCache::new(
                base.url(),
                settings.internal.shared_key.clone(),
                shutdown.clone(),
            )?),
            None => None,
        };
        Ok(Self {
            texts: Texts {
                db: db.clone(),
                relay: relay.clone(),
                workers: workers.clone(),
                outcomes: outcomes.clone(),
                patience: settings.sending.timeout,
                stopping: shutdown.token(),
            },
            courtesies: Courtesies {
                db: db.clone(),
                keys: settings.keys.clone(),
                provider: wiring::courtesy(&settings.sessions, &endpoint)?,
            },
            ai_cache,
        })
    }
}
