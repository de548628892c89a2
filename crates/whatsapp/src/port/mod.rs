//! What the services ask of a provider when they send. No default bodies: a provider that forgets something does
//! not compile.

mod message;

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::ids::ProviderMessageId;
use domain::message::{MediaKind, MessageKind};
use domain::text::Text;
use futures_util::future::BoxFuture;

use crate::credentials::SessionToken;

pub(crate) use message::time_for_file;
pub use message::{
    FileBytes, MessageReference, NotAFile, OutboundContent, OutboundFile, OutboundMedia, OutboundMessage,
    OutboundQuote,
};

/// One provider's way of sending.
pub trait SendMessage: Send + Sync {
    /// What happens when a message of this kind is sent twice. Decides whether an unknown outcome may be repeated.
    fn resend_safety(&self, kind: MessageKind) -> ResendSafety;

    /// Does the provider fetch files of this sort itself, given their address? Others need the bytes.
    fn takes_links(&self, kind: MediaKind) -> bool;

    /// Does what has to be done before the message itself goes out, where that is a call of its own, as putting its file
    /// up. Nobody gets anything by it: whatever goes wrong here, also when it is given up in the middle, the message
    /// certainly did not go out. [`Self::send`] does the same where nobody did it before, and cannot promise that.
    ///
    /// # Errors
    /// What stands in the way: an outcome that says that the message did not go out.
    fn prepare<'a>(
        &'a self,
        credentials: &'a SessionToken,
        message: &'a OutboundMessage,
    ) -> BoxFuture<'a, Result<(), SendOutcome>>;

    /// Sends a message. Never fails in Rust's sense: what went wrong is one of the outcomes, and each says whether
    /// the message can have gone out.
    fn send<'a>(
        &'a self,
        credentials: &'a SessionToken,
        message: &'a OutboundMessage,
    ) -> BoxFuture<'a, SendOutcome>;
}

/// What happens when the same message is sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResendSafety {
    /// The provider takes our id; WhatsApp shows a repeated id once.
    SameIdIsOneMessage,
    /// The provider makes an id of its own, but a second call changes nothing that the first has not changed: a
    /// message says the same after the same edit, and is deleted once.
    SameEffect,
    /// Each call is a new message for the person who reads it.
    EachCallIsAMessage,
}

impl ResendSafety {
    /// May it be sent again while nobody knows whether it went out?
    #[must_use]
    pub const fn may_repeat(self) -> bool {
        matches!(self, Self::SameIdIsOneMessage | Self::SameEffect)
    }
}

/// What became of one attempt. The variants are apart by one question: can the message have gone out?
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an outcome that is not recorded is a lost message"]
pub enum SendOutcome {
    /// It went out.
    Accepted {
        /// The id under which receipts will come; ours, unless the provider chose another. What is about another
        /// message (a reaction, an edit, a deletion) goes by ours, unless the provider gives it an id of its own.
        provider_message_id: ProviderMessageId,
        /// When, by the provider's clock where it tells.
        at: DateTime<Utc>,
    },
    /// It certainly did not go out, and may at another time.
    RetryLater {
        /// Why.
        reason: RetryReason,
        /// When the provider asked to be left alone; within one second and one hour.
        after: Option<Duration>,
        /// What it said.
        detail: OperatorText,
    },
    /// It did not go out because we were too fast. Not an attempt that counts.
    RateLimited {
        /// How long to wait, as `Retry-After` says in seconds or as a date; within one second and one hour. Where the
        /// provider does not say: ten seconds, or what it is known to ask for in this scope.
        after: Duration,
        /// Who was too fast.
        scope: RateScope,
        /// What it said.
        detail: OperatorText,
    },
    /// It did not go out and never will as it is.
    Rejected {
        /// Why.
        reason: RejectReason,
        /// What it said.
        detail: OperatorText,
    },
    /// Nobody knows. To be reconciled; repeated only where [`ResendSafety`] allows.
    Unknown {
        /// Why nobody knows.
        reason: UnknownReason,
        /// What it said, or what broke.
        detail: OperatorText,
    },
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// The stable code, for the attempt's row, events and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// Who was too fast, and so who has to wait.
    RateScope {
        /// Everybody who sends with the same app.
        App = "app",
        /// All numbers of one business.
        Business = "business",
        /// One number. What a provider that does not say means.
        Number = "number",
        /// One number to one person; everybody else is written to as before.
        Chat = "chat",
        /// Registrations of one number.
        Registration = "registration",
        /// One form.
        Flow = "flow",
    }
}

reasons! {
    /// Why a message certainly did not go out, yet may later.
    RetryReason {
        /// No connection could be made: the request never left us.
        Unreachable = "unreachable",
        /// The gateway could not reach the WhatsApp server and says so itself.
        UpstreamUnreachable = "upstream_unreachable",
        /// The session is known and has nothing on the server that could send: not connected, logged out, QR timed out.
        NoSession = "no_session",
        /// The session's token is not known (any more), or the endpoint does not take us. A token that is a name counts,
        /// too: a session that the provider does not have is no session that is not running.
        Unauthorized = "unauthorized",
        /// The token is known and not allowed.
        Forbidden = "forbidden",
        /// The customer's subscription has ended.
        SubscriptionExpired = "subscription_expired",
        /// The customer's message quota is used up.
        QuotaExceeded = "quota_exceeded",
        /// The server asks to come back later.
        Unavailable = "unavailable",
        /// The address answers with a redirect, which is not followed: a wrong base URL.
        Redirected = "redirected",
        /// The server could not put the file where WhatsApp reads it, which comes before sending.
        UploadFailed = "upload_failed",
        /// The file was being put up, and nobody said what became of it.
        UploadUnanswered = "upload_unanswered",
        /// WhatsApp lets the number write to nobody new for a while.
        ReachoutTimelock = "reachout_timelock",
        /// The request could not be built.
        NotSendable = "not_sendable",
    }
}

reasons! {
    /// Why a message will never go out as it is.
    RejectReason {
        /// The provider cannot read the request.
        InvalidRequest = "invalid_request",
        /// The provider cannot read the recipient.
        InvalidRecipient = "invalid_recipient",
        /// The provider has no such address: a wrong base URL or an older server.
        NotFound = "not_found",
        /// The message is too large.
        TooLarge = "too_large",
        /// The provider understands and refuses (422), or we know that there is nothing it could take.
        Unprocessable = "unprocessable",
        /// The person wrote too long ago: only a template goes out.
        WindowClosed = "window_closed",
        /// The number is taken for a spammer and should rest.
        SpamLimited = "spam_limited",
        /// The account has a problem that only its owner can solve.
        Policy = "policy",
        /// Another refusal (any other 4xx).
        Refused = "refused",
    }
}

reasons! {
    /// Why nobody knows whether a message went out.
    UnknownReason {
        /// No answer in time.
        Timeout = "timeout",
        /// The connection broke after the request may have been received.
        ConnectionCut = "connection_cut",
        /// It answered success, and the rest cannot be read.
        UnreadableAnswer = "unreadable_answer",
        /// The server failed while or after sending.
        ServerError = "server_error",
        /// Something between us and the server failed.
        BadGateway = "bad_gateway",
        /// Some contact cards of the message went out, and not all.
        PartlySent = "partly_sent",
        /// Something between us and the server gave up waiting.
        GatewayTimeout = "gateway_timeout",
    }
}

/// What a provider said, for operators only: at most [`OperatorText::MAX_CHARS`] characters in one line, without
/// the session's token. Not for customers: it may hold internal addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorText(String);

impl OperatorText {
    /// Longest kept text, in characters.
    pub const MAX_CHARS: usize = 300;

    /// Keeps what a provider said to a request made with `token`.
    pub(crate) fn keep(said: &str, token: &SessionToken) -> Self {
        Self::without(said, token.expose())
    }

    /// Keeps what was said to a request made with any secret.
    pub(crate) fn without(said: &str, secret: &str) -> Self {
        Self::without_any(said, [secret])
    }

    /// As [`Self::without`], with several of them.
    pub(crate) fn without_any<'a>(said: &str, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let hide = |line: String, secret: &str| line.replace(secret, "[token]");
        let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
        let line = secrets.fold(said.to_owned(), hide);
        Self(
            Text::label(&line, Self::MAX_CHARS)
                .map(Text::into_string)
                .unwrap_or_default(),
        )
    }

    /// Keeps what a library or we ourselves say, where no secret can be in it.
    pub(crate) fn of_library(said: &str) -> Self {
        Self(
            Text::label(said, Self::MAX_CHARS)
                .map(Text::into_string)
                .unwrap_or_default(),
        )
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
