//! The way to Chatwoot: every call goes through here, whatever it is about. The calls themselves stand by their nouns.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::multipart::Form;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::breaker::Breakers;
use super::error::ChatwootError;
use super::pace::{Haste, Pace};
use super::places::{Place, Places};
use crate::outbound_url::{CheckedResolver, OutboundPolicy, OutboundRefusal};

/// An answer that is longer is not Chatwoot's.
const ANSWER_LIMIT: usize = 2 * 1024 * 1024;

/// Bytes a second that a connection carries at least.
const SLOWEST: u64 = 256 * 1024;

/// The one HTTP client for all Chatwoots. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Chatwoot {
    http: reqwest::Client,
    policy: OutboundPolicy,
    timeout: Duration,
    settles_in: Duration,
    breakers: Breakers,
    places: Places,
    pace: Option<Pace>,
}

/// Where an inbox is and what opens it.
#[derive(Clone)]
pub struct InboxAddress {
    /// Base URL of the installation, without a slash at the end.
    pub url: String,
    /// Chatwoot's account id.
    pub account_id: i64,
    /// Chatwoot's inbox id.
    pub inbox_id: i64,
    /// `api_access_token`.
    pub token: SecretString,
}

impl fmt::Debug for InboxAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxAddress")
            .field("account_id", &self.account_id)
            .field("inbox_id", &self.inbox_id)
            .finish_non_exhaustive()
    }
}

/// The API of one account, seen from one of its inboxes.
#[derive(Debug, Clone, Copy)]
pub struct ChatwootApi<'a> {
    client: &'a Chatwoot,
    at: &'a InboxAddress,
    haste: Haste,
    /// What fails here says nothing about the server.
    is_trifle: bool,
}

impl Chatwoot {
    /// A client that dials only what `policy` allows, gives up after `timeout`, and has `at_once` places at a server.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(policy: OutboundPolicy, timeout: Duration, at_once: usize) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .timeout(timeout)
            .pool_max_idle_per_host(16)
            .user_agent(concat!("kanal-chatwoot-bridge/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(CheckedResolver::new(policy.clone())))
            .build()?;
        Ok(Self {
            http,
            policy,
            timeout,
            settles_in: timeout,
            breakers: Breakers::default(),
            places: Places::new(at_once),
            pace: None,
        })
    }

    /// Asks no server faster than that.
    #[must_use]
    pub fn paced(mut self, pace: Pace) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Believes that Chatwoot has made up its mind this long after an answer was lost, rather than after as long as
    /// it may take to answer.
    #[must_use]
    pub const fn settling_in(mut self, time: Duration) -> Self {
        self.settles_in = time;
        self
    }

    /// After how long Chatwoot has made up its mind about a call whose answer was lost.
    #[must_use]
    pub const fn settles_in(&self) -> Duration {
        self.settles_in
    }

    /// The same for a call that has so many bytes to carry.
    #[must_use]
    pub fn settles_with(&self, bytes: u64) -> Duration {
        self.settles_in + Duration::from_secs(bytes / SLOWEST)
    }

    /// A place at the inbox's server, for as long as the caller works with it.
    ///
    /// # Errors
    /// [`ChatwootError::Busy`] when none is free within a moment.
    pub async fn place(&self, at: &InboxAddress) -> Result<Place, ChatwootError> {
        self.places.take(&at.url).await
    }

    /// The API behind an inbox.
    #[must_use]
    pub const fn at<'a>(&'a self, at: &'a InboxAddress) -> ChatwootApi<'a> {
        ChatwootApi {
            client: self,
            at,
            haste: Haste::Now,
            is_trifle: false,
        }
    }

    /// The same for old matters, which leave most of a server to what people wait for.
    #[must_use]
    pub const fn at_leisure<'a>(&'a self, at: &'a InboxAddress) -> ChatwootApi<'a> {
        ChatwootApi {
            client: self,
            at,
            haste: Haste::Leisurely,
            is_trifle: false,
        }
    }
}

impl ChatwootApi<'_> {
    /// The same for what nobody waits for: when it fails, the server is not left alone for it, so that no message has to
    /// wait.
    #[must_use]
    pub const fn as_trifle(self) -> Self {
        Self {
            is_trifle: true,
            ..self
        }
    }

    /// The inbox it is seen from.
    #[must_use]
    pub const fn inbox_id(&self) -> i64 {
        self.at.inbox_id
    }

    /// How long a call may take that has so many bytes to carry.
    pub(super) fn time_for(&self, bytes: u64) -> Duration {
        self.client.timeout + Duration::from_secs(bytes / SLOWEST)
    }

    /// Makes sure that the conversation may get one more message.
    pub(super) async fn pace_message(&self, conversation: i64) -> Result<(), ChatwootError> {
        match &self.client.pace {
            Some(pace) => pace.message(&self.at.url, self.at.account_id, conversation).await,
            None => Ok(()),
        }
    }

    /// One call with a body in JSON, or none. `path` is behind the account's, unless it begins with `/api/`; `name` names
    /// it in metrics.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        name: &'static str,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, ChatwootError> {
        let fill = |request: RequestBuilder| match body {
            Some(body) => request.json(body),
            None => request,
        };
        counted(name, self.send(method, path, self.client.timeout, fill).await)
    }

    /// One call with a body in parts, for files. It may take as long as `timeout`.
    pub async fn call_form<T: DeserializeOwned>(
        &self,
        name: &'static str,
        method: Method,
        path: &str,
        form: Form,
        timeout: Duration,
    ) -> Result<T, ChatwootError> {
        let fill = |request: RequestBuilder| request.multipart(form);
        counted(name, self.send(method, path, timeout, fill).await)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        timeout: Duration,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<T, ChatwootError> {
        let request = self.request(method, path)?.timeout(timeout);
        let request = fill(request);
        let (server, breakers) = (self.at.url.as_str(), &self.client.breakers);
        if let Some(pace) = &self.client.pace {
            pace.call(server, self.haste).await?;
        }
        let asked = if self.is_trifle {
            breakers.look(server, Instant::now())
        } else {
            breakers.ask(server, Instant::now(), timeout)
        };
        asked.map_err(|after| ChatwootError::Resting { after })?;
        let answered = self.exchange(request).await;
        let answered = answered.and_then(|(status, headers, bytes)| {
            if status.is_success() {
                Ok(bytes)
            } else {
                Err(self.refusal(status, &headers, &bytes))
            }
        });
        match answered {
            Ok(bytes) => {
                breakers.answered(server);
                serde_json::from_slice(&bytes).map_err(|_| silent("unreadable", None))
            }
            Err(ChatwootError::NoAnswer { what, settled_in, .. }) => {
                let outage = !self.is_trifle && breakers.failed(server, Instant::now());
                Err(ChatwootError::NoAnswer {
                    what,
                    settled_in,
                    outage,
                })
            }
            Err(error) => {
                breakers.answered(server);
                if let (ChatwootError::RateLimited { after, whole: true }, Some(pace)) =
                    (error, &self.client.pace)
                {
                    pace.limited(server, after);
                }
                Err(error)
            }
        }
    }

    /// What is answered to a `GET`, word for word: for finding out why Chatwoot refuses.
    pub(super) async fn look(&self, path: &str) -> Result<(StatusCode, Vec<u8>), ChatwootError> {
        let request = self.request(Method::GET, path)?.timeout(self.client.timeout);
        let (status, _, body) = self.exchange(request).await?;
        Ok((status, body))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ChatwootError> {
        let url = Url::parse(&self.at.url).map_err(|_| OutboundRefusal::Form)?;
        self.client.policy.check(&url)?;
        let whole = if path.starts_with("/api/") {
            format!("{}{path}", self.at.url)
        } else {
            format!("{}/api/v1/accounts/{}{path}", self.at.url, self.at.account_id)
        };
        let mut token =
            HeaderValue::from_str(self.at.token.expose_secret()).map_err(|_| ChatwootError::TokenRefused)?;
        token.set_sensitive(true);
        let request = self.client.http.request(method, whole);
        Ok(request.header("api_access_token", token))
    }

    /// One request and its whole answer, whatever it says.
    async fn exchange(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), ChatwootError> {
        let response = trace_context::call("chatwoot call", request.send())
            .await
            .map_err(|error| self.no_answer(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok((status, headers, self.read(response).await?))
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Vec<u8>, ChatwootError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.no_answer(&error))? {
            if bytes.len() + chunk.len() > ANSWER_LIMIT {
                return Err(silent("too_long", None));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn no_answer(&self, error: &reqwest::Error) -> ChatwootError {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(refusal) = current.downcast_ref::<OutboundRefusal>() {
                return ChatwootError::NotDialled(*refusal);
            }
            cause = current.source();
        }
        if error.is_connect() {
            silent("no_connection", None)
        } else {
            // It may still be at work on what it was asked: looking right away would not find it.
            let what = if error.is_timeout() { "timeout" } else { "broken" };
            silent(what, Some(self.client.settles_in))
        }
    }

    /// Contract 3.1. Chatwoot has no codes in its errors, so two kinds of 422 are known by their fixed words.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ChatwootError {
        refusal(status, headers, body, self.client.settles_in)
    }
}

/// The body of a call that has none.
pub(super) const NOTHING: Option<&()> = None;

fn counted<T>(name: &'static str, answered: Result<T, ChatwootError>) -> Result<T, ChatwootError> {
    let outcome = match &answered {
        Ok(_) => "ok",
        Err(ChatwootError::RateLimited { .. }) => "rate_limited",
        Err(ChatwootError::Resting { .. }) => "resting",
        Err(ChatwootError::Paced { .. }) => "paced",
        Err(ChatwootError::Busy) => "busy",
        Err(ChatwootError::NoAnswer { .. }) => "no_answer",
        Err(ChatwootError::NotFound) => "not_found",
        Err(ChatwootError::Taken) => "taken",
        Err(ChatwootError::TokenRefused) => "token_refused",
        Err(ChatwootError::Refused { .. } | ChatwootError::NotDialled(_)) => "refused",
    };
    metrics::counter!("kanal_chatwoot_calls_total", "call" => name, "outcome" => outcome).increment(1);
    answered
}

const fn silent(what: &'static str, settled_in: Option<Duration>) -> ChatwootError {
    ChatwootError::NoAnswer {
        what,
        settled_in,
        outage: false,
    }
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], settles_in: Duration) -> ChatwootError {
    let says = |words: &str| String::from_utf8_lossy(&body[..body.len().min(4096)]).contains(words);
    match status {
        StatusCode::TOO_MANY_REQUESTS => ChatwootError::RateLimited {
            after: retry_after(headers),
            whole: true,
        },
        StatusCode::UNPROCESSABLE_ENTITY if says("Too many messages") => ChatwootError::RateLimited {
            after: None,
            whole: false,
        },
        StatusCode::UNPROCESSABLE_ENTITY if says("already been taken") || says("should be unique") => {
            ChatwootError::Taken
        }
        StatusCode::UNAUTHORIZED => ChatwootError::TokenRefused,
        StatusCode::NOT_FOUND => ChatwootError::NotFound,
        // These are often a proxy's, which gave up on a Chatwoot that goes on.
        StatusCode::REQUEST_TIMEOUT => silent("status_408", Some(settles_in)),
        status if status.is_server_error() => silent("status_5xx", Some(settles_in)),
        status => ChatwootError::Refused {
            status: status.as_u16(),
        },
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    // Zero would be no patience at all.
    Some(Duration::from_secs(seconds.max(1)))
}

#[cfg(test)]
mod tests {
    use super::super::error::Wait;
    use super::*;

    #[test]
    fn refusals_are_sorted_by_what_can_be_done() {
        let sort = |status: u16, body: &str| {
            refusal(
                StatusCode::from_u16(status).unwrap(),
                &HeaderMap::new(),
                body.as_bytes(),
                Duration::from_secs(10),
            )
        };
        assert_eq!(
            sort(429, "Retry later"),
            ChatwootError::RateLimited {
                after: None,
                whole: true
            }
        );
        assert_eq!(
            sort(422, r#"{"error":"Too many messages"}"#),
            ChatwootError::RateLimited {
                after: None,
                whole: false
            }
        );
        assert_eq!(
            sort(422, r#"{"message":"Identifier has already been taken"}"#),
            ChatwootError::Taken
        );
        assert_eq!(
            sort(422, r#"{"error":"source_id should be unique"}"#),
            ChatwootError::Taken
        );
        assert_eq!(sort(422, "{}"), ChatwootError::Refused { status: 422 });
        assert_eq!(sort(302, ""), ChatwootError::Refused { status: 302 });
        assert_eq!(sort(404, ""), ChatwootError::NotFound);
        // Whoever answers so may be a proxy in front of a Chatwoot that is still at work.
        for status in [408, 500, 502, 503, 504, 520] {
            let wait = sort(status, "<html>").wait();
            assert_eq!(
                wait,
                Some(Wait::Failed(Some(Duration::from_secs(10)))),
                "{status}"
            );
        }
        assert_eq!(sort(429, "").wait(), Some(Wait::Deferred(None)));
        assert!(sort(403, "").wait().is_none());
    }

    #[test]
    fn a_token_is_not_shown() {
        let at = InboxAddress {
            url: "https://chat.example".into(),
            account_id: 1,
            inbox_id: 2,
            token: SecretString::from("s3cret-token"),
        };
        assert!(!format!("{at:?}").contains("s3cret"));
    }
}
