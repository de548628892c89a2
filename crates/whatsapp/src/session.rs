//! What the services ask of a provider about a session itself: is it connected, connect it, pair it, end it.
//!
//! A session that cannot be asked about is not one that is disconnected: every call answers with what the provider
//! said or with the reason why nobody knows.

use domain::address::PhoneNumber;
use futures_util::future::BoxFuture;

use crate::credentials::{SessionToken, WebhookKey};
use crate::port::OperatorText;

/// One provider's way of handling sessions.
pub trait ManageSession: Send + Sync {
    /// Where the session stands.
    fn status<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<SessionState, SessionFailure>>;

    /// Connects it, and tells the provider again what it forgets: where events go, which of them, and what they are
    /// signed with. A session that is connected already is a success.
    fn connect<'a>(
        &'a self,
        token: &'a SessionToken,
        upkeep: &'a Upkeep,
    ) -> BoxFuture<'a, Result<Details, SessionFailure>>;

    /// Takes it off the network; the pairing stays. A provider that cannot do the one without the other refuses, whatever the
    /// session.
    fn disconnect<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>>;

    /// Unlinks it from the phone.
    fn logout<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>>;

    /// The code that waits to be scanned; empty until the first one is there. A provider that shows codes to those only who
    /// ask for one begins to log in when it is asked.
    fn qr<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<QrCode, SessionFailure>>;

    /// A code to type on the phone instead of scanning one.
    fn pair_phone<'a>(
        &'a self,
        token: &'a SessionToken,
        phone: &'a PhoneNumber,
    ) -> BoxFuture<'a, Result<LinkingCode, SessionFailure>>;
}

/// What a provider is told again at every connect.
#[derive(Debug, Clone, Default)]
pub struct Upkeep {
    /// Where events go; `None` leaves it as it is.
    pub webhook_url: Option<String>,
    /// What they are signed with; `None` leaves it as it is.
    pub webhook_key: Option<WebhookKey>,
}

/// Where a session stands, in the provider's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionState {
    /// The socket to WhatsApp is up; also while a QR code is shown.
    pub connected: bool,
    /// Paired and usable.
    pub logged_in: bool,
    /// Its own address with the device, empty until paired.
    pub jid: String,
    /// The QR code that waits, as a data URL, or empty.
    pub qr_code: String,
    /// What it is called on the server.
    pub name: String,
    /// The events it tells of, separated by commas.
    pub events: String,
    /// Where they go.
    pub webhook: String,
    /// The server tells what it would tell and where. Of one that does not, nothing is known by nothing being there.
    pub tells_webhook: bool,
    /// What they are signed with, where the server tells that.
    pub webhook_key: Option<WebhookKey>,
}

/// What a provider says to something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details(pub String);

/// A picture to scan. Pairs whoever scans it, so `Debug` shows its size only.
#[derive(Clone, PartialEq, Eq)]
pub struct QrCode(pub String);

impl std::fmt::Debug for QrCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QrCode({} bytes)", self.0.len())
    }
}

/// A code to type. Pairs whoever types it, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkingCode(pub String);

impl std::fmt::Debug for LinkingCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkingCode")
    }
}

/// A call about a session that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {}", said.as_str())]
pub struct SessionFailure {
    /// Why.
    pub reason: FailureReason,
    /// What the provider said, when it said something that is meant to be read. Never what something between us and
    /// it said of its own troubles.
    pub said: OperatorText,
}

/// Why a call about a session did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FailureReason {
    /// The provider runs nothing for it: never connected, disconnected, or the QR codes ran out.
    #[error("the session is not running")]
    NoSession,
    /// It runs and has no socket to WhatsApp.
    #[error("the session is not connected")]
    NotConnected,
    /// It is not paired, so it cannot be unlinked. Of a session that nothing runs for, a provider may say this or
    /// [`NoSession`](Self::NoSession).
    #[error("the session is not logged in")]
    NotLoggedIn,
    /// It is paired, so there is nothing to scan or to type.
    #[error("the session is logged in already")]
    AlreadyLoggedIn,
    /// The provider does not know the token.
    #[error("the session's token is not known")]
    UnknownToken,
    /// It does know the token, and the token may not see this session, if it is there.
    #[error("the token does not see the session")]
    NotVisible,
    /// We were too fast, or are taken for somebody who is.
    #[error("too many calls")]
    RateLimited,
    /// The provider understood and refused.
    #[error("the provider refused")]
    Refused,
    /// The request never arrived.
    #[error("the provider cannot be reached")]
    Unreachable,
    /// It may have arrived; what became of it is not known.
    #[error("the provider's answer did not come")]
    NoAnswer,
    /// It answered, and not in the way of this provider.
    #[error("the provider's answer cannot be read")]
    Unreadable,
}

impl FailureReason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NoSession,
        Self::NotConnected,
        Self::NotLoggedIn,
        Self::AlreadyLoggedIn,
        Self::UnknownToken,
        Self::NotVisible,
        Self::RateLimited,
        Self::Refused,
        Self::Unreachable,
        Self::NoAnswer,
        Self::Unreadable,
    ];

    /// The stable code, for answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSession => "no_session",
            Self::NotConnected => "not_connected",
            Self::NotLoggedIn => "not_logged_in",
            Self::AlreadyLoggedIn => "already_logged_in",
            Self::UnknownToken => "unknown_token",
            Self::NotVisible => "not_visible",
            Self::RateLimited => "rate_limited",
            Self::Refused => "provider_refused",
            Self::Unreachable => "provider_unreachable",
            Self::NoAnswer => "provider_silent",
            Self::Unreadable => "provider_unreadable",
        }
    }
}

impl SessionFailure {
    pub(crate) fn silent(reason: FailureReason) -> Self {
        Self {
            reason,
            said: OperatorText::default(),
        }
    }
}
