//! The WA server: how it is reached, what is passed on to it, and the calls the gateway makes on its own.

mod calls;
mod connections;
mod contacts;
mod forward;
mod presence;

use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use runtime::config::BaseUrl;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::WaServerSettings;

pub use calls::WaCalls;
pub use contacts::ContactsError;
pub(crate) use contacts::ListedContact;
pub use forward::ForwardError;
pub(crate) use forward::{
    Answer, AnswerBody, BrokenBody, ForwardBody, ForwardRequest, Forwarder, announced, whole,
};
pub(crate) use presence::Presence;

/// A liveness question is answered at once or not at all.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The client of one WA server. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub struct WaServer {
    client: reqwest::Client,
    base: BaseUrl,
}

impl WaServer {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(settings: &WaServerSettings) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            // The server is the configured one: no proxy from the environment, no hop it tells us to make.
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            .build()?;
        Ok(Self {
            client,
            base: settings.url.clone(),
        })
    }

    /// Does anything answer there? Whatever it says, it is up.
    pub(crate) async fn is_up(&self) -> bool {
        self.client
            .get(self.url("/health"))
            .timeout(PROBE_TIMEOUT)
            .send()
            .await
            .is_ok()
    }

    /// The address of a path that begins with `/`.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str())
    }
}

/// A header that no `Debug` of a request shows. `None` for a secret that cannot be a header.
fn secret_header(secret: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(secret.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What became of a call of our own.
fn classify(error: reqwest::Error) -> ForwardError {
    // A connection that was never made is not a slow answer, even if making it ran out of time.
    let (unreachable, timed_out) = (error.is_connect(), error.is_timeout());
    tracing::warn!(error = ?error.without_url(), "the WA server did not answer");
    if unreachable {
        ForwardError::Unreachable
    } else if timed_out {
        ForwardError::TimedOut
    } else {
        ForwardError::Unavailable
    }
}
