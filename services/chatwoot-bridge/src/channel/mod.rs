//! channel-service's internal routes, as far as the bridge asks them: which accounts a tenant has, and what their chats
//! hold. Operators say where it is; without that the bridge lives by events alone.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use domain::ids::{AccountId, TenantId};
use domain::message::Direction;
use messaging::events::message_received::ChatMessage;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use runtime::config::BaseUrl;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;

/// An answer that is longer is not one page.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(20);

/// The way to channel-service. Cheap to clone.
#[derive(Clone)]
pub struct ChannelService {
    http: reqwest::Client,
    base: String,
    key: SecretString,
}

impl fmt::Debug for ChannelService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelService").finish_non_exhaustive()
    }
}

/// An account a tenant can send from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ChannelAccount {
    /// Its id.
    pub id: AccountId,
    /// Which kind of API it lives on.
    pub provider: String,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// Its number, once learned.
    #[serde(default)]
    pub phone: Option<String>,
    /// An [`AccountStatus`](domain::account::AccountStatus) by its word; a new service may know others.
    #[serde(default)]
    pub status: String,
}

/// A message of before.
#[derive(Debug, Clone, Deserialize)]
pub struct HistoryMessage {
    /// Who wrote it.
    pub direction: Direction,
    /// What the one who had it sent wanted repeated.
    #[serde(default)]
    pub reference: Option<String>,
    /// The message, as an event would tell it.
    pub message: ChatMessage,
}

/// A page of an account's messages, in the order in which they came.
#[derive(Debug, Clone, Deserialize)]
pub struct HistoryPage {
    /// The messages.
    #[serde(rename = "data")]
    pub messages: Vec<HistoryMessage>,
    /// Where to go on; `None` at the end.
    #[serde(default)]
    pub next: Option<Uuid>,
}

/// Why channel-service did not say what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Away, or failing: it will be back.
    #[error("channel-service does not answer: {0}")]
    Away(&'static str),
    /// The key is none of its, or is not for this tenant.
    #[error("channel-service does not accept our key")]
    KeyRefused,
    /// It does not know what it was asked: it is older than this service.
    #[error("channel-service refused with {0}")]
    Refused(u16),
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

impl ChannelService {
    /// A client that shows `key`.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(base: &BaseUrl, key: SecretString) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(TIMEOUT)
            .user_agent(concat!("kanal-chatwoot-bridge/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            base: base.as_str().to_owned(),
            key,
        })
    }

    /// The tenant's accounts, oldest first.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn accounts(&self, tenant: &TenantId) -> Result<Vec<ChannelAccount>, ChannelError> {
        let asked = [("village_id", tenant.as_str())];
        let answer: Data<Vec<ChannelAccount>> = self.get("/internal/accounts", &asked).await?;
        Ok(answer.data)
    }

    /// Up to `limit` messages of an account, those behind `after` and not written before `since`.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn history(
        &self,
        tenant: &TenantId,
        account: AccountId,
        after: Option<Uuid>,
        since: Option<DateTime<Utc>>,
        limit: i64,
    ) -> Result<HistoryPage, ChannelError> {
        let (account, limit) = (account.to_string(), limit.to_string());
        let after = after.map(|after| after.to_string()).unwrap_or_default();
        let since = since
            .map(|since| since.to_rfc3339_opts(SecondsFormat::Millis, true))
            .unwrap_or_default();
        let asked = [
            ("village_id", tenant.as_str()),
            ("account_id", &account),
            ("after", &after),
            ("since", &since),
            ("limit", &limit),
        ];
        self.get("/internal/history", &asked).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ChannelError> {
        let mut key =
            HeaderValue::from_str(self.key.expose_secret()).map_err(|_| ChannelError::KeyRefused)?;
        key.set_sensitive(true);
        let url = Url::parse_with_params(&format!("{}{path}", self.base), query)
            .map_err(|_| ChannelError::Away("no_address"))?;
        let request = self.http.get(url).header("x-internal-api-key", key);
        let sending = async { request.headers(trace_context::headers()).send().await };
        let mut response = trace_context::call("channel-service call", sending)
            .await
            .map_err(|_| ChannelError::Away("no_answer"))?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(ChannelError::KeyRefused),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                return Err(ChannelError::Away("asks_for_patience"));
            }
            status if status.is_server_error() => return Err(ChannelError::Away("fails")),
            status => return Err(ChannelError::Refused(status.as_u16())),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| ChannelError::Away("broken"))? {
            if bytes.len() + chunk.len() > ANSWER_LIMIT {
                return Err(ChannelError::Away("too_long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map_err(|_| ChannelError::Away("unreadable"))
    }
}
