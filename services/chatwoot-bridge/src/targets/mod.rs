//! The URLs of routes: how an event is posted to an address that somebody chose, and what its answer means.

pub mod places;
mod rest;

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use outbound_url::{CheckedResolver, OutboundPolicy, OutboundRefusal};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use uuid::Uuid;

use rest::Rests;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read, so that its connection can be used again. Nobody looks at it.
const ANSWER_LIMIT: usize = 16 * 1024;

/// Longest wait that a target can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Which event this is; the same at every try.
const EVENT_ID: HeaderName = HeaderName::from_static("x-kanal-event-id");
/// Which try this is, from 1.
const ATTEMPT: HeaderName = HeaderName::from_static("x-kanal-attempt");
/// The proof that GoWA and others know (contract 4.3).
const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");

/// The way to all targets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Targets {
    client: Client,
    policy: OutboundPolicy,
    timeout: Duration,
    rests: Rests,
}

/// Where a route's events go: its URL, with what stood in it as user info taken out.
pub struct Target {
    route: Uuid,
    url: Url,
    origin: String,
    user: Option<(String, Option<SecretString>)>,
    signing_secret: Option<SecretString>,
    /// An agent's message is posted again although nobody knows whether it arrived.
    pub retry_unknown: bool,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

/// A URL that cannot be a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URL cannot be read")]
pub struct InvalidTarget;

impl Target {
    /// Takes a stored URL apart.
    ///
    /// # Errors
    /// [`InvalidTarget`].
    pub fn new(
        route: Uuid,
        url: &SecretString,
        signing_secret: Option<SecretString>,
        retry_unknown: bool,
    ) -> Result<Self, InvalidTarget> {
        let mut url = Url::parse(url.expose_secret()).map_err(|_| InvalidTarget)?;
        let user = if url.username().is_empty() && url.password().is_none() {
            None
        } else {
            let password = url.password().map(|text| SecretString::from(plain(text)));
            Some((plain(url.username()), password))
        };
        url.set_username("").map_err(|()| InvalidTarget)?;
        url.set_password(None).map_err(|()| InvalidTarget)?;
        url.set_fragment(None);
        Ok(Self {
            route,
            origin: url.origin().ascii_serialization(),
            url,
            user,
            signing_secret,
            retry_unknown,
        })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

/// What percent signs stand for.
fn plain(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// An event on its way.
pub struct Post {
    /// Ours; the same at every try.
    pub event: Uuid,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// As they came.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Bytes,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// What a target made of it. Reasons are stable codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Taken,
    /// It has it not; later it may. It may have asked for a wait.
    NotNow {
        /// Why.
        reason: String,
        /// What `Retry-After` said.
        wait: Option<Duration>,
    },
    /// Nobody knows whether it has it.
    Unsure {
        /// Why.
        reason: String,
    },
    /// It has it not, and asking again will not help.
    Never {
        /// Why.
        reason: String,
    },
    /// It was not asked: it could not be reached lately and is left alone for so long.
    Resting(Duration),
}

impl Answer {
    fn not_now(reason: &str) -> Self {
        Self::NotNow {
            reason: reason.to_owned(),
            wait: None,
        }
    }

    fn unsure(reason: &str) -> Self {
        Self::Unsure {
            reason: reason.to_owned(),
        }
    }

    fn never(reason: &str) -> Self {
        Self::Never {
            reason: reason.to_owned(),
        }
    }
}

impl Targets {
    /// Prepares the client: no proxy, no redirects, and no address but those that may be dialled.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(policy: OutboundPolicy, timeout: Duration, per_target: usize) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .dns_resolver(Arc::new(CheckedResolver::new(policy.clone())))
            .connect_timeout(connect_timeout(timeout))
            .timeout(timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(per_target)
            .tcp_nodelay(true)
            .user_agent(concat!("kanal-chatwoot-bridge/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            policy,
            timeout,
            rests: Rests::default(),
        })
    }

    /// The longest that a post can take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Posts an event, byte for byte.
    pub async fn post(&self, target: &Target, post: Post) -> Answer {
        if let Err(refusal) = self.policy.check_link(&target.url) {
            tracing::warn!(%refusal, "a route's URL is not dialled");
            return Answer::never("refused_url");
        }
        // Whoever asks may be the one that tries for all others: it does so with a request that can be sent.
        let Some(request) = self.request(target, post) else {
            return Answer::never("invalid_header");
        };
        let (origin, route) = (target.origin.as_str(), target.route);
        if let Err(wait) = self.rests.ask(origin, route, self.timeout) {
            return Answer::Resting(wait);
        }
        match request.send().await {
            Ok(response) => {
                let answer = judge(response).await;
                self.rests.answered(origin, route);
                answer
            }
            Err(error) if is_refused(&error) => {
                tracing::warn!("a route's URL leads to a private address and is not dialled");
                // Nobody was kept waiting, and the next one need not wait for a word of this one.
                self.rests.answered(origin, route);
                Answer::never("refused_url")
            }
            Err(error) if error.is_connect() => {
                self.rests.unreachable(origin);
                Answer::not_now("unreachable")
            }
            Err(error) => {
                self.rests.silent(origin, route);
                Answer::unsure(if error.is_timeout() {
                    "timeout"
                } else {
                    "connection_broken"
                })
            }
        }
    }

    fn request(&self, target: &Target, post: Post) -> Option<RequestBuilder> {
        let mut request = self.client.post(target.url.clone());
        let mut is_typed = false;
        for (name, value) in &post.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            is_typed |= name == CONTENT_TYPE;
            request = request.header(name, HeaderValue::from_str(value).ok()?);
        }
        if !is_typed {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some((user, password)) = &target.user {
            request = request.basic_auth(user, password.as_ref().map(|text| text.expose_secret()));
        }
        if let Some(secret) = &target.signing_secret {
            request = request.header(SIGNATURE, sign(secret, &post.body)?);
        }
        let request = request
            .header(EVENT_ID, post.event.to_string())
            .header(ATTEMPT, post.attempt);
        Some(request.body(post.body))
    }
}

/// Less than a post has in all: what was not connected has certainly not arrived, what took too long may have.
fn connect_timeout(timeout: Duration) -> Duration {
    (timeout / 2).min(CONNECT_TIMEOUT)
}

fn sign(secret: &SecretString, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(body);
    Some(format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
}

/// Did the resolver keep it from being dialled?
fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(current) = cause {
        if current.is::<OutboundRefusal>() {
            return true;
        }
        cause = current.source();
    }
    false
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
    meaning(status, wait)
}

/// Contract 6, 9: what is certain is tried again, what is not is for somebody to decide. These three answers are often a
/// proxy's, which gave up on a target that goes on.
fn meaning(status: StatusCode, wait: Option<Duration>) -> Answer {
    let reason = format!("http_{}", status.as_u16());
    match status {
        _ if status.is_success() => Answer::Taken,
        StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Answer::Unsure { reason }
        }
        StatusCode::TOO_MANY_REQUESTS => Answer::NotNow { reason, wait },
        _ if status.is_server_error() => Answer::NotNow { reason, wait },
        // A redirect would turn the post into something else, or carry it where nobody checked.
        _ => Answer::Never { reason },
    }
}

/// `Retry-After` in seconds; its other form, a date, is left to the schedule.
fn asked_wait(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = Duration::from_secs(seconds.parse().ok()?);
    Some(domain::retry::clamp_retry_after(asked, LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_its_user_away_and_keeps_its_query() {
        let url = SecretString::from("http://us%40er:p%3Aw@gowa.example:3000/hook?secret=x%20y#part");
        let target = Target::new(Uuid::nil(), &url, None, false).unwrap();
        assert_eq!(target.url.as_str(), "http://gowa.example:3000/hook?secret=x%20y");
        let (user, password) = target.user.unwrap();
        assert_eq!(
            (user.as_str(), password.unwrap().expose_secret()),
            ("us@er", "p:w")
        );
        assert_eq!(target.origin, "http://gowa.example:3000");
        assert!(Target::new(Uuid::nil(), &SecretString::from("not a url"), None, false).is_err());
    }

    #[test]
    fn there_is_time_to_see_that_no_connection_was_made() {
        for ms in [100, 500, 5_000, 20_000] {
            let timeout = Duration::from_millis(ms);
            assert!(connect_timeout(timeout) <= timeout / 2);
        }
        assert_eq!(connect_timeout(Duration::from_secs(20)), CONNECT_TIMEOUT);
    }

    #[test]
    fn answers_are_certain_unsure_or_final() {
        let of = |status: u16| meaning(StatusCode::from_u16(status).unwrap(), None);
        assert_eq!(of(204), Answer::Taken);
        for status in [429, 500, 501, 503] {
            assert!(matches!(of(status), Answer::NotNow { .. }), "{status}");
        }
        for status in [408, 502, 504] {
            assert!(matches!(of(status), Answer::Unsure { .. }), "{status}");
        }
        for status in [301, 302, 307, 308, 400, 401, 404, 410, 413, 422] {
            assert!(matches!(of(status), Answer::Never { .. }), "{status}");
        }
    }

    #[test]
    fn bodies_are_signed_as_gowa_reads_it() {
        // Contract 4.6.
        let body = br#"{"event":"message","device_id":"628111000001@s.whatsapp.net","payload":{"id":"3EB0AAAA0001"}}"#;
        assert_eq!(
            sign(&SecretString::from("secret"), body).unwrap(),
            "sha256=070f225e551a881dc93021cc13d8549790c296ab164a47a2ef4acfc436b81ff0"
        );
    }
}
