//! One bounded call to the Graph API, and what can go wrong with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use chrono::Utc;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, multipart};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use super::class::ErrorClass;
use super::endpoint::GraphEndpoint;
use super::usage::Usage;
use crate::answer::asked_wait;
use crate::genfity::{InvalidEndpoint, error_chain};
use crate::loose::Loose;
use crate::port::OperatorText;

/// Most bytes read of an answer. A page of templates may have some hundred KiB.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The API and the way to it. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    pub(super) endpoint: GraphEndpoint,
    app_usage: Arc<AtomicU8>,
}

/// One call.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Body,
    pub(super) bearer: &'a SecretString,
    pub(super) timeout: Duration,
}

pub(super) enum Body {
    None,
    Json(Vec<u8>),
    Form(multipart::Form),
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphFailure {
    /// The request could not be built.
    #[error("the request could not be built")]
    Unsendable,
    /// No connection could be made: the request never left us.
    #[error("the Graph API cannot be reached: {}", .0.as_str())]
    Unreachable(OperatorText),
    /// It may have arrived; what became of it is not known.
    #[error("the Graph API's answer did not come: {}", detail.as_str())]
    NoAnswer {
        /// It took too long.
        timeout: bool,
        /// What broke.
        detail: OperatorText,
    },
    /// It said yes, and the rest cannot be read.
    #[error("the Graph API's answer cannot be read: {}", .0.as_str())]
    Unreadable(OperatorText),
    /// It said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What the Graph API said no with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Graph API answers {status}: {}", said.as_str())]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Meta's code, where one can be read.
    pub code: Option<i64>,
    /// A finer code.
    pub subcode: Option<i64>,
    /// What it means.
    pub class: ErrorClass,
    /// When it asked to be left alone; within one second and one hour.
    pub after: Option<Duration>,
    /// What it said, without the token.
    pub said: OperatorText,
}

/// The envelope of a refusal.
#[derive(Deserialize)]
struct Refused<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorWords<'a> {
    #[serde(borrow)]
    code: Loose<'a>,
    #[serde(borrow)]
    error_subcode: Loose<'a>,
    #[serde(borrow)]
    message: Loose<'a>,
    #[serde(borrow)]
    error_data: Option<&'a RawValue>,
    #[serde(borrow)]
    fbtrace_id: Loose<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorData<'a> {
    #[serde(borrow)]
    details: Loose<'a>,
}

impl Http {
    pub(super) fn new(endpoint: &GraphEndpoint) -> Result<Self, InvalidEndpoint> {
        // Extended once here, so that a base that cannot be is found out at the start.
        endpoint.address(&["messages"])?;
        Self::with(endpoint, endpoint.client())
    }

    /// As [`Self::new`], for answers that may take as long as they like while something comes.
    pub(super) fn patient(endpoint: &GraphEndpoint, silence: Duration) -> Result<Self, InvalidEndpoint> {
        Self::with(endpoint, endpoint.client().read_timeout(silence))
    }

    fn with(endpoint: &GraphEndpoint, client: reqwest::ClientBuilder) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            client: client.build().map_err(InvalidEndpoint::Client)?,
            endpoint: endpoint.clone(),
            app_usage: Arc::default(),
        })
    }

    /// How much of what the app may call is used up, in percent, as last told.
    pub(super) fn app_usage(&self) -> u8 {
        self.app_usage.load(Ordering::Relaxed)
    }

    /// A request with the token. Only for addresses that may have it. `None`: the token fits into no header.
    pub(super) fn request(&self, method: Method, url: Url, bearer: &SecretString) -> Option<RequestBuilder> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", bearer.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some(self.client.request(method, url).header(AUTHORIZATION, value))
    }

    /// The body of a 2xx answer. One request, whatever comes of it.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Vec<u8>, GraphFailure> {
        let mut url = self
            .endpoint
            .address(call.path)
            .map_err(|_| GraphFailure::Unsendable)?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let request = self
            .request(call.method, url, call.bearer)
            .ok_or(GraphFailure::Unsendable)?
            .timeout(call.timeout);
        let request = match call.body {
            Body::None => request,
            Body::Json(bytes) => request
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(bytes),
            Body::Form(form) => request.multipart(form),
        };
        let response = trace_context::call("graph call", request.send())
            .await
            .map_err(|error| no_answer(&error, call.bearer))?;
        let status = response.status();
        let usage = self.note_usage(response.headers());
        let asked = asked_wait(response.headers(), Utc::now());
        let body = read(response, call.bearer).await;
        if status.is_success() {
            return body;
        }
        // A refusal is a refusal even when its explanation is cut or too long.
        let refusal = refusal(status.as_u16(), &body.unwrap_or_default(), call.bearer);
        Err(GraphFailure::Refused(Refusal {
            after: asked.or_else(|| usage.wait_for(refusal.class)),
            ..refusal
        }))
    }

    /// The body of a 2xx answer, read.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, GraphFailure> {
        let body = self.call(call).await?;
        serde_json::from_slice(&body).map_err(|_| {
            GraphFailure::Unreadable(OperatorText::of_library("it does not have the shape it should"))
        })
    }

    fn note_usage(&self, headers: &HeaderMap) -> Usage {
        let usage = Usage::read(headers);
        if let Some(percent) = usage.app_percent {
            self.app_usage.store(percent, Ordering::Relaxed);
        }
        usage
    }
}

pub(super) fn no_answer(error: &reqwest::Error, bearer: &SecretString) -> GraphFailure {
    let detail = OperatorText::without(&error_chain(error), bearer.expose_secret());
    // A timeout while connecting is both; nothing was sent, which is what counts.
    if error.is_connect() {
        GraphFailure::Unreachable(detail)
    } else if error.is_builder() {
        GraphFailure::Unsendable
    } else {
        GraphFailure::NoAnswer {
            timeout: error.is_timeout(),
            detail,
        }
    }
}

async fn read(mut response: Response, bearer: &SecretString) -> Result<Vec<u8>, GraphFailure> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > MAX_ANSWER => {
                return Err(GraphFailure::Unreadable(OperatorText::of_library(
                    "it is larger than 4 MiB",
                )));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            // The request was made: whatever broke now, it may have been heard.
            Err(error) => {
                return Err(GraphFailure::NoAnswer {
                    timeout: error.is_timeout(),
                    detail: OperatorText::without(&error_chain(&error), bearer.expose_secret()),
                });
            }
        }
    }
}

/// What a refusal says. Its details name what is wrong; the message is what everybody else shows.
pub(super) fn refusal(status: u16, body: &[u8], bearer: &SecretString) -> Refusal {
    let raw = serde_json::from_slice::<Refused<'_>>(body)
        .ok()
        .and_then(|refused| refused.error);
    let words: ErrorWords<'_> = raw
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    let data: ErrorData<'_> = words
        .error_data
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    let plain = String::from_utf8_lossy(body);
    let mut said = match (words.message.filled(), data.details.filled()) {
        (Some(message), Some(details)) => format!("{message}: {details}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => plain.into_owned(),
    };
    if let Some(trace) = words.fbtrace_id.filled() {
        said.push_str(&format!(" (fbtrace_id {trace})"));
    }
    let code = words.code.whole();
    Refusal {
        status,
        code,
        subcode: words.error_subcode.whole(),
        class: ErrorClass::of(code, Some(status)),
        after: None,
        said: OperatorText::without(&said, bearer.expose_secret()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::RateScope;

    #[test]
    fn a_refusal_is_read_however_it_is_written() {
        let bearer = SecretString::from("EAAGrahasia");
        for (status, body, code, class) in [
            (
                400,
                r##"{"error":{"message":"(#131056) pair","code":131056,"error_data":{"details":"Too many"},"error_subcode":2494055}}"##,
                Some(131_056),
                ErrorClass::Pair,
            ),
            (
                400,
                r#"{"error":{"message":"x","code":"130429","error_data":"plain text"}}"#,
                Some(130_429),
                ErrorClass::Rate(RateScope::Number),
            ),
            (
                500,
                r#"{"error":{"message":"no code"}}"#,
                None,
                ErrorClass::Transient { limited: false },
            ),
            (
                500,
                r#"{"error":{"code":131045}}"#,
                Some(131_045),
                ErrorClass::Policy,
            ),
            (
                502,
                "<html>Bad Gateway</html>",
                None,
                ErrorClass::Transient { limited: false },
            ),
            (401, "", None, ErrorClass::Auth),
            (404, r#"{"error":"gone"}"#, None, ErrorClass::Permanent),
        ] {
            let refusal = refusal(status, body.as_bytes(), &bearer);
            assert_eq!((refusal.code, refusal.class), (code, class), "{body}");
        }
        let told = refusal(
            400,
            br#"{"error":{"message":"token EAAGrahasia is bad","code":190}}"#,
            &bearer,
        );
        assert_eq!(told.said.as_str(), "token [token] is bad");
    }
}
