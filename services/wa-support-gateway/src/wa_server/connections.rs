//! Connections to the WA server, kept from one request to the next.
//!
//! A pool for one server and one thread, so that a request costs no more than it must: what was used last goes out first,
//! and what is free for long is closed. A connection that is still busy with what it did before, or was closed meanwhile,
//! is not handed out. Whoever gives a request up closes its connection, which is how the server learns of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service as _;

/// What one connection may buffer of a body, in bytes.
const BUFFER: usize = 64 * 1024;

/// Connections that are kept for later.
const MOST: usize = 512;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No connection could be made: the server certainly saw nothing of the request.
    #[error("no connection can be made: {0}")]
    NotConnected(#[source] BoxError),
    /// The connection broke, and nobody knows what the server did with the request.
    #[error("the connection broke: {0}")]
    Broken(#[source] hyper::Error),
}

/// The connections to one server. Cheap to clone; all clones share them.
pub(super) struct Connections<B>(Arc<Pool<B>>);

impl<B> Clone for Connections<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Pool<B> {
    connector: HttpsConnector<HttpConnector>,
    server: Uri,
    /// How long a connection is kept for later.
    kept_for: Duration,
    kept: Mutex<Kept<B>>,
}

struct Kept<B> {
    /// By the time they were given back.
    connections: VecDeque<Free<B>>,
    /// Somebody closes what is kept for too long.
    is_tidied: bool,
}

struct Free<B> {
    sender: SendRequest<B>,
    since: Instant,
}

impl<B> Free<B> {
    fn is_good(&self, kept_for: Duration) -> bool {
        !self.sender.is_closed() && self.since.elapsed() < kept_for
    }
}

/// A connection with an answer on it. Dropped, it is closed.
pub(super) struct Lease<B> {
    sender: SendRequest<B>,
    home: Weak<Pool<B>>,
}

impl<B> Connections<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    /// Nothing is dialled yet.
    pub(super) fn new(connector: HttpsConnector<HttpConnector>, server: Uri, kept_for: Duration) -> Self {
        Self(Arc::new(Pool {
            connector,
            server,
            kept_for,
            kept: Mutex::new(Kept {
                connections: VecDeque::new(),
                is_tidied: false,
            }),
        }))
    }

    /// Sends a request, whose URI is a path, and returns as soon as the answer has begun. The connection is given back when
    /// the answer's body was read.
    pub(super) async fn call(
        &self,
        mut request: Request<B>,
    ) -> Result<(Response<Incoming>, Lease<B>), CallError> {
        loop {
            let kept = self.0.lock().take(self.0.kept_for);
            let was_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                // Seldom, and large.
                None => Box::pin(self.dial()).await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let home = Arc::downgrade(&self.0);
                    return Ok((response, Lease { sender, home }));
                }
                // Closed by the server before it was used again.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if was_kept => request = unsent,
                    _ => return Err(CallError::Broken(error.into_error())),
                },
            }
        }
    }

    async fn dial(&self) -> Result<SendRequest<B>, CallError> {
        // Neither part of the connector ever waits to be ready.
        let dialling = self.0.connector.clone().call(self.0.server.clone());
        let stream = dialling.await.map_err(CallError::NotConnected)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(stream)
            .await
            .map_err(CallError::Broken)?;
        // Its errors are those of the request that is on it.
        drop(tokio::spawn(connection));
        sender.ready().await.map_err(CallError::Broken)?;
        Ok(sender)
    }
}

impl<B: Send + 'static> Lease<B> {
    /// Itself, unless there is nothing more of the answer to come: then it is given back.
    pub(super) fn unless_over(self, answer: &Incoming) -> Option<Self> {
        if answer.is_end_stream() {
            self.give_back();
            return None;
        }
        Some(self)
    }

    /// The answer was read to its end.
    pub(super) fn give_back(self) {
        let Some(pool) = self.home.upgrade() else {
            return;
        };
        let mut kept = pool.lock();
        if kept.connections.len() >= MOST {
            kept.connections.pop_front();
        }
        kept.connections.push_back(Free {
            sender: self.sender,
            since: Instant::now(),
        });
        if !std::mem::replace(&mut kept.is_tidied, true) {
            drop(tokio::spawn(tidy(self.home)));
        }
    }
}

impl<B> Pool<B> {
    fn lock(&self) -> MutexGuard<'_, Kept<B>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Kept<B> {
    /// The one that was used last, of those that can be used.
    fn take(&mut self, kept_for: Duration) -> Option<SendRequest<B>> {
        // One whose answer came before its request was all written becomes ready later, or closes.
        let is_ready = |free: &Free<B>| free.sender.is_ready() && free.is_good(kept_for);
        let at = self.connections.iter().rposition(is_ready)?;
        self.connections.remove(at).map(|free| free.sender)
    }
}

/// Closes what is kept for too long, until nothing is kept.
async fn tidy<B>(pool: Weak<Pool<B>>) {
    while let Some(wait) = pool.upgrade().map(|pool| pool.kept_for / 2) {
        tokio::time::sleep(wait).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let mut kept = pool.lock();
        kept.connections.retain(|free| free.is_good(pool.kept_for));
        if kept.connections.is_empty() {
            kept.is_tidied = false;
            return;
        }
    }
}
