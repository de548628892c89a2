//! One cheap question to an API server: does it answer, and does it take our key?
//!
//! What a probe asks differs by provider; that it asks little, is bounded and changes nothing is common to all. It
//! says nothing about any one session.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::cloud::GraphEndpoint;
use crate::credentials::BasicAuth;
use crate::genfity::{InternalKey, InvalidEndpoint};
use crate::port::OperatorText;

/// One provider's way of asking.
pub trait ProbeEndpoint: Send + Sync {
    /// Asks once. Bounded: an answer or a failure comes within [`PATIENCE`].
    fn probe(&self) -> BoxFuture<'_, Result<ProbeReport, ProbeFailure>>;
}

/// Longest time of a whole probe.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An API server that answered as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeReport {
    /// How long all of its answers took together.
    pub took: Duration,
    /// Our key was shown and taken. False where there is none, or nothing may be asked with it.
    pub key_taken: bool,
    /// By how many seconds its clock is ahead of ours, as far as its answers tell.
    pub clock_ahead: Option<i64>,
}

/// An API server that did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {}", detail.as_str())]
pub struct ProbeFailure {
    /// Why.
    pub reason: ProbeReason,
    /// What it said or what broke, for operators.
    pub detail: OperatorText,
}

/// Why a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProbeReason {
    /// No connection could be made.
    #[error("it cannot be reached")]
    Unreachable,
    /// No answer in time, or it broke off.
    #[error("it does not answer")]
    NoAnswer,
    /// It answers and does not take our key.
    #[error("it does not take our key")]
    KeyRefused,
    /// We ask too often.
    #[error("it is asked too often")]
    RateLimited,
    /// It says itself that it does not work.
    #[error("it says that it does not work")]
    Unwell,
    /// Something answers there that is not this API server.
    #[error("something else answers there")]
    Unexpected,
}

impl ProbeReason {
    /// The stable code, for tables, answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::NoAnswer => "no_answer",
            Self::KeyRefused => "key_refused",
            Self::RateLimited => "rate_limited",
            Self::Unwell => "unwell",
            Self::Unexpected => "unexpected_answer",
        }
    }
}

impl ProbeFailure {
    /// A failure with nothing to add.
    #[must_use]
    pub fn silent(reason: ProbeReason) -> Self {
        Self {
            reason,
            detail: OperatorText::default(),
        }
    }
}

/// Asks over HTTP. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct HttpProbe {
    http: Client,
    questions: Vec<Question>,
}

/// One `GET` of a probe.
#[derive(Debug, Clone)]
struct Question {
    url: Url,
    headers: HeaderMap,
    /// Something in between may hide this address without harm.
    may_be_absent: bool,
}

/// No user has this id; the administration answers with an empty list to whoever has its token.
const NOBODY: &str = "kanal-probe";

impl HttpProbe {
    /// wa-support-gateway under its own base: who does it take us for? Without a key, whether it answers at all.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the address cannot be extended or TLS is not set up.
    pub fn gateway(base: &Url, key: Option<&InternalKey>) -> Result<Self, InvalidEndpoint> {
        let question = match key {
            Some(key) => Question::with(
                under(base, &["internal", "me"])?,
                HeaderName::from_static("x-internal-api-key"),
                secret_value(key.secret())?,
            ),
            None => Question::plain(under(base, &["health"])?),
        };
        Self::asking(vec![question])
    }

    /// A WhatsApp server under its base: is it well, and does its administration take our token?
    ///
    /// # Errors
    /// As [`Self::gateway`].
    pub fn wa_server(base: &Url, token: Option<&SecretString>) -> Result<Self, InvalidEndpoint> {
        let mut questions = vec![Question::plain(under(base, &["health"])?)];
        if let Some(token) = token {
            let url = under(base, &["admin", "users", NOBODY])?;
            questions.push(Question::with(url, AUTHORIZATION, secret_value(token)?));
        }
        Self::asking(questions)
    }

    /// A GoWA under its base: its health is told at the root, whatever its prefix; its devices to whoever may ask.
    ///
    /// # Errors
    /// As [`Self::gateway`].
    pub fn gowa(base: &Url, auth: Option<&BasicAuth>) -> Result<Self, InvalidEndpoint> {
        let mut root = base.clone();
        root.set_path("");
        let health = Question {
            may_be_absent: true,
            ..Question::plain(under(&root, &["health"])?)
        };
        let devices = under(base, &["devices"])?;
        let devices = match auth {
            Some(auth) => Question::with(devices, AUTHORIZATION, secret_value(&auth.header())?),
            None => Question::plain(devices),
        };
        Self::asking(vec![health, devices])
    }

    /// The Graph API: does it take our token, and may that see the number? Without a number, whom does it take us for?
    ///
    /// # Errors
    /// As [`Self::gateway`].
    pub fn graph(endpoint: &GraphEndpoint, number: Option<&str>) -> Result<Self, InvalidEndpoint> {
        let mut url = endpoint.address(&[number.unwrap_or("me")])?;
        url.query_pairs_mut().append_pair("fields", "id");
        let bearer = SecretString::from(format!("Bearer {}", endpoint.access_token().expose_secret()));
        Self::asking(vec![Question::with(url, AUTHORIZATION, secret_value(&bearer)?)])
    }

    /// No proxy from the environment and no redirects: the key goes to this server only.
    fn asking(questions: Vec<Question>) -> Result<Self, InvalidEndpoint> {
        let http = Client::builder()
            .connect_timeout(PATIENCE / 2)
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(redirect::Policy::none())
            .user_agent(concat!("kanal/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .build()
            .map_err(InvalidEndpoint::Client)?;
        Ok(Self { http, questions })
    }

    async fn ask_all(&self) -> Result<ProbeReport, ProbeFailure> {
        let begun = Instant::now();
        let (mut key_taken, mut clock_ahead) = (false, None);
        for question in &self.questions {
            let request = self
                .http
                .get(question.url.clone())
                .timeout(PATIENCE.saturating_sub(begun.elapsed()))
                .headers(question.headers.clone());
            let answer = request.send().await.map_err(|error| broken(&error))?;
            clock_ahead = ahead(answer.headers()).or(clock_ahead);
            match answer.status() {
                status if status.is_success() => key_taken |= !question.headers.is_empty(),
                StatusCode::NOT_FOUND if question.may_be_absent => {}
                status => return Err(refused(status)),
            }
        }
        Ok(ProbeReport {
            took: begun.elapsed(),
            key_taken,
            clock_ahead,
        })
    }
}

impl ProbeEndpoint for HttpProbe {
    fn probe(&self) -> BoxFuture<'_, Result<ProbeReport, ProbeFailure>> {
        // The bodies are not read: the status says it all, and whoever answers here may not be whom we expect.
        self.ask_all().boxed()
    }
}

impl Question {
    fn plain(url: Url) -> Self {
        Self {
            url,
            headers: HeaderMap::new(),
            may_be_absent: false,
        }
    }

    fn with(url: Url, name: HeaderName, value: HeaderValue) -> Self {
        let mut question = Self::plain(url);
        question.headers.insert(name, value);
        question
    }
}

/// What the header `Date` says beside our own clock.
fn ahead(headers: &HeaderMap) -> Option<i64> {
    let date = DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some((date.to_utc() - Utc::now()).num_seconds())
}

fn under(base: &Url, path: &[&str]) -> Result<Url, InvalidEndpoint> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| InvalidEndpoint::BaseUrl)?
        .pop_if_empty()
        .extend(path);
    Ok(url)
}

/// A header that no `Debug` shows.
fn secret_value(secret: &SecretString) -> Result<HeaderValue, InvalidEndpoint> {
    let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| InvalidEndpoint::Credential)?;
    value.set_sensitive(true);
    Ok(value)
}

fn broken(error: &reqwest::Error) -> ProbeFailure {
    let reason = if error.is_connect() || error.is_builder() {
        ProbeReason::Unreachable
    } else {
        ProbeReason::NoAnswer
    };
    ProbeFailure {
        reason,
        detail: OperatorText::of_library(&crate::genfity::error_chain(error)),
    }
}

fn refused(status: StatusCode) -> ProbeFailure {
    let reason = match status.as_u16() {
        401 | 403 => ProbeReason::KeyRefused,
        429 => ProbeReason::RateLimited,
        500..=599 => ProbeReason::Unwell,
        _ => ProbeReason::Unexpected,
    };
    ProbeFailure {
        reason,
        detail: OperatorText::of_library(&format!("it answers {status}")),
    }
}
