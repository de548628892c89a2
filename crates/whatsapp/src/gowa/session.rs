//! A device's own calls (chatwoot-bridge contract 4.5).
//!
//! | call | what is done | |
//! |---|---|---|
//! | status | the device's status, its address, its webhook | |
//! | connect | the webhook is told again; a paired device reconnects, any other begins to log in | |
//! | qr | a login is begun and the picture that it names is fetched from the endpoint | |
//! | disconnect | refused | GoWA cannot take a device off the network and keep its pairing, and unlinking it instead would lose what the caller wants kept |

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::address::PhoneNumber;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use reqwest::Method;
use secrecy::SecretString;

use super::devices::{self, Device, GowaDevices};
use super::endpoint::GowaEndpoint;
use super::http::{Call, Http, static_path};
use super::wire;
use crate::credentials::{SessionToken, WebhookKey};
use crate::genfity::{CallError, InvalidEndpoint};
use crate::port::OperatorText;
use crate::session::{
    Details, FailureReason, LinkingCode, ManageSession, QrCode, SessionFailure, SessionState, Upkeep,
};

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(30);
/// How a PNG begins.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The largest picture of a code that is handed on.
const MAX_PICTURE: usize = 1024 * 1024;

/// Sessions of one server, which are its devices. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct GowaSessions {
    http: Http,
    devices: GowaDevices,
}

impl GowaSessions {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GowaEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
            devices: GowaDevices::new(endpoint)?,
        })
    }

    /// What went wrong, with an unknown device told apart from the server's other troubles.
    async fn failure(&self, id: &SessionToken, error: CallError) -> SessionFailure {
        let may_be_unknown = matches!(
            &error,
            CallError::Refused { status: 500, code, .. } if code.as_deref() == Some("INTERNAL_SERVER_ERROR")
        );
        if may_be_unknown && matches!(self.devices.find(id).await, Ok(None)) {
            return SessionFailure::silent(FailureReason::UnknownToken);
        }
        failure(error)
    }

    async fn raw_status(&self, id: &SessionToken) -> Result<wire::Status, CallError> {
        let path = &["devices", id.expose(), "status"];
        self.http
            .ask(Call::new("GET /devices/:id/status", Method::GET, path, SHORT))
            .await
    }

    async fn device(&self, id: &SessionToken) -> Result<Device, CallError> {
        let path = &["devices", id.expose()];
        let device: wire::Device = self
            .http
            .ask(Call::new("GET /devices/:id", Method::GET, path, SHORT))
            .await?;
        Ok(device.into())
    }

    async fn login(&self, id: &SessionToken) -> Result<wire::Login, CallError> {
        let path = &["devices", id.expose(), "login"];
        self.http
            .ask(Call::new("GET /devices/:id/login", Method::GET, path, LONG))
            .await
    }

    async fn post(
        &self,
        id: &SessionToken,
        name: &'static str,
        act: &'static str,
        done: &str,
    ) -> Result<Details, CallError> {
        let path = &["devices", id.expose(), act];
        let call = Call::new(name, Method::POST, path, LONG);
        self.http.call(call).await?;
        Ok(Details(done.to_owned()))
    }

    async fn state(&self, id: &SessionToken) -> Result<SessionState, CallError> {
        let status = self.raw_status(id).await?;
        let device = self.device(id).await?;
        let told = match devices::webhook(&self.http, id).await {
            // Older servers know no webhook of a device's own.
            Err(CallError::Refused { status: 404, .. }) => None,
            webhook => Some(webhook?),
        };
        let tells_webhook = told.is_some();
        let webhook = told.unwrap_or_default();
        Ok(SessionState {
            connected: status.is_connected,
            logged_in: status.is_logged_in,
            jid: device.jid,
            qr_code: String::new(),
            name: device.id,
            events: webhook.webhook_events,
            webhook_key: told_key(&webhook.webhook_secret),
            webhook: webhook.webhook_url,
            tells_webhook,
        })
    }

    async fn connect_and_keep(&self, id: &SessionToken, upkeep: &Upkeep) -> Result<Details, CallError> {
        self.keep_webhook(id, upkeep).await?;
        let status = self.raw_status(id).await?;
        if status.is_connected && status.is_logged_in {
            return Ok(Details("Already connected".to_owned()));
        }
        // A device that was paired is known by its address; its socket comes back without a code.
        let paired = status.is_logged_in || !self.device(id).await?.jid.is_empty();
        if paired {
            let name = "POST /devices/:id/reconnect";
            match self.post(id, name, "reconnect", "Reconnect requested").await {
                // Unlinked from the phone meanwhile: only a new pairing helps.
                Err(CallError::Refused {
                    status: 401, code, ..
                }) if code.as_deref() == Some("AUTHENTICATION_ERROR") => {}
                done => return done,
            }
        }
        match self.login(id).await {
            Err(CallError::Refused { code, .. }) if code.as_deref() == Some("ALREADY_LOGGED_IN") => {
                Ok(Details("Already connected".to_owned()))
            }
            begun => begun.map(|_| Details("Login started".to_owned())),
        }
    }

    /// Tells the server where the events go and what they are signed with. It takes both together, so what is to stay as it
    /// is is read first.
    async fn keep_webhook(&self, id: &SessionToken, upkeep: &Upkeep) -> Result<(), CallError> {
        if upkeep.webhook_url.is_none() && upkeep.webhook_key.is_none() {
            return Ok(());
        }
        let now = devices::webhook(&self.http, id).await?;
        let url = upkeep.webhook_url.as_deref().unwrap_or(&now.webhook_url);
        let key = upkeep.webhook_key.as_ref().map_or_else(
            || SecretString::from(now.webhook_secret.as_str()),
            |key| SecretString::from(key.text()),
        );
        let insecure = now.webhook_insecure_skip_verify.unwrap_or(false);
        devices::set_webhook(&self.http, id, url, &key, insecure).await
    }

    async fn picture(&self, id: &SessionToken) -> Result<QrCode, CallError> {
        const CALL: &str = "GET /statics/qrcode";
        let login = self.login(id).await?;
        if login.qr_link.is_empty() {
            // The first code is not there yet.
            return Ok(QrCode(String::new()));
        }
        let path = static_path(&login.qr_link).ok_or(CallError::Unreadable { call: CALL })?;
        let picture = self.http.call(Call::new(CALL, Method::GET, &path, SHORT)).await?;
        if !picture.starts_with(PNG) || picture.len() > MAX_PICTURE {
            return Err(CallError::Unreadable { call: CALL });
        }
        Ok(QrCode(format!(
            "data:image/png;base64,{}",
            BASE64.encode(&picture)
        )))
    }

    async fn pair(&self, id: &SessionToken, phone: &PhoneNumber) -> Result<LinkingCode, CallError> {
        const CALL: &str = "POST /devices/:id/login/code";
        let path = &["devices", id.expose(), "login", "code"];
        let mut call = Call::new(CALL, Method::POST, path, LONG);
        let query = [("phone", phone.as_str())];
        call.query = &query;
        let code: wire::PairCode = self.http.ask(call).await?;
        if code.pair_code.is_empty() {
            return Err(CallError::Unreadable { call: CALL });
        }
        Ok(LinkingCode(code.pair_code))
    }
}

impl ManageSession for GowaSessions {
    fn status<'a>(&'a self, id: &'a SessionToken) -> BoxFuture<'a, Result<SessionState, SessionFailure>> {
        async move {
            match self.state(id).await {
                Ok(state) => Ok(state),
                Err(error) => Err(self.failure(id, error).await),
            }
        }
        .boxed()
    }

    fn connect<'a>(
        &'a self,
        id: &'a SessionToken,
        upkeep: &'a Upkeep,
    ) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        async move {
            match self.connect_and_keep(id, upkeep).await {
                Ok(details) => Ok(details),
                Err(error) => Err(self.failure(id, error).await),
            }
        }
        .boxed()
    }

    fn disconnect<'a>(&'a self, _id: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        ready(Err(SessionFailure {
            reason: FailureReason::Refused,
            said: OperatorText::of_library(
                "GoWA cannot take a device off the network and keep its pairing; log it out instead",
            ),
        }))
        .boxed()
    }

    fn logout<'a>(&'a self, id: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        async move {
            match self
                .post(id, "POST /devices/:id/logout", "logout", "Logged out")
                .await
            {
                Ok(details) => Ok(details),
                Err(error) => Err(self.failure(id, error).await),
            }
        }
        .boxed()
    }

    fn qr<'a>(&'a self, id: &'a SessionToken) -> BoxFuture<'a, Result<QrCode, SessionFailure>> {
        async move {
            match self.picture(id).await {
                Ok(code) => Ok(code),
                Err(error) => Err(self.failure(id, error).await),
            }
        }
        .boxed()
    }

    fn pair_phone<'a>(
        &'a self,
        id: &'a SessionToken,
        phone: &'a PhoneNumber,
    ) -> BoxFuture<'a, Result<LinkingCode, SessionFailure>> {
        async move {
            match self.pair(id, phone).await {
                Ok(code) => Ok(code),
                Err(error) => Err(self.failure(id, error).await),
            }
        }
        .boxed()
    }
}

/// Does a device with this list of events tell everything that is read of it? Without a list it tells all there is.
#[must_use]
pub fn tells_enough(events: &str) -> bool {
    let names = |list| {
        str::split(list, ',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
    };
    let told: Vec<&str> = names(events).collect();
    told.is_empty() || names(wire::EVENTS).all(|name| told.contains(&name))
}

/// The key as the server tells it. Some hide it behind stars, and without one the server signs with that of all devices.
fn told_key(secret: &str) -> Option<WebhookKey> {
    if secret.chars().all(|c| c == '*') {
        return None;
    }
    WebhookKey::new(secret).ok()
}

fn failure(error: CallError) -> SessionFailure {
    let (status, code, said) = match error {
        CallError::Refused {
            status, code, said, ..
        } => (status, code, said),
        CallError::Unreachable { .. } | CallError::Credential { .. } => {
            return SessionFailure::silent(FailureReason::Unreachable);
        }
        CallError::NoAnswer { .. } => return SessionFailure::silent(FailureReason::NoAnswer),
        CallError::Unreadable { .. } => return SessionFailure::silent(FailureReason::Unreadable),
    };
    let reason = match (status, code.as_deref().unwrap_or_default()) {
        (_, "ALREADY_LOGGED_IN") => FailureReason::AlreadyLoggedIn,
        (401, "AUTHENTICATION_ERROR") => FailureReason::NotLoggedIn,
        (_, "DEVICE_NOT_FOUND") => FailureReason::UnknownToken,
        (_, "INVALID_WA_CLI") => FailureReason::NoSession,
        (429, _) => FailureReason::RateLimited,
        // Said by something in between of its own troubles.
        (502..=504, _) => return SessionFailure::silent(FailureReason::NoAnswer),
        (300..=399, _) => return SessionFailure::silent(FailureReason::Unreadable),
        // Our user is not taken (401 without a code): that says nothing about the device.
        _ => FailureReason::Refused,
    };
    SessionFailure { reason, said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_events_is_enough_when_nothing_is_missing() {
        for (events, enough) in [
            ("", true),
            (" , ", true),
            (wire::EVENTS, true),
            (
                "message.ack, message.edited,message.revoked,message.reaction,message,call.offer",
                true,
            ),
            ("message", false),
            (
                "message.ack,message.edited,message.revoked,message.reaction",
                false,
            ),
        ] {
            assert_eq!(tells_enough(events), enough, "{events}");
        }
    }

    #[test]
    fn a_key_that_is_hidden_is_not_told() {
        for hidden in ["", "********"] {
            assert_eq!(told_key(hidden), None, "{hidden}");
        }
        assert_eq!(told_key("a*b"), Some(WebhookKey::new("a*b").unwrap()));
    }
}
