//! Read marks and typing (Cloud API contract 3.3): one call, about a message that came.
//!
//! Typing is shown under a message and not in a chat, so the last message that was marked in each chat is remembered; where
//! none is, nothing can be shown. It ends by itself, with our answer or after 25 seconds.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::address::ChatAddress;
use domain::ids::{PhoneNumberId, ProviderMessageId};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::json;

use super::endpoint::{GraphEndpoint, NumberCredentials};
use super::http::{Body, Call, GraphFailure, Http};
use crate::courtesy::{NotShown, ShowCourtesy, Typing};
use crate::credentials::SessionToken;
use crate::genfity::InvalidEndpoint;

/// Longest wait for Meta.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most chats whose last message is remembered.
const MOST_CHATS: usize = 4_096;

/// Shows typing and read marks. Cheap to clone; one per endpoint.
#[derive(Debug, Clone)]
pub struct GraphCourtesy {
    http: Http,
    last: Arc<LastMarked>,
}

type Chat = (PhoneNumberId, ChatAddress);

/// The last message marked in each chat, the latest chats only.
#[derive(Default)]
struct LastMarked(Mutex<Marks>);

#[derive(Default)]
struct Marks {
    by_chat: HashMap<Chat, ProviderMessageId>,
    order: VecDeque<Chat>,
}

impl GraphCourtesy {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GraphEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
            last: Arc::default(),
        })
    }

    async fn mark(
        &self,
        credentials: &NumberCredentials,
        message: &ProviderMessageId,
        typing: bool,
    ) -> Result<(), NotShown> {
        let mut body = json!({
            "messaging_product": "whatsapp", "status": "read", "message_id": message.as_str(),
        });
        if typing && let Some(body) = body.as_object_mut() {
            body.insert("typing_indicator".to_owned(), json!({"type": "text"}));
        }
        let call = Call {
            method: Method::POST,
            path: &[credentials.number().as_str(), "messages"],
            query: &[],
            body: Body::Json(body.to_string().into_bytes()),
            bearer: credentials.bearer(&self.http.endpoint),
            timeout: PATIENCE,
        };
        match self.http.call(call).await {
            Ok(_) => Ok(()),
            Err(GraphFailure::Refused(refusal)) => Err(NotShown::Refused(refusal.status)),
            Err(GraphFailure::Unsendable) => Err(NotShown::NotSendable),
            Err(
                GraphFailure::Unreachable(_) | GraphFailure::NoAnswer { .. } | GraphFailure::Unreadable(_),
            ) => Err(NotShown::NoAnswer),
        }
    }
}

impl LastMarked {
    fn note(&self, chat: Chat, message: ProviderMessageId) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.by_chat.insert(chat.clone(), message).is_none() {
            marks.order.push_back(chat);
        }
        if marks.order.len() > MOST_CHATS
            && let Some(oldest) = marks.order.pop_front()
        {
            marks.by_chat.remove(&oldest);
        }
    }

    fn of(&self, chat: &Chat) -> Option<ProviderMessageId> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.by_chat.get(chat).cloned()
    }
}

impl fmt::Debug for LastMarked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "LastMarked({} chats)", marks.order.len())
    }
}

/// Who can be a chat of the Cloud API's.
const fn is_served(chat: &ChatAddress) -> bool {
    matches!(chat, ChatAddress::Phone(_) | ChatAddress::User(_))
}

impl ShowCourtesy for GraphCourtesy {
    fn presence<'a>(
        &'a self,
        token: &'a SessionToken,
        to: &'a ChatAddress,
        typing: Typing,
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        async move {
            if !is_served(to) {
                return Err(NotShown::NotOnWhatsApp);
            }
            if typing == Typing::Paused {
                return Ok(());
            }
            let credentials = NumberCredentials::parse(token).ok_or(NotShown::NotSendable)?;
            let chat = (credentials.number().clone(), to.clone());
            let message = self.last.of(&chat).ok_or(NotShown::NotSendable)?;
            self.mark(&credentials, &message, true).await
        }
        .boxed()
    }

    fn mark_read<'a>(
        &'a self,
        token: &'a SessionToken,
        chat: &'a ChatAddress,
        messages: &'a [ProviderMessageId],
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        async move {
            if !is_served(chat) {
                return Err(NotShown::NotOnWhatsApp);
            }
            // With the newest all before it are read.
            let Some(newest) = messages.last() else {
                return Ok(());
            };
            let credentials = NumberCredentials::parse(token).ok_or(NotShown::NotSendable)?;
            self.last
                .note((credentials.number().clone(), chat.clone()), newest.clone());
            self.mark(&credentials, newest, false).await
        }
        .boxed()
    }
}
