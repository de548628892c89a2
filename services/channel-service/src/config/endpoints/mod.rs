//! The WhatsApp API servers that tenants are assigned to, by name.

mod json;
mod parse;
mod references;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use domain::endpoint::{EndpointName, Provider};
use runtime::config::{BaseUrl, InvalidSettings, SettingsReader};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use whatsapp::credentials::{BasicAuth, WebhookKey};
use whatsapp::genfity::InternalKey;

use super::sessions::SessionSettings;

pub use parse::aws_paths;
pub use references::{FetchedSecrets, SecretTrouble};

/// Every configured endpoint, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointsSettings {
    /// No two have one name.
    pub list: Vec<EndpointSettings>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// By this name tenants are assigned to it.
    pub name: EndpointName,
    /// Prefix of its API.
    pub api_url: BaseUrl,
    /// What its kind of API needs.
    pub provider: ProviderSettings,
    /// What it may sign webhooks with, besides the keys of single sessions; newest first.
    pub webhook_keys: Vec<WebhookKey>,
}

/// What a kind of API needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderSettings {
    /// The wuzapi family.
    Genfity {
        /// wa-support-gateway and our key to it; asked first for new sessions.
        gateway: Option<(BaseUrl, InternalKey)>,
        /// The WhatsApp server and the token of its administration.
        server: Option<(BaseUrl, ApiKey)>,
    },
    /// go-whatsapp-web-multidevice.
    Gowa {
        /// Without it calls carry no authentication.
        auth: Option<BasicAuth>,
    },
    /// Meta's Graph API.
    Cloud(CloudSettings),
}

/// What Meta's Graph API needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudSettings {
    /// Opens the Graph API.
    pub access_token: ApiKey,
    /// What its webhooks are signed with, newest first.
    pub app_secrets: Vec<WebhookKey>,
    /// What a subscription of webhooks is confirmed with.
    pub verify_token: ApiKey,
    /// The numbers that send through it.
    pub phone_number_ids: Vec<String>,
}

/// A secret that opens an API.
#[derive(Clone)]
pub struct ApiKey(SecretString);

/// A text that is no such secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", ApiKey::EXPECTED)]
pub struct InvalidApiKey;

impl ApiKey {
    /// What a right value looks like: it has to fit into a header.
    pub const EXPECTED: &'static str = "must be 1 to 4096 printable ASCII characters without blanks";
    /// Longest accepted key, in bytes.
    pub const MOST: usize = 4096;

    /// The key itself, for the call. Do not log it.
    #[must_use]
    pub const fn secret(&self) -> &SecretString {
        &self.0
    }
}

impl FromStr for ApiKey {
    type Err = InvalidApiKey;

    fn from_str(text: &str) -> Result<Self, InvalidApiKey> {
        let fits = (1..=Self::MOST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            Ok(Self(SecretString::from(text)))
        } else {
            Err(InvalidApiKey)
        }
    }
}

impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for ApiKey {}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

impl ProviderSettings {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Provider {
        match self {
            Self::Genfity { .. } => Provider::Genfity,
            Self::Gowa { .. } => Provider::Gowa,
            Self::Cloud(_) => Provider::Cloud,
        }
    }
}

/// The endpoint that there is without a list, and that old accounts are bound to.
pub const PRIMARY: &str = "Primary";

/// The variable with the list.
pub const LIST: &str = "WHATSAPP_ENDPOINTS";

impl EndpointsSettings {
    /// Reads the endpoints and nothing else, as a reload does.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn read(mut reader: SettingsReader, secrets: &FetchedSecrets) -> Result<Self, InvalidSettings> {
        let sessions = SessionSettings::take(&mut reader);
        let endpoints = Self::take(&mut reader, sessions.as_ref(), secrets);
        reader.finish_part(|| endpoints)
    }

    /// The list, or the one endpoint of an installation without one.
    pub(super) fn take(
        reader: &mut SettingsReader,
        sessions: Option<&SessionSettings>,
        secrets: &FetchedSecrets,
    ) -> Option<Self> {
        let list = reader.optional_text(
            LIST,
            "WhatsApp API servers by name, instead of the one that `WA_API_URL`, `WA_SUPPORT_URL` and `WA_SERVER_URL` \
             describe: a JSON list, see [Endpoints](#endpoints)",
        );
        let wa_api: Option<BaseUrl> = reader.with_default(
            "WA_API_URL",
            "https://api-wa.genfity.com/v1/wa",
            "Prefix of the WhatsApp API, normally wa-support-gateway's `/v1/wa`",
        );
        let Some(list) = list else {
            return Some(Self::primary(&wa_api?, sessions?));
        };
        let sources = references::Sources { reader, secrets };
        match parse::parse(&list, &sources) {
            Ok(endpoints) => Some(endpoints),
            Err(mistakes) => {
                for mistake in mistakes {
                    reader.problem(&mistake.name, &mistake.rule);
                }
                None
            }
        }
    }

    fn primary(wa_api: &BaseUrl, sessions: &SessionSettings) -> Self {
        let list = EndpointName::parse(PRIMARY)
            .map(|name| EndpointSettings {
                name,
                api_url: wa_api.clone(),
                provider: ProviderSettings::Genfity {
                    gateway: sessions.gateway.clone(),
                    server: sessions.server.clone(),
                },
                webhook_keys: Vec::new(),
            })
            .into_iter()
            .collect();
        Self { list }
    }
}

/// Is this the prefix under which wa-support-gateway serves the WhatsApp API?
fn address_is_gateways(api: &Url) -> bool {
    gateway_base(api).is_some()
}

/// The gateway's own base, when this is the prefix under which it serves the WhatsApp API.
#[must_use]
pub fn gateway_base(api: &Url) -> Option<Url> {
    let path = api.path().trim_end_matches('/');
    let base = path.strip_suffix("/wa")?;
    let mut url = api.clone();
    url.set_path(base.strip_suffix("/v1").unwrap_or(base));
    Some(url)
}
