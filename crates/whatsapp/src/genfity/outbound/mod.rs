//! Sending through the server: messages of every kind.

mod answer;
mod endpoint;
mod request;

use std::time::Duration;

use domain::message::{MediaKind, MessageKind};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, redirect};

use super::http::send;
use crate::answer::{Answered, no_answer, retry};
use crate::credentials::SessionToken;
use crate::port::{
    OperatorText, OutboundMessage, RejectReason, ResendSafety, RetryReason, SendMessage, SendOutcome,
    UnknownReason, time_for_file,
};
pub(crate) use answer::chain;
use answer::judge;
pub use endpoint::{Endpoint, InvalidEndpoint};
use request::Request;
pub(super) use request::recipient;

/// Sends through one server. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct GenfitySender {
    http: Client,
    endpoint: Endpoint,
}

impl GenfitySender {
    /// Builds the client. No proxy from the environment and no redirects: the token goes to this server only.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &Endpoint) -> Result<Self, InvalidEndpoint> {
        let http = Client::builder()
            .connect_timeout(endpoint.connect_timeout)
            .timeout(endpoint.total_timeout)
            // Well below the server's own 180 s, so that a connection it is about to close is rarely taken.
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(InvalidEndpoint::Client)?;
        // Extended once here, so that a base that cannot be is found out at the start.
        endpoint.address(&["chat"])?;
        Ok(Self {
            http,
            endpoint: endpoint.clone(),
        })
    }

    fn post(&self, path: &[&str], header: HeaderValue, body: Vec<u8>) -> Option<RequestBuilder> {
        let address = self.endpoint.address(path).ok()?;
        let request = self.http.post(address).header("token", header);
        Some(request.header(CONTENT_TYPE, "application/json").body(body))
    }

    async fn send_all(&self, token: &SessionToken, message: &OutboundMessage) -> SendOutcome {
        let requests = match request::requests(message) {
            Ok(requests) => requests,
            Err(reason) => return reject(reason),
        };
        let mut first = None;
        for request in requests {
            match (self.call(token, message, request).await, &first) {
                (accepted @ SendOutcome::Accepted { .. }, None) => first = Some(accepted),
                (SendOutcome::Accepted { .. }, Some(_)) => {}
                (failed, None) => return failed,
                // Repeated as a whole: each card has an id of its own, so those that went out are shown once.
                (limited @ SendOutcome::RateLimited { .. }, Some(_)) => return limited,
                (failed, Some(_)) => return partly(failed),
            }
        }
        first.unwrap_or_else(|| reject(RejectReason::Unprocessable))
    }

    async fn call(&self, token: &SessionToken, message: &OutboundMessage, request: Request) -> SendOutcome {
        let Request {
            path,
            body,
            file_bytes,
            id_of,
        } = request;
        let path = path.split(|part| part.is_empty()).next().unwrap_or_default();
        let call = token.to_header().and_then(|header| self.post(path, header, body));
        let Some(call) = call else {
            return retry(RetryReason::NotSendable, OperatorText::default());
        };
        let call = call.timeout(self.endpoint.total_timeout + time_for_file(file_bytes));
        match send("gateway send", call).await {
            Ok(response) => judge(Answered::read(response).await, &message.id, id_of, token),
            Err(error) => no_answer(&error, OperatorText::keep(&chain(&error), token)),
        }
    }
}

impl SendMessage for GenfitySender {
    fn resend_safety(&self, kind: MessageKind) -> ResendSafety {
        request::resend_safety(kind)
    }

    fn takes_links(&self, kind: MediaKind) -> bool {
        request::takes_links(kind)
    }

    /// A file is in the same call as its message.
    fn prepare<'a>(
        &'a self,
        _token: &'a SessionToken,
        _message: &'a OutboundMessage,
    ) -> BoxFuture<'a, Result<(), SendOutcome>> {
        ready(Ok(())).boxed()
    }

    fn send<'a>(
        &'a self,
        token: &'a SessionToken,
        message: &'a OutboundMessage,
    ) -> BoxFuture<'a, SendOutcome> {
        self.send_all(token, message).boxed()
    }
}

fn reject(reason: RejectReason) -> SendOutcome {
    SendOutcome::Rejected {
        reason,
        detail: OperatorText::default(),
    }
}

/// Some cards went out before this happened: whatever it was, the message is neither out nor back.
fn partly(failed: SendOutcome) -> SendOutcome {
    let detail = match failed {
        SendOutcome::RetryLater { detail, .. }
        | SendOutcome::RateLimited { detail, .. }
        | SendOutcome::Rejected { detail, .. }
        | SendOutcome::Unknown { detail, .. } => detail,
        SendOutcome::Accepted { .. } => OperatorText::default(),
    };
    SendOutcome::Unknown {
        reason: UnknownReason::PartlySent,
        detail,
    }
}
