//! A provider's imitation with one session, and the clients that talk to it.

use std::time::{Duration, Instant};

use chrono::Utc;
use domain::address::{ChatAddress, PhoneNumber};
use domain::ids::ProviderMessageId;
use domain::message::{InboundMessage, MediaKind, MediaSource, MessageContent};
use futures_util::TryStreamExt as _;
use simulator::{FaultSpec, Simulator, SimulatorConfig};
use whatsapp::courtesy::Typing;
use whatsapp::credentials::{SessionToken, WebhookKey};
use whatsapp::download::{HeldFile, WantedFile};
use whatsapp::event::{InboundEvent, Keep};
use whatsapp::port::{OutboundContent, OutboundMessage, SendOutcome};
use whatsapp::session::{SessionState, Upkeep};

use crate::cases::Ask;
use crate::provider::{
    By, Calls, Clients, FILE, Happening, KEY, OWN, PARTNER, Posted, ProviderUnderTest, Settings, Shown,
    Stage, Taken, Trouble, What,
};
use crate::receiver::{Manner, Receiver, Stub, nobody};
use crate::{receiving, sending, words};

/// Longest wait for something that must happen.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// All that a case has.
pub(crate) struct World {
    pub(crate) provider: &'static dyn ProviderUnderTest,
    pub(crate) simulator: Simulator,
    pub(crate) hooks: Receiver,
    pub(crate) clients: Clients,
    pub(crate) token: SessionToken,
}

impl World {
    pub(crate) async fn new(provider: &'static dyn ProviderUnderTest, stage: Stage) -> Self {
        let simulator = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
        provider.set_up(&simulator);
        let hooks = Receiver::start(provider.signature_header()).await;
        let token = provider.session(&simulator, stage, &hooks.url).await;
        let clients = provider.clients(&simulator.base_url(), Settings::default());
        Self {
            provider,
            simulator,
            hooks,
            clients,
            token,
        }
    }

    pub(crate) async fn paired(provider: &'static dyn ProviderUnderTest) -> Self {
        Self::new(provider, Stage::Paired).await
    }

    /// A world in which the clients talk to a stub.
    pub(crate) async fn at(provider: &'static dyn ProviderUnderTest, manner: Manner) -> Self {
        let mut world = Self::paired(provider).await;
        let stub = Stub::start(manner, &world.simulator.base_url()).await;
        world.clients = provider.clients(&stub.origin, Settings::default());
        world
    }

    pub(crate) async fn at_nobody(provider: &'static dyn ProviderUnderTest) -> Self {
        let mut world = Self::paired(provider).await;
        world.clients = provider.clients(&nobody().await, Settings::default());
        world
    }

    pub(crate) async fn with_wrong_key(provider: &'static dyn ProviderUnderTest) -> Self {
        let mut world = Self::paired(provider).await;
        let settings = Settings {
            right_key: false,
            ..Settings::default()
        };
        world.clients = provider.clients(&world.simulator.base_url(), settings);
        world
    }

    /// A world in which this goes wrong with every call of this sort, from now on.
    pub(crate) async fn in_trouble(
        provider: &'static dyn ProviderUnderTest,
        calls: Calls,
        trouble: Trouble,
    ) -> Self {
        let mut world = Self::paired(provider).await;
        if trouble == Trouble::Slow {
            let settings = Settings {
                patience: Duration::from_secs(5),
                ..Settings::default()
            };
            world.clients = provider.clients(&world.simulator.base_url(), settings);
        }
        world.trouble(trouble.fault(provider, calls));
        world
    }

    pub(crate) fn trouble(&self, fault: FaultSpec) {
        self.simulator.add_fault(fault).unwrap();
    }

    pub(crate) async fn send(&self, message: &OutboundMessage) -> SendOutcome {
        self.clients.sender.send(&self.token, message).await
    }

    pub(crate) fn shown(&self) -> Vec<Shown> {
        self.provider.shown(&self.simulator, PARTNER)
    }

    /// The outcome of a message, and what its receiver's phone shows.
    pub(crate) async fn sent(&self, message: &OutboundMessage) -> String {
        let outcome = self.send(message).await;
        let phone = match &message.to {
            ChatAddress::Phone(phone) => phone.as_str(),
            other => other.as_str(),
        };
        let shown = self.provider.shown(&self.simulator, phone);
        format!("{}; {}", words::outcome(&outcome), words::phone(&shown))
    }

    /// Makes it happen and waits for the webhook that tells of it.
    pub(crate) async fn told(&self, happening: &Happening) -> Option<Posted> {
        let before = self.hooks.posted().len();
        if !self.provider.happen(&self.simulator, &self.token, happening) {
            return None;
        }
        eventually("a webhook is posted", || self.hooks.posted().len() > before).await;
        self.hooks.posted().into_iter().nth(before)
    }

    pub(crate) fn take(&self, webhook: &Posted, keep: Keep) -> Taken {
        self.provider.take(webhook, &[key(KEY)], Utc::now(), keep)
    }

    pub(crate) async fn text(&self) -> Posted {
        let text = receiving::by(By::Partner, receiving::text());
        self.told(&text).await.unwrap()
    }

    /// A file that came in.
    pub(crate) async fn file(&self, kind: MediaKind, gone: bool) -> WantedFile {
        let what = What::Media {
            kind,
            caption: None,
            file_name: None,
            gone,
        };
        let webhook = self.told(&receiving::by(By::Partner, what)).await.unwrap();
        let message = message_of(self.take(&webhook, Keep::default()));
        let MessageContent::Media(media) = message.content else {
            panic!("no file came")
        };
        let held = media.sources.into_iter().find_map(|source| match source {
            MediaSource::WhatsApp(keys) => Some(HeldFile::Keys(keys)),
            MediaSource::Server(file) => Some(HeldFile::Server(file)),
            MediaSource::Graph(file) => Some(HeldFile::Graph(file)),
            MediaSource::S3 { .. } | MediaSource::Link { .. } | MediaSource::Inline { .. } => None,
        });
        WantedFile {
            kind: media.media_kind,
            mime_type: media.mime_type,
            held: held.unwrap(),
        }
    }

    pub(crate) async fn fetched(&self, file: &WantedFile) -> String {
        let pieces = match self.clients.downloads.download(&self.token, file).await {
            Ok(pieces) => pieces,
            Err(error) => return words::no_file(&error),
        };
        match pieces.try_concat_bytes().await {
            Ok(bytes) if bytes == FILE => "whole".to_owned(),
            Ok(_) => "damaged".to_owned(),
            Err(error) => words::no_file(&error),
        }
    }

    pub(crate) async fn asked(&self, ask: Ask) -> String {
        let (sessions, token) = (&self.clients.sessions, &self.token);
        let done = match ask {
            Ask::Status => return self.status().await,
            Ask::Qr => {
                let code = sessions.qr(token).await;
                return code.map_or_else(
                    |failure| words::failure(&failure),
                    |code| {
                        let picture = code.0.starts_with("data:image/png;base64,");
                        if picture { "a picture" } else { "no picture" }.to_owned()
                    },
                );
            }
            Ask::Pair => {
                let phone = PhoneNumber::parse(OWN).unwrap();
                let code = sessions.pair_phone(token, &phone).await;
                return code.map_or_else(
                    |failure| words::failure(&failure),
                    |code| if code.0.len() >= 8 { "a code" } else { "no code" }.to_owned(),
                );
            }
            Ask::Connect => sessions.connect(token, &Upkeep::default()).await,
            Ask::Disconnect => sessions.disconnect(token).await,
            Ask::Logout => sessions.logout(token).await,
        };
        match done {
            Ok(_) => format!("done; {}", self.status().await),
            Err(failure) => words::failure(&failure),
        }
    }

    pub(crate) async fn status(&self) -> String {
        match self.clients.sessions.status(&self.token).await {
            Ok(state) => self.state(&state),
            Err(failure) => words::failure(&failure),
        }
    }

    pub(crate) fn state(&self, state: &SessionState) -> String {
        let not = |yes: bool| if yes { "" } else { "not " };
        let number = ChatAddress::parse(&state.jid).ok();
        let number = number.as_ref().and_then(ChatAddress::phone);
        let events = if state.webhook == self.hooks.url {
            "here"
        } else {
            "elsewhere"
        };
        format!(
            "{}connected, {}logged in, {}, events come {events}",
            not(state.connected),
            not(state.logged_in),
            number.map_or("unpaired", PhoneNumber::as_str),
        )
    }

    /// As [`Self::asked`] after a connect, which may take a moment to come to something.
    pub(crate) async fn connected(&self, ask: Ask) -> String {
        let asked = self.asked(ask).await;
        if !asked.starts_with("done; connected, not logged in, 62") {
            return asked;
        }
        let started = Instant::now();
        loop {
            let status = format!("done; {}", self.status().await);
            if status.contains(", logged in") || started.elapsed() > LONG {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn typing(&self) -> String {
        let to = partner();
        let shown = self
            .clients
            .courtesy
            .presence(&self.token, &to, Typing::Composing)
            .await;
        shown.map_or_else(words::not_shown, |()| "shown".to_owned())
    }

    pub(crate) async fn probed(&self) -> String {
        match self.clients.probe.probe().await {
            Ok(report) if report.key_taken => "well, key taken".to_owned(),
            Ok(_) => "well".to_owned(),
            Err(failure) => failure.reason.as_str().to_owned(),
        }
    }
}

/// All pieces of a file.
trait Concat {
    async fn try_concat_bytes(self) -> Result<Vec<u8>, whatsapp::download::DownloadError>;
}

impl Concat for whatsapp::download::FileBytes {
    async fn try_concat_bytes(self) -> Result<Vec<u8>, whatsapp::download::DownloadError> {
        let pieces: Vec<bytes::Bytes> = self.try_collect().await?;
        Ok(pieces.concat())
    }
}

pub(crate) fn message(content: OutboundContent) -> OutboundMessage {
    OutboundMessage {
        id: id("3EB0OURS"),
        to: partner(),
        content,
        quoted: None,
    }
}

/// A message after another one.
pub(crate) fn another(content: OutboundContent) -> OutboundMessage {
    OutboundMessage {
        id: id("3EB0OURS2"),
        ..message(content)
    }
}

pub(crate) fn hello() -> OutboundMessage {
    message(sending::text("Halo"))
}

pub(crate) fn partner() -> ChatAddress {
    ChatAddress::parse(&format!("{PARTNER}@s.whatsapp.net")).unwrap()
}

pub(crate) fn id(text: &str) -> ProviderMessageId {
    ProviderMessageId::parse(text).unwrap()
}

pub(crate) fn key(text: &str) -> WebhookKey {
    WebhookKey::new(text).unwrap()
}

pub(crate) fn accepted(outcome: SendOutcome) -> ProviderMessageId {
    match outcome {
        SendOutcome::Accepted {
            provider_message_id, ..
        } => provider_message_id,
        other => panic!("not accepted: {}", words::outcome(&other)),
    }
}

pub(crate) fn message_of(taken: Taken) -> InboundMessage {
    match taken {
        Taken::Event {
            event: Ok(InboundEvent::Message(message)),
            ..
        } => *message,
        other => panic!("no message: {}", words::taken(&other)),
    }
}

pub(crate) async fn eventually(what: &str, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < LONG, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
