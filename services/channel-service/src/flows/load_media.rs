//! Where the bytes of a file come from that has to go out.

use std::time::Duration;

use bytes::BytesMut;
use domain::message::{Media, MediaSource};
use domain::text::Text;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use url::Url;
use whatsapp::download::DownloadError;
use whatsapp::port::{FileBytes, OutboundFile};

use super::fetch_url::FileClient;

/// Finds the bytes of files.
pub trait LoadMedia: Send + Sync {
    /// The file of a message of ours.
    fn load<'a>(
        &'a self,
        media: &'a Media,
        wanted: Wanted,
    ) -> BoxFuture<'a, Result<LoadedFile, MediaNotLoaded>>;

    /// Are the bytes here? Then there is no address that a provider could fetch.
    fn holds(&self, _media: &Media) -> bool {
        false
    }
}

/// What of a file the provider's route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// An address is enough: the provider fetches it itself.
    Link,
    /// The bytes, which are in memory as a whole because the route wants them inside a JSON body.
    Bytes {
        /// As many as there is room for; never more than [`FileBytes::MOST`].
        most: u64,
    },
}

/// A file that can go out.
#[derive(Debug, Clone)]
pub struct LoadedFile {
    /// Its bytes, or where they are.
    pub file: OutboundFile,
    /// Its type, where somebody has looked at the bytes. Otherwise what was declared counts.
    pub mime_type: Option<Text>,
}

/// A file that cannot go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaNotLoaded {
    /// It may be there later: the message waits and is tried again.
    #[error("the file cannot be read now")]
    Later,
    /// It is nowhere, or larger than may be sent: the message is put aside.
    #[error("the file cannot be read")]
    Never,
}

/// Files that lie at an address: the provider fetches them itself where it can, we do where it cannot.
#[derive(Debug, Clone)]
pub struct LinkedFiles {
    files: FileClient,
    patience: Duration,
}

impl LinkedFiles {
    /// Files fetched by a client that checks every address, each within `patience`.
    #[must_use]
    pub const fn new(files: FileClient, patience: Duration) -> Self {
        Self { files, patience }
    }

    async fn fetch(&self, url: &Url, most: u64) -> Result<OutboundFile, MediaNotLoaded> {
        let not_loaded = |error: DownloadError| match error {
            DownloadError::Later { .. } => MediaNotLoaded::Later,
            DownloadError::Never { .. } => MediaNotLoaded::Never,
        };
        let mut chunks = self.files.get(url.as_str(), most).await.map_err(not_loaded)?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(not_loaded)?;
            if (bytes.len() + chunk.len()) as u64 > most {
                return Err(MediaNotLoaded::Never);
            }
            bytes.extend_from_slice(&chunk);
        }
        let bytes = FileBytes::new(bytes.freeze()).map_err(|_| MediaNotLoaded::Never)?;
        Ok(OutboundFile::Bytes(bytes))
    }
}

impl LoadMedia for LinkedFiles {
    fn load<'a>(
        &'a self,
        media: &'a Media,
        wanted: Wanted,
    ) -> BoxFuture<'a, Result<LoadedFile, MediaNotLoaded>> {
        let address = media.sources.iter().find_map(|source| match source {
            MediaSource::Link { url } => web_address(url),
            _ => None,
        });
        async move {
            let url = address.ok_or(MediaNotLoaded::Never)?;
            let file = match wanted {
                Wanted::Link => OutboundFile::Link(url),
                // A server that sends a byte now and then must not hold the memory for ever.
                Wanted::Bytes { most } => tokio::time::timeout(self.patience, self.fetch(&url, most))
                    .await
                    .unwrap_or(Err(MediaNotLoaded::Later))?,
            };
            Ok(LoadedFile {
                file,
                mime_type: None,
            })
        }
        .boxed()
    }
}

/// An address that may be handed to the provider: it is the provider who dials it, and refuses private ones.
#[must_use]
pub fn web_address(url: &str) -> Option<Url> {
    let url: Url = url.parse().ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then_some(url)
}
