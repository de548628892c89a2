//! Passing a caller's request on, piece by piece, and its answer back (contract §8.4, §8.5).
//!
//! Over connections of its own: the path of a request is written byte for byte as it was judged, and what a connection may
//! buffer is bounded, so that many large bodies at once stay small in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use secrecy::SecretString;

use super::connections::{CallError, Connections, Lease};
use super::secret_header;
use crate::config::WaServerSettings;
use crate::flows::proxy_path::ProxyPath;

/// How long a connection is kept for the next request.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// An answer that announces no more than this comes back in one piece.
const WHOLE: u64 = 16 * 1024;

/// A request that may go upstream. It has no room for other headers than these: whatever else a caller sent (its own
/// `Authorization`, cookies, `X-Forwarded-*`, hop-by-hop headers) stays here (W-23).
pub(crate) struct ForwardRequest {
    pub(crate) method: Method,
    pub(crate) path: ProxyPath,
    pub(crate) query: Option<String>,
    pub(crate) token: Arc<SecretString>,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) body: Option<ForwardBody>,
}

/// A body on its way.
pub(crate) enum ForwardBody {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece. An error breaks the upstream request off, so that half a message is never taken for a whole.
    Pieces {
        /// As announced by the caller; without it the body is sent in chunks.
        length: Option<u64>,
        pieces: BoxStream<'static, Result<Bytes, BrokenBody>>,
    },
}

/// The caller's body did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller's body did not come to its end")]
pub(crate) struct BrokenBody;

/// The WA server's answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: AnswerBody,
}

/// Its body.
pub(crate) enum AnswerBody {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece.
    Pieces(BoxStream<'static, Result<Bytes, ForwardError>>),
}

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

type Pieces = StreamBody<BoxStream<'static, Result<Frame<Bytes>, BrokenBody>>>;
type Outgoing = Either<Full<Bytes>, Pieces>;

/// Passes requests on to one WA server. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub(crate) struct Forwarder {
    connections: Connections<Outgoing>,
    /// What stands in front of every path; without a slash at its end.
    base: String,
    host: HeaderValue,
    silence: Duration,
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

impl Forwarder {
    /// Prepares a client; nothing is dialled yet. `None` when the base URL has no host that can stand in a header.
    pub(crate) fn new(settings: &WaServerSettings) -> Option<Self> {
        Self::keeping(settings, KEPT_FOR)
    }

    fn keeping(settings: &WaServerSettings, kept_for: Duration) -> Option<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let url = settings.url.url();
        let host = match (url.host_str()?, url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        Some(Self {
            connections: Connections::new(connector, Uri::try_from(settings.url.as_str()).ok()?, kept_for),
            base: url.path().trim_end_matches('/').to_owned(),
            host: HeaderValue::from_str(&host).ok()?,
            silence: settings.read_timeout,
        })
    }

    /// Sends a request and returns as soon as the answer has begun.
    pub(crate) async fn forward(&self, request: ForwardRequest) -> Result<Answer, ForwardError> {
        let reads_no_body = request.method == Method::HEAD;
        let Some(outgoing) = self.outgoing(request) else {
            tracing::error!("a validated path or a stored session token cannot be sent");
            return Err(ForwardError::Unavailable);
        };
        let calling = trace_context::call("wa-server call", self.connections.call(outgoing));
        let (response, lease) = tokio::time::timeout(self.silence, calling)
            .await
            .map_err(|_| ForwardError::TimedOut)?
            .map_err(|error| {
                tracing::warn!(error = ?error, "the WA server did not answer");
                // A connection that was never made is not a slow answer, even if making it ran out of time.
                match error {
                    CallError::NotConnected(_) => ForwardError::Unreachable,
                    CallError::Broken(_) => ForwardError::Unavailable,
                }
            })?;
        if response.status().is_redirection() {
            tracing::warn!(
                status = response.status().as_u16(),
                "the WA server answered with a redirect"
            );
            return Err(ForwardError::Redirected);
        }
        let (head, body) = response.into_parts();
        let mut pieces = AnswerPieces {
            lease: lease.unless_over(&body),
            body,
            silence: self.silence,
        };
        let body = match announced(&head.headers) {
            Some(length) if length <= WHOLE && !reads_no_body => {
                AnswerBody::Whole(whole(async || pieces.next().await).await?)
            }
            _ => AnswerBody::Pieces(pieces.stream().boxed()),
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    fn outgoing(&self, request: ForwardRequest) -> Option<Request<Outgoing>> {
        let mut uri = format!("{}{}", self.base, request.path.as_str());
        if let Some(query) = &request.query {
            uri.push('?');
            uri.push_str(query);
        }
        let (length, body) = match request.body {
            // A plain GET stays one without a body.
            None => (None, Either::Left(Full::default())),
            Some(ForwardBody::Whole(body)) => (u64::try_from(body.len()).ok(), Either::Left(Full::new(body))),
            Some(ForwardBody::Pieces { length, pieces }) => {
                let frames = pieces.map_ok(Frame::data).boxed();
                (length, Either::Right(StreamBody::new(frames)))
            }
        };
        let mut outgoing = Request::new(body);
        *outgoing.method_mut() = request.method;
        *outgoing.uri_mut() = Uri::try_from(uri).ok()?;
        let headers = outgoing.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert("token", secret_header(&request.token)?);
        for (name, value) in [(CONTENT_TYPE, request.content_type), (ACCEPT, request.accept)] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        Some(outgoing)
    }
}

/// The roots of the system. A list that cannot be read leaves only plain connections, which is all that most need.
fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The length that an answer announces.
pub(crate) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body that comes from upstream, given up when it is silent for too long.
struct AnswerPieces {
    body: Incoming,
    /// Given back with the last piece: whoever knows the length does not ask for more.
    lease: Option<Lease<Outgoing>>,
    silence: Duration,
}

impl AnswerPieces {
    async fn next(&mut self) -> Result<Option<Bytes>, ForwardError> {
        loop {
            let frame = tokio::time::timeout(self.silence, self.body.frame())
                .await
                .map_err(|_| ForwardError::TimedOut)?;
            match frame {
                None => {
                    if let Some(lease) = self.lease.take() {
                        lease.give_back();
                    }
                    return Ok(None);
                }
                Some(Err(error)) => {
                    tracing::warn!(error = ?error, "the WA server's answer broke off");
                    return Err(ForwardError::Unavailable);
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.lease = self.lease.take().and_then(|lease| lease.unless_over(&self.body));
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    fn stream(self) -> impl Stream<Item = Result<Bytes, ForwardError>> + Send {
        let next = |mut pieces: Self| async move { Ok(pieces.next().await?.map(|piece| (piece, pieces))) };
        stream::try_unfold(self, next)
    }
}

/// All pieces as one. One that is alone is not copied.
pub(crate) async fn whole<E>(mut next: impl AsyncFnMut() -> Result<Option<Bytes>, E>) -> Result<Bytes, E> {
    let Some(first) = next().await? else {
        return Ok(Bytes::new());
    };
    let Some(second) = next().await? else {
        return Ok(first);
    };
    let mut body = Vec::from(first);
    body.extend_from_slice(&second);
    while let Some(piece) = next().await? {
        body.extend_from_slice(&piece);
    }
    Ok(body.into())
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
