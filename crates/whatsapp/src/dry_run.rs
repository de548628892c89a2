//! A provider that touches nothing (channel-service contract 6.4): everything succeeds, and nothing leaves the house.

use chrono::Utc;
use domain::address::{ChatAddress, PhoneNumber};
use domain::ids::ProviderMessageId;
use domain::message::{MediaKind, MessageKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use crate::courtesy::{NotShown, ShowCourtesy, Typing};
use crate::credentials::SessionToken;
use crate::port::{OutboundMessage, ResendSafety, SendMessage, SendOutcome};
use crate::probe::{ProbeEndpoint, ProbeFailure, ProbeReport};
use crate::session::{Details, LinkingCode, ManageSession, QrCode, SessionFailure, SessionState, Upkeep};

/// Stands in for every provider while nothing may go out.
#[derive(Debug, Clone, Copy, Default)]
pub struct DryRun;

impl SendMessage for DryRun {
    fn resend_safety(&self, _kind: MessageKind) -> ResendSafety {
        ResendSafety::SameIdIsOneMessage
    }

    fn takes_links(&self, _kind: MediaKind) -> bool {
        true
    }

    fn prepare<'a>(
        &'a self,
        _token: &'a SessionToken,
        _message: &'a OutboundMessage,
    ) -> BoxFuture<'a, Result<(), SendOutcome>> {
        ready(Ok(())).boxed()
    }

    fn send<'a>(
        &'a self,
        _token: &'a SessionToken,
        message: &'a OutboundMessage,
    ) -> BoxFuture<'a, SendOutcome> {
        let at = Utc::now();
        let kind = match message.content.kind() {
            MessageKind::Contact => "contact_",
            _ => "",
        };
        let made_up = ProviderMessageId::parse(format!("dryrun_{kind}{}", at.timestamp_millis()));
        let provider_message_id = made_up.unwrap_or_else(|_| message.id.clone());
        ready(SendOutcome::Accepted {
            provider_message_id,
            at,
        })
        .boxed()
    }
}

impl ManageSession for DryRun {
    fn status<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<SessionState, SessionFailure>> {
        let state = SessionState {
            name: "dry-run".to_owned(),
            events: "All".to_owned(),
            ..SessionState::default()
        };
        ready(Ok(state)).boxed()
    }

    fn connect<'a>(
        &'a self,
        _token: &'a SessionToken,
        _upkeep: &'a Upkeep,
    ) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        done("Connected (dry-run)")
    }

    fn disconnect<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        done("Disconnected (dry-run)")
    }

    fn logout<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        done("Logged out (dry-run)")
    }

    fn qr<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<QrCode, SessionFailure>> {
        ready(Ok(QrCode("dry-run-qr-not-available".to_owned()))).boxed()
    }

    fn pair_phone<'a>(
        &'a self,
        _token: &'a SessionToken,
        _phone: &'a PhoneNumber,
    ) -> BoxFuture<'a, Result<LinkingCode, SessionFailure>> {
        ready(Ok(LinkingCode("DRYRUN-CODE".to_owned()))).boxed()
    }
}

impl ShowCourtesy for DryRun {
    fn presence<'a>(
        &'a self,
        _credentials: &'a SessionToken,
        _to: &'a ChatAddress,
        _typing: Typing,
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        ready(Ok(())).boxed()
    }

    fn mark_read<'a>(
        &'a self,
        _credentials: &'a SessionToken,
        _chat: &'a ChatAddress,
        _messages: &'a [ProviderMessageId],
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        ready(Ok(())).boxed()
    }
}

impl ProbeEndpoint for DryRun {
    fn probe(&self) -> BoxFuture<'_, Result<ProbeReport, ProbeFailure>> {
        ready(Ok(ProbeReport {
            took: std::time::Duration::ZERO,
            key_taken: false,
            clock_ahead: None,
        }))
        .boxed()
    }
}

fn done(details: &str) -> BoxFuture<'static, Result<Details, SessionFailure>> {
    ready(Ok(Details(details.to_owned()))).boxed()
}
