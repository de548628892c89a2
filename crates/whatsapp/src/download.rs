//! What the services ask of a provider when they fetch the file of a message.

use std::time::Duration;

use bytes::Bytes;
use domain::message::{DownloadKeys, GraphFile, MediaKind, ServerFile};
use domain::text::Text;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::credentials::SessionToken;

/// One provider's way of fetching files.
pub trait DownloadMedia: Send + Sync {
    /// Begins to fetch a file. The bytes come in pieces; the file is whole only when the stream ended without error.
    fn download<'a>(
        &'a self,
        credentials: &'a SessionToken,
        file: &'a WantedFile,
    ) -> BoxFuture<'a, Result<FileBytes, DownloadError>>;
}

/// A file's bytes, in pieces.
pub type FileBytes = BoxStream<'static, Result<Bytes, DownloadError>>;

/// A file that a message told of.
#[derive(Debug, Clone)]
pub struct WantedFile {
    /// What sort of file it is.
    pub kind: MediaKind,
    /// The type its sender declared.
    pub mime_type: Option<Text>,
    /// How the provider knows it.
    pub held: HeldFile,
}

/// How a provider knows a file.
#[derive(Debug, Clone)]
pub enum HeldFile {
    /// By what it takes to fetch and decrypt it from WhatsApp.
    Keys(DownloadKeys),
    /// By its place on the provider's own server.
    Server(ServerFile),
    /// By the id Meta gave it.
    Graph(GraphFile),
}

/// Why a file did not come. All providers say it in the same codes.
///
/// | later | when |
/// |---|---|
/// | `unreachable`, `timeout`, `connection_cut` | as when sending |
/// | `unauthorized`, `forbidden` | the session is not known or we are not taken; something forbids it |
/// | `no_session` | the session is not running, and is needed |
/// | `rate_limited`, `unavailable` | 429; 502, 503 and the like |
/// | `provider_failed` | 500: a file that WhatsApp has no more looks like a bad moment |
/// | `unreadable_answer` | success was said, and no file can be read |
/// | `hash_mismatch` | the bytes that came are not those that were told of |
///
/// | never | when |
/// |---|---|
/// | `not_on_server` | the provider says that it has no such file |
/// | `provider_has_no_route`, `redirected` | a wrong address or an older server |
/// | `provider_refused` | another refusal |
/// | `too_large` | it is larger than WhatsApp's files are |
/// | `not_sendable`, `path_refused` | we do not ask: what we were told of the file leads nowhere, or elsewhere |
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// It may come at another time.
    #[error("the file cannot be had now: {reason}")]
    Later {
        /// Why, as a stable code.
        reason: &'static str,
        /// When the provider asked to be left alone.
        after: Option<Duration>,
    },
    /// It will not come.
    #[error("the file cannot be had: {reason}")]
    Never {
        /// Why, as a stable code.
        reason: &'static str,
    },
}

impl DownloadError {
    /// It may come at another time, whenever that is.
    #[must_use]
    pub const fn later(reason: &'static str) -> Self {
        Self::Later { reason, after: None }
    }
}
