//! Files of agents' messages, fetched from where Chatwoot says that they are (contract 2.8; 6, 15).
//!
//! The address came in a webhook and leads on to a store by redirects, so every hop is checked before it is dialled, and what
//! is dialled is what was checked; see [`outbound_url`](crate::outbound_url). Nothing of ours goes along: the addresses are
//! signed, and whoever has one may read the file.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

use crate::outbound_url::{CheckedResolver, OutboundPolicy, OutboundRefusal};

/// Longest silence of a server.
const SILENCE: Duration = Duration::from_secs(30);
/// Redirects that are followed; Chatwoot's own is one, a store's may be another.
const MOST_HOPS: usize = 3;
/// How long a file that is not there is waited for: Chatwoot tells of a message before its upload is finished.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a file that is not there.
const PAUSE: Duration = Duration::from_millis(500);
/// Files that are handed on at once.
const AT_ONCE: usize = 64;

/// Fetches files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Downloads {
    http: reqwest::Client,
    policy: OutboundPolicy,
    limit: u64,
    rewrite: bool,
    places: Arc<Semaphore>,
}

/// A file that is there.
pub struct DownloadedFile {
    /// Its type, as whoever has it says.
    pub mime_type: Option<String>,
    /// Its size, where that is known beforehand.
    pub length: Option<u64>,
    /// Its bytes. They break off where there are more of them than may be.
    pub bytes: BoxStream<'static, Result<Bytes, BrokenOff>>,
}

impl std::fmt::Debug for DownloadedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DownloadedFile")
            .field("mime_type", &self.mime_type)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// The bytes ended before the file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file broke off")]
pub struct BrokenOff;

/// Why there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDownloaded {
    /// It is not there, not even after a while.
    #[error("the file is not there")]
    NotThere,
    /// Its address may not be dialled, or leads on for ever.
    #[error("the file's address is not followed: {0}")]
    Refused(&'static str),
    /// It has more bytes than may be.
    #[error("the file is too large")]
    TooLarge,
    /// It may be there later.
    #[error("the file cannot be fetched now")]
    Later,
}

impl NotDownloaded {
    /// The stable word for it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotThere => "not_there",
            Self::Refused(why) => why,
            Self::TooLarge => "too_large",
            Self::Later => "later",
        }
    }
}

impl Downloads {
    /// A client that dials only what `policy` allows and hands on files of at most `limit` bytes. With `rewrite`, what
    /// Chatwoot calls by its own public name is fetched where we reach that Chatwoot.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(policy: OutboundPolicy, limit: u64, rewrite: bool) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(SILENCE)
            .user_agent(concat!("kanal-chatwoot-bridge/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(CheckedResolver::new(policy.clone())))
            .build()?;
        Ok(Self {
            http,
            policy,
            limit,
            rewrite,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// Begins to fetch what lies at `data_url`; `chatwoot_url` is where we reach the Chatwoot that said so.
    ///
    /// # Errors
    /// [`NotDownloaded`].
    pub async fn open(&self, data_url: &str, chatwoot_url: &str) -> Result<DownloadedFile, NotDownloaded> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| NotDownloaded::Later)?;
        let said = Url::parse(data_url).map_err(|_| NotDownloaded::Refused("url_invalid"))?;
        let reached = self.rewrite.then(|| Url::parse(chatwoot_url).ok()).flatten();
        let names = Names { said: &said, reached };
        let end = Instant::now() + PATIENCE;
        loop {
            let response = self.follow(&names).await?;
            let status = response.status();
            if status == StatusCode::OK {
                return self.file(response, place);
            }
            if matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error() {
                return Err(NotDownloaded::Later);
            }
            if status != StatusCode::NOT_FOUND || Instant::now() + PAUSE > end {
                return Err(NotDownloaded::NotThere);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The answer behind all redirects.
    async fn follow(&self, names: &Names<'_>) -> Result<Response, NotDownloaded> {
        let mut url = names.said.clone();
        for _ in 0..=MOST_HOPS {
            let dialled = names.where_we_reach(url.clone());
            self.policy.check_link(&dialled).map_err(refused)?;
            let response = self
                .http
                .get(dialled)
                .send()
                .await
                .map_err(|error| broken(&error))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            url = to
                .and_then(|to| url.join(to).ok())
                .ok_or(NotDownloaded::Refused("redirect_nowhere"))?;
        }
        Err(NotDownloaded::Refused("redirects_on_and_on"))
    }

    fn file(&self, response: Response, place: OwnedSemaphorePermit) -> Result<DownloadedFile, NotDownloaded> {
        let length = response.content_length();
        if length.is_some_and(|length| length > self.limit) {
            return Err(NotDownloaded::TooLarge);
        }
        let mime_type = response.headers().get(CONTENT_TYPE);
        let mime_type = mime_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let chunks = response.bytes_stream().map_err(|_| BrokenOff).boxed();
        let bytes = stream::try_unfold(
            (chunks, self.limit, place),
            |(mut chunks, left, place)| async move {
                let Some(chunk) = chunks.next().await.transpose()? else {
                    return Ok(None);
                };
                let left = left.checked_sub(chunk.len() as u64).ok_or(BrokenOff)?;
                Ok(Some((chunk, (chunks, left, place))))
            },
        );
        Ok(DownloadedFile {
            mime_type,
            length,
            bytes: bytes.boxed(),
        })
    }
}

/// What Chatwoot calls itself, and where we reach it.
struct Names<'a> {
    said: &'a Url,
    reached: Option<Url>,
}

impl Names<'_> {
    /// Chatwoot's own addresses as we reach them; a store's stay as they are.
    fn where_we_reach(&self, mut url: Url) -> Url {
        let Some(reached) = &self.reached else {
            return url;
        };
        if url.origin() != self.said.origin() {
            return url;
        }
        // Each can fail only for an address without a host, which neither is.
        let moved = url.set_scheme(reached.scheme()).is_ok()
            && url.set_host(reached.host_str()).is_ok()
            && url.set_port(reached.port()).is_ok();
        if !moved {
            tracing::warn!("an address of Chatwoot's cannot be rewritten");
        }
        url
    }
}

fn refused(refusal: OutboundRefusal) -> NotDownloaded {
    NotDownloaded::Refused(match refusal {
        OutboundRefusal::Private => "url_private",
        OutboundRefusal::Scheme | OutboundRefusal::Form => "url_invalid",
    })
}

fn broken(error: &reqwest::Error) -> NotDownloaded {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<OutboundRefusal>() {
            return refused(*refusal);
        }
        cause = inner.source();
    }
    NotDownloaded::Later
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn only_chatwoots_own_name_is_rewritten() {
        let said = url("https://chat.example/rails/active_storage/blobs/redirect/x/a.jpg");
        let names = |reached: Option<&str>| Names {
            said: &said,
            reached: reached.map(url),
        };
        let reached = names(Some("http://chatwoot:3000/sub"));
        assert_eq!(
            reached.where_we_reach(said.clone()).as_str(),
            "http://chatwoot:3000/rails/active_storage/blobs/redirect/x/a.jpg"
        );
        let disk = url("https://chat.example/rails/active_storage/disk/y/a.jpg?d=1");
        assert_eq!(
            reached.where_we_reach(disk).as_str(),
            "http://chatwoot:3000/rails/active_storage/disk/y/a.jpg?d=1"
        );
        let store = url("https://s3.example/a.jpg?X-Amz-Signature=1");
        assert_eq!(reached.where_we_reach(store.clone()), store);
        assert_eq!(names(None).where_we_reach(said.clone()), said);
    }
}
