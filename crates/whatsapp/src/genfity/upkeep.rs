//! A session's settings on the server, one call each, for whoever keeps them itself: the gateway (wa-support-gateway
//! contract 9.1).

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::events::EventList;
use super::http::{Call, CallError};
use super::session::GenfitySessions;
use super::wire;
use crate::credentials::SessionToken;

/// Where the server says that a session's events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookState {
    /// The address; empty: nowhere.
    pub url: String,
    /// The events it is told of; an empty name stands for none.
    pub events: Vec<String>,
}

/// Where a session stands, as an answer to `GET /session/status` says it that somebody else asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenStatus {
    /// The socket to WhatsApp is up; also while a QR code is shown.
    pub connected: bool,
    /// Paired and usable.
    pub logged_in: bool,
    /// Its own address with the device, empty until paired.
    pub jid: String,
}

/// Reads the body of such an answer. `None`: it is something else, or not whole.
#[must_use]
pub fn read_status(body: &[u8]) -> Option<SeenStatus> {
    let answer: wire::Enveloped<wire::SeenStatus> = serde_json::from_slice(body).ok()?;
    let status = answer.data?;
    Some(SeenStatus {
        connected: status.connected,
        logged_in: status.logged_in,
        jid: status.jid.unwrap_or_default(),
    })
}

impl GenfitySessions {
    async fn set(
        &self,
        token: &SessionToken,
        name: &'static str,
        (method, path): (Method, &[&str]),
        body: Value,
    ) -> Result<(), CallError> {
        let secret = SecretString::from(token.expose());
        let call = Call::new(name, method, path, ("token", &secret), self.timeout);
        self.http.call(call.with(body)).await.map(drop)
    }

    /// Connects the session without waiting for WhatsApp. The server forgets the events it had and takes these; of a
    /// session that is connected already it takes nothing.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn connect_for(&self, token: &SessionToken, events: &EventList) -> Result<(), CallError> {
        let path = (Method::POST, &["session", "connect"][..]);
        let body = wire::connect(events.names());
        match self.set(token, "POST /session/connect", path, body).await {
            Err(error) if error.said() == Some("already connected") => Ok(()),
            done => done,
        }
    }

    /// Sets what the session's events are signed with.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn set_hmac_key(&self, token: &SessionToken, key: &SecretString) -> Result<(), CallError> {
        let path = (Method::POST, &["session", "hmac", "config"][..]);
        let body = wire::hmac(key.expose_secret());
        self.set(token, "POST /session/hmac/config", path, body).await
    }

    /// Has media come inside the events.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn set_inline_media(&self, token: &SessionToken) -> Result<(), CallError> {
        let path = (Method::POST, &["session", "s3", "config"][..]);
        self.set(token, "POST /session/s3/config", path, wire::inline_media())
            .await
    }

    /// Sets where the session's events go and which of them. Without an address nothing is delivered.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn set_webhook(
        &self,
        token: &SessionToken,
        url: Option<&str>,
        events: &EventList,
    ) -> Result<(), CallError> {
        let path = (Method::PUT, &["webhook"][..]);
        self.set(token, "PUT /webhook", path, wire::webhook(url, events.names()))
            .await
    }

    /// Where the session's events go, as the server has it on record.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn webhook(&self, token: &SessionToken) -> Result<WebhookState, CallError> {
        const CALL: &str = "GET /webhook";
        let secret = SecretString::from(token.expose());
        let call = Call::new(CALL, Method::GET, &["webhook"], ("token", &secret), self.timeout);
        let answer: wire::Enveloped<wire::Webhook> = self.http.ask(call).await?;
        let webhook = answer.data.ok_or(CallError::Unreadable { call: CALL })?;
        Ok(WebhookState {
            url: webhook.webhook.unwrap_or_default(),
            events: webhook.subscribe.unwrap_or_default(),
        })
    }

    /// Sets how many messages of a chat the server keeps; 0: none. It takes that for running sessions only.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn set_history(&self, token: &SessionToken, messages: i64) -> Result<(), CallError> {
        let path = (Method::POST, &["session", "history"][..]);
        self.set(token, "POST /session/history", path, wire::history(messages))
            .await
    }
}
