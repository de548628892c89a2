//! A file from an address that came in a webhook. The address is somebody else's word, so it is checked before it is
//! dialled, and what is dialled is what was checked; see [`outbound_url`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use outbound_url::{CheckedResolver, OutboundPolicy, OutboundRefusal};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode, redirect};
use url::Url;
use whatsapp::download::{DownloadError, FileBytes};

/// Longest silence of a server.
const SILENCE: Duration = Duration::from_secs(30);

/// Fetches files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FileClient {
    http: Client,
    policy: OutboundPolicy,
}

impl FileClient {
    /// A client that dials only what `policy` allows.
    ///
    /// # Errors
    /// When TLS is not set up.
    pub fn new(policy: OutboundPolicy) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(SILENCE)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(CheckedResolver::new(policy.clone())))
            .build()?;
        Ok(Self { http, policy })
    }

    /// Begins to fetch a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub async fn get(&self, url: &str, limit: u64) -> Result<FileBytes, DownloadError> {
        let url = Url::parse(url).map_err(|_| DownloadError::Never {
            reason: "url_invalid",
        })?;
        self.policy.check_link(&url).map_err(refused)?;
        let response = self.http.get(url).send().await.map_err(|error| broken(&error))?;
        let status = response.status();
        if status == StatusCode::OK {
            if response.content_length().is_some_and(|length| length > limit) {
                return Err(DownloadError::Never { reason: "too_large" });
            }
            return Ok(response.bytes_stream().map_err(|error| broken(&error)).boxed());
        }
        let asked = response.headers().get(RETRY_AFTER);
        let after = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        if matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error() {
            return Err(DownloadError::Later {
                reason: "url_unavailable",
                after: after.map(Duration::from_secs),
            });
        }
        Err(DownloadError::Never {
            // A redirect could lead anywhere.
            reason: if status.is_redirection() {
                "url_redirects"
            } else {
                "url_answers_no_file"
            },
        })
    }
}

fn refused(refusal: OutboundRefusal) -> DownloadError {
    let reason = match refusal {
        OutboundRefusal::Private => "url_private",
        OutboundRefusal::Scheme | OutboundRefusal::Form => "url_invalid",
    };
    metrics::counter!("kanal_media_urls_refused_total", "reason" => reason).increment(1);
    tracing::warn!(reason, "an address in a webhook is not dialled");
    DownloadError::Never { reason }
}

fn broken(error: &reqwest::Error) -> DownloadError {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<OutboundRefusal>() {
            return refused(*refusal);
        }
        cause = inner.source();
    }
    DownloadError::later(if error.is_connect() {
        "url_unreachable"
    } else if error.is_timeout() {
        "timeout"
    } else {
        "connection_cut"
    })
}
