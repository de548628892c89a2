//! A business number as a session (Cloud API contract 6).
//!
//! | call | what is done |
//! |---|---|
//! | status | the number's own fields |
//! | connect | the same, and a success only when the number is registered: to register it takes a PIN, which is its owner's |
//! | disconnect, log out | refused: it is a registration with Meta and no socket |
//! | qr, pair | refused: there is no phone |

use std::time::Duration;

use domain::address::PhoneNumber;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use reqwest::Method;
use serde::Deserialize;

use super::class::ErrorClass;
use super::endpoint::{GraphEndpoint, NumberCredentials};
use super::http::{Body, Call, GraphFailure, Http};
use crate::credentials::SessionToken;
use crate::genfity::InvalidEndpoint;
use crate::loose::Loose;
use crate::port::OperatorText;
use crate::session::{
    Details, FailureReason, LinkingCode, ManageSession, QrCode, SessionFailure, SessionState, Upkeep,
};

const SHORT: Duration = Duration::from_secs(10);
const FIELDS: &str =
    "id,display_phone_number,verified_name,quality_rating,status,platform_type,webhook_configuration";

/// Numbers of one endpoint. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct GraphSessions {
    http: Http,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Number<'a> {
    #[serde(borrow)]
    id: Loose<'a>,
    #[serde(borrow)]
    display_phone_number: Loose<'a>,
    #[serde(borrow)]
    verified_name: Loose<'a>,
    #[serde(borrow)]
    status: Loose<'a>,
    #[serde(borrow)]
    platform_type: Loose<'a>,
    #[serde(borrow)]
    webhook_configuration: Webhooks<'a>,
}

/// The most particular one counts.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Webhooks<'a> {
    #[serde(borrow)]
    phone_number: Loose<'a>,
    #[serde(borrow)]
    whatsapp_business_account: Loose<'a>,
    #[serde(borrow)]
    application: Loose<'a>,
}

impl Number<'_> {
    /// Registered with the Cloud API. What is not told is taken for granted.
    fn is_registered(&self) -> bool {
        self.platform_type.filled().is_none_or(|kind| kind == "CLOUD_API")
    }

    /// Messages go out and come in, if perhaps fewer than wished.
    fn is_connected(&self) -> bool {
        let alive = |status| matches!(status, "CONNECTED" | "FLAGGED" | "RESTRICTED" | "RATE_LIMITED");
        self.is_registered() && self.status.filled().is_none_or(alive)
    }

    fn state(&self) -> SessionState {
        let digits: String = self
            .display_phone_number
            .text()
            .unwrap_or_default()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        let hooks = &self.webhook_configuration;
        let webhook = hooks
            .phone_number
            .filled()
            .or(hooks.whatsapp_business_account.filled())
            .or(hooks.application.filled());
        SessionState {
            connected: self.is_connected(),
            logged_in: self.is_registered(),
            jid: PhoneNumber::parse(&digits)
                .map(|phone| phone.as_jid().to_owned())
                .unwrap_or_default(),
            qr_code: String::new(),
            name: self
                .verified_name
                .filled()
                .or(self.id.filled())
                .unwrap_or_default()
                .to_owned(),
            events: String::new(),
            webhook: webhook.unwrap_or_default().to_owned(),
            // It is set for the app, by people; not for each number, by us.
            tells_webhook: false,
            webhook_key: None,
        }
    }
}

impl GraphSessions {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GraphEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
        })
    }

    async fn ask(&self, token: &SessionToken) -> Result<SessionState, SessionFailure> {
        let credentials = NumberCredentials::parse(token).ok_or_else(|| SessionFailure {
            reason: FailureReason::UnknownToken,
            said: OperatorText::of_library("the account has no phone number id of Meta's"),
        })?;
        let call = Call {
            method: Method::GET,
            path: &[credentials.number().as_str()],
            query: &[("fields", FIELDS)],
            body: Body::None,
            bearer: credentials.bearer(&self.http.endpoint),
            timeout: SHORT,
        };
        let body = self.http.call(call).await.map_err(failure)?;
        let number: Number<'_> = serde_json::from_slice(&body)
            .ok()
            .filter(|number: &Number<'_>| number.id.filled().is_some())
            .ok_or_else(|| SessionFailure::silent(FailureReason::Unreadable))?;
        Ok(number.state())
    }

    async fn confirm(&self, token: &SessionToken) -> Result<Details, SessionFailure> {
        let state = self.ask(token).await?;
        let said = if !state.logged_in {
            "the number is not registered with the Cloud API: its owner registers it with its PIN"
        } else if !state.connected {
            "the number is registered and Meta does not have it connected: see it in WhatsApp Manager"
        } else {
            return Ok(Details("Already connected".to_owned()));
        };
        Err(SessionFailure {
            reason: if state.logged_in {
                FailureReason::NotConnected
            } else {
                FailureReason::NotLoggedIn
            },
            said: OperatorText::of_library(said),
        })
    }
}

fn failure(failure: GraphFailure) -> SessionFailure {
    let refusal = match failure {
        GraphFailure::Refused(refusal) => refusal,
        GraphFailure::Unreachable(_) | GraphFailure::Unsendable => {
            return SessionFailure::silent(FailureReason::Unreachable);
        }
        GraphFailure::NoAnswer { .. } => return SessionFailure::silent(FailureReason::NoAnswer),
        GraphFailure::Unreadable(_) => return SessionFailure::silent(FailureReason::Unreadable),
    };
    let reason = match (refusal.class, refusal.code, refusal.status) {
        // Said by something in between of its own troubles.
        (_, None, 502..=504) => return SessionFailure::silent(FailureReason::NoAnswer),
        (_, None, 300..=399) => return SessionFailure::silent(FailureReason::Unreadable),
        (ErrorClass::Auth, ..) => FailureReason::UnknownToken,
        // Also of a number that is there, to a token that may send for it and no more.
        (_, Some(33 | 100), _) => FailureReason::NotVisible,
        (ErrorClass::Rate(_) | ErrorClass::Pair, ..) => FailureReason::RateLimited,
        _ => FailureReason::Refused,
    };
    SessionFailure {
        reason,
        said: refusal.said,
    }
}

fn refused<T: Send + 'static>(why: &'static str) -> BoxFuture<'static, Result<T, SessionFailure>> {
    ready(Err(SessionFailure {
        reason: FailureReason::Refused,
        said: OperatorText::of_library(why),
    }))
    .boxed()
}

impl ManageSession for GraphSessions {
    fn status<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<SessionState, SessionFailure>> {
        self.ask(token).boxed()
    }

    /// Where events go is said once, in the app's settings at Meta.
    fn connect<'a>(
        &'a self,
        token: &'a SessionToken,
        _upkeep: &'a Upkeep,
    ) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        self.confirm(token).boxed()
    }

    fn disconnect<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        refused("a number of the Cloud API has no socket that could be taken off the network")
    }

    fn logout<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        refused("a number of the Cloud API is deregistered by its owner, in WhatsApp Manager")
    }

    fn qr<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<QrCode, SessionFailure>> {
        refused("a number of the Cloud API has no phone that could scan a code")
    }

    fn pair_phone<'a>(
        &'a self,
        _token: &'a SessionToken,
        _phone: &'a PhoneNumber,
    ) -> BoxFuture<'a, Result<LinkingCode, SessionFailure>> {
        refused("a number of the Cloud API has no phone that a code could be typed on")
    }
}
