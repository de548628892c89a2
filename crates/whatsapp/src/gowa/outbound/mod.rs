//! Sending through GoWA: messages of every kind.

mod answer;
mod request;

use std::time::Duration;

use domain::message::{MediaKind, MessageKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use reqwest::{Body, Method, RequestBuilder, multipart};

use super::endpoint::GowaEndpoint;
use super::http::{DEVICE_HEADER, Http, device_header};
use crate::answer::{Answered, no_answer, retry};
use crate::credentials::SessionToken;
use crate::genfity::{InvalidEndpoint, error_chain};
use crate::port::{
    OperatorText, OutboundMessage, RejectReason, ResendSafety, RetryReason, SendMessage, SendOutcome,
    UnknownReason,
};
use answer::judge;
pub(super) use request::recipient;
use request::{Form, Payload, Request};

/// The slowest line we wait for when a file is in the body: bytes in a second.
const SLOWEST_LINE: u64 = 256 * 1024;

/// Sends through one server. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct GowaSender {
    http: Http,
}

impl GowaSender {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GowaEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
        })
    }

    async fn send_all(&self, device: &SessionToken, message: &OutboundMessage) -> SendOutcome {
        let requests = match request::requests(message) {
            Ok(requests) => requests,
            Err(reason) => {
                return SendOutcome::Rejected {
                    reason,
                    detail: OperatorText::default(),
                };
            }
        };
        let mut first = None;
        for request in requests {
            match (self.call(device, message, request).await, &first) {
                (accepted @ SendOutcome::Accepted { .. }, None) => first = Some(accepted),
                (SendOutcome::Accepted { .. }, Some(_)) => {}
                (failed, None) => return failed,
                // Each card is a message of its own with an id that the server makes: sent again as a whole, those
                // that went out would be there twice. So not even a limit is waited for.
                (failed, Some(_)) => return partly(failed),
            }
        }
        first.unwrap_or(SendOutcome::Rejected {
            reason: RejectReason::Unprocessable,
            detail: OperatorText::default(),
        })
    }

    async fn call(&self, device: &SessionToken, message: &OutboundMessage, request: Request) -> SendOutcome {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let (id_of, file_bytes) = (request.id_of, request.payload.file_bytes());
        let call = self.http.request(Method::POST, &path);
        let call = call.and_then(|call| Some(call.header(DEVICE_HEADER, device_header(device)?)));
        let Some(call) = call.and_then(|call| with_payload(call, request.payload)) else {
            return retry(RetryReason::NotSendable, OperatorText::default());
        };
        let time_for_file = Duration::from_secs(file_bytes / SLOWEST_LINE);
        let patience = self.http.endpoint.total_timeout() + time_for_file;
        match trace_context::call("gowa send", call.timeout(patience).send()).await {
            Ok(response) => {
                let answered = Answered::read(response).await;
                judge(answered, &message.id, id_of, &self.http.endpoint)
            }
            Err(error) => no_answer(&error, self.http.endpoint.keep(&error_chain(&error))),
        }
    }
}

fn with_payload(call: RequestBuilder, payload: Payload) -> Option<RequestBuilder> {
    match payload {
        Payload::Json(bytes) => Some(
            call.header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(bytes),
        ),
        Payload::Form(Form {
            fields,
            part,
            bytes,
            file_name,
            mime_type,
        }) => {
            let length = u64::try_from(bytes.len()).ok()?;
            let file = multipart::Part::stream_with_length(Body::from(bytes), length)
                .file_name(file_name)
                .mime_str(&mime_type)
                .ok()?;
            let form = fields
                .into_iter()
                .fold(multipart::Form::new(), |form, (name, text)| form.text(name, text));
            Some(call.multipart(form.part(part, file)))
        }
    }
}

impl SendMessage for GowaSender {
    fn resend_safety(&self, kind: MessageKind) -> ResendSafety {
        request::resend_safety(kind)
    }

    /// It could fetch files itself, but then a file that it does not get is the same 500 as a message that may have
    /// gone out. With the bytes in hand that is told apart.
    fn takes_links(&self, _kind: MediaKind) -> bool {
        false
    }

    /// A file is in the same call as its message.
    fn prepare<'a>(
        &'a self,
        _device: &'a SessionToken,
        _message: &'a OutboundMessage,
    ) -> BoxFuture<'a, Result<(), SendOutcome>> {
        ready(Ok(())).boxed()
    }

    fn send<'a>(
        &'a self,
        device: &'a SessionToken,
        message: &'a OutboundMessage,
    ) -> BoxFuture<'a, SendOutcome> {
        self.send_all(device, message).boxed()
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
