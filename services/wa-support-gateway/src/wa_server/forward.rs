//! Passing a caller's request on, piece by piece, and its answer back (contract §8.4, §8.5).

use bytes::Bytes;
use futures_util::stream::BoxStream;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, Response, Url};
use secrecy::SecretString;

use super::{WaServer, secret_header};
use crate::flows::proxy_path::ProxyPath;

/// A request that may go upstream. It has no room for other headers than these: whatever else a caller sent (its own
/// `Authorization`, cookies, `X-Forwarded-*`, hop-by-hop headers) stays here (W-23).
pub(crate) struct ForwardRequest {
    pub(crate) method: Method,
    pub(crate) path: ProxyPath,
    pub(crate) query: Option<String>,
    pub(crate) token: SecretString,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) body: Option<ForwardBody>,
}

/// A body on its way. An error in it breaks the upstream request off, so that half a message is never taken for a whole.
pub(crate) struct ForwardBody {
    /// As announced by the caller; without it the body is sent in chunks.
    pub(crate) length: Option<u64>,
    pub(crate) pieces: BoxStream<'static, Result<Bytes, BrokenBody>>,
}

/// The caller's body did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller's body did not come to its end")]
pub(crate) struct BrokenBody;

/// Why the WA server's answer is not passed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// No connection could be made: it certainly saw nothing of the request.
    #[error("the WA server cannot be reached")]
    Unreachable,
    /// It broke off, and nobody knows what it did with the request.
    #[error("the WA server is not available")]
    Unavailable,
    /// It was reached and stayed silent.
    #[error("the WA server did not answer in time")]
    TimedOut,
    /// It wants the call somewhere else. Never followed: a validated path is canonical, so a redirect is a surprise.
    #[error("the WA server answered with a redirect")]
    Redirected,
}

impl WaServer {
    /// Sends a request and returns as soon as the answer has begun.
    pub(crate) async fn forward(&self, request: ForwardRequest) -> Result<Response, ForwardError> {
        let Some(url) = self.forward_url(&request) else {
            tracing::error!("a validated path did not survive the URL parser");
            return Err(ForwardError::Unavailable);
        };
        let Some(token) = secret_header(&request.token) else {
            tracing::error!("a stored session token cannot be sent as a header");
            return Err(ForwardError::Unavailable);
        };
        let mut outgoing = self.client.request(request.method, url).header("token", token);
        for (name, value) in [(CONTENT_TYPE, request.content_type), (ACCEPT, request.accept)] {
            if let Some(value) = value {
                outgoing = outgoing.header(name, value);
            }
        }
        if let Some(body) = request.body {
            if let Some(length) = body.length {
                outgoing = outgoing.header(CONTENT_LENGTH, length);
            }
            outgoing = outgoing.body(Body::wrap_stream(body.pieces));
        }
        let response = outgoing.send().await.map_err(classify)?;
        if response.status().is_redirection() {
            tracing::warn!(
                status = response.status().as_u16(),
                "the WA server answered with a redirect"
            );
            return Err(ForwardError::Redirected);
        }
        Ok(response)
    }

    fn forward_url(&self, request: &ForwardRequest) -> Option<Url> {
        let mut url = Url::parse(&self.url(request.path.as_str())).ok()?;
        // The URL parser cleans paths as browsers do. What it would clean was refused before; if it ever changed
        // something after all, what was judged would not be what is sent.
        let judged = format!(
            "{}{}",
            self.base.url().path().trim_end_matches('/'),
            request.path.as_str()
        );
        if url.path() != judged {
            return None;
        }
        url.set_query(request.query.as_deref());
        Some(url)
    }
}

pub(super) fn classify(error: reqwest::Error) -> ForwardError {
    // A connection that was never made is not a slow answer, even if making it ran out of time.
    let (unreachable, timed_out) = (error.is_connect(), error.is_timeout());
    tracing::warn!(error = ?error.without_url(), "the WA server did not answer");
    if unreachable {
        ForwardError::Unreachable
    } else if timed_out {
        ForwardError::TimedOut
    } else {
        ForwardError::Unavailable
    }
}
