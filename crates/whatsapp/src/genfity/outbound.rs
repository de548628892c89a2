//! Sending through the server, and what each of its answers means.
//!
//! One question decides every row: can the message have gone out? The HTTP status speaks first; a text is looked at
//! only where the contract fixes it (wa-server 2 and 7.1, wa-support-gateway 8.2).
//!
//! | what comes | outcome | why |
//! |---|---|---|
//! | no connection | `RetryLater unreachable` | the request never left us |
//! | no answer in time | `Unknown timeout` | it may be sending right now |
//! | connection cut, nothing or half an answer | `Unknown connection_cut` | the server may have sent before it broke |
//! | 2xx with `success`, `code` 200 or `Details` `Sent` | `Accepted` | |
//! | other 2xx, cut, not JSON or over 64 KiB | `Unknown unreadable_answer` | success was said, of what is not known |
//! | 301, 307, 308 | `RetryLater redirected` | the router speaks, not the handler: a wrong base URL |
//! | 401 | `RetryLater unauthorized` | the token may be repaired; parked after the last try |
//! | 403 `subscription expired`, `message quota exceeded`, else | `RetryLater subscription_expired`, `quota_exceeded`, `forbidden` | a customer may renew |
//! | 400, `could not parse Phone` | `Rejected invalid_request`, `invalid_recipient` | the same bytes fail again |
//! | 404, 413, 422, other 4xx | `Rejected not_found`, `too_large`, `unprocessable`, `refused` | |
//! | 408 | `Unknown timeout` | some proxy gave up, on which side is not said |
//! | 429 | `RateLimited` | checked before anything is forwarded |
//! | 500 `no session` | `RetryLater no_session` | there is no client that could have sent |
//! | other 500 (`error sending message: …`) and 5xx | `Unknown server_error` | the library fails before or after sending alike |
//! | 502 with code `upstream_unreachable` | `RetryLater upstream_unreachable` | our gateway says it could not connect |
//! | other 502 | `Unknown bad_gateway` | connections also break after the request |
//! | 503 with `Retry-After` | `RetryLater unavailable` | a deliberate refusal |
//! | other 503 | `Unknown bad_gateway` | proxies say so too when an answer is cut |
//! | 504 | `Unknown gateway_timeout` | |
//! | 1xx, other 3xx | `Unknown unreadable_answer` | no answer this server gives |

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use domain::retry::clamp_retry_after;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use super::wire;
use crate::credentials::SessionToken;
use crate::port::{
    OperatorText, OutboundText, RejectReason, ResendSafety, RetryReason, SendMessage, SendOutcome,
    UnknownReason,
};

/// Most bytes read of an answer; the server's own are below one KiB.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest wait a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// The wait after a 429 that names none; the original gateway never does.
const DEFAULT_RATE_WAIT: Duration = Duration::from_secs(10);
/// How long the gateway blocks whom it takes for a spammer (wa-support-gateway 12).
const SPAM_BLOCK: Duration = Duration::from_secs(10 * 60);

/// Where a server is and how long it may take.
#[derive(Debug, Clone)]
pub struct Endpoint {
    base: Url,
    connect_timeout: Duration,
    total_timeout: Duration,
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The base URL cannot be extended by a path.
    #[error("the base URL must be an http or https address without query, fragment or credentials")]
    BaseUrl,
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be built")]
    Client(#[source] reqwest::Error),
}

impl Endpoint {
    /// An endpoint under a base URL, which is an opaque prefix (`https://api.example/v1/wa`): connecting may take
    /// 5 seconds, a whole call 30.
    ///
    /// # Errors
    /// [`InvalidEndpoint::BaseUrl`] for anything but a plain http or https prefix.
    pub fn new(base: Url) -> Result<Self, InvalidEndpoint> {
        let plain = matches!(base.scheme(), "http" | "https")
            && base.has_host()
            && base.query().is_none()
            && base.fragment().is_none()
            && base.username().is_empty()
            && base.password().is_none();
        if !plain {
            return Err(InvalidEndpoint::BaseUrl);
        }
        Ok(Self {
            base,
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(30),
        })
    }

    /// Sets how long a whole call may take. Keep it below the lease of whoever calls.
    #[must_use]
    pub const fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = timeout;
        self
    }

    /// Sets how long connecting may take.
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    pub(super) const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(super) fn address(&self, path: &[&str]) -> Result<Url, InvalidEndpoint> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| InvalidEndpoint::BaseUrl)?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }
}

/// Sends through one server. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct GenfitySender {
    http: Client,
    send_text: Url,
}

impl GenfitySender {
    /// Builds the client. No proxy from the environment and no redirects: the token goes to this server only.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &Endpoint) -> Result<Self, InvalidEndpoint> {
        let http = Client::builder()
            .connect_timeout(endpoint.connect_timeout)
            .timeout(endpoint.total_timeout)
            // Well below the server's own 180 s, so that a connection it is about to close is rarely taken.
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(InvalidEndpoint::Client)?;
        Ok(Self {
            http,
            send_text: endpoint.address(&["chat", "send", "text"])?,
        })
    }

    async fn post_text(&self, token: &SessionToken, message: &OutboundText) -> SendOutcome {
        let Some(header) = token.to_header() else {
            return retry(RetryReason::NotSendable, OperatorText::default());
        };
        let Some(phone) = recipient(&message.to) else {
            return SendOutcome::Rejected {
                reason: RejectReason::InvalidRecipient,
                detail: OperatorText::default(),
            };
        };
        let body = wire::SendText {
            phone,
            body: message.text.as_str(),
            id: message.id.as_str(),
        };
        match self
            .http
            .post(self.send_text.clone())
            .header("token", header)
            .json(&body)
            .send()
            .await
        {
            Ok(response) => judge(Answered::read(response).await, &message.id, token),
            Err(error) => no_answer(&error, token),
        }
    }
}

impl SendMessage for GenfitySender {
    fn resend_safety(&self) -> ResendSafety {
        // The server uses our `Id` as the message's id, and WhatsApp shows a repeated id once.
        ResendSafety::SameIdIsOneMessage
    }

    fn send_text<'a>(
        &'a self,
        token: &'a SessionToken,
        message: &'a OutboundText,
    ) -> BoxFuture<'a, SendOutcome> {
        self.post_text(token, message).boxed()
    }
}

/// Digits for numbers, the whole address for anything else. Nothing is ever put in front of a number, and a webchat
/// visitor is nobody WhatsApp knows.
fn recipient(to: &ChatAddress) -> Option<&str> {
    match to {
        ChatAddress::Phone(phone) => Some(phone.as_str()),
        ChatAddress::Lid(_) | ChatAddress::Group(_) | ChatAddress::Other(_) => Some(to.as_str()),
        ChatAddress::Visitor(_) => None,
    }
}

fn retry(reason: RetryReason, detail: OperatorText) -> SendOutcome {
    SendOutcome::RetryLater {
        reason,
        after: None,
        detail,
    }
}

/// An answer, as much of it as came.
struct Answered {
    status: StatusCode,
    wait: Option<Duration>,
    body: Body,
}

enum Body {
    Whole(Vec<u8>),
    TooLarge,
    Cut(reqwest::Error),
}

impl Answered {
    async fn read(mut response: Response) -> Self {
        let status = response.status();
        let wait = asked_wait(response.headers(), Utc::now());
        let mut bytes = Vec::new();
        let body = loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > MAX_ANSWER => break Body::TooLarge,
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break Body::Whole(bytes),
                Err(error) => break Body::Cut(error),
            }
        };
        Self { status, wait, body }
    }
}

/// No answer came at all.
fn no_answer(error: &reqwest::Error, token: &SessionToken) -> SendOutcome {
    let detail = OperatorText::keep(&chain(error), token);
    // A timeout while connecting is both; nothing was sent, which is what counts.
    if error.is_connect() {
        retry(RetryReason::Unreachable, detail)
    } else if error.is_builder() {
        retry(RetryReason::NotSendable, detail)
    } else {
        SendOutcome::Unknown {
            reason: broken(error),
            detail,
        }
    }
}

fn broken(error: &reqwest::Error) -> UnknownReason {
    if error.is_timeout() {
        UnknownReason::Timeout
    } else {
        UnknownReason::ConnectionCut
    }
}

/// An error with its causes, without the URL (the caller knows the endpoint, logs need not).
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn judge(answered: Answered, ours: &ProviderMessageId, token: &SessionToken) -> SendOutcome {
    let Answered { status, wait, body } = answered;
    if status.is_success() {
        return judge_success(&body, ours, token);
    }
    // A refusal is a refusal even when its explanation is cut or too long.
    let bytes: &[u8] = match &body {
        Body::Whole(bytes) => bytes,
        Body::TooLarge | Body::Cut(_) => &[],
    };
    let answer: wire::Answer<'_> = serde_json::from_slice(bytes).unwrap_or_default();
    let plain = String::from_utf8_lossy(bytes);
    let said = answer
        .error
        .filled()
        .or(answer.message.filled())
        .unwrap_or(&plain);
    let detail = OperatorText::keep(said, token);

    let rejected = |reason| SendOutcome::Rejected {
        reason,
        detail: detail.clone(),
    };
    let unknown = |reason| SendOutcome::Unknown {
        reason,
        detail: detail.clone(),
    };
    match status.as_u16() {
        301 | 307 | 308 => retry(RetryReason::Redirected, detail),
        400 if said == "could not parse Phone" => rejected(RejectReason::InvalidRecipient),
        400 => rejected(RejectReason::InvalidRequest),
        401 => retry(RetryReason::Unauthorized, detail),
        403 => retry(forbidden(said), detail),
        404 => rejected(RejectReason::NotFound),
        408 => unknown(UnknownReason::Timeout),
        413 => rejected(RejectReason::TooLarge),
        422 => rejected(RejectReason::Unprocessable),
        429 => SendOutcome::RateLimited {
            after: wait.unwrap_or_else(|| rate_wait(said)),
            detail,
        },
        _ if status.is_client_error() => rejected(RejectReason::Refused),
        500 if said == "no session" => retry(RetryReason::NoSession, detail),
        502 if answer.code.text() == Some("upstream_unreachable") => {
            retry(RetryReason::UpstreamUnreachable, detail)
        }
        503 if wait.is_some() => SendOutcome::RetryLater {
            reason: RetryReason::Unavailable,
            after: wait,
            detail,
        },
        502 | 503 => unknown(UnknownReason::BadGateway),
        504 => unknown(UnknownReason::GatewayTimeout),
        _ if status.is_server_error() => unknown(UnknownReason::ServerError),
        _ => unknown(UnknownReason::UnreadableAnswer),
    }
}

fn forbidden(said: &str) -> RetryReason {
    match said {
        "subscription expired" => RetryReason::SubscriptionExpired,
        "message quota exceeded" => RetryReason::QuotaExceeded,
        _ => RetryReason::Forbidden,
    }
}

fn rate_wait(said: &str) -> Duration {
    match said {
        "ip blocked due to spam" | "spam detected" => SPAM_BLOCK,
        _ => DEFAULT_RATE_WAIT,
    }
}

/// Success was said; believe it only when the rest can be read.
fn judge_success(body: &Body, ours: &ProviderMessageId, token: &SessionToken) -> SendOutcome {
    let unreadable = |detail: &str| SendOutcome::Unknown {
        reason: UnknownReason::UnreadableAnswer,
        detail: OperatorText::keep(detail, token),
    };
    let bytes = match body {
        Body::Whole(bytes) => bytes,
        Body::TooLarge => return unreadable("the answer is larger than 64 KiB"),
        Body::Cut(error) => {
            return SendOutcome::Unknown {
                reason: broken(error),
                detail: OperatorText::keep(&chain(error), token),
            };
        }
    };
    let said = String::from_utf8_lossy(bytes);
    let Ok(answer) = serde_json::from_slice::<wire::Answer<'_>>(bytes) else {
        return unreadable(&said);
    };
    let data: wire::SentData<'_> = answer
        .data
        .and_then(|data| serde_json::from_str(data.get()).ok())
        .unwrap_or_default();
    // Channel-service contract 6.2: any of the three is a yes.
    let accepted =
        answer.success.is_true() || answer.code.whole() == Some(200) || data.details.text() == Some("Sent");
    if !accepted {
        return unreadable(&said);
    }
    let provider_message_id = data.id.filled().and_then(|id| ProviderMessageId::parse(id).ok());
    let at = data.timestamp.time().unwrap_or_else(Utc::now);
    SendOutcome::Accepted {
        provider_message_id: provider_message_id.unwrap_or_else(|| ours.clone()),
        at,
    }
}

/// `Retry-After` in seconds or as a date, kept within one second and one hour.
pub(super) fn asked_wait(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A date in the past means: now.
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now)
            .to_std()
            .unwrap_or_default(),
    };
    Some(clamp_retry_after(asked, LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        asked_wait(&headers, "1994-11-06T08:49:00Z".parse().unwrap())
    }

    #[test]
    fn waits_are_seconds_or_dates_within_reason() {
        for (text, seconds) in [
            ("30", Some(30)),
            ("0", Some(1)),
            ("99999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(1)),
            ("Mon, 07 Nov 1994 08:00:00 GMT", Some(3600)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(wait(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn the_base_is_a_plain_prefix() {
        for (base, address) in [
            (
                "https://api.example/v1/wa",
                "https://api.example/v1/wa/chat/send/text",
            ),
            (
                "https://api.example/v1/wa/",
                "https://api.example/v1/wa/chat/send/text",
            ),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080/chat/send/text"),
        ] {
            let endpoint = Endpoint::new(base.parse().unwrap()).unwrap();
            assert_eq!(
                endpoint.address(&["chat", "send", "text"]).unwrap().as_str(),
                address
            );
        }
        for wrong in [
            "ftp://a.example/",
            "https://u:p@a.example/",
            "https://a.example/?token=x",
            "mailto:a@b.example",
        ] {
            assert!(Endpoint::new(wrong.parse().unwrap()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_lid_goes_out_as_an_address_and_a_number_as_digits() {
        for (to, phone) in [
            ("4915112345678@s.whatsapp.net", "4915112345678"),
            ("190000000000001@lid", "190000000000001@lid"),
            ("120363040000000001@g.us", "120363040000000001@g.us"),
        ] {
            assert_eq!(recipient(&ChatAddress::parse(to).unwrap()), Some(phone));
        }
    }
}
