//! Where the bytes of a file come from that has to go out.

use domain::ids::MessageId;
use domain::message::{Media, MediaSource};
use domain::text::Text;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tenant_isolation::TenantScope;
use url::Url;
use whatsapp::port::OutboundFile;

/// Finds the bytes of files.
pub trait LoadMedia: Send + Sync {
    /// The file of a message of ours. With `links`, an address that the provider fetches itself is as good as the bytes;
    /// without, only the bytes are. Bytes are in memory as a whole, at most 100 MiB
    /// ([`FileBytes`](whatsapp::port::FileBytes)): the provider's route wants them inside a JSON body.
    fn load<'a>(
        &'a self,
        scope: &'a TenantScope,
        message: MessageId,
        media: &'a Media,
        links: bool,
    ) -> BoxFuture<'a, Result<LoadedFile, MediaNotLoaded>>;
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

/// Files that lie at an address which the provider fetches itself, and no others.
#[derive(Debug, Clone, Copy)]
pub struct LinksOnly;

impl LoadMedia for LinksOnly {
    fn load<'a>(
        &'a self,
        _scope: &'a TenantScope,
        _message: MessageId,
        media: &'a Media,
        links: bool,
    ) -> BoxFuture<'a, Result<LoadedFile, MediaNotLoaded>> {
        let address = media.sources.iter().find_map(|source| match source {
            MediaSource::Link { url } => web_address(url),
            _ => None,
        });
        let found = address.filter(|_| links).map(|url| LoadedFile {
            file: OutboundFile::Link(url),
            mime_type: None,
        });
        async move { found.ok_or(MediaNotLoaded::Never) }.boxed()
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
