//! People's pictures (chatwoot-bridge contract 4.4, `/user/avatar`).

use std::time::Duration;

use domain::address::ChatAddress;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Method;
use url::Url;

use super::endpoint::GowaEndpoint;
use super::http::{Call, Http};
use super::outbound::recipient;
use crate::credentials::SessionToken;
use crate::genfity::InvalidEndpoint;
use crate::picture::{FindPicture, Picture, PictureError, Told, is_at, not_found};

/// Longest wait: the server asks WhatsApp, for ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pictures as one server finds them. Cheap to clone; one per endpoint.
#[derive(Debug, Clone)]
pub struct GowaPictures {
    http: Http,
    base: Url,
}

impl GowaPictures {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GowaEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
            base: endpoint.address(&["user"])?,
        })
    }
}

impl FindPicture for GowaPictures {
    fn find<'a>(
        &'a self,
        device: &'a SessionToken,
        of: &'a ChatAddress,
    ) -> BoxFuture<'a, Result<Option<Picture>, PictureError>> {
        async move {
            let phone = recipient(of).ok_or(PictureError::NOT_SENDABLE)?;
            let mut call = Call::new("user/avatar", Method::GET, &["user", "avatar"], PATIENCE);
            let query = [("phone", phone), ("is_preview", "false")];
            call.query = &query;
            call.device = Some(device);
            match self.http.ask::<Told>(call).await {
                Ok(told) => Ok(told.picture()),
                Err(error) => not_found(&error),
            }
        }
        .boxed()
    }

    fn is_own(&self, url: &Url) -> bool {
        is_at(&self.base, url)
    }
}
