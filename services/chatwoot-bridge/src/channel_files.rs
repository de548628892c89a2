//! Files of people's messages, which channel-service keeps. An event carries a signed link to each (EVENTS.md); it is
//! followed only where it leads to channel-service, whose address is a setting.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use url::Url;

/// How long channel-service may be silent, before its answer and within a file.
const SILENCE: Duration = Duration::from_secs(20);

/// The way to the files. Cheap to clone.
#[derive(Clone)]
pub struct ChannelFiles {
    http: reqwest::Client,
    base: String,
    limit: u64,
    patience: Duration,
}

impl std::fmt::Debug for ChannelFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelFiles")
            .field("base", &self.base)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// A file that is there.
#[derive(Debug)]
pub struct OpenFile {
    /// How many bytes.
    pub size: u64,
    /// What it is, by its content.
    pub mime_type: String,
    /// What channel-service calls it.
    pub name: Option<String>,
    /// The bytes, as they come.
    pub body: reqwest::Response,
}

/// What came of asking for a file.
#[derive(Debug)]
pub enum Fetched {
    /// It is there.
    Open(Box<OpenFile>),
    /// Not yet, not any more, or channel-service does not answer: nobody tells which.
    NotThere,
    /// It is larger than what Chatwoot is given.
    TooLarge {
        /// How many bytes.
        size: u64,
    },
    /// The link leads elsewhere, and is not followed.
    Foreign,
}

impl ChannelFiles {
    /// Files below `base`, of up to `limit` bytes. For `patience` a message's words wait for its file.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(base: &str, limit: u64, patience: Duration) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(SILENCE)
            .pool_max_idle_per_host(8)
            .user_agent(concat!("kanal-chatwoot-bridge/", env!("CARGO_PKG_VERSION")))
            .build()?;
        // As a link will be read: without a port that goes without saying.
        let base = Url::parse(base).map_or_else(|_| base.to_owned(), String::from);
        Ok(Self {
            http,
            base: format!("{}/", base.trim_end_matches('/')),
            limit,
            patience,
        })
    }

    /// How long a message's words wait for its file.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Asks for a file.
    pub async fn open(&self, link: &str) -> Fetched {
        let fetched = self.fetch(link).await;
        let outcome = match &fetched {
            Fetched::Open(_) => "open",
            Fetched::NotThere => "not_there",
            Fetched::TooLarge { .. } => "too_large",
            Fetched::Foreign => "foreign",
        };
        metrics::counter!("kanal_bridge_files_asked_total", "outcome" => outcome).increment(1);
        fetched
    }

    async fn fetch(&self, link: &str) -> Fetched {
        let Some(url) = self.own(link) else {
            tracing::warn!("a file's link does not lead to CHANNEL_FILES_URL; it is not followed");
            return Fetched::Foreign;
        };
        let request = self.http.get(url);
        let sending = async { request.headers(trace_context::headers()).send().await };
        let response = match trace_context::call("channel-service file", sending).await {
            Ok(response) => response,
            Err(error) => {
                // Without its URL, whose query opens the file.
                let error = error.without_url();
                tracing::warn!(%error, "channel-service does not answer for a file");
                return Fetched::NotThere;
            }
        };
        let Some(size) = response
            .content_length()
            .filter(|_| response.status() == StatusCode::OK)
        else {
            return Fetched::NotThere;
        };
        if size > self.limit {
            return Fetched::TooLarge { size };
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let mime_type = header(CONTENT_TYPE)
            .unwrap_or("application/octet-stream")
            .to_owned();
        let name = header(CONTENT_DISPOSITION).and_then(file_name);
        Fetched::Open(Box::new(OpenFile {
            size,
            mime_type,
            name,
            body: response,
        }))
    }

    /// Read as a URL first, so that no `..` leads out of the base.
    fn own(&self, link: &str) -> Option<Url> {
        let url = Url::parse(link).ok()?;
        (url.as_str().starts_with(&self.base) && url.username().is_empty()).then_some(url)
    }
}

/// `inline; filename="voice.ogg"; filename*=…`
fn file_name(disposition: &str) -> Option<String> {
    let (_, rest) = disposition.split_once("filename=\"")?;
    let (name, _) = rest.split_once('"')?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_below_the_base_are_followed() {
        test_support::install_crypto_provider();
        let base = "http://channel-service:3001/uploads";
        let files = ChannelFiles::new(base, 1, Duration::ZERO).unwrap();
        let own = |link: &str| files.own(link).is_some();
        assert!(own("http://channel-service:3001/uploads/media/0190?token=abc"));
        for foreign in [
            "http://channel-service:3001/uploads/../internal/accounts",
            "http://channel-service:3001/uploads/%2e%2e/internal",
            "http://channel-service:3001/uploadsx/media",
            "http://channel-service:3002/uploads/media",
            "https://channel-service:3001/uploads/media",
            "http://channel-service:3001@evil.example/uploads/media",
            "http://169.254.169.254/uploads/",
            "file:///etc/passwd",
            "",
        ] {
            assert!(!own(foreign), "{foreign}");
        }
    }

    #[test]
    fn names_are_read_from_the_header() {
        assert_eq!(
            file_name("inline; filename=\"voice.ogg\"; filename*=UTF-8''voice.ogg").as_deref(),
            Some("voice.ogg")
        );
        assert_eq!(file_name("attachment"), None);
    }
}
