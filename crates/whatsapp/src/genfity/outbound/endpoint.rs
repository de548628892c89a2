//! Where a server is.

use std::time::Duration;

use url::Url;

/// Where a server is and how long it may take.
#[derive(Debug, Clone)]
pub struct Endpoint {
    base: Url,
    pub(super) connect_timeout: Duration,
    pub(super) total_timeout: Duration,
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The base URL cannot be extended by a path.
    #[error("the base URL must be an http or https address without query, fragment or credentials")]
    BaseUrl,
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be built")]
    Client(#[source] reqwest::Error),
    /// The credential cannot be sent as a header.
    #[error("the credential cannot be sent as a header")]
    Credential,
}

impl Endpoint {
    /// An endpoint under a base URL, which is an opaque prefix (`https://api.example/v1/wa`): connecting may take
    /// 5 seconds, a whole call 30.
    ///
    /// # Errors
    /// [`InvalidEndpoint::BaseUrl`] for anything but a plain http or https prefix.
    pub fn new(base: Url) -> Result<Self, InvalidEndpoint> {
        let plain = matches!(base.scheme(), "http" | "https")
            && base.has_host()
            && base.query().is_none()
            && base.fragment().is_none()
            && base.username().is_empty()
            && base.password().is_none();
        if !plain {
            return Err(InvalidEndpoint::BaseUrl);
        }
        Ok(Self {
            base,
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(30),
        })
    }

    /// Sets how long a whole call may take. Keep it below the lease of whoever calls.
    #[must_use]
    pub const fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = timeout;
        self
    }

    /// Sets how long connecting may take.
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    pub(crate) const fn total_timeout(&self) -> Duration {
        self.total_timeout
    }

    pub(crate) const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) fn address(&self, path: &[&str]) -> Result<Url, InvalidEndpoint> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| InvalidEndpoint::BaseUrl)?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_a_plain_prefix() {
        for (base, address) in [
            (
                "https://api.example/v1/wa",
                "https://api.example/v1/wa/chat/send/text",
            ),
            (
                "https://api.example/v1/wa/",
                "https://api.example/v1/wa/chat/send/text",
            ),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080/chat/send/text"),
        ] {
            let endpoint = Endpoint::new(base.parse().unwrap()).unwrap();
            assert_eq!(
                endpoint.address(&["chat", "send", "text"]).unwrap().as_str(),
                address
            );
        }
        for wrong in [
            "ftp://a.example/",
            "https://u:p@a.example/",
            "https://a.example/?token=x",
            "mailto:a@b.example",
        ] {
            assert!(Endpoint::new(wrong.parse().unwrap()).is_err(), "{wrong}");
        }
    }
}
