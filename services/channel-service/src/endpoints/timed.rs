//! Every way to an endpoint, with an eye on how long calls take and how they end: `kanal_endpoint_call_seconds` by endpoint,
//! call and outcome, and a line in the log. The names of endpoints are those of the configuration, and calls and outcomes
//! are few. A call that was given up before its answer came is `cut_off`.

use std::sync::Arc;
use std::time::Instant;

use domain::address::{ChatAddress, PhoneNumber};
use domain::endpoint::EndpointName;
use domain::ids::ProviderMessageId;
use domain::message::{MediaKind, MessageKind};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use url::Url;
use whatsapp::courtesy::{NotShown, ShowCourtesy, Typing};
use whatsapp::credentials::SessionToken;
use whatsapp::download::{DownloadError, DownloadMedia, FileBytes, WantedFile};
use whatsapp::picture::{FindPicture, Picture, PictureError};
use whatsapp::port::{OutboundMessage, ResendSafety, SendMessage, SendOutcome};
use whatsapp::probe::{ProbeEndpoint, ProbeFailure, ProbeReport};
use whatsapp::session::{Details, LinkingCode, ManageSession, QrCode, SessionFailure, SessionState, Upkeep};

use super::LiveEndpoint;

/// A way to an endpoint, timed.
struct Timed<T: ?Sized> {
    inner: Arc<T>,
    /// Shared by all calls: no call copies the name.
    endpoint: Arc<str>,
}

impl LiveEndpoint {
    /// The endpoint with an eye on its calls.
    pub(super) fn timed(self) -> Self {
        let endpoint = endpoint_label(&self.name);
        Self {
            sender: Arc::new(Timed::new(self.sender, &endpoint)),
            sessions: Arc::new(Timed::new(self.sessions, &endpoint)),
            courtesy: Arc::new(Timed::new(self.courtesy, &endpoint)),
            downloads: Arc::new(Timed::new(self.downloads, &endpoint)),
            pictures: self
                .pictures
                .map(|inner| Arc::new(Timed::new(inner, &endpoint)) as Arc<dyn FindPicture>),
            probe: Arc::new(Timed::new(self.probe, &endpoint)),
            ..self
        }
    }
}

fn endpoint_label(name: &EndpointName) -> Arc<str> {
    Arc::from(name.as_str())
}

impl<T: ?Sized> Timed<T> {
    fn new(inner: Arc<T>, endpoint: &Arc<str>) -> Self {
        Self {
            inner,
            endpoint: Arc::clone(endpoint),
        }
    }

    async fn time<V>(
        &self,
        call: &'static str,
        calling: BoxFuture<'_, V>,
        outcome: impl FnOnce(&V) -> &'static str,
    ) -> V {
        let mut call = Call {
            endpoint: &self.endpoint,
            name: call,
            begun: Instant::now(),
            outcome: "cut_off",
        };
        let answer = calling.await;
        call.outcome = outcome(&answer);
        answer
    }
}

/// A call that is under way.
struct Call<'a> {
    endpoint: &'a Arc<str>,
    name: &'static str,
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let (endpoint, call, outcome) = (self.endpoint, self.name, self.outcome);
        let took = self.begun.elapsed();
        metrics::histogram!("kanal_endpoint_call_seconds",
            "endpoint" => Arc::clone(endpoint), "call" => call, "outcome" => outcome)
        .record(took);
        let took_ms = took.as_millis();
        // What dialogs and checks ask all the time would bury the rest.
        if matches!(call, "status" | "qr" | "probe" | "presence") {
            tracing::debug!(%endpoint, call, outcome, took_ms, "an endpoint was called");
        } else {
            tracing::info!(%endpoint, call, outcome, took_ms, "an endpoint was called");
        }
    }
}

fn ended<V, E>(answer: &Result<V, E>) -> &'static str {
    if answer.is_ok() { "ok" } else { "failed" }
}

impl SendMessage for Timed<dyn SendMessage> {
    fn resend_safety(&self, kind: MessageKind) -> ResendSafety {
        self.inner.resend_safety(kind)
    }

    fn takes_links(&self, kind: MediaKind) -> bool {
        self.inner.takes_links(kind)
    }

    /// Not timed: most make no call here, and what a file took is in the histogram of its message.
    fn prepare<'a>(
        &'a self,
        credentials: &'a SessionToken,
        message: &'a OutboundMessage,
    ) -> BoxFuture<'a, Result<(), SendOutcome>> {
        self.inner.prepare(credentials, message)
    }

    fn send<'a>(
        &'a self,
        credentials: &'a SessionToken,
        message: &'a OutboundMessage,
    ) -> BoxFuture<'a, SendOutcome> {
        self.time(
            "send",
            self.inner.send(credentials, message),
            |outcome| match outcome {
                SendOutcome::Accepted { .. } => "ok",
                SendOutcome::Unknown { .. } => "unknown",
                SendOutcome::RateLimited { .. } => "rate_limited",
                SendOutcome::RetryLater { .. } | SendOutcome::Rejected { .. } => "failed",
            },
        )
        .boxed()
    }
}

impl ManageSession for Timed<dyn ManageSession> {
    fn status<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<SessionState, SessionFailure>> {
        self.time("status", self.inner.status(token), ended).boxed()
    }

    fn connect<'a>(
        &'a self,
        token: &'a SessionToken,
        upkeep: &'a Upkeep,
    ) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        self.time("connect", self.inner.connect(token, upkeep), ended)
            .boxed()
    }

    fn disconnect<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        self.time("disconnect", self.inner.disconnect(token), ended)
            .boxed()
    }

    fn logout<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<Details, SessionFailure>> {
        self.time("logout", self.inner.logout(token), ended).boxed()
    }

    fn qr<'a>(&'a self, token: &'a SessionToken) -> BoxFuture<'a, Result<QrCode, SessionFailure>> {
        self.time("qr", self.inner.qr(token), ended).boxed()
    }

    fn pair_phone<'a>(
        &'a self,
        token: &'a SessionToken,
        phone: &'a PhoneNumber,
    ) -> BoxFuture<'a, Result<LinkingCode, SessionFailure>> {
        self.time("pair_phone", self.inner.pair_phone(token, phone), ended)
            .boxed()
    }
}

impl ShowCourtesy for Timed<dyn ShowCourtesy> {
    fn presence<'a>(
        &'a self,
        credentials: &'a SessionToken,
        to: &'a ChatAddress,
        typing: Typing,
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        self.time("presence", self.inner.presence(credentials, to, typing), ended)
            .boxed()
    }

    fn mark_read<'a>(
        &'a self,
        credentials: &'a SessionToken,
        chat: &'a ChatAddress,
        messages: &'a [ProviderMessageId],
    ) -> BoxFuture<'a, Result<(), NotShown>> {
        self.time(
            "mark_read",
            self.inner.mark_read(credentials, chat, messages),
            ended,
        )
        .boxed()
    }
}

/// The time until a file begins to come; how long it is does not matter here.
impl DownloadMedia for Timed<dyn DownloadMedia> {
    fn download<'a>(
        &'a self,
        credentials: &'a SessionToken,
        file: &'a WantedFile,
    ) -> BoxFuture<'a, Result<FileBytes, DownloadError>> {
        self.time("download", self.inner.download(credentials, file), ended)
            .boxed()
    }
}

impl FindPicture for Timed<dyn FindPicture> {
    fn find<'a>(
        &'a self,
        credentials: &'a SessionToken,
        of: &'a ChatAddress,
    ) -> BoxFuture<'a, Result<Option<Picture>, PictureError>> {
        self.time("avatar", self.inner.find(credentials, of), ended)
            .boxed()
    }

    fn is_own(&self, url: &Url) -> bool {
        self.inner.is_own(url)
    }
}

impl ProbeEndpoint for Timed<dyn ProbeEndpoint> {
    fn probe(&self) -> BoxFuture<'_, Result<ProbeReport, ProbeFailure>> {
        self.time("probe", self.inner.probe(), ended).boxed()
    }
}
