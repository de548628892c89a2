//! Typing and read marks of the server (channel-service contract 6.2): any 2xx is a yes, and nobody waits long.

use std::time::Duration;

use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::{Client, redirect};
use serde::Serialize;
use url::Url;

use super::http::send;
use super::outbound::{Endpoint, InvalidEndpoint, recipient};
use super::wire::outbound::{ChatPresence, MarkRead};
use crate::courtesy::{NotShown, ShowCourtesy, Typing};
use crate::credentials::SessionToken;

/// Longest wait for the server.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows typing and read marks through one server. Cheap to clone; one per endpoint.
#[derive(Debug, Clone)]
pub struct GenfityCourtesy {
    http: Client,
    presence: Url,
    mark_read: Url,
}

impl GenfityCourtesy {
    /// Builds the client. No proxy from the environment and no redirects: the token goes to this server only.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &Endpoint) -> Result<Self, InvalidEndpoint> {
        let http = Client::builder()
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(InvalidEndpoint::Client)?;
        Ok(Self {
            http,
            presence: endpoint.address(&["chat", "presence"])?,
            mark_read: endpoint.address(&["chat", "markread"])?,
        })
    }

    async fn post<T: Serialize + Sync>(
        &self,
        url: &Url,
        token: &SessionToken,
        body: &T,
    ) -> Result<(), NotShown> {
        let header = token.to_header().ok_or(NotShown::NotSendable)?;
        let request = self.http.post(url.clone()).header("token", header).json(body);
        let answer = send("gateway courtesy", request).await.map_err(|error| {
            if error.is_builder() {
                NotShown::NotSendable
            } else {
                NotShown::NoAnswer
            }
        })?;
        // What else it says is of no use to anybody.
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(NotShown::Refused(answer.status().as_u16()))
        }
    }
}

impl ShowCourtesy for GenfityCourtesy {
    fn presence<'a>(
        &'a self,
        credentials: &'a SessionToken,
        to: &'a ChatAddress,
        typing: Typing,
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        async move {
            let body = ChatPresence {
                phone: recipient(to).ok_or(NotShown::NotOnWhatsApp)?,
                state: match typing {
                    Typing::Composing => "composing",
                    Typing::Paused => "paused",
                },
                media: "",
            };
            self.post(&self.presence, credentials, &body).await
        }
        .boxed()
    }

    fn mark_read<'a>(
        &'a self,
        credentials: &'a SessionToken,
        chat: &'a ChatAddress,
        messages: &'a [ProviderMessageId],
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        async move {
            let phone = recipient(chat).ok_or(NotShown::NotOnWhatsApp)?;
            if messages.is_empty() {
                return Ok(());
            }
            let body = MarkRead {
                ids: messages.iter().map(ProviderMessageId::as_str).collect(),
                chat: phone,
                sender: phone,
            };
            self.post(&self.mark_read, credentials, &body).await
        }
        .boxed()
    }
}
