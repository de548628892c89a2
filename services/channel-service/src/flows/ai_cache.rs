//! The AI service forgets what it remembers of a person whose conversation was deleted (contract channel-service 1.6).
//!
//! A courtesy to the AI: tried once, for a few seconds, apart from the request that caused it. What it would remember
//! otherwise it forgets by itself.

use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::sync::Semaphore;
use url::Url;

/// Longest wait for the AI service.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most calls under way; one more is not made.
const MOST: usize = 16;

/// The AI service's cache. Cheap to clone.
#[derive(Clone)]
pub struct AiCache {
    http: reqwest::Client,
    clear_user: Url,
    key: SecretString,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl AiCache {
    /// The cache of the AI service under `base`, which knows us by `key`.
    ///
    /// # Errors
    /// When the client cannot be built or the address cannot be extended.
    pub fn new(base: &Url, key: SecretString, shutdown: Shutdown) -> anyhow::Result<Self> {
        let mut clear_user = base.clone();
        clear_user
            .path_segments_mut()
            .map_err(|()| anyhow::anyhow!("AI_SERVICE_URL cannot be extended by a path"))?
            .pop_if_empty()
            .extend(["admin", "cache", "clear-user"]);
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            http,
            clear_user,
            key,
            places: Arc::new(Semaphore::new(MOST)),
            shutdown,
        })
    }

    /// Asks it to forget a person, by the identifier the AI knows the person by. Does not wait for it.
    pub fn forget(&self, identifier: &str) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!("the AI service was not asked to forget somebody: too many calls wait for it");
            return;
        };
        let request = self
            .http
            .post(self.clear_user.clone())
            .header("x-internal-api-key", self.key.expose_secret())
            .json(&json!({"userId": identifier}));
        self.shutdown.spawn("forget in the AI's cache", async move {
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => {
                    tracing::warn!(
                        status = answer.status().as_u16(),
                        "the AI service did not forget somebody"
                    );
                }
                Err(error) => {
                    let error = error.without_url();
                    tracing::warn!(%error, "the AI service did not forget somebody");
                }
            }
            drop(place);
        });
    }
}
