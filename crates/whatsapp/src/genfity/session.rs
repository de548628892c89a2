//! A session's own calls, straight at the server or through the gateway's proxy (channel-service contract 6.2).

use std::time::Duration;

use domain::address::PhoneNumber;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::http::{Call, CallError, Http};
use super::outbound::{Endpoint, InvalidEndpoint};
use super::wire;
use crate::credentials::SessionToken;
use crate::session::{
    Details, FailureReason, LinkingCode, ManageSession, QrCode, SessionFailure, SessionState, Upkeep,
};

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(30);

/// Sessions of one server. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct GenfitySessions {
    pub(super) http: Http,
    pub(super) timeout: Duration,
}

impl GenfitySessions {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &Endpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
            timeout: endpoint.total_timeout(),
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        token: &SessionToken,
        name: &'static str,
        (method, path): (Method, &[&str]),
        body: Option<Value>,
        timeout: Duration,
    ) -> Result<Option<T>, SessionFailure> {
        let secret = SecretString::from(token.expose());
        let mut call = Call::new(name, method, path, ("token", &secret), timeout);
        call.body = body;
        let answer: Result<wire::Enveloped<T>, CallError> = self.http.ask(call).await;
        answer.map(|answer| answer.data).map_err(failure)
    }

    async fn done(
        &self,
        token: &SessionToken,
        name: &'static str,
        path: &[&str],
        body: Value,
        timeout: Duration,
    ) -> Result<Details, SessionFailure> {
        let done: Option<wire::Done> = self
            .ask(token, name, (Method::POST, path), Some(body), timeout)
            .await?;
        Ok(Details(done.and_then(|done| done.details).unwrap_or_default()))
    }

    async fn connect_and_keep(
        &self,
        token: &SessionToken,
        upkeep: &Upkeep,
    ) -> Result<Details, SessionFailure> {
        // Before, so that the very first event is signed; and once more after, for servers that start anew with it.
        self.keep_signing(token, upkeep).await?;
        let connected = self
            .done(
                token,
                "POST /session/connect",
                &["session", "connect"],
                wire::connect(&[wire::ALL_EVENTS]),
                LONG,
            )
            .await;
        let details = match connected {
            Ok(details) => details,
            Err(failure) if failure.said.as_str().contains("already connected") => {
                Details("Already connected".to_owned())
            }
            Err(failure) => return Err(failure),
        };
        self.keep_signing(token, upkeep).await?;
        let media = Some(wire::inline_media());
        let path = &["session", "s3", "config"];
        self.keep(
            token,
            "POST /session/s3/config",
            (Method::POST, path, None),
            media,
        )
        .await?;
        if let Some(url) = &upkeep.webhook_url {
            let webhook = Some(wire::webhook(Some(url), &[wire::ALL_EVENTS]));
            self.keep(token, "PUT /webhook", (Method::PUT, &["webhook"], None), webhook)
                .await?;
        }
        Ok(details)
    }

    async fn keep_signing(&self, token: &SessionToken, upkeep: &Upkeep) -> Result<(), SessionFailure> {
        let Some(key) = upkeep
            .webhook_key
            .as_ref()
            .and_then(|key| std::str::from_utf8(key.bytes()).ok())
        else {
            return Ok(());
        };
        let path = &["session", "hmac", "config"];
        let body = Some(wire::hmac(key));
        let call = (Method::POST, &path[..], Some(key));
        self.keep(token, "POST /session/hmac/config", call, body).await
    }

    /// A setting that the server forgets, and the secret that is told with it. Our own gateway keeps these by itself and
    /// lets nobody else at them.
    async fn keep(
        &self,
        token: &SessionToken,
        name: &'static str,
        (method, path, told): (Method, &[&str], Option<&str>),
        body: Option<Value>,
    ) -> Result<(), SessionFailure> {
        let secret = SecretString::from(token.expose());
        let mut call = Call::new(name, method, path, ("token", &secret), SHORT);
        call.body = body;
        call.told = told;
        match self.http.call(call).await {
            Ok(_) => Ok(()),
            Err(CallError::Refused {
                status: 403,
                code: Some(code),
                ..
            }) if code == "path_not_exposed" => Ok(()),
            Err(error) => Err(failure(error)),
        }
    }
}

impl ManageSession for GenfitySessions {
    fn status<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<SessionState, SessionFailure>> {
        async move {
            let path = (Method::GET, &["session", "status"][..]);
            let status: wire::Status = self
                .ask(token, "GET /session/status", path, None, SHORT)
                .await?
                .ok_or(SessionFailure::silent(FailureReason::Unreadable))?;
            Ok(SessionState {
                connected: status.connected,
                logged_in: status.logged_in,
                jid: status.jid.unwrap_or_default(),
                qr_code: status.qrcode.unwrap_or_default(),
                name: status.name.unwrap_or_default(),
                events: status.events.unwrap_or_default(),
                webhook: status.webhook.unwrap_or_default(),
                tells_webhook: true,
                webhook_key: None,
            })
        }
        .boxed()
    }

    fn connect<'a>(
        &'a self,
        token: &'a SessionToken,
        upkeep: &'a Upkeep,
    ) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        self.connect_and_keep(token, upkeep).boxed()
    }

    fn disconnect<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        let path = &["session", "disconnect"];
        self.done(
            token,
            "POST /session/disconnect",
            path,
            Value::Object(serde_json::Map::new()),
            SHORT,
        )
        .boxed()
    }

    fn logout<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        let path = &["session", "logout"];
        self.done(
            token,
            "POST /session/logout",
            path,
            Value::Object(serde_json::Map::new()),
            SHORT,
        )
        .boxed()
    }

    fn qr<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<QrCode, SessionFailure>> {
        async move {
            let path = (Method::GET, &["session", "qr"][..]);
            let qr: Option<wire::Qr> = self.ask(token, "GET /session/qr", path, None, SHORT).await?;
            Ok(QrCode(qr.map(|qr| qr.code).unwrap_or_default()))
        }
        .boxed()
    }

    fn pair_phone<'a>(
        &'a self,
        token: &'a SessionToken,
        phone: &'a PhoneNumber,
    ) -> BoxFuture<'a, Result<LinkingCode, SessionFailure>> {
        async move {
            let path = (Method::POST, &["session", "pairphone"][..]);
            let body = Some(wire::pair_phone(phone.as_str()));
            let linking: Option<wire::Linking> = self
                .ask(token, "POST /session/pairphone", path, body, LONG)
                .await?;
            linking
                .map(|linking| LinkingCode(linking.code))
                .ok_or(SessionFailure::silent(FailureReason::Unreadable))
        }
        .boxed()
    }
}

/// Business failures come as 500 with a text (wa-server contract 2 and 4), so texts decide where the contract fixes them.
fn failure(error: CallError) -> SessionFailure {
    let (status, said) = match error {
        CallError::Refused { status, said, .. } => (status, said),
        CallError::Unreachable { .. } | CallError::Credential { .. } => {
            return SessionFailure::silent(FailureReason::Unreachable);
        }
        CallError::NoAnswer { .. } => return SessionFailure::silent(FailureReason::NoAnswer),
        CallError::Unreadable { .. } => return SessionFailure::silent(FailureReason::Unreadable),
    };
    let reason = match (status, said.as_str()) {
        (_, "no session") => FailureReason::NoSession,
        (
            _,
            "not connected"
            | "cannot disconnect because it is not logged in"
            | "could not disconnect as it was not connected",
        ) => FailureReason::NotConnected,
        (_, "could not logout as it was not logged in") => FailureReason::NotLoggedIn,
        (_, "already logged in" | "already paired") => FailureReason::AlreadyLoggedIn,
        (401, _) => FailureReason::UnknownToken,
        (429, _) => FailureReason::RateLimited,
        // Said by something in between of its own troubles.
        (502..=504, _) => return SessionFailure::silent(FailureReason::NoAnswer),
        (300..=399, _) => return SessionFailure::silent(FailureReason::Unreadable),
        _ => FailureReason::Refused,
    };
    SessionFailure { reason, said }
}
