//! What the handlers of messages and conversations work with, put together from the settings.

use database::Database;
use messaging::outbox::Signal;
use runtime::config::BaseUrl;
use runtime::shutdown::Shutdown;

use crate::config::Settings;
use crate::endpoints::Endpoints;
use crate::flows::ai_cache::AiCache;
use crate::flows::courtesy::Courtesies;
use crate::flows::outcomes::Outcomes;
use crate::flows::send_text::Texts;

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
        endpoints: &Endpoints,
        db: &Database,
        relay: &Signal,
        workers: &Signal,
        outcomes: &Outcomes,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
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
                endpoints: endpoints.clone(),
                relay: relay.clone(),
                workers: workers.clone(),
                outcomes: outcomes.clone(),
                own_files: own_files(&settings.media.public_url),
                patience: settings.sending.timeout,
                stopping: shutdown.token(),
            },
            courtesies: Courtesies {
                db: db.clone(),
                keys: settings.keys.clone(),
                endpoints: endpoints.clone(),
            },
            ai_cache,
        })
    }
}

/// How links to our own files begin. The slash ends the host's name: another one may begin like ours.
fn own_files(public_url: &BaseUrl) -> String {
    format!("{}/", public_url.as_str().trim_end_matches('/'))
}
