//! The tenants' receivers: how they are asked whether they are who they should be, and how a webhook is posted to them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use outbound_url::{CheckedResolver, OutboundPolicy, OutboundRefusal};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use runtime::breaker::{Bounds, Breakers, Rules};
use whatsapp::cloud::{SIGNATURE_HEADER, sign};
use whatsapp::credentials::WebhookKey;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const ANSWER_LIMIT: usize = 16 * 1024;
/// Longest wait that a receiver can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// Longest address of a receiver.
const LONGEST_URL: usize = 2_000;

/// Hosts to which no connection can be made are left alone for a while: other tenants' webhooks would wait behind them.
const RULES: Rules = Rules {
    patience: 5,
    first_rest: Duration::from_secs(1),
    longest_rest: Duration::from_secs(30),
};
const BOUNDS: Bounds = Bounds {
    most: 4_096,
    forget_after: Duration::from_secs(600),
};

/// The way to all receivers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Receivers {
    client: Client,
    policy: OutboundPolicy,
    timeout: Duration,
    rests: Breakers,
}

/// What a receiver made of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Taken,
    /// It has it not, or nobody knows. The reason is a stable code; the receiver may have asked for a wait.
    Failed {
        /// Why.
        reason: String,
        /// For how long.
        wait: Option<Duration>,
    },
    /// It was not asked: its host is left alone for so long.
    Resting(Duration),
}

/// Why an address is no receiver's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReceiver {
    /// It is no address that is dialled.
    #[error("callback_url: {0}")]
    Url(String),
    /// It did not answer.
    #[error("callback_url did not answer the verification: {0}")]
    Silent(&'static str),
    /// It did not repeat the challenge with 200.
    #[error("callback_url answered the verification with {0} instead of 200 and the challenge")]
    Refused(u16),
}

impl Receivers {
    /// Prepares the client: no proxy, no redirects, and no address but those that may be dialled.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(policy: OutboundPolicy, timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .dns_resolver(Arc::new(CheckedResolver::new(policy.clone())))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(8)
            .user_agent("kanal-gate")
            .build()?;
        Ok(Self {
            client,
            policy,
            timeout,
            rests: Breakers::new(RULES, BOUNDS),
        })
    }

    /// Asks a receiver to repeat a challenge, as Meta does (Cloud API contract 1).
    ///
    /// # Errors
    /// [`NoReceiver`].
    pub async fn verify(&self, url: &str, verify_token: &str) -> Result<(), NoReceiver> {
        if url.len() > LONGEST_URL {
            return Err(NoReceiver::Url("is longer than 2000 characters".to_owned()));
        }
        let mut url = Url::parse(url).map_err(|_| NoReceiver::Url("is no address".to_owned()))?;
        let refused = |refusal: OutboundRefusal| NoReceiver::Url(refusal.to_string());
        self.policy.check_link(&url).map_err(refused)?;
        if url.fragment().is_some() {
            return Err(NoReceiver::Url("must have no fragment".to_owned()));
        }
        let challenge = rand::random_range(1_000_000_000_u64..10_000_000_000).to_string();
        url.query_pairs_mut()
            .append_pair("hub.mode", "subscribe")
            .append_pair("hub.challenge", &challenge)
            .append_pair("hub.verify_token", verify_token);
        let response = self.client.get(url).timeout(self.timeout).send().await;
        let mut response = response.map_err(|error| NoReceiver::Silent(why(&error)))?;
        let status = response.status();
        let body = head(&mut response).await;
        if status == StatusCode::OK && body == challenge.as_bytes() {
            Ok(())
        } else {
            Err(NoReceiver::Refused(status.as_u16()))
        }
    }

    /// Posts a webhook.
    pub async fn post(&self, url: &str, key: &WebhookKey, body: Bytes) -> Answer {
        let failed = |reason: &str| Answer::Failed {
            reason: reason.to_owned(),
            wait: None,
        };
        let Ok(url) = Url::parse(url) else {
            return failed("invalid_url");
        };
        if let Err(refusal) = self.policy.check_link(&url) {
            tracing::warn!(%refusal, "a receiver's address is not dialled");
            return failed("refused_url");
        }
        let origin = url.origin().ascii_serialization();
        if let Err(wait) = self.rests.ask(&origin, Instant::now(), self.timeout) {
            return Answer::Resting(wait);
        }
        let request = self
            .client
            .post(url)
            .timeout(self.timeout)
            .header(CONTENT_TYPE, "application/json")
            .header(SIGNATURE_HEADER, sign(key, &body));
        match trace_context::call("subscriber call", request.body(body).send()).await {
            Ok(response) => {
                self.rests.answered(&origin);
                judge(response).await
            }
            Err(error) if error.is_connect() => {
                let _ = self.rests.failed(&origin, Instant::now(), rand::random());
                failed(why(&error))
            }
            Err(error) => {
                self.rests.answered(&origin);
                failed(why(&error))
            }
        }
    }
}

/// Meta takes 200 for an answer and nothing else.
async fn judge(mut response: Response) -> Answer {
    let status = response.status();
    let asked = response.headers().get(RETRY_AFTER);
    let asked: Option<u64> = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let wait =
        asked.map(|seconds| domain::retry::clamp_retry_after(Duration::from_secs(seconds), LONGEST_ASKED));
    let _ = head(&mut response).await;
    if status == StatusCode::OK {
        Answer::Taken
    } else {
        Answer::Failed {
            reason: format!("http_{}", status.as_u16()),
            wait,
        }
    }
}

/// The beginning of an answer; then its connection can be used again.
async fn head(response: &mut Response) -> Vec<u8> {
    let mut read = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        read.extend_from_slice(&piece);
        if read.len() > ANSWER_LIMIT {
            break;
        }
    }
    read
}

fn why(error: &reqwest::Error) -> &'static str {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<OutboundRefusal>().is_some() {
            return "refused_url";
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "unreachable"
    } else {
        "connection_broken"
    }
}
