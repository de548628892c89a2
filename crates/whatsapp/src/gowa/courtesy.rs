//! Typing and read marks: any 2xx is a yes, and nobody waits long.

use std::time::Duration;

use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Method;

use super::endpoint::GowaEndpoint;
use super::http::{DEVICE_HEADER, Http, device_header};
use super::outbound::recipient;
use super::wire::Send;
use crate::courtesy::{NotShown, ShowCourtesy, Typing};
use crate::credentials::SessionToken;
use crate::genfity::InvalidEndpoint;

/// Longest wait for the server.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most messages that are marked at once: each is a call of its own, and the newest ones are what a person looks at.
const MOST_MARKS: usize = 20;

/// Shows typing and read marks through one server. Cheap to clone; one per endpoint.
#[derive(Debug, Clone)]
pub struct GowaCourtesy {
    http: Http,
}

impl GowaCourtesy {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GowaEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
        })
    }

    async fn post(&self, path: &[&str], device: &SessionToken, body: &Send<'_>) -> Result<(), NotShown> {
        let header = device_header(device).ok_or(NotShown::NotSendable)?;
        let request = self
            .http
            .request(Method::POST, path)
            .ok_or(NotShown::NotSendable)?
            .header(DEVICE_HEADER, header)
            .timeout(PATIENCE)
            .json(body);
        let answer = request.send().await.map_err(|error| {
            if error.is_builder() {
                NotShown::NotSendable
            } else {
                NotShown::NoAnswer
            }
        })?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(NotShown::Refused(answer.status().as_u16()))
        }
    }
}

impl ShowCourtesy for GowaCourtesy {
    fn presence<'a>(
        &'a self,
        device: &'a SessionToken,
        to: &'a ChatAddress,
        typing: Typing,
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        async move {
            let body = Send {
                phone: recipient(to).ok_or(NotShown::NotOnWhatsApp)?,
                action: Some(match typing {
                    Typing::Composing => "start",
                    Typing::Paused => "stop",
                }),
                ..Send::default()
            };
            self.post(&["send", "chat-presence"], device, &body).await
        }
        .boxed()
    }

    fn mark_read<'a>(
        &'a self,
        device: &'a SessionToken,
        chat: &'a ChatAddress,
        messages: &'a [ProviderMessageId],
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        async move {
            let body = Send {
                phone: recipient(chat).ok_or(NotShown::NotOnWhatsApp)?,
                ..Send::default()
            };
            let newest = messages.len().saturating_sub(MOST_MARKS);
            for message in messages.iter().skip(newest) {
                self.post(&["message", message.as_str(), "read"], device, &body)
                    .await?;
            }
            Ok(())
        }
        .boxed()
    }
}
