//! One bounded call to the WhatsApp server or the gateway in front of it, and what can go wrong with it.

use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, Method, Response, StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::outbound::{Endpoint, InvalidEndpoint};
use super::wire;
use crate::port::OperatorText;

/// Most bytes read of an answer unless a call says otherwise. A QR code as a data URL is some ten KiB.
const MAX_ANSWER: usize = 1024 * 1024;

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request never arrived.
    #[error("{call}: it cannot be reached: {detail}", detail = detail.as_str())]
    Unreachable {
        /// The call.
        call: &'static str,
        /// What broke.
        detail: OperatorText,
    },
    /// It may have arrived; what became of it is not known.
    #[error("{call}: no answer came: {detail}", detail = detail.as_str())]
    NoAnswer {
        /// The call.
        call: &'static str,
        /// What broke.
        detail: OperatorText,
    },
    /// It answered with an error.
    #[error("{call}: it answers {status}: {said}", said = said.as_str())]
    Refused {
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// Its code, where it has one (our own gateway).
        code: Option<String>,
        /// Its words.
        said: OperatorText,
    },
    /// It answered success, and the rest is not what the contract says.
    #[error("{call}: the answer cannot be read")]
    Unreadable {
        /// The call.
        call: &'static str,
    },
    /// The secret of the call cannot be a header.
    #[error("{call}: the credential cannot be sent as a header")]
    Credential {
        /// The call.
        call: &'static str,
    },
}

impl CallError {
    /// The status of a refusal.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What it said, where that is meant for readers: not what something in between said of its own troubles.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Refused { status, said, .. } if !matches!(status, 502..=504) => {
                Some(said.as_str()).filter(|said| !said.is_empty())
            }
            _ => None,
        }
    }
}

/// What became of something that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone now.
    Removed,
    /// It was not there.
    WasAbsent,
}

/// A server and the way to it. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    endpoint: Endpoint,
}

/// One call.
pub(super) struct Call<'a> {
    /// Names it in errors.
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, String)],
    pub(super) header: &'static str,
    pub(super) secret: &'a SecretString,
    pub(super) body: Option<Value>,
    /// A secret that the body tells.
    pub(super) told: Option<&'a str>,
    pub(super) timeout: Duration,
    pub(super) limit: usize,
}

impl<'a> Call<'a> {
    pub(super) const fn new(
        name: &'static str,
        method: Method,
        path: &'a [&'a str],
        (header, secret): (&'static str, &'a SecretString),
        timeout: Duration,
    ) -> Self {
        Self {
            name,
            method,
            path,
            query: &[],
            header,
            secret,
            body: None,
            told: None,
            timeout,
            limit: MAX_ANSWER,
        }
    }

    pub(super) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl Http {
    /// No proxy from the environment and no redirects: the secrets go to this server only.
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, InvalidEndpoint> {
        let client = Client::builder()
            .connect_timeout(endpoint.connect_timeout())
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(InvalidEndpoint::Client)?;
        endpoint.address(&[])?;
        Ok(Self {
            client,
            endpoint: endpoint.clone(),
        })
    }

    /// The body of a 2xx answer.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Vec<u8>, CallError> {
        let name = call.name;
        let header = secret_header(call.secret).ok_or(CallError::Credential { call: name })?;
        let mut url = self
            .endpoint
            .address(call.path)
            .map_err(|_| CallError::Credential { call: name })?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut request = self
            .client
            .request(call.method, url)
            .timeout(call.timeout)
            .header(call.header, header);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let secret = call.secret.expose_secret();
        let response = send(name, request)
            .await
            .map_err(|error| no_answer(name, &error, secret))?;
        let status = response.status();
        let body = read(name, response, call.limit, secret).await;
        if status.is_success() {
            return body;
        }
        // A refusal is a refusal even when its explanation is cut or too long.
        let secrets = [Some(secret), call.told].into_iter().flatten();
        Err(refused(name, status, &body.unwrap_or_default(), secrets))
    }

    /// A 2xx answer as JSON.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, CallError> {
        let name = call.name;
        let body = self.call(call).await?;
        serde_json::from_slice(&body).map_err(|_| CallError::Unreadable { call: name })
    }
}

/// Sends a request to wa-support-gateway, which is one of ours: it is told the trace.
pub(super) async fn send(
    name: &'static str,
    request: reqwest::RequestBuilder,
) -> Result<Response, reqwest::Error> {
    trace_context::call(name, async {
        request.headers(trace_context::headers()).send().await
    })
    .await
}

/// A header that no `Debug` of a request shows. `None` for a secret that cannot be a header.
fn secret_header(secret: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(secret.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn no_answer(call: &'static str, error: &reqwest::Error, secret: &str) -> CallError {
    let detail = OperatorText::without(&super::outbound::chain(error), secret);
    if error.is_connect() || error.is_builder() {
        CallError::Unreachable { call, detail }
    } else {
        CallError::NoAnswer { call, detail }
    }
}

async fn read(
    call: &'static str,
    mut response: Response,
    limit: usize,
    secret: &str,
) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > limit => {
                return Err(CallError::Unreadable { call });
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(error) => return Err(no_answer(call, &error, secret)),
        }
    }
}

fn refused<'a>(
    call: &'static str,
    status: StatusCode,
    body: &[u8],
    secrets: impl Iterator<Item = &'a str>,
) -> CallError {
    let answer: wire::Answer<'_> = serde_json::from_slice(body).unwrap_or_default();
    let said = answer
        .error
        .filled()
        .or(answer.message.filled())
        .or_else(|| status.canonical_reason())
        .unwrap_or_default();
    CallError::Refused {
        call,
        status: status.as_u16(),
        code: answer.code.filled().map(str::to_owned),
        said: OperatorText::without_any(said, secrets),
    }
}
