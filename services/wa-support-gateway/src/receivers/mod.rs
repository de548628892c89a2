//! The customers' receivers: how a webhook is posted to an address that a customer chose, and what its answer means.

mod rest;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use outbound_url::{CheckedResolver, OutboundPolicy};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use uuid::Uuid;
use whatsapp::credentials::WebhookKey;
use whatsapp::genfity::{SIGNATURE_HEADER, sign};

use rest::Rests;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The slowest line we wait for when a body is large: bytes in a second.
const SLOWEST_LINE: u64 = 256 * 1024;

/// How much of an answer is read, so that its connection can be used again. Nobody looks at it.
const ANSWER_LIMIT: usize = 16 * 1024;

/// Longest wait that a receiver can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Which event this is; the same at every try.
const EVENT_ID: HeaderName = HeaderName::from_static("x-kanal-event-id");

/// Which try this is, from 1.
const ATTEMPT: HeaderName = HeaderName::from_static("x-kanal-attempt");

/// The way to all receivers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Receivers {
    client: Client,
    policy: OutboundPolicy,
    timeout: Duration,
    rests: Rests,
}

/// A webhook on its way.
pub(crate) struct Delivery {
    pub(crate) event: Uuid,
    pub(crate) attempt: u32,
    /// As the WA server wrote it.
    pub(crate) content_type: Option<String>,
    pub(crate) key: WebhookKey,
    pub(crate) body: Bytes,
}

/// What a receiver made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has it.
    Taken,
    /// It is gone for good, and says so.
    Gone,
    /// It has it not, or nobody knows. The reason is a stable code; the receiver may have asked for a wait.
    Failed { reason: String, wait: Option<Duration> },
    /// It was not asked: its host cannot be reached and is left alone for so long.
    Resting(Duration),
}

impl Answer {
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
            wait: None,
        }
    }
}

impl Receivers {
    /// Prepares the client: no proxy, no redirects, and no address but those that may be dialled.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub(crate) fn new(policy: OutboundPolicy, timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .dns_resolver(Arc::new(CheckedResolver::new(policy.clone())))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(8)
            .user_agent("wa-support-gateway")
            .build()?;
        Ok(Self {
            client,
            policy,
            timeout,
            rests: Rests::default(),
        })
    }

    /// Posts a webhook, byte for byte.
    pub(crate) async fn post(&self, url: &str, delivery: Delivery) -> Answer {
        let Ok(url) = Url::parse(url) else {
            return Answer::failed("invalid_url");
        };
        if let Err(refusal) = self.policy.check_link(&url) {
            tracing::warn!(%refusal, "a customer's webhook URL is not dialled");
            return Answer::failed("refused_url");
        }
        let origin = url.origin().ascii_serialization();
        if let Err(wait) = self.rests.ask(&origin, Instant::now(), self.timeout) {
            return Answer::Resting(wait);
        }
        // channel-service stands in our network and goes on with the trace; strangers are told nothing of it.
        let is_ours = self.policy.is_listed(&url);
        let Some(request) = self.request(url, delivery) else {
            return Answer::failed("invalid_content_type");
        };
        let sending = async {
            let request = if is_ours {
                request.headers(trace_context::headers())
            } else {
                request
            };
            request.send().await
        };
        match trace_context::call("webhook", sending).await {
            Ok(response) => {
                self.rests.reached(&origin);
                judge(response).await
            }
            Err(error) if error.is_connect() => {
                self.rests.unreachable(&origin, Instant::now());
                Answer::failed("unreachable")
            }
            Err(error) => {
                self.rests.reached(&origin);
                Answer::failed(if error.is_timeout() {
                    "timeout"
                } else {
                    "connection_broken"
                })
            }
        }
    }

    fn request(&self, url: Url, delivery: Delivery) -> Option<reqwest::RequestBuilder> {
        let time_for_body = Duration::from_secs(u64::try_from(delivery.body.len()).ok()? / SLOWEST_LINE);
        let mut request = self
            .client
            .post(url)
            .timeout(self.timeout + time_for_body)
            .header(SIGNATURE_HEADER, sign(&delivery.key, &delivery.body))
            .header(EVENT_ID, delivery.event.to_string())
            .header(ATTEMPT, delivery.attempt);
        if let Some(content_type) = delivery.content_type {
            request = request.header(CONTENT_TYPE, HeaderValue::from_str(&content_type).ok()?);
        }
        Some(request.body(delivery.body))
    }
}

async fn judge(mut response: Response) -> Answer {
    let status = response.status();
    let wait = asked_wait(&response);
    let mut read = 0;
    while let Ok(Some(piece)) = response.chunk().await {
        read += piece.len();
        if read > ANSWER_LIMIT {
            break;
        }
    }
    if status.is_success() {
        Answer::Taken
    } else if status == StatusCode::GONE {
        Answer::Gone
    } else {
        Answer::Failed {
            reason: format!("http_{}", status.as_u16()),
            wait,
        }
    }
}

/// `Retry-After` in seconds; its other form, a date, is left to the schedule.
fn asked_wait(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = Duration::from_secs(seconds.parse().ok()?);
    Some(domain::retry::clamp_retry_after(asked, LONGEST_ASKED))
}
