//! Where a GoWA is and how it takes us for its user.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, ClientBuilder, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::credentials::BasicAuth;
use crate::genfity::{Endpoint, InvalidEndpoint};
use crate::port::OperatorText;

/// Where a server is, as whose user it is called, and how long it may take.
#[derive(Clone)]
pub struct GowaEndpoint {
    place: Endpoint,
    /// `Authorization`; none where the server asks for none.
    authorization: Option<SecretString>,
    /// What is taken out of all that the server says.
    secrets: Vec<SecretString>,
}

impl GowaEndpoint {
    /// A server under a base URL, its path prefix included. Connecting may take 5 seconds, a whole call 30.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] for anything but a plain http or https prefix, or for a user that fits into no header.
    pub fn new(base: Url, auth: Option<&BasicAuth>) -> Result<Self, InvalidEndpoint> {
        let authorization = auth.map(BasicAuth::header);
        if let Some(header) = &authorization {
            HeaderValue::from_str(header.expose_secret()).map_err(|_| InvalidEndpoint::Credential)?;
        }
        Ok(Self {
            place: Endpoint::new(base)?,
            authorization,
            secrets: auth.map(BasicAuth::spellings).into_iter().flatten().collect(),
        })
    }

    /// Sets how long a whole call may take. Keep it below the lease of whoever calls.
    #[must_use]
    pub fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.place = self.place.with_total_timeout(timeout);
        self
    }

    /// Sets how long connecting may take.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.place = self.place.with_connect_timeout(timeout);
        self
    }

    pub(super) const fn total_timeout(&self) -> Duration {
        self.place.total_timeout()
    }

    pub(super) fn address(&self, path: &[&str]) -> Result<Url, InvalidEndpoint> {
        self.place.address(path)
    }

    /// As a header that HTTP libraries will not print.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.authorization.as_ref()?.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Keeps what was said to a call, without what we proved ourselves with.
    pub(super) fn keep(&self, said: &str) -> OperatorText {
        self.keep_without(said, None)
    }

    /// As [`Self::keep`], where the call told another secret.
    pub(super) fn keep_without(&self, said: &str, told: Option<&SecretString>) -> OperatorText {
        let secrets = self.secrets.iter().chain(told);
        OperatorText::without_any(said, secrets.map(|secret| secret.expose_secret()))
    }

    /// No proxy from the environment and no redirects: user and password go to this server only.
    pub(super) fn client(&self) -> ClientBuilder {
        Client::builder()
            .connect_timeout(self.place.connect_timeout())
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(redirect::Policy::none())
            .no_proxy()
    }
}

impl fmt::Debug for GowaEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GowaEndpoint")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
