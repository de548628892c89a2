//! Passing a caller's request on, piece by piece, and its answer back (contract §8.4, §8.5).
//!
//! A client of its own: the path of a request is written byte for byte as it was judged, and what a connection may
//! buffer is bounded, so that many large bodies at once stay small in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::SecretString;

use super::secret_header;
use crate::config::WaServerSettings;
use crate::flows::proxy_path::ProxyPath;

/// What one connection may buffer of a body, in bytes.
const BUFFER: usize = 64 * 1024;

/// Connections that are kept for later.
const IDLE_CONNECTIONS: usize = 512;

/// How long they are kept.
const IDLE_FOR: Duration = Duration::from_secs(30);

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
    client: Client<HttpsConnector<HttpConnector>, Outgoing>,
    /// Scheme, host and the path in front of every path; without a slash at its end.
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
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(BUFFER)
            .set_host(false)
            .build(connector);
        let url = settings.url.url();
        let host = match (url.host_str()?, url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        Some(Self {
            client,
            base: settings.url.as_str().to_owned(),
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
        let response = tokio::time::timeout(
            self.silence,
            trace_context::call("wa-server call", self.client.request(outgoing)),
        )
        .await
        .map_err(|_| ForwardError::TimedOut)?
        .map_err(|error| {
            tracing::warn!(error = ?error, "the WA server did not answer");
            // A connection that was never made is not a slow answer, even if making it ran out of time.
            if error.is_connect() {
                ForwardError::Unreachable
            } else {
                ForwardError::Unavailable
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
        let pieces = pieces(body, self.silence);
        let body = match announced(&head.headers) {
            Some(length) if length <= WHOLE && !reads_no_body => AnswerBody::Whole(whole(pieces).await?),
            _ => AnswerBody::Pieces(pieces),
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

/// The body, given up when it is silent for too long.
fn pieces(body: Incoming, silence: Duration) -> BoxStream<'static, Result<Bytes, ForwardError>> {
    stream::try_unfold(body, move |mut body| async move {
        loop {
            let frame = tokio::time::timeout(silence, body.frame())
                .await
                .map_err(|_| ForwardError::TimedOut)?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    tracing::warn!(error = ?error, "the WA server's answer broke off");
                    return Err(ForwardError::Unavailable);
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some((data, body)));
                    }
                }
            }
        }
    })
    .boxed()
}

async fn whole(mut pieces: BoxStream<'static, Result<Bytes, ForwardError>>) -> Result<Bytes, ForwardError> {
    let Some(first) = pieces.try_next().await? else {
        return Ok(Bytes::new());
    };
    let Some(second) = pieces.try_next().await? else {
        return Ok(first);
    };
    let mut body = Vec::from(first);
    body.extend_from_slice(&second);
    while let Some(piece) = pieces.try_next().await? {
        body.extend_from_slice(&piece);
    }
    Ok(body.into())
}
