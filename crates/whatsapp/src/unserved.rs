//! A provider that is configured and to which no calls are made: every call is refused, and says why.
//!
//! A refused message has certainly not gone out and may at another time, so it waits, is put aside after its last
//! try, and can be sent again by hand once calls are made.

use domain::address::{ChatAddress, PhoneNumber};
use domain::ids::ProviderMessageId;
use domain::message::{MediaKind, MessageKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use crate::courtesy::{NotShown, ShowCourtesy, Typing};
use crate::credentials::SessionToken;
use crate::download::{DownloadError, DownloadMedia, FileBytes, WantedFile};
use crate::port::{OperatorText, OutboundMessage, ResendSafety, RetryReason, SendMessage, SendOutcome};
use crate::probe::{ProbeEndpoint, ProbeFailure, ProbeReason, ProbeReport};
use crate::session::{
    Details, FailureReason, LinkingCode, ManageSession, QrCode, SessionFailure, SessionState, Upkeep,
};

/// Stands in for a provider to which no calls are made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unserved;

const SAID: &str = "calls to this provider are not made";

fn refused<T: Send + 'static>() -> BoxFuture<'static, Result<T, SessionFailure>> {
    ready(Err(SessionFailure {
        reason: FailureReason::Refused,
        said: OperatorText::of_library(SAID),
    }))
    .boxed()
}

impl SendMessage for Unserved {
    fn resend_safety(&self, _kind: MessageKind) -> ResendSafety {
        ResendSafety::EachCallIsAMessage
    }

    fn takes_links(&self, _kind: MediaKind) -> bool {
        true
    }

    fn send<'a>(
        &'a self,
        _token: &'a SessionToken,
        _message: &'a OutboundMessage,
    ) -> BoxFuture<'a, SendOutcome> {
        ready(SendOutcome::RetryLater {
            reason: RetryReason::ProviderNotServed,
            after: None,
            detail: OperatorText::of_library(SAID),
        })
        .boxed()
    }
}

impl ManageSession for Unserved {
    fn status<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<SessionState, SessionFailure>> {
        refused()
    }

    fn connect<'a>(
        &'a self,
        _token: &'a SessionToken,
        _upkeep: &'a Upkeep,
    ) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        refused()
    }

    fn disconnect<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        refused()
    }

    fn logout<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        refused()
    }

    fn qr<'a>(&'a self, _token: &'a SessionToken) -> BoxFuture<'a, Result<QrCode, SessionFailure>> {
        refused()
    }

    fn pair_phone<'a>(
        &'a self,
        _token: &'a SessionToken,
        _phone: &'a PhoneNumber,
    ) -> BoxFuture<'a, Result<LinkingCode, SessionFailure>> {
        refused()
    }
}

impl ShowCourtesy for Unserved {
    fn presence<'a>(
        &'a self,
        _credentials: &'a SessionToken,
        _to: &'a ChatAddress,
        _typing: Typing,
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        ready(Err(NotShown::NotSendable)).boxed()
    }

    fn mark_read<'a>(
        &'a self,
        _credentials: &'a SessionToken,
        _chat: &'a ChatAddress,
        _messages: &'a [ProviderMessageId],
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        ready(Err(NotShown::NotSendable)).boxed()
    }
}

impl DownloadMedia for Unserved {
    fn download<'a>(
        &'a self,
        _credentials: &'a SessionToken,
        _file: &'a WantedFile,
    ) -> BoxFuture<'a, Result<FileBytes, DownloadError>> {
        ready(Err(DownloadError::later("provider_not_served"))).boxed()
    }
}

impl ProbeEndpoint for Unserved {
    fn probe(&self) -> BoxFuture<'_, Result<ProbeReport, ProbeFailure>> {
        ready(Err(ProbeFailure::silent(ProbeReason::NotServed))).boxed()
    }
}
