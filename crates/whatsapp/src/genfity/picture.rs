//! People's pictures (wa-server contract 8, `/user/avatar`).

use std::time::Duration;

use domain::address::ChatAddress;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use super::http::{Call, Http};
use super::outbound::{Endpoint, InvalidEndpoint, recipient};
use super::wire;
use crate::credentials::SessionToken;
use crate::picture::{FindPicture, Picture, PictureError, Told, is_at, not_found};

/// Longest wait: the server asks WhatsApp.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pictures as one server finds them. Cheap to clone; one per endpoint.
#[derive(Debug, Clone)]
pub struct GenfityPictures {
    http: Http,
    base: Url,
}

impl GenfityPictures {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &Endpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
            base: endpoint.address(&[])?,
        })
    }
}

impl FindPicture for GenfityPictures {
    fn find<'a>(
        &'a self,
        credentials: &'a SessionToken,
        of: &'a ChatAddress,
    ) -> BoxFuture<'a, Result<Option<Picture>, PictureError>> {
        async move {
            let phone = recipient(of).ok_or(PictureError::NOT_SENDABLE)?;
            let secret = SecretString::from(credentials.expose());
            let path = &["user", "avatar"];
            let call = Call::new("user/avatar", Method::POST, path, ("token", &secret), PATIENCE)
                .with(json!({"Phone": phone, "Preview": false}));
            match self.http.ask::<wire::Enveloped<Told>>(call).await {
                Ok(answer) => Ok(answer.data.and_then(Told::picture)),
                Err(error) => not_found(&error),
            }
        }
        .boxed()
    }

    fn is_own(&self, url: &Url) -> bool {
        is_at(&self.base, url)
    }
}
