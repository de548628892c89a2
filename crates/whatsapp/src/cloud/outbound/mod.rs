//! Sending through the Cloud API: messages of every kind.

mod answer;
mod card;
mod request;

use std::time::{Duration, Instant};

use domain::message::{MediaId, MediaKind, MessageKind};
use domain::text::Text;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Method;

use super::endpoint::{GraphEndpoint, NumberCredentials};
use super::http::{Body, Call, Http};
use super::media::{GraphMedia, NewFile};
use super::media_type::most_bytes;
use super::uploads::{Held, Slot, Uploads};
use crate::credentials::SessionToken;
use crate::genfity::InvalidEndpoint;
use crate::port::{
    OperatorText, OutboundContent, OutboundFile, OutboundMedia, OutboundMessage, RejectReason, ResendSafety,
    RetryReason, SendMessage, SendOutcome,
};
pub use card::contact;

use answer::{judge, not_uploaded, retry};
use request::Unsayable;

/// A file that was put up for a message is Meta's to find for so long at least.
const FRESH: Duration = Duration::from_mins(10);

/// Sends through one endpoint. Cheap to clone; one per endpoint, for its connections and uploads are shared.
#[derive(Debug, Clone)]
pub struct GraphSender {
    http: Http,
    media: GraphMedia,
    uploads: Uploads,
}

/// A file that is up.
struct Up {
    id: MediaId,
    /// Meta may have dropped it since: it was put up for an earlier message, or long ago.
    may_be_gone: bool,
    slot: Slot,
}

impl Up {
    /// Meta took a message with it. Whoever holds the slot puts the file up anew, and that is another one.
    fn note_taken(&self) {
        if let Some(mut slot) = self.slot.try_lock()
            && let Some(held) = slot.as_mut().filter(|held| *held.media.id() == self.id)
        {
            held.was_taken = true;
        }
    }
}

impl GraphSender {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GraphEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
            media: GraphMedia::new(endpoint)?,
            uploads: Uploads::default(),
        })
    }

    /// How much of what the app may call is used up, in percent, as Meta last told. Above eighty it is time to slow down.
    #[must_use]
    pub fn app_usage(&self) -> u8 {
        self.http.app_usage()
    }

    async fn send_one(&self, token: &SessionToken, message: &OutboundMessage) -> SendOutcome {
        let Some(credentials) = NumberCredentials::parse(token) else {
            let why = "the account has no phone number id of Meta's";
            return retry(RetryReason::Unauthorized, OperatorText::of_library(why));
        };
        // Known before anything is put up.
        if let Err(Unsayable { reason, detail }) = request::check(message) {
            return SendOutcome::Rejected { reason, detail };
        }
        let up = match self.put_up(&credentials, message).await {
            Ok(up) => up,
            Err(outcome) => return outcome,
        };
        let body = request::body(message, up.as_ref().map(|up| &up.id));
        let body = match body.map(|body| serde_json::to_vec(&body)) {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => return retry(RetryReason::NotSendable, OperatorText::default()),
            Err(Unsayable { reason, detail }) => return SendOutcome::Rejected { reason, detail },
        };
        let call = Call {
            method: Method::POST,
            path: &[credentials.number().as_str(), "messages"],
            query: &[],
            body: Body::Json(body),
            bearer: credentials.bearer(&self.http.endpoint),
            timeout: self.http.endpoint.total_timeout(),
        };
        let outcome = judge(self.http.call(call).await);
        let Some(up) = up else { return outcome };
        match outcome {
            SendOutcome::Rejected {
                reason:
                    reason @ (RejectReason::InvalidRequest | RejectReason::NotFound | RejectReason::Unprocessable),
                detail,
            } => {
                self.uploads.forget(&up.id);
                if up.may_be_gone {
                    // The next try puts it up anew.
                    retry(RetryReason::UploadFailed, detail)
                } else {
                    SendOutcome::Rejected { reason, detail }
                }
            }
            outcome => {
                if matches!(outcome, SendOutcome::Accepted { .. }) {
                    up.note_taken();
                }
                outcome
            }
        }
    }

    async fn prepare_one(&self, token: &SessionToken, message: &OutboundMessage) -> Result<(), SendOutcome> {
        let Some(credentials) = NumberCredentials::parse(token) else {
            return Ok(());
        };
        if let Err(Unsayable { reason, detail }) = request::check(message) {
            return Err(SendOutcome::Rejected { reason, detail });
        }
        self.put_up(&credentials, message).await.map(|_| ())
    }

    /// Puts the file of a message up, once for all messages with the same one.
    async fn put_up(
        &self,
        credentials: &NumberCredentials,
        message: &OutboundMessage,
    ) -> Result<Option<Up>, SendOutcome> {
        let OutboundContent::Media(media) = &message.content else {
            return Ok(None);
        };
        let OutboundFile::Bytes(bytes) = &media.file else {
            return Ok(None);
        };
        if bytes.as_slice().len() > most_bytes(media.kind) {
            return Err(SendOutcome::Rejected {
                reason: RejectReason::TooLarge,
                detail: OperatorText::of_library("the file is larger than Meta takes of its sort"),
            });
        }
        let file = NewFile::new(media.kind, bytes.share(), declared(media), named(media));
        let slot = self.uploads.slot(credentials.number(), &file);
        // Whoever sends the same file meanwhile waits for it.
        let mut held = slot.lock().await;
        let usable = held
            .clone()
            .filter(|held| held.media.is_usable(chrono::Utc::now()));
        let now = match usable {
            Some(usable) => usable,
            None => Held {
                media: self.media.upload(credentials, file).await.map_err(not_uploaded)?,
                was_taken: false,
                since: Instant::now(),
            },
        };
        *held = Some(now.clone());
        drop(held);
        Ok(Some(Up {
            id: now.media.id().clone(),
            may_be_gone: now.was_taken || now.since.elapsed() > FRESH,
            slot,
        }))
    }
}

fn declared(media: &OutboundMedia) -> Option<&str> {
    media.mime_type.as_ref().map(Text::as_str)
}

fn named(media: &OutboundMedia) -> Option<&str> {
    let name = media.file_name.as_ref().map(Text::as_str);
    name.filter(|name| !name.trim().is_empty())
}

impl SendMessage for GraphSender {
    fn resend_safety(&self, kind: MessageKind) -> ResendSafety {
        request::resend_safety(kind)
    }

    /// It could, and would tell of a file that it does not get much later, when nobody looks any more. With the bytes in
    /// hand that is known before the message goes out.
    fn takes_links(&self, _kind: MediaKind) -> bool {
        false
    }

    fn prepare<'a>(
        &'a self,
        token: &'a SessionToken,
        message: &'a OutboundMessage,
    ) -> BoxFuture<'a, Result<(), SendOutcome>> {
        self.prepare_one(token, message).boxed()
    }

    fn send<'a>(
        &'a self,
        token: &'a SessionToken,
        message: &'a OutboundMessage,
    ) -> BoxFuture<'a, SendOutcome> {
        self.send_one(token, message).boxed()
    }
}
