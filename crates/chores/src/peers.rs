//! The services of the installation, as `trace` reaches them: each by its address and what it lets in, from the variables
//! by which the services find one another anyway.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use runtime::config::{BaseUrl, SettingsReader};
use secrecy::{ExposeSecret as _, SecretString};

use crate::journey::Answer;

/// An answer that is longer is none.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);
/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// A service of the installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Accounts, chats, messages.
    Channel,
    /// Customers and the token proxy.
    Gateway,
    /// Chatwoot.
    Bridge,
}

impl Service {
    /// All of them, in the order in which a message from WhatsApp meets them.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Channel, Self::Bridge];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Channel => "channel-service",
            Self::Gateway => "wa-support-gateway",
            Self::Bridge => "chatwoot-bridge",
        }
    }

    /// The variables that say where it is and what it is shown.
    #[must_use]
    pub const fn variables(self) -> (&'static str, &'static str) {
        match self {
            Self::Channel => ("CHANNEL_SERVICE_URL", "CHANNEL_SERVICE_KEY"),
            Self::Gateway => ("WA_SUPPORT_URL", "WA_SUPPORT_INTERNAL_API_KEY"),
            Self::Bridge => ("CHATWOOT_BRIDGE_URL", "CHATWOOT_BRIDGE_AUTH"),
        }
    }

    const fn meanings(self) -> (&'static str, &'static str) {
        match self {
            Self::Channel => (
                "channel-service, which `trace` asks",
                "What channel-service is shown: its `INTERNAL_API_KEY`",
            ),
            Self::Gateway => (
                "wa-support-gateway, which `trace` asks",
                "What wa-support-gateway is shown: `key`, or `source:key` as its `INTERNAL_API_KEYS` has it; with that, it tells of the customers of this source only",
            ),
            Self::Bridge => (
                "chatwoot-bridge, which `trace` asks",
                "What chatwoot-bridge is shown: its `BASIC_AUTH_USER` and `BASIC_AUTH_PASS`, as `user:password`",
            ),
        }
    }

    /// Reads where it is. Services that have no use for it otherwise read it with their own settings too, so that it may
    /// stand in their file.
    pub fn read(self, reader: &mut SettingsReader) -> Peer {
        let ((url, key), (url_is, key_is)) = (self.variables(), self.meanings());
        let url: Option<BaseUrl> = reader.optional(url, url_is);
        let key: Option<SecretString> = reader.optional(key, key_is);
        Peer {
            service: self,
            way: url.zip(key),
        }
    }
}

/// Another service, and the way to it if there is one.
#[derive(Clone)]
pub struct Peer {
    service: Service,
    way: Option<(BaseUrl, SecretString)>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("service", &self.service)
            .field("is_known", &self.way.is_some())
            .finish()
    }
}

/// Why another service told nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silent {
    /// Nobody said where it is.
    #[error("not asked: {0} and {1} are not both set")]
    Unknown(&'static str, &'static str),
    /// It is away.
    #[error("does not answer ({0}): is it running, and does {1} lead to it?")]
    Away(&'static str, &'static str),
    /// It lets us not in.
    #[error("refuses {0} with {1}: it must be one that is good for every tenant")]
    Refused(&'static str, u16),
    /// It answered something else.
    #[error("answered {0}: is it older than this one?")]
    Strange(u16),
}

impl Peer {
    /// Which service it is.
    #[must_use]
    pub const fn service(&self) -> Service {
        self.service
    }

    /// What it tells of an id.
    ///
    /// # Errors
    /// [`Silent`], which names no secret.
    pub async fn ask(&self, http: &reqwest::Client, id: &str) -> Result<Answer, Silent> {
        let (url_name, key_name) = self.service.variables();
        let Some((base, key)) = &self.way else {
            return Err(Silent::Unknown(url_name, key_name));
        };
        let id = utf8_percent_encode(id, PLAIN);
        let url = format!("{}/internal/journeys/{id}", base.as_str());
        let request = http.get(url);
        let shown = key.expose_secret();
        let request = match self.service {
            Service::Channel => request.header("x-internal-api-key", shown),
            // As its list has it, or the key alone.
            Service::Gateway => {
                let key = shown.split_once(':').map_or(shown, |(_, key)| key);
                request.header("x-internal-api-key", key)
            }
            Service::Bridge => {
                let (user, password) = shown.split_once(':').unwrap_or((shown, ""));
                request.basic_auth(user, Some(password))
            }
        };
        let away = |error: &reqwest::Error| {
            let how = if error.is_timeout() {
                "no answer in time"
            } else if error.is_connect() {
                "no connection"
            } else {
                "the connection broke"
            };
            Silent::Away(how, url_name)
        };
        let answer = request.send().await.map_err(|error| away(&error))?;
        let status = answer.status();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Silent::Refused(key_name, status.as_u16()));
            }
            status if status.is_server_error() => return Err(Silent::Away("it fails", url_name)),
            status => return Err(Silent::Strange(status.as_u16())),
        }
        let mut body = Vec::new();
        let mut stream = answer.bytes_stream();
        while let Some(piece) = stream.next().await {
            body.extend_from_slice(&piece.map_err(|error| away(&error))?);
            if body.len() > ANSWER_LIMIT {
                return Err(Silent::Strange(status.as_u16()));
            }
        }
        serde_json::from_slice(&body).map_err(|_| Silent::Strange(status.as_u16()))
    }
}

/// The client that asks: no proxies, no redirects, no long waits.
///
/// # Errors
/// When it cannot be built.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(TIMEOUT)
        .user_agent(concat!("kanal-trace/", env!("CARGO_PKG_VERSION")))
        .build()
}
